// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package apicall sends one request to an API of PKB and reads the response. It
// bounds the time, the size, the retries, and the concurrent requests for one user.
// It does not know links, nor where tokens come from; package pkb makes errors of what
// it reports.
package apicall

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/retryafter"
)

// MaxProblem is how much is read of a response that is an error.
const MaxProblem = 64 << 10

// Policy is how requests are sent.
type Policy struct {
	// Timeout bounds one request with all its retries.
	Timeout time.Duration
	// Retries is the maximum number of retries; if it is not positive, none.
	Retries int
	// MaxBytes is the maximum size of a response.
	MaxBytes int64
	// Final reports whether an error is one that no retry changes.
	Final  func(error) bool
	Logger *slog.Logger
}

// Request is one request.
type Request struct {
	// Operation names it in logs.
	Operation, Method, URL, MediaType string
	Body                              []byte
	// Repeatable reports that the request changes nothing, so it may be retried.
	Repeatable bool
	// AnySuccess accepts every status from 200 to 299; otherwise only 200 is a
	// success.
	AnySuccess bool
}

// Failure is a response that is not a success, or the absence of one.
type Failure struct {
	// Status is the HTTP status; 0 without a response.
	Status int
	// Sent reports that the body of a request that is not Repeatable was read, so it may
	// have been sent. Without it, PKB has not received the request.
	Sent bool
	// Body is the beginning of the response, if the status is no success.
	Body       []byte
	RequestID  string
	RetryAfter time.Duration
	// Err is the transport's error, a *ContentError, or nil.
	Err error
}

// ContentError is what is wrong with a request or a response, in words made here.
type ContentError struct {
	What string
	Err  error
}

func (e *ContentError) Error() string { return e.What }

// Unwrap returns the error behind it.
func (e *ContentError) Unwrap() error { return e.Err }

// ErrorOf returns the error for a failure. Package pkb sets it, for the packages that
// make calls of their own and return its APIError.
var ErrorOf = func(_ string, f *Failure) error { return f.Err }

// Do sends r with hc and passes the body of a success to take, which reads it to its
// end. It retries a temporary failure; take is then called again if the body was cut
// off. Do returns a *Failure, or the error with which take refuses a body.
func (p Policy) Do(ctx context.Context, hc *http.Client, r Request, take func(*Body) error) (failed *Failure, refused error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	once := func() (f *Failure) {
		f, refused = p.once(ctx, hc, r, take)
		return f
	}
	if !r.Repeatable {
		return once(), refused
	}
	failed = p.Repeat(ctx, r.Operation, once)
	return failed, refused
}

// Repeat calls once, and again after a temporary failure.
func (p Policy) Repeat(ctx context.Context, operation string, once func() *Failure) *Failure {
	failed := once()
	for n := 0; failed != nil && n < p.Retries; n++ {
		if failed.Err != nil && p.Final(failed.Err) || !failed.Passes() {
			return failed
		}
		wait := backOff(n, failed.RetryAfter)
		if !pause(ctx, wait) {
			if ctx.Err() != nil { // canceled meanwhile; PKB's status stays
				failed.Err = ctx.Err()
			}
			return failed
		}
		p.Logger.DebugContext(ctx, "pkb: retrying", "operation", operation, "status", failed.Status, "waited", wait)
		failed = once()
	}
	return failed
}

// Passes reports whether the same request may succeed in a moment: PKB or a proxy
// is busy, restarting or out of reach. A 500 is a bug, and recurs.
func (f *Failure) Passes() bool {
	switch f.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0, http.StatusOK: // no response, or not the whole of it
		var (
			content *ContentError
			cert    *tls.CertificateVerificationError
		)
		return f.Err != nil && !errors.As(f.Err, &content) && !errors.As(f.Err, &cert)
	}
	return false
}

// backOff returns the wait before retry n: what PKB asked for, or an exponential
// step; with jitter, so that clients do not return all at once.
func backOff(n int, asked time.Duration) time.Duration {
	step := min(500*time.Millisecond<<n, 8*time.Second)
	jitter := rand.N(step / 2)
	if asked > 0 {
		return asked + jitter
	}
	return step/2 + jitter
}

// pause waits for d. It returns false at once if ctx would end first, and when ctx
// is canceled.
func pause(ctx context.Context, d time.Duration) bool {
	timer, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if ends, ok := ctx.Deadline(); ok {
		if over, _ := timer.Deadline(); !over.Before(ends) {
			return false
		}
	}
	<-timer.Done()
	return ctx.Err() == nil
}

func (p Policy) once(ctx context.Context, hc *http.Client, r Request, take func(*Body) error) (*Failure, error) {
	req, read, err := r.request(ctx)
	if err != nil {
		return &Failure{Err: &ContentError{What: "the address is not usable", Err: err}}, nil
	}
	resp, err := hc.Do(req)
	if err != nil {
		return &Failure{Sent: read.Load(), Err: WithoutAddress(err)}, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && !(r.AnySuccess && resp.StatusCode/100 == 2) {
		failed := Refusal(resp)
		failed.Sent = read.Load()
		failed.Body, _ = readAll(io.LimitReader(resp.Body, MaxProblem), resp.ContentLength)
		return failed, nil
	}
	failed := &Failure{Status: resp.StatusCode, Sent: read.Load(), RequestID: requestID(resp.Header)}
	data := newBody(resp, p.MaxBytes)
	err = take(data)
	if failed.Err = data.failed; failed.Err != nil {
		return failed, nil
	}
	return nil, err
}

// request returns r for net/http, and whether its body was read. That is watched only
// where it matters: net/http sends a body whose type it knows together with the header,
// and any other after it.
func (r Request) request(ctx context.Context) (*http.Request, *atomic.Bool, error) {
	read := new(atomic.Bool)
	var body io.Reader
	if r.Body != nil && r.Repeatable {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", r.MediaType)
	if r.Body != nil {
		req.Header.Set("Content-Type", r.MediaType)
	}
	if r.Body == nil || r.Repeatable {
		return req, read, nil
	}
	req.ContentLength = int64(len(r.Body))
	req.GetBody = func() (io.ReadCloser, error) {
		return &watched{bytes.NewReader(r.Body), read}, nil
	}
	req.Body, err = req.GetBody()
	return req, read, err
}

// watched is a body that notes that it was read.
type watched struct {
	*bytes.Reader
	read *atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.read.Store(true)
	return w.Reader.Read(p)
}

// WriteTo implements io.WriterTo.
func (w *watched) WriteTo(to io.Writer) (int64, error) {
	w.read.Store(true)
	return w.Reader.WriteTo(to)
}

// Close implements io.Closer.
func (w *watched) Close() error { return nil }

// Refusal returns the Failure of a response that is no success, without its body.
func Refusal(resp *http.Response) *Failure {
	return &Failure{Status: resp.StatusCode, RequestID: requestID(resp.Header), RetryAfter: retryafter.In(resp.Header)}
}

// WithoutAddress returns the error inside one of net/http, whose text has the
// address, which can identify a patient.
func WithoutAddress(err error) error {
	if sent, ok := errors.AsType[*url.Error](err); ok {
		return sent.Err
	}
	return err
}

// requestID returns the server's id of the request, for its support, if it is safe
// to print. PKB documents none; X-Request-Id is the usual header.
func requestID(h http.Header) string {
	id := h.Get("X-Request-Id")
	if len(id) < 8 || len(id) > 64 || strings.Trim(id, "0123456789abcdefABCDEF-") != "" || strings.Trim(id, "0123456789-") == "" {
		return "" // not hexadecimal like a UUID, or a number, which could be a patient's
	}
	return id
}
