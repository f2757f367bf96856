// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package apicall sends one request to an API of PKB's and reads the response, within
// bounds: of time, of size, of repetitions, and of requests at once for one user. It
// knows neither links nor tokens, and reports facts: package pkb makes errors of them.
package apicall

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/retryafter"
)

// What is read of a response at most: of data, and of an error.
const (
	maxData    = 4 << 20
	MaxProblem = 64 << 10
)

// Policy is how requests are sent.
type Policy struct {
	// Timeout bounds one request with all its repetitions.
	Timeout time.Duration
	// Retries is how often a request that may be repeated is; not positive is never.
	Retries int
	// Final reports whether an error of the client is one of its own, which no
	// repetition changes.
	Final  func(error) bool
	Logger *slog.Logger
}

// Request is one request.
type Request struct {
	// Operation names it in logs.
	Operation, Method, URL, MediaType string
	Body                              []byte
	// Repeatable says that it changes nothing, so that it may be sent again.
	Repeatable bool
}

// Failure is a response that is not a success, or the lack of one.
type Failure struct {
	// Status is the HTTP status; 0 without a response.
	Status int
	// Body is the beginning of the response, for a status other than 200.
	Body       []byte
	RequestID  string
	RetryAfter time.Duration
	// Err is the transport's error, a *ContentError, or nil.
	Err error
}

// ContentError says what is wrong with a request or a response, in words made here.
type ContentError struct {
	What string
	Err  error
}

func (e *ContentError) Error() string { return e.What }

// Unwrap returns the error behind it.
func (e *ContentError) Unwrap() error { return e.Err }

// Do sends r with hc and returns the body of a response 200. A request that failed
// for a reason that passes is repeated.
func (p Policy) Do(ctx context.Context, hc *http.Client, r Request) ([]byte, *Failure) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	data, failed := once(ctx, hc, r)
	for n := 0; failed != nil && r.Repeatable && n < p.Retries; n++ {
		if failed.Err != nil && p.Final(failed.Err) || !failed.Passes() {
			return nil, failed
		}
		wait := backOff(n, failed.RetryAfter)
		if !pause(ctx, wait) {
			if ctx.Err() != nil { // cancelled meanwhile; what PKB said stays
				failed.Err = ctx.Err()
			}
			return nil, failed
		}
		p.Logger.DebugContext(ctx, "pkb: retrying", "operation", r.Operation, "status", failed.Status, "waited", wait)
		data, failed = once(ctx, hc, r)
	}
	return data, failed
}

// Passes reports whether the same request may well succeed in a moment: PKB or
// something in front of it is busy, restarting or out of reach. A 500 is not among
// these: it is a bug, and comes again.
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

// backOff is how long to wait before repetition n: what PKB asked for, and else
// twice as long each time; with jitter, so that all who were turned away do not
// come back in the same moment.
func backOff(n int, asked time.Duration) time.Duration {
	step := min(500*time.Millisecond<<n, 8*time.Second)
	jitter := rand.N(step / 2)
	if asked > 0 {
		return asked + jitter
	}
	return step/2 + jitter
}

// pause waits for d. It returns false at once if ctx ends before that, and as
// soon as ctx is cancelled.
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

// once sends one request.
func once(ctx context.Context, hc *http.Client, r Request) ([]byte, *Failure) {
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return nil, &Failure{Err: &ContentError{What: "the address is not usable", Err: err}}
	}
	req.Header.Set("Accept", r.MediaType)
	if body != nil {
		req.Header.Set("Content-Type", r.MediaType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		if sent, ok := errors.AsType[*url.Error](err); ok {
			err = sent.Err // without the address, which can name somebody
		}
		return nil, &Failure{Err: err}
	}
	defer resp.Body.Close()
	failed := &Failure{Status: resp.StatusCode, RequestID: requestID(resp.Header)}
	if resp.StatusCode != http.StatusOK {
		// Status first: the body only adds to it.
		failed.RetryAfter = retryafter.In(resp.Header)
		failed.Body, _ = readUpTo(MaxProblem, resp)
		return nil, failed
	}
	data, err := readUpTo(maxData, resp)
	switch {
	case err != nil:
		failed.Err = err
	case len(data) > maxData:
		failed.Err = &ContentError{What: fmt.Sprintf("the response is larger than %d MiB", maxData>>20)}
	case isPage(data):
		failed.Err = &ContentError{What: "the response is a page and no data"}
	default:
		return data, nil
	}
	return nil, failed
}

// readUpTo reads a body up to one byte more than most.
func readUpTo(most int64, resp *http.Response) ([]byte, error) {
	// The length is a hint only: it is what the server says.
	buf := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(resp.ContentLength, 0), MaxProblem)))
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, most+1))
	return buf.Bytes(), unpackError(err)
}

// unpackError tells a response that was packed wrongly from one that was cut.
func unpackError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return &ContentError{What: "the response cannot be unpacked", Err: err}
	}
	return err
}

// isPage reports whether a response is HTML or XML, whatever its header says.
func isPage(data []byte) bool {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	return len(trimmed) > 0 && trimmed[0] == '<'
}

// requestID returns the id that a server gave the request, for its support to
// look up, if it is safe to print. PKB documents none; the header is the usual
// one.
func requestID(h http.Header) string {
	id := h.Get("X-Request-Id")
	if len(id) < 8 || len(id) > 64 || strings.Trim(id, "0123456789abcdefABCDEF-") != "" || strings.Trim(id, "0123456789-") == "" {
		return "" // not hexadecimal like a UUID, or a number, which could be a patient's
	}
	return id
}
