// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package observe is the vocabulary that logs, metrics, traces and settings share:
// what happens to links ([EventKind], [Cause]), what a client does for them
// ([Operation]) and how that ends ([Outcome]), and what an error response of the
// token endpoint means ([TokenMeans]).
//
// Nothing here holds a token, an address or anything about a patient. Values are
// stable: a dashboard or an alert may be built on them.
//
// # Log lines
//
// pkb.Config.Logger gets one line for each event of a link, and one for what else
// failed. These are the keys:
//
//	event      what happened: an EventKind
//	link       whose link: LinkName, the same in all processes
//	cause      why a link has ended: a Cause
//	operation  what was asked of PKB: an Operation
//	outcome    how it ended: an Outcome
//	status     the HTTP status of PKB's response, 0 without one
//	code       PKB's response code, or one of RFC 6749, if it is a known one
//	waited     how long a retry waited
//	ends_at    when PKB's session ends
//	error      what failed, without anything that PKB, a store or a key reported
//
// What an operator has to act on is an error: tokens that the store does not
// accept, a store that has gone back in time, a response that cannot be read, a
// transport that repeats requests. What may need a patient or an operator is a
// warning. That a link came, ended or works again is info; the rest is debug.
// Messages are for people and may change; keys and values do not.
package observe

import "github.com/betawerk/pkb-go/internal/conceal"

// LinkName returns the name under which a user's link appears in logs: a short
// hash of the app_user_id, which is not logged itself. An operator who knows the
// user finds the log lines by it, and not the other way round.
func LinkName(appUserID string) string { return conceal.LinkName(appUserID) }
