// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
)

// What is read of an answer at most: of data, and of what PKB says instead.
const (
	maxAnswer  = 4 << 20
	maxProblem = 64 << 10
)

// call sends one request and returns the body of a 200. Every other answer,
// and none, is an *APIError, or one of the errors of Token. A read that failed
// for a reason that passes is repeated, up to Config.Retries times and within
// Config.RequestTimeout.
func (c *Client) call(ctx context.Context, hc *http.Client, op, method, url, mediaType string, body []byte) ([]byte, error) {
	ctx, end := c.begin(ctx, Operation(op))
	data, err := c.repeated(ctx, hc, op, method, url, mediaType, body)
	end.call(err)
	return data, err
}

func (c *Client) repeated(ctx context.Context, hc *http.Client, op, method, url, mediaType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	data, err := c.once(ctx, hc, op, method, url, mediaType, body)
	if err == nil || method != http.MethodGet && op != opPurview && op != opLastDataPoint { // these two ask, with POST too
		return data, err
	}
	for n := range c.cfg.Retries { // none if it is -1
		failed, ok := errors.AsType[*APIError](err)
		if !ok || !failed.passes() {
			return nil, err
		}
		wait := backOff(n, failed.RetryAfter)
		if !pause(ctx, wait) {
			if ctx.Err() != nil { // cancelled meanwhile; what PKB said stays
				failed.Err = quiet(ctx.Err())
			}
			return nil, failed
		}
		c.cfg.Logger.DebugContext(ctx, "pkb: asking again", "operation", op, "status", failed.Status, "waited", wait)
		if data, err = c.once(ctx, hc, op, method, url, mediaType, body); err == nil {
			return data, nil
		}
	}
	return nil, err
}

// passes reports whether the same request may well succeed in a moment: PKB or
// something before it is busy, restarting or out of reach. A 500 is not among
// these: it is a mistake, and comes again.
func (e *APIError) passes() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0, http.StatusOK: // no answer, or not the whole of it
		var (
			ours *answerError
			cert *tls.CertificateVerificationError
		)
		return e.Err != nil && !errors.As(e.Err, &ours) && !errors.As(e.Err, &cert)
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
func (c *Client) once(ctx context.Context, hc *http.Client, op, method, url, mediaType string, body []byte) ([]byte, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, &APIError{Operation: op, Err: newAnswerError("the address is not usable", err)}
	}
	req.Header.Set("Accept", mediaType)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ours := ownError(err); ours != nil {
			return nil, ours
		}
		if sent, ok := errors.AsType[*neturl.Error](err); ok {
			err = sent.Err // without the address, which can name somebody
		}
		return nil, &APIError{Operation: op, Err: quiet(err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// Status first: the body only adds to it.
		data, _ := readUpTo(maxProblem, resp)
		code, outcome := responseCode(data)
		return nil, &APIError{
			Operation: op, Status: resp.StatusCode, Code: code, Outcome: outcome, RequestID: requestID(resp.Header),
			RetryAfter: retryAfter(resp.Header, c.cfg.Now()), excerpt: c.debugExcerpt(resp.StatusCode, data),
		}
	}
	data, err := readUpTo(maxAnswer, resp)
	switch {
	case err != nil:
	case len(data) > maxAnswer:
		err = &answerError{what: fmt.Sprintf("the answer is larger than %d MiB", maxAnswer>>20)}
	case isPage(data):
		err = &answerError{what: "a page came instead of data"}
	default:
		return data, nil
	}
	return nil, &APIError{Operation: op, Status: resp.StatusCode, RequestID: requestID(resp.Header), Err: quiet(err)}
}

// readUpTo reads a body up to one byte more than most.
func readUpTo(most int64, resp *http.Response) ([]byte, error) {
	// The length is a hint only: it is what the server says.
	buf := bytes.NewBuffer(make([]byte, 0, bytes.MinRead+min(max(resp.ContentLength, 0), maxProblem)))
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, most+1))
	return buf.Bytes(), unpackError(err)
}

// unpackError tells an answer that was packed wrongly from one that was cut.
func unpackError(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
		return newAnswerError("the answer cannot be unpacked", err)
	}
	return err
}

// isPage reports whether an answer is HTML or XML, whatever its header says.
func isPage(data []byte) bool {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	return len(trimmed) > 0 && trimmed[0] == '<'
}

// instead returns the error for an answer that is not what was asked for: PKB's
// operation outcome if it is one, and else what the caller found.
func instead(op string, data []byte, what string, cause error) *APIError {
	code, outcome := responseCode(data)
	if outcome != nil {
		what = "an operation outcome came instead of the data"
	}
	return &APIError{Operation: op, Status: http.StatusOK, Code: code, Outcome: outcome, Err: newAnswerError(what, cause)}
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

// ownError finds an error of ours in what net/http returned.
func ownError(err error) error {
	var (
		relink *RelinkError
		later  *TryLaterError
		store  *storeFailure
		keys   *keysError
		user   appUserIDError
	)
	switch {
	case errors.As(err, &relink):
		return relink
	case errors.As(err, &later):
		return later
	case errors.As(err, &store):
		return store
	case errors.As(err, &keys):
		return keys
	case errors.As(err, &user):
		return user
	}
	for _, sentinel := range []error{ErrNotLinked, ErrOtherEnvironment, ErrTryLater, ErrClosed} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

// responseCode finds PKB's response code in an error answer, if it is an
// operation outcome.
func responseCode(body []byte) (fhir.ResponseCode, *fhir.OperationOutcome) {
	outcome, err := fhir.DecodeOperationOutcome(body)
	if err != nil {
		return "", nil
	}
	return outcome.ResponseCode(), &outcome
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := time.ParseDuration(v + "s"); err == nil && n >= 0 {
		return min(n, time.Hour)
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return min(t.Sub(now), time.Hour)
	}
	return 0
}
