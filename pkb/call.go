// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

const (
	mediaTypeJSON = "application/json"
	mediaTypeFHIR = "application/fhir+json"
)

func get(op observe.Operation, address, mediaType string) apicall.Request {
	return apicall.Request{Operation: string(op), Method: http.MethodGet, URL: address, MediaType: mediaType, Repeatable: true}
}

func (c *Client) policy() apicall.Policy {
	return apicall.Policy{
		Timeout: c.cfg.RequestTimeout, Retries: c.cfg.Retries, MaxBytes: c.cfg.MaxResponseBytes, Logger: c.cfg.Logger,
		Final: func(err error) bool { return ownError(err) != nil },
	}
}

// read sends one request and passes the body of a 200 to decode. Any other outcome,
// including a body that decode refuses, is an *APIError or an error of Token.
func (c *Client) read(ctx context.Context, hc *http.Client, r apicall.Request, decode func([]byte) (problem string, err error)) error {
	return c.stream(ctx, hc, r, func(body *apicall.Body) (string, error) {
		data, err := body.All()
		if err != nil {
			return "", err
		}
		problem, err := decode(data)
		if err == nil {
			return "", nil
		}
		if _, outcome := responseCode(data); !outcome.IsZero() { // it is about the request, and not about the patient
			return "", unusable(r.Operation, "the response is an OperationOutcome", nil, outcome)
		}
		return problem, err
	})
}

// stream is read for a body that is decoded while it arrives: more than once if it is
// cut off and retried. An *APIError of decode is returned unchanged.
func (c *Client) stream(ctx context.Context, hc *http.Client, r apicall.Request, decode func(*apicall.Body) (problem string, err error)) (err error) {
	ctx, end := c.begin(ctx, observe.Operation(r.Operation))
	defer func() { end.call(err) }()
	problem := ""
	failed, err := c.policy().Do(ctx, hc, r, func(body *apicall.Body) (err error) {
		problem, err = decode(body)
		return err
	})
	if failed != nil {
		return c.failure(r, failed)
	}
	if _, ours := errors.AsType[*APIError](err); err == nil || ours || errors.Is(err, identity.ErrNotAPatient) {
		return err
	}
	return unusable(r.Operation, problem, err, fhir.Resource[fhir.OperationOutcome]{})
}

// unusable is the error for a response 200 that cannot be used.
func unusable(op, problem string, cause error, outcome fhir.Resource[fhir.OperationOutcome]) *APIError {
	return &APIError{
		Operation: op, Status: http.StatusOK, Err: newContentError(problem, cause),
		Code: outcome.Reveal().ResponseCode(), Outcome: outcome,
	}
}

func (c *Client) failure(r apicall.Request, failed *apicall.Failure) error {
	if ours := ownError(failed.Err); ours != nil {
		return ours
	}
	e := newAPIError(r.Operation, failed)
	if failed.Body != nil {
		e.excerpt = c.debugExcerpt(failed.Status, failed.Body)
	}
	return e
}

func newAPIError(op string, failed *apicall.Failure) *APIError {
	e := &APIError{
		Operation: op, Status: failed.Status, RequestID: failed.RequestID, RetryAfter: failed.RetryAfter,
		Err: quiet(failed.Err), passes: failed.Passes(),
	}
	if failed.Body != nil {
		e.Code, e.Outcome = responseCode(failed.Body)
	}
	return e
}

func init() {
	apicall.ErrorOf = func(op string, failed *apicall.Failure) error { return newAPIError(op, failed) }
}

// operation calls a PKB operation that takes no parameters and changes nothing:
// with the given method, or with POST and, after the first response 405, which
// byGET remembers, with GET.
func (c *Client) operation(ctx context.Context, hc *http.Client, op observe.Operation, address, method string, byGET *atomic.Bool, decode func([]byte) (string, error)) (err error) {
	ctx, end := c.begin(ctx, op)
	defer func() { end.call(err) }()
	gets := get(op, address, mediaTypeFHIR)
	posts := gets
	posts.Method, posts.Body = http.MethodPost, []byte(`{"resourceType":"Parameters"}`)
	switch {
	case method == http.MethodPost:
		return c.read(ctx, hc, posts, decode)
	case method == http.MethodGet || byGET.Load():
		return c.read(ctx, hc, gets, decode)
	}
	err = c.read(ctx, hc, posts, decode)
	if refused, ok := errors.AsType[*APIError](err); ok && refused.Status == http.StatusMethodNotAllowed {
		if err = c.read(ctx, hc, gets, decode); err == nil {
			byGET.Store(true)
		}
	}
	return err
}

// ownError returns the error of this package inside one of net/http, or nil.
func ownError(err error) error {
	if err == nil {
		return nil
	}
	for _, find := range []func(error) error{find[*RelinkError], find[*TryLaterError], find[*storeFailure], find[*keysError], find[appUserIDError]} {
		if own := find(err); own != nil {
			return own
		}
	}
	for _, sentinel := range []error{ErrNotLinked, ErrOtherEnvironment, ErrNewer, ErrTryLater, ErrClosed} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

func find[E error](err error) error {
	if e, ok := errors.AsType[E](err); ok {
		return e
	}
	return nil
}
