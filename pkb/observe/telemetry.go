// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"time"
)

// Telemetry receives what a Client does, for metrics and traces. Package
// pkb/pkbotel, a module of its own, implements it for OpenTelemetry. Requests that
// a host sends through Client.HTTPClient are not operations.
//
// It receives no app_user_id, no token, no address and nothing about a patient, and
// few different values, so all of them can be labels. Several goroutines call Begin
// and end at once, and operations wait for them: return quickly, and call no method
// of the Client. Each call has a goroutine of its own. One that panics or ends its
// goroutine is logged and fails nothing, and one that takes longer than a second is not
// waited for; while 16 hang no other is made.
type Telemetry interface {
	// Begin is called before an operation. The operation gets the values of the
	// context that it returns, which derives from ctx, and not its end. end is called
	// once, when the operation has ended. Reading a token in memory is no operation, so
	// Telemetry does not slow it down.
	Begin(ctx context.Context, op Operation) (_ context.Context, end func(Result))
	// Event is called for each event of a link, in order, one at a time. cause is
	// set for EventRelinkRequired.
	Event(kind EventKind, cause Cause)
}

// Follower is an optional interface of a Telemetry. A refresh outlives the call
// that needed it and serves others too, so its context has nothing of theirs.
// Follow can link it to the first of them.
type Follower interface {
	// Follow returns refresh with what is needed to link it to caller. It must not
	// return caller or a context derived from it.
	Follow(refresh, caller context.Context) context.Context
}

// Tender is an optional interface of a Telemetry, for what Client.Tend and
// Client.TendOnce do. It receives no app_user_id either, and is called one at a time,
// in order with Event.
type Tender interface {
	// Swept is called when what was due has been done: every ten seconds or so while
	// Tend runs, and at the end of TendOnce.
	Swept(s Sweep)
	// Notified is called after each call of Config.Notify, with whether it accepted the
	// notice.
	Notified(kind EventKind, accepted bool)
}

// Sweep is what was done for links that were due.
type Sweep struct {
	// Outcome is OutcomeOK, or why the sweep ended early, such as OutcomeStore.
	Outcome Outcome
	// Links is how many links were looked at since the last sweep.
	Links int
	// Undelivered is how many links have a notice that Config.Notify did not accept
	// from this process.
	Undelivered int
}

// Operation is something that a Client does: one of the constants, or another
// Operation of a *pkb.APIError.
type Operation string

// The operations.
const (
	// OpAuthorize is Client.Authorize. No request is sent.
	OpAuthorize Operation = "authorize"
	// OpComplete is Client.Complete, including OpExchange, OpPurview, and with
	// Config.Identify OpSelf.
	OpComplete Operation = "complete"
	// OpExchange is one request that exchanges a code.
	OpExchange Operation = "exchange"
	// OpRefresh is one request with a refresh token. It is part of no other
	// operation.
	OpRefresh Operation = "refresh"
	// OpPurview is the Purview operation, with its retries.
	OpPurview Operation = "purview"
	// OpSelf is users/self, with its retries.
	OpSelf Operation = "users/self"
	// OpLastDataPoint is the operation date-of-last-data-point.
	OpLastDataPoint Operation = "date-of-last-data-point"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	// OutcomeOK: it succeeded.
	OutcomeOK Outcome = "ok"
	// OutcomeDenied: the patient did not approve.
	OutcomeDenied Outcome = "denied"
	// OutcomeRefused: PKB refused this patient, token or code, or a check of this
	// library refused the authorization.
	OutcomeRefused Outcome = "refused"
	// OutcomeNotLinked: there is no link, or it has ended.
	OutcomeNotLinked Outcome = "not_linked"
	// OutcomeUnavailable: PKB could not be reached, did not respond, asked to wait,
	// or responded with a temporary error.
	OutcomeUnavailable Outcome = "unavailable"
	// OutcomeUncertain: a code or a refresh token was sent, with an unknown
	// outcome.
	OutcomeUncertain Outcome = "uncertain"
	// OutcomeUnreadable: the response is not what PKB's pages describe.
	OutcomeUnreadable Outcome = "unreadable"
	// OutcomeMisconfigured: PKB refused the application or the request, or the
	// configuration does not fit the link.
	OutcomeMisconfigured Outcome = "misconfigured"
	// OutcomeStore: the token store failed.
	OutcomeStore Outcome = "store"
	// OutcomeKeys: the keys do not open the stored tokens.
	OutcomeKeys Outcome = "keys"
	// OutcomeCanceled: the caller's context ended.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeClosed: the Client was closed.
	OutcomeClosed Outcome = "closed"
	// OutcomeFailed: something else, such as an error of Config.Identify.
	OutcomeFailed Outcome = "failed"
)

// Result is how an operation ended.
type Result struct {
	Outcome Outcome
	// Status is the HTTP status of PKB's response; 0 without one.
	Status int
	// Code is PKB's response code, or an RFC 6749 code, if it is known; else empty.
	Code string
	// Requests is how many requests were sent to PKB's APIs, with retries; 0 for
	// requests to the token endpoint.
	Requests int
	// Duration is how long it took, by Config.Now.
	Duration time.Duration
}
