// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
)

// Failure is an error whose text is from a fixed list. Causes can carry addresses
// with credentials or pieces of a body, so they are kept for errors.Is and errors.As
// and never printed.
type Failure struct {
	What  string
	Cause error
	// Excerpt returns Endpoint.Excerpt of the response, if set. It is a function
	// because no printer looks into one.
	Excerpt func() string
}

func (f *Failure) Error() string { return f.What }

func (f *Failure) Unwrap() error { return f.Cause }

func failure(err error) *Failure { return &Failure{What: Explain(err), Cause: err} }

// Explain describes a transport's error in words that carry nothing from it.
func Explain(err error) string {
	var (
		dns     *net.DNSError
		op      *net.OpError
		timeout interface{ Timeout() bool }
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "the request was cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "no response in time"
	case errors.As(err, &dns):
		return "the host name could not be resolved"
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &record):
		return "the TLS handshake failed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "the connection was cut"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no response in time"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection could be made"
	}
	return "the request failed"
}
