// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package apicall sends one request to an API of PKB and reads the response. It
// bounds the time, the size, the retries, and the concurrent requests for one user.
// It does not know links or tokens; package pkb makes errors of what it reports.
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
}

// Failure is a response that is not a success, or the absence of one.
type Failure struct {
	// Status is the HTTP status; 0 without a response.
	Status int
	// Body is the beginning of the response, if the status is not 200.
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

// Do sends r with hc and passes the body of a response 200 to take, which reads it to
// its end. It retries a temporary failure; take is then called again if the body was
// cut off. Do returns a *Failure, or the error with which take refuses a body.
func (p Policy) Do(ctx context.Context, hc *http.Client, r Request, take func(*Body) error) (*Failure, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	failed, err := p.once(ctx, hc, r, take)
	for n := 0; failed != nil && r.Repeatable && n < p.Retries; n++ {
		if failed.Err != nil && p.Final(failed.Err) || !failed.Passes() {
			return failed, nil
		}
		wait := backOff(n, failed.RetryAfter)
		if !pause(ctx, wait) {
			if ctx.Err() != nil { // canceled meanwhile; PKB's status stays
				failed.Err = ctx.Err()
			}
			return failed, nil
		}
		p.Logger.DebugContext(ctx, "pkb: retrying", "operation", r.Operation, "status", failed.Status, "waited", wait)
		failed, err = p.once(ctx, hc, r, take)
	}
	return failed, err
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
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return &Failure{Err: &ContentError{What: "the address is not usable", Err: err}}, nil
	}
	req.Header.Set("Accept", r.MediaType)
	if body != nil {
		req.Header.Set("Content-Type", r.MediaType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		if sent, ok := errors.AsType[*url.Error](err); ok {
			err = sent.Err // without the address, which can identify a patient
		}
		return &Failure{Err: err}, nil
	}
	defer resp.Body.Close()
	failed := &Failure{Status: resp.StatusCode, RequestID: requestID(resp.Header)}
	if resp.StatusCode != http.StatusOK {
		failed.RetryAfter = retryafter.In(resp.Header)
		failed.Body, _ = readAll(io.LimitReader(resp.Body, MaxProblem), resp.ContentLength)
		return failed, nil
	}
	data := newBody(resp, p.MaxBytes)
	err = take(data)
	if failed.Err = data.failed; failed.Err != nil {
		return failed, nil
	}
	return nil, err
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
