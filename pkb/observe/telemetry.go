// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"time"
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
	OpPurview Operation = "purview"
	// OpSelf is users/self, with its repetitions.
	OpSelf Operation = "users/self"
	// OpLastDataPoint is the operation date-of-last-data-point.
	OpLastDataPoint Operation = "date-of-last-data-point"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	// OutcomeOK: it did what it should.
	OutcomeOK Outcome = "ok"
	// OutcomeDenied: the patient did not allow access.
	OutcomeDenied Outcome = "denied"
	// OutcomeRefused: PKB refuses this patient, token or code, in whatever words, or a
	// check of this library refuses this approval.
	OutcomeRefused Outcome = "refused"
	// OutcomeNotLinked: there is no link, or it has ended.
	OutcomeNotLinked Outcome = "not_linked"
	// OutcomeUnavailable: PKB could not be reached, gave no answer or an error
	// that passes, or asked to come later.
	OutcomeUnavailable Outcome = "unavailable"
	// OutcomeUncertain: a code or a refresh token was sent, and it is not known
	// what became of it.
	OutcomeUncertain Outcome = "uncertain"
	// OutcomeUnreadable: PKB's answer is not what its pages describe.
	OutcomeUnreadable Outcome = "unreadable"
	// OutcomeMisconfigured: PKB refuses the application or the request, or the
	// configuration does not fit the link.
	OutcomeMisconfigured Outcome = "misconfigured"
	// OutcomeStore: the token store failed.
	OutcomeStore Outcome = "store"
	// OutcomeKeys: the keys do not open what is stored.
	OutcomeKeys Outcome = "keys"
	// OutcomeCanceled: the caller left.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeClosed: the Client was closed.
	OutcomeClosed Outcome = "closed"
	// OutcomeFailed: something else, such as an error of Config.Identify.
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
