// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb"
)

// Client calls PKB for one organisation. Make one with [New] and share it: all its
// methods are safe for concurrent use. It has nothing to close.
type Client struct {
	cfg   Config
	http  *http.Client
	turns apicall.Turns
	// origins are those that receive the token.
	origins []apicall.Origin

	token atomic.Pointer[heldToken]
	// fetching has capacity 1: one request for a token at a time.
	fetching chan struct{}
}

// busy is the error text of a request that got no turn in time.
const busy = "no turn in time: as many requests were under way as Config.MaxCalls allows"

// New checks cfg and returns a Client. It sends no request. Its error joins every
// mistake in cfg, each a *ConfigError.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, http: apicall.Client(cfg.HTTPClient, cfg.RequestTimeout),
		turns: apicall.Turns{Most: cfg.MaxCalls, Busy: busy}, fetching: make(chan struct{}, 1),
	}
	for _, address := range []string{cfg.Environment.FHIRURL, cfg.StatusURL, cfg.AddPatientURL} {
		if origin := apicall.OriginOf(address); !slices.Contains(c.origins, origin) {
			c.origins = append(c.origins, origin)
		}
	}
	return c, nil
}

// Format implements fmt.Formatter: a Client prints without its secret.
func (c *Client) Format(f fmt.State, _ rune) {
	if c == nil {
		fmt.Fprint(f, "(*pkbsystem.Client)(nil)")
		return
	}
	fmt.Fprintf(f, "pkbsystem.Client{Environment: %q, ClientID: %q}", c.cfg.Environment.Name, c.cfg.ClientID)
}

// String implements fmt.Stringer.
func (c *Client) String() string { return fmt.Sprint(c) }

const mediaTypeFHIR = "application/fhir+json"

// The operations, as errors and telemetry name them.
const (
	opToken  = wording.SystemToken
	opFind   = wording.SystemOperation + "find"
	opStatus = wording.SystemOperation + "status-query"
	opAdd    = wording.SystemOperation + "process-message"
)

func (c *Client) policy() apicall.Policy {
	return apicall.Policy{
		Timeout: c.cfg.RequestTimeout, Retries: c.cfg.Retries, MaxBytes: maxResponse, Logger: c.cfg.Logger,
		Final: func(err error) bool { return tokenError(err) != nil },
	}
}

// maxResponse bounds a response: that to a batch of Status of the default size takes
// about a tenth of it.
const maxResponse = 4 << 20

// call sends one request of the API, and returns the body of a success.
func (c *Client) call(ctx context.Context, r apicall.Request) (data []byte, failed *apicall.Failure) {
	failed, _ = c.policy().Do(ctx, c.HTTPClient(), r, func(body *apicall.Body) (err error) {
		data, err = body.All()
		return err // which is the failure
	})
	return data, failed
}

// read sends a request that changes nothing, and passes the response to decode.
func (c *Client) read(ctx context.Context, r apicall.Request, decode func([]byte) (problem string, err error)) (err error) {
	ctx, end := c.begin(ctx, r.Operation)
	defer func() { end(err) }()
	data, failed := c.call(ctx, r)
	if failed != nil {
		return errorOf(r.Operation, failed)
	}
	problem, err := decode(data)
	if problem == "" && err == nil {
		return nil
	}
	return unusable(r.Operation, data, problem, err)
}

// errorOf returns the *pkb.APIError for a failed request, or that of the request for
// a token before it.
func errorOf(op string, failed *apicall.Failure) error {
	if own := tokenError(failed.Err); own != nil {
		return own
	}
	return apicall.ErrorOf(op, failed)
}

// unusable is the error for a response that reports success and cannot be used.
func unusable(op string, data []byte, problem string, cause error) error {
	failed := &apicall.Failure{Status: http.StatusOK, Body: data, Err: &apicall.ContentError{What: problem, Err: cause}}
	return apicall.ErrorOf(op, failed)
}

// tokenError returns the error of a request for a token inside another, or nil.
func tokenError(err error) error {
	if e, ok := errors.AsType[*pkb.APIError](err); ok {
		return e
	}
	return nil
}
