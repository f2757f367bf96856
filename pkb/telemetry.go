// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// Telemetry is told what a Client does, for metrics and traces. Package
// pkb/pkbotel, a module of its own, is one for OpenTelemetry. It is not told of
// requests that a host sends itself through Client.HTTPClient.
//
// What it is told holds no app_user_id, no token, no address and nothing about
// a patient, and of each value there are few: all of it can be a label. Begin
// and what it returns are called by several goroutines at once, and what is under way
// waits for them: return soon, and call no method of the Client.
type Telemetry interface {
	// Begin is told of an operation before it begins. The context it returns is
	// used for the operation: ctx itself, or one derived from it. end is called
	// once, when the operation is over. Reading a token that is in memory is no
	// operation, and costs the same with Telemetry as without.
	Begin(ctx context.Context, op Operation) (_ context.Context, end func(Result))
	// Event is told what happens to links, as Config.OnEvent is, in order and one at
	// a time; cause is that of EventRelinkRequired, and else empty.
	Event(kind EventKind, cause Cause)
}

// Follower is what a Telemetry can do besides. A refresh is nobody's request:
// it outlives the call that needed it, serves others too, and its context has
// nothing of theirs. With Follow it can still point to the first of them.
type Follower interface {
	// Follow returns a context that is refresh and what of caller is needed to
	// point to it; never caller itself, nor one derived from it.
	Follow(refresh, caller context.Context) context.Context
}

// Operation is something that a Client does. There are few: the constants, the
// operations of *APIError that are not among them, and no others.
type Operation string

// The operations.
const (
	// OpAuthorize is Client.Authorize. No request is sent.
	OpAuthorize Operation = "authorize"
	// OpComplete is Client.Complete, with all that belongs to it: the operations
	// OpExchange, OpPurview, and with Config.Identify OpSelf, happen within it.
	OpComplete Operation = "complete"
	// OpExchange is one request that exchanges a code.
	OpExchange Operation = "exchange"
	// OpRefresh is one request with a refresh token. It happens within no other
	// operation.
	OpRefresh Operation = "refresh"
	// OpPurview is the Purview operation, with its repetitions.
	OpPurview Operation = opPurview
	// OpSelf is users/self, with its repetitions.
	OpSelf Operation = opSelf
)

// Outcome says what became of an operation, so that it says whose turn it is.
type Outcome string

// The outcomes.
const (
	// OutcomeOK: it did what it should.
	OutcomeOK Outcome = "ok"
	// OutcomeDenied: the patient did not allow access.
	OutcomeDenied Outcome = "denied"
	// OutcomeRefused: PKB refuses this patient, token or code, in whatever words, or a
	// check of this library refuses this approval. Patient's turn, as a rule.
	OutcomeRefused Outcome = "refused"
	// OutcomeNotLinked: there is no link, or it has ended. Patient's turn.
	OutcomeNotLinked Outcome = "not_linked"
	// OutcomeUnavailable: PKB could not be reached, gave no answer or an error
	// that passes, or asked to come later. Nobody's turn, or PKB's if it lasts.
	OutcomeUnavailable Outcome = "unavailable"
	// OutcomeUncertain: a code or a refresh token was sent, and it is not known
	// what became of it. Nobody's turn, or PKB's if it lasts.
	OutcomeUncertain Outcome = "uncertain"
	// OutcomeUnreadable: PKB's answer is not what its pages describe. PKB's turn.
	OutcomeUnreadable Outcome = "unreadable"
	// OutcomeMisconfigured: PKB refuses the application or the request, or the
	// configuration does not fit the link. Host's turn.
	OutcomeMisconfigured Outcome = "misconfigured"
	// OutcomeStore: the token store failed. Host's turn.
	OutcomeStore Outcome = "store"
	// OutcomeKeys: the keys do not open what is stored. Host's turn.
	OutcomeKeys Outcome = "keys"
	// OutcomeCanceled: the caller left. Nobody's turn.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeClosed: the Client was closed. Host's turn.
	OutcomeClosed Outcome = "closed"
	// OutcomeFailed: something else, such as an error of Config.Identify. Host's
	// turn.
	OutcomeFailed Outcome = "failed"
)

// Result is how an operation ended.
type Result struct {
	Outcome Outcome
	// Status is the HTTP status of PKB's answer; 0 without one.
	Status int
	// Code is PKB's response code, or an RFC 6749 code of the token endpoint: one
	// of those that are known, or empty.
	Code string
	// Requests is how many requests were sent to PKB's APIs, repetitions among
	// them; 0 for the operations of approvals and refreshes.
	Requests int
	// Duration is how long it took, by Config.Now.
	Duration time.Duration
}

// finish tells Telemetry, if there is one, how an operation ended.
type finish struct{ tell func(Result) }

// underWay is the context's key for the operation that a call belongs to.
type underWay struct{}

type operation struct {
	op       Operation
	requests atomic.Int32
}

