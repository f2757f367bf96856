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
//	    │  denied, refused,   │                  │   no response
//	    ├─────────────────────┘                  ├───────────▶ uncertain ───▶ linked, or
//	    │  expired                               │                            relink_required
//	    │                                        │   refused
//	    │  Unlink, from every state              └───────────▶ relink_required ───▶ linked
//	    └────────────────────────────                              Complete, again
//
// [Link.State] tells. A link is linked while it works. It is uncertain while a
// refresh is under way, or was sent and nobody knows what became of it: the access
// token at hand is used, and when that has expired, the refresh is repeated once,
// because then nothing is left to lose. It is relink_required when only the patient can
// repair it, by approving again; [RelinkError] has the [Cause]. No error deletes
// tokens: that takes [Client.Unlink], or an approval that was refused. While a
// patient approves again, the link that works goes on working, until the new tokens
// are saved and have proved to be the same patient's; if that cannot be found out
// at once, [Link.Unchecked] says so, and the calls that follow find out. An approval
// that is refused touches nothing but itself.
//
// # One refresh, step by step
//
//	caller A ──┐
//	caller B ──┼─▶ flight ──▶ read ──────▶ acquire ──────▶ POST ──▶ save ──▶ publish
//	caller C ──┘  (one per    (was a peer  (lease, and     (once)   (as it    (to all
//	               process     faster?)     what is about            came)     callers)
//	               and user)                to be sent)
//
// Callers that find no token share one flight. It belongs to the link: a caller
// whose context ends stops waiting, and the flight goes on. The flight takes a
// lease, by compare-and-swap in the user's record, so that of all processes one
// refreshes; the others wait for what it saves. That the token is about to be
// presented is written with the lease, before the request: a process that dies
// leaves a record that another one can judge, and a store that cannot be written to
// says so before a token is spent. The request is sent once, follows no redirect,
// and is not repeated by any transport. The lease is renewed while the response is
// waited for. The response is saved as it came, before it is shown to anybody; when
// the store fails, callers are told ([ErrStore]), and saving goes on with the
// response in hand.
//
// No decision compares the clocks of two machines. Whoever finds another's lease
// watches it, and takes it when it has not been renewed for 75 seconds by the
// watcher's own clocks; a holder that was suspended finds so much time gone, and
// begins again without sending. A process that dies in the middle of a refresh holds
// up that one link for as long. What was bought with a pair of tokens replaces that
// pair and no other: a response that comes late, or of an approval that was refused
// meanwhile, overwrites nothing. Every write of every process goes through one table,
// internal/custody/protocol.md, and the code that decides is explored through every
// history of two or three processes, with crashes, lost and late messages, wrong
// clocks and failing stores, in a test.
//
// Usually none of this is waited for: a refresh begins in the background when
// three quarters of a token's life are over, while the token still serves.
// Reading a token that serves takes a look into a map, an atomic load and a
// comparison.
//
// What the outcome of the request proves decides what comes next:
//
//	tokens                  saved; linked
//	the session has ended   relink_required
//	refused, in words that  tried again with growing waits; relink_required when it lasts
//	nobody knows            while other links are served; see Config.TokenErrors
//	refused for the app     (invalid_client, 429, ...) no link changes; a breaker keeps
//	                        all refreshes away for a while
//	not sent at all         tried again, with growing waits; the link is as it was
//	no response, or a cut   uncertain; presented once more when the access token has
//	one, 408, 425, 5xx      expired
//	whole, unreadable, and  kept, and not presented again; see Client.Discard
//	perhaps with tokens
//
// A code that names a session is believed in a JSON response of status 4xx, and
// nowhere else: help pages and stack traces name codes, too.
//
// What is lost all the same is a response that the network, or a process that died,
// took with it; and one in the hands of a process that is cut off from its store for
// longer than 75 seconds while the link's access token has expired. incidents.md says
// what is promised under which faults.
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
// beside; incidents.md lists every event with what to do. The keys are these and no
// others; they stay, and their meaning does.
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
// does not take, a store that has gone back in time, a response that cannot be read, a
// transport that repeats requests. What a patient or somebody
// may have to do something about is a warning. That a link came, ended or works
// again is info, the rest is debug. Config.Telemetry has the same events for
// metrics, and operations for traces; [Client.Health] is for readiness probes.
//
// # Concurrency
//
// All methods of [Client], [Patient] and [Web] may be called from any goroutine.
// A context bounds the wait of its caller, and never a refresh or a code
// exchange, which others depend on. Nothing runs in the background but what a
// call has begun; [Client.Close] waits for that. Your own code (the store, the
// transport, keys, Config.Identify, Config.OnEvent) may panic, hang or ignore its
// context: that is an error of the one call that needed it, and [Health] counts
// calls that do not return. Events are delivered in order, one at a time.
package pkb
