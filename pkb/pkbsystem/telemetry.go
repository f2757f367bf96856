// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// requestCount is the context's key for the number of requests of an operation.
type requestCount struct{}

// begin reports an operation to Telemetry, if set, and returns what reports its end.
func (c *Client) begin(ctx context.Context, op string) (context.Context, func(error)) {
	if c.cfg.Telemetry == nil {
		return ctx, func(error) {}
	}
	start, sent := c.cfg.Now(), new(atomic.Int32)
	ctx, end := c.cfg.Telemetry.Begin(ctx, observe.Operation(op))
	return context.WithValue(ctx, requestCount{}, sent), func(err error) {
		r := resultOf(err)
		r.Requests, r.Duration = int(sent.Load()), c.cfg.Now().Sub(start)
		end(r)
	}
}

func countRequest(ctx context.Context) {
	if sent, ok := ctx.Value(requestCount{}).(*atomic.Int32); ok {
		sent.Add(1)
	}
}

func resultOf(err error) (r observe.Result) {
	if err == nil {
		return observe.Result{Outcome: observe.OutcomeOK, Status: http.StatusOK}
	}
	if api, ok := errors.AsType[*pkb.APIError](err); ok {
		r.Status, r.Code = api.Status, string(api.Code)
	}
	switch {
	case errors.Is(err, ErrUncertain):
		r.Outcome = observe.OutcomeUncertain
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		r.Outcome = observe.OutcomeRefused
	case errors.Is(err, context.Canceled):
		r.Outcome = observe.OutcomeCanceled
	case r.Status == 0, r.Status == http.StatusTooManyRequests, r.Status >= 500:
		r.Outcome = observe.OutcomeUnavailable
	case r.Status < 300:
		r.Outcome = observe.OutcomeUnreadable
	default:
		r.Outcome = observe.OutcomeMisconfigured
	}
	return r
}