// begin tells Telemetry of an operation, unless ctx belongs to it already.
func (c *Client) begin(ctx context.Context, op Operation) (context.Context, finish) {
	if c.cfg.Telemetry == nil {
		return ctx, finish{}
	}
	if outer := operationIn(ctx); outer != nil && outer.op == op {
		return ctx, finish{}
	}
	start, begun := c.cfg.Now(), &operation{op: op}
	ctx, end := c.cfg.Telemetry.Begin(ctx, op)
	return context.WithValue(ctx, underWay{}, begun), finish{func(r Result) {
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
		e.tell(Result{Outcome: posted(out), Status: out.Status, Code: out.Code})
	}
}

// posted says what the outcome of a request to the token endpoint means.
func posted(out tokenwire.Outcome) Outcome {
	return outcomeOf(out.Class, isBusy(out.Status, out.Code, out.Cause))
}

func outcomeOf(class tokenwire.Class, busy bool) Outcome {
	switch class {
	case tokenwire.OK:
		return OutcomeOK
	case tokenwire.Rejected, tokenwire.Unclear:
		return OutcomeRefused
	case tokenwire.Ambiguous:
		return OutcomeUncertain
	case tokenwire.Unread:
		return OutcomeUnreadable
	case tokenwire.AppWide:
		if !busy {
			return OutcomeMisconfigured
		}
	}
	return OutcomeUnavailable // not sent, or not now
}

// refresh sends a refresh token.
func (c *Client) refresh(ctx context.Context, refreshToken string) tokenwire.Outcome {
	ctx, end := c.begin(ctx, OpRefresh)
	scope := scopePatient
	if c.cfg.RefreshWithoutScope {
		scope = ""
	}
	out := c.token.Refresh(ctx, refreshToken, scope)
	end.posted(out)
	return out
}

// exchange sends a code.
func (c *Client) exchange(ctx context.Context, p *pending, code string) tokenwire.Outcome {
	ctx, end := c.begin(ctx, OpExchange)
	out := c.token.Exchange(ctx, code, p.RedirectURL, p.Verifier)
	end.posted(out)
	return out
}

// onEvent returns what the keeper tells its events to; nil if nobody listens.
func (c *Config) onEvent() func(custody.Event) {
	if c.OnEvent == nil && c.Telemetry == nil {
		return nil
	}
	return func(e custody.Event) {
		if c.Telemetry != nil {
			c.Telemetry.Event(EventKind(e.Kind), Cause(e.Cause))
		}
		if c.OnEvent != nil {
			c.OnEvent(Event{
				Kind: EventKind(e.Kind), AppUserID: e.User, Cause: Cause(e.Cause), EndsAt: e.EndsAt,
				Status: e.Status, Code: e.Code, Err: told(e.Err),
			})
		}
	}
}

// follow returns how a refresh can point to who needed it; nil if it cannot.
func (c *Config) follow() func(refresh, caller context.Context) context.Context {
	if f, ok := c.Telemetry.(Follower); ok {
		return f.Follow
	}
	return nil
}

// resultOf says what an error of ours means.
func resultOf(err error) Result {
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
		return Result{Outcome: OutcomeOK}
	case is(ErrAccessDenied):
		return Result{Outcome: OutcomeDenied}
	case is(ErrNotLinked, ErrRelinkRequired):
		return Result{Outcome: OutcomeNotLinked}
	case is(ErrStore):
		return Result{Outcome: OutcomeStore}
	case is(ErrKeys):
		return Result{Outcome: OutcomeKeys}
	case is(ErrClosed):
		return Result{Outcome: OutcomeClosed}
	case is(ErrOtherEnvironment) || errors.As(err, &config):
		return Result{Outcome: OutcomeMisconfigured}
	case is(ErrTryLater):
		r := Result{Outcome: OutcomeUnavailable}
		if later, ok := errors.AsType[*TryLaterError](err); ok {
			r.Status, r.Code = later.Status, later.Code
		}
		return r
	case errors.As(err, &api):
		return Result{Outcome: api.outcome(), Status: api.Status, Code: string(api.Code)}
	case is(ErrUnchecked):
		return Result{Outcome: OutcomeUnavailable}
	case is(ErrOvertaken, ErrState, ErrCallback, ErrWrongPatient, ErrSharedRecord, ErrNotAPatient, ErrIdentityRefused, ErrAppUserID):
		return Result{Outcome: OutcomeRefused}
	case is(context.Canceled, context.DeadlineExceeded):
		return Result{Outcome: OutcomeCanceled}
	}
	return Result{Outcome: OutcomeFailed}
}

// outcome says what an answer means; in the order of advice.
func (e *APIError) outcome() Outcome {
	if e.exchange != 0 {
		return outcomeOf(e.exchange, e.busy)
	}
	switch e.Code {
	case fhir.AccessFrozenOutward, fhir.UserTypeNotPermitted, "invalid_grant":
		return OutcomeRefused
	}
	switch {
	case errors.Is(e, context.Canceled):
		return OutcomeCanceled
	case e.Operation == opExchange && (e.Status >= 500 || e.Status > 0 && e.Status < 300):
		return OutcomeUncertain
	case e.Status == 0, e.Status == http.StatusTooManyRequests, e.Status >= 500:
		return OutcomeUnavailable
	case e.Status == http.StatusUnauthorized && e.Operation != opExchange, e.Status == http.StatusForbidden:
		return OutcomeRefused
	case e.Status < 300:
		return OutcomeUnreadable
	}
	return OutcomeMisconfigured
}
