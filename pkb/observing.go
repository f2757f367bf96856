// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// finish tells Telemetry, if there is one, how an operation ended.
type finish struct{ tell func(observe.Result) }

// underWay is the context's key for the operation that a call belongs to.
type underWay struct{}

type operation struct {
	op       observe.Operation
	requests atomic.Int32
}

// begin tells Telemetry of an operation, unless ctx belongs to it already.
func (c *Client) begin(ctx context.Context, op observe.Operation) (context.Context, finish) {
	if c.cfg.Telemetry == nil {
		return ctx, finish{}
	}
	if outer := operationIn(ctx); outer != nil && outer.op == op {
		return ctx, finish{}
	}
	start, begun := c.cfg.Now(), &operation{op: op}
	ctx, end := c.cfg.Telemetry.Begin(ctx, op)
	return context.WithValue(ctx, underWay{}, begun), finish{func(r observe.Result) {
		r.Requests, r.Duration = int(begun.requests.Load()), c.cfg.Now().Sub(start)
		end(r)
	}}
}

func operationIn(ctx context.Context) *operation {
	o, _ := ctx.Value(underWay{}).(*operation)
	return o
}

// sends counts a request towards the operation that ctx belongs to.
func (c *Client) sends(ctx context.Context) {
	if c.cfg.Telemetry == nil {
		return
	}
	if o := operationIn(ctx); o != nil {
		o.requests.Add(1)
	}
}

// with ends an operation with an error of ours, or nil.
func (e finish) with(err error) {
	if e.tell != nil {
		e.tell(resultOf(err))
	}
}

// call ends a call, which is good only if PKB answered 200.
func (e finish) call(err error) {
	if e.tell == nil {
		return
	}
	r := resultOf(err)
	if err == nil {
		r.Status = http.StatusOK
	}
	e.tell(r)
}

// posted ends a request to the token endpoint.
func (e finish) posted(out tokenwire.Outcome) {
	if e.tell != nil {
		e.tell(observe.Result{Outcome: posted(out), Status: out.Status, Code: out.Code})
	}
}

// posted says what the outcome of a request to the token endpoint means.
func posted(out tokenwire.Outcome) observe.Outcome {
	return outcomeOf(out.Class, isBusy(out.Status, out.Code, out.Cause))
}

func outcomeOf(class tokenwire.Class, busy bool) observe.Outcome {
	switch class {
	case tokenwire.OK:
		return observe.OutcomeOK
	case tokenwire.Rejected, tokenwire.Unclear:
		return observe.OutcomeRefused
	case tokenwire.Ambiguous:
		return observe.OutcomeUncertain
	case tokenwire.Unread:
		return observe.OutcomeUnreadable
	case tokenwire.AppWide:
		if !busy {
			return observe.OutcomeMisconfigured
		}
	}
	return observe.OutcomeUnavailable // not sent, or not now
}

// onEvent returns what the keeper tells its events to; nil if nobody listens.
func (c *Config) onEvent() func(custody.Event) {
	if c.OnEvent == nil && c.Telemetry == nil {
		return nil
	}
	return func(e custody.Event) {
		if c.Telemetry != nil {
			c.Telemetry.Event(observe.EventKind(e.Kind), observe.Cause(e.Cause))
		}
		if c.OnEvent != nil {
			c.OnEvent(observe.Event{
				Kind: observe.EventKind(e.Kind), AppUserID: e.User, Cause: observe.Cause(e.Cause), EndsAt: e.EndsAt,
				Status: e.Status, Code: e.Code, Err: told(e.Err),
			})
		}
	}
}

// follow returns how a refresh can point to who needed it; nil if it cannot.
func (c *Config) follow() func(refresh, caller context.Context) context.Context {
	if f, ok := c.Telemetry.(observe.Follower); ok {
		return f.Follow
	}
	return nil
}

// resultOf says what an error of ours means.
func resultOf(err error) observe.Result {
	var (
		api    *APIError
		config *ConfigError
		is     = func(targets ...error) bool {
			for _, target := range targets {
				if errors.Is(err, target) {
					return true
				}
			}
			return false
		}
	)
	switch {
	case err == nil:
		return observe.Result{Outcome: observe.OutcomeOK}
	case is(ErrAccessDenied):
		return observe.Result{Outcome: observe.OutcomeDenied}
	case is(ErrNotLinked, ErrRelinkRequired):
		return observe.Result{Outcome: observe.OutcomeNotLinked}
	case is(ErrStore):
		return observe.Result{Outcome: observe.OutcomeStore}
	case is(ErrKeys):
		return observe.Result{Outcome: observe.OutcomeKeys}
	case is(ErrClosed):
		return observe.Result{Outcome: observe.OutcomeClosed}
	case is(ErrOtherEnvironment) || errors.As(err, &config):
		return observe.Result{Outcome: observe.OutcomeMisconfigured}
	case is(ErrTryLater):
		r := observe.Result{Outcome: observe.OutcomeUnavailable}
		if later, ok := errors.AsType[*TryLaterError](err); ok {
			r.Status, r.Code = later.Status, later.Code
		}
		return r
	case errors.As(err, &api):
		return observe.Result{Outcome: api.outcome(), Status: api.Status, Code: string(api.Code)}
	case is(ErrUnchecked):
		return observe.Result{Outcome: observe.OutcomeUnavailable}
	case is(ErrOvertaken, ErrState, ErrCallback, ErrWrongPatient, ErrSharedRecord, identity.ErrNotAPatient, ErrIdentityRefused, ErrAppUserID):
		return observe.Result{Outcome: observe.OutcomeRefused}
	case is(context.Canceled, context.DeadlineExceeded):
		return observe.Result{Outcome: observe.OutcomeCanceled}
	}
	return observe.Result{Outcome: observe.OutcomeFailed}
}

// outcome says what an answer means; in the order of advice.
func (e *APIError) outcome() observe.Outcome {
	if e.exchange != 0 {
		return outcomeOf(e.exchange, e.busy)
	}
	switch e.Code {
	case fhir.AccessFrozenOutward, fhir.UserTypeNotPermitted, "invalid_grant":
		return observe.OutcomeRefused
	}
	switch {
	case errors.Is(e, context.Canceled):
		return observe.OutcomeCanceled
	case e.Operation == opExchange && (e.Status >= 500 || e.Status > 0 && e.Status < 300):
		return observe.OutcomeUncertain
	case e.Status == 0, e.Status == http.StatusTooManyRequests, e.Status >= 500:
		return observe.OutcomeUnavailable
	case e.Status == http.StatusUnauthorized && e.Operation != opExchange, e.Status == http.StatusForbidden:
		return observe.OutcomeRefused
	case e.Status < 300:
		return observe.OutcomeUnreadable
	}
	return observe.OutcomeMisconfigured
}

// Stats returns the counts so far.
func (c *Client) Stats() observe.Stats {
	counted := c.keeper.Stats()
	s := observe.Stats{
		Refreshes:   counted.Events[custody.Refreshed],
		Uncertain:   counted.Events[custody.Uncertain],
		SaveRetries: counted.Events[custody.SaveRetried],
		Lost:        map[observe.Cause]uint64{},
	}
	for cause, n := range counted.Lost {
		s.Lost[observe.Cause(cause)] = n
	}
	return s
}
