// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkb links the users of a host application to their records at
// Patients Know Best (PKB), and keeps those links alive.
//
// A patient approves once, in a browser: [Client.Authorize] makes the address
// to send the patient to, [Client.Complete] takes the callback. From then on
// [Client.ForUser] calls PKB for that patient, from any goroutine and any
// replica. A host with cookies mounts the two routes of [Client.Web] instead.
//
// What is hard about it: a PKB refresh token works once. Presented twice, PKB
// ends the session, and the patient has to approve again. So this package
// refreshes each user's token once across all goroutines and all processes
// that share a [TokenStore], saves what it gets before it uses it, and never
// repeats a refresh blindly. Hand tokens to nothing else that refreshes them.
//
// Nothing here was checked against a live PKB server: what PKB's pages do not
// say is marked as inferred where it matters, and can be configured.
//
// # The states of a link
//
//	            Authorize           Complete
//	(no link) ───────────▶ pending ──────────▶ linked ◀─────────────┐
//	    ▲                     │                  │   refreshed ─────┘
//	    │  denied, refused,   │                  │   no answer
//	    ├─────────────────────┘                  ├───────────▶ uncertain ───▶ linked, or
//	    │  expired                               │                            relink_required
//	    │                                        │   refused
//	    │  Unlink, from every state              └───────────▶ relink_required ───▶ linked
//	    └────────────────────────────                              Complete, again
//
// [Link.State] tells. A link is linked while it works. It is uncertain while a
// refresh was sent and nobody knows what became of it: the access token at hand
// is used, and when that is over, the refresh is repeated, because then nothing
// is left to lose. It is relink_required when only the patient can mend it, by
// approving again; [RelinkError] has the [Cause]. No error deletes tokens: that
// takes [Client.Unlink], or an approval that was refused. While a patient
// approves again, the link that works goes on working, until the new tokens are
// saved and have proved to be the same patient's.
//
// # One refresh, step by step
//
//	caller A ──┐
//	caller B ──┼─▶ flight ──▶ lease ──▶ re-read ──▶ intent ──▶ POST ──▶ save ──▶ publish
//	caller C ──┘  (one per    (one per  (a peer was  (what is   (once)   (as it    (to all
//	               process)    link)     faster?)     about to            came)     callers)
//	                                                  be sent)
//
// Callers that find no token share one flight. It belongs to the link: a caller
// whose context ends stops waiting, and the flight goes on. The flight takes a
// lease, by compare-and-swap in the user's record, so that of all processes one
// refreshes; the others wait for what it saves. The intent is written with the
// lease, before the request: a process that dies leaves a record that another
// one can judge, and a store that cannot be written to says so before a token
// is spent. The request is sent once, follows no redirect, and is not repeated
// by any transport. Its answer is saved as it came, before it is shown to
// anybody; a store that fails is tried again with the answer in hand.
//
// Usually none of this is waited for: a refresh begins in the background when
// three quarters of a token's life are over, while the token still serves.
// Reading a token that serves takes a look into a map, an atomic load and a
// comparison.
//
// What the outcome of the request proves decides what comes next:
//
//	answered with tokens   saved; linked
//	refused                if a peer was faster, its tokens are used; else relink_required
//	not sent at all        tried again, with growing pauses; the link is as it was
//	no readable answer     uncertain
//	refused for the app    (invalid_client, 429, ...) no link changes; a breaker keeps
//	                       all refreshes away for a while
//
// # Errors
//
// Every error says in its text whose turn it is. Two are worth a branch of
// their own: after [ErrNotLinked] and [ErrRelinkRequired] the patient has to
// approve; after any other it is worth trying later, or somebody's turn whom
// the error names. [Advise] says of any error what happened, what to tell the
// patient, and what to do; errors.md has it in one table. No error holds a token, an answer's body, or anything about
// a patient.
//
// # Logs, metrics and traces
//
// Config.Logger gets one line for each event of a link, and for what failed
// beside. The keys are these and no others; they stay, and their meaning does.
// Texts are for people, and may change.
//
//	event      what happened, an EventKind
//	link       whose link: a short hash of the app_user_id, the same in all processes
//	cause      why a link has ended, a Cause
//	operation  what was asked of PKB, an Operation
//	outcome    what became of it, an Outcome
//	status     the HTTP status of PKB's answer, 0 without one
//	code       PKB's response code, or that of RFC 6749, if it is a known one
//	waited     how long a repetition waited
//	ends_at    when PKB's session ends
//	error      what went wrong, without anything that PKB, a store or a key said
//
// What an operator has to do something about is an error: tokens that the store
// does not take, a store that has gone back in time. What a patient or somebody
// may have to do something about is a warning. That a link came, ended or works
// again is info, the rest is debug. Config.Telemetry has the same events for
// metrics, and operations for traces; [Client.Health] is for readiness probes.
//
// # Concurrency
//
// All methods of [Client], [Patient] and [Web] may be called from any goroutine.
// A context bounds the wait of its caller, and never a refresh or a code
// exchange, which others depend on. Nothing runs in the background but what a
// call has begun; [Client.Close] waits for that.
package pkb
