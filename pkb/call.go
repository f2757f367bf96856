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

// get is a read of one address.
func get(op observe.Operation, address, mediaType string) apicall.Request {
	return apicall.Request{Operation: string(op), Method: http.MethodGet, URL: address, MediaType: mediaType, Repeatable: true}
}

// policy is how requests are sent.
func (c *Client) policy() apicall.Policy {
	return apicall.Policy{
		Timeout: c.cfg.RequestTimeout, Retries: c.cfg.Retries, Logger: c.cfg.Logger,
		Final: func(err error) bool { return ownError(err) != nil },
	}
}

// read sends one request and hands the body of a 200 to decode. Every other
// response, none, and one that cannot be decoded, is an *APIError, or one of the
// errors of Token.
func (c *Client) read(ctx context.Context, hc *http.Client, r apicall.Request, decode func([]byte) (problem string, err error)) (err error) {
	ctx, end := c.begin(ctx, observe.Operation(r.Operation))
	defer func() { end.call(err) }()
	data, err := c.send(ctx, hc, r)
	if err != nil {
		return err
	}
	problem, err := decode(data)
	if err == nil {
		return nil
	}
	e := &APIError{Operation: r.Operation, Status: http.StatusOK, Err: newContentError(problem, err)}
	e.Code, e.Outcome = responseCode(data)
	switch {
	case !e.Outcome.IsZero():
		e.Err = newContentError("an operation outcome came instead of the data", err)
	case errors.Is(err, identity.ErrNotAPatient):
		return err
	}
	return e
}

// send sends one request and returns the body of a 200.
func (c *Client) send(ctx context.Context, hc *http.Client, r apicall.Request) ([]byte, error) {
	data, failed := c.policy().Do(ctx, hc, r)
	if failed == nil {
		return data, nil
	}
	if ours := ownError(failed.Err); ours != nil {
		return nil, ours
	}
	e := &APIError{
		Operation: r.Operation, Status: failed.Status, RequestID: failed.RequestID, RetryAfter: failed.RetryAfter,
		Err: quiet(failed.Err), passes: failed.Passes(),
	}
	if failed.Body != nil {
		e.Code, e.Outcome = responseCode(failed.Body)
		e.excerpt = c.debugExcerpt(failed.Status, failed.Body)
	}
	return nil, e
}

// operation calls an operation of PKB's that takes no parameters and changes
// nothing: with the given method, or with POST and, from the first response 405
// on, which byGET remembers, with GET.
func (c *Client) operation(ctx context.Context, hc *http.Client, op observe.Operation, address, method string, byGET *atomic.Bool, decode func([]byte) (string, error)) (err error) {
	ctx, end := c.begin(ctx, op)
	defer func() { end.call(err) }()
	asks := get(op, address, mediaTypeFHIR)
	posts := asks
	posts.Method, posts.Body = http.MethodPost, []byte(`{"resourceType":"Parameters"}`)
	switch {
	case method == http.MethodPost:
		return c.read(ctx, hc, posts, decode)
	case method == http.MethodGet || byGET.Load():
		return c.read(ctx, hc, asks, decode)
	}
	err = c.read(ctx, hc, posts, decode)
	if refused, ok := errors.AsType[*APIError](err); ok && refused.Status == http.StatusMethodNotAllowed {
		if err = c.read(ctx, hc, asks, decode); err == nil {
			byGET.Store(true)
		}
	}
	return err
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
	case err == nil:
		return nil
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
	for _, sentinel := range []error{ErrNotLinked, ErrOtherEnvironment, ErrNewer, ErrTryLater, ErrClosed} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

// responseCode finds PKB's response code in an error response, if it is an
// operation outcome.
func responseCode(body []byte) (fhir.ResponseCode, fhir.Resource[fhir.OperationOutcome]) {
	outcome, err := fhir.Decode[fhir.OperationOutcome](body)
	if err != nil {
		return "", fhir.Resource[fhir.OperationOutcome]{}
	}
	return outcome.Reveal().ResponseCode(), outcome
}
