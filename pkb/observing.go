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

// finish reports to Telemetry, if set, how an operation ended.
type finish struct{ tell func(observe.Result) }

// underWay is the context's key for its operation.
type underWay struct{}

type operation struct {
	op       observe.Operation
	requests atomic.Int32
}

// begin reports an operation to Telemetry, unless ctx is already part of it.
func (c *Client) begin(ctx context.Context, op observe.Operation) (context.Context, finish) {
	if c.telemetry.to == nil {
		return ctx, finish{}
	}
	if outer := operationIn(ctx); outer != nil && outer.op == op {
		return ctx, finish{}
	}
	start, begun := c.cfg.Now(), &operation{op: op}
	ctx, end := c.telemetry.begin(ctx, op)
	return context.WithValue(ctx, underWay{}, begun), finish{func(r observe.Result) {
		r.Requests, r.Duration = int(begun.requests.Load()), c.cfg.Now().Sub(start)
		end(r)
	}}
}

func operationIn(ctx context.Context) *operation {
	o, _ := ctx.Value(underWay{}).(*operation)
	return o
}

func (c *Client) sends(ctx context.Context) {
	if c.telemetry.to == nil {
		return
	}
	if o := operationIn(ctx); o != nil {
		o.requests.Add(1)
	}
}

func (e finish) with(err error) {
	if e.tell != nil {
		e.tell(resultOf(err))
	}
}

// call ends a call, which succeeds only with a 200.
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

func (e finish) posted(out tokenwire.Outcome) {
	if e.tell != nil {
		e.tell(observe.Result{Outcome: posted(out), Status: out.Status, Code: out.Code})
	}
}

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

func (c *Client) onEvent() func(custody.Event) {
	t := &c.telemetry
	if c.cfg.OnEvent == nil && t.to == nil {
		return nil
	}
	return func(e custody.Event) {
		if t.to != nil {
			t.call("Telemetry.Event", func() { t.to.Event(observe.EventKind(e.Kind), observe.Cause(e.Cause)) })
		}
		if c.cfg.OnEvent != nil {
			c.cfg.OnEvent(observe.Event{
				Kind: observe.EventKind(e.Kind), AppUserID: e.User, Cause: observe.Cause(e.Cause), EndsAt: e.EndsAt,
				Status: e.Status, Code: e.Code, Err: told(e.Err),
			})
		}
	}
}

// onTending returns how Telemetry hears of notices and sweeps, or nils.
func (c *Client) onTending() (notice func(custody.Notice, bool), sweep func(custody.Sweep)) {
	t := &c.telemetry
	to, ok := t.to.(observe.Tender)
	if !ok {
		return nil, nil
	}
	notice = func(n custody.Notice, accepted bool) {
		t.call("Telemetry.Notified", func() { to.Notified(noticeKind(n), accepted) })
	}
	sweep = func(s custody.Sweep) {
		swept := observe.Sweep{Outcome: resultOf(public(s.Err)).Outcome, Links: s.Links, Undelivered: s.Undelivered}
		t.call("Telemetry.Swept", func() { to.Swept(swept) })
	}
	return notice, sweep
}

func resultOf(err error) observe.Result {
	var (
		api    *APIError
		config *ConfigError
	)
	switch {
	case err == nil:
		return observe.Result{Outcome: observe.OutcomeOK}
	case is(ErrAccessDenied)(err):
		return observe.Result{Outcome: observe.OutcomeDenied}
	case is(ErrNotLinked, ErrRelinkRequired)(err):
		return observe.Result{Outcome: observe.OutcomeNotLinked}
	case is(ErrStore)(err):
		return observe.Result{Outcome: observe.OutcomeStore}
	case is(ErrKeys)(err):
		return observe.Result{Outcome: observe.OutcomeKeys}
	case is(ErrClosed)(err):
		return observe.Result{Outcome: observe.OutcomeClosed}
	case is(ErrOtherEnvironment)(err) || errors.As(err, &config):
		return observe.Result{Outcome: observe.OutcomeMisconfigured}
	case is(ErrTryLater)(err):
		r := observe.Result{Outcome: observe.OutcomeUnavailable}
		if later, ok := errors.AsType[*TryLaterError](err); ok {
			r.Status, r.Code = later.Status, later.Code
		}
		return r
	case errors.As(err, &api):
		return observe.Result{Outcome: api.outcome(), Status: api.Status, Code: string(api.Code)}
	case is(ErrUnchecked)(err):
		return observe.Result{Outcome: observe.OutcomeUnavailable}
	case is(ErrOvertaken, ErrState, ErrCallback, ErrWrongPatient, ErrSharedRecord, identity.ErrNotAPatient, ErrIdentityRefused, ErrAppUserID)(err):
		return observe.Result{Outcome: observe.OutcomeRefused}
	case is(context.Canceled, context.DeadlineExceeded)(err):
		return observe.Result{Outcome: observe.OutcomeCanceled}
	}
	return observe.Result{Outcome: observe.OutcomeFailed}
}

// outcome returns what the response means, in the order of advice.
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
