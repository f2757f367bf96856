// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package observe is the vocabulary that logs, metrics, traces and settings share:
// events of links ([EventKind], [Cause]), operations of a client ([Operation],
// [Outcome]), and meanings of error responses of the token endpoint ([TokenMeans]).
//
// Nothing here holds a token, an address or anything about a patient. Values are
// stable, for dashboards and alerts.
//
// # Log lines
//
// pkb.Config.Logger gets one line for each event of a link, and for other failures,
// with these keys:
//
//	event      an EventKind
//	link       the link: LinkName, the same in all processes
//	cause      why the link ended: a Cause
//	operation  an Operation
//	outcome    how it ended: an Outcome
//	status     the HTTP status of PKB's response, 0 without one
//	code       PKB's response code, or one of RFC 6749, if it is known
//	waited     how long a retry waited
//	ends_at    when PKB's session ends
//	error      what failed, without anything that PKB, a store or a key reported
//
// Errors need an operator: tokens that cannot be saved, a store set back in time, a
// response that cannot be read, a transport that repeats requests. Warnings may need
// a patient or an operator. Info is a link that was made, recovered or removed; the
// rest is debug. Messages may change; keys and values do not.
package observe

import "github.com/betawerk/pkb-go/internal/conceal"

// LinkName returns the name under which a user's link appears in logs: a short hash
// of the app_user_id, which is not logged. It leads from a known user to the log
// lines, and not back.
func LinkName(appUserID string) string { return conceal.LinkName(appUserID) }
