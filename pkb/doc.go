// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkb links the users of a host application to their records at
// Patients Know Best (PKB), and keeps those links alive.
//
// A patient approves once, in a browser. From then on the host's backend calls
// PKB for that patient, from any goroutine and any replica.
//
// The hard part: a PKB refresh token works once. If one is presented twice, PKB
// ends the session, and the patient has to approve again. So this package
// refreshes each user's token once across all goroutines and all processes that
// share a [tokenstore.Store], saves each response before it uses it, and never
// repeats a refresh blindly. Let nothing else refresh these tokens.
//
// Nothing here was checked against a live PKB server. What PKB's pages do not
// state is marked as inferred where it matters, and can be configured.
//
// # The first month
//
// A host needs these names first:
//
//   - [New] with a [Config], and [Sandbox], [Production] or [BaseURL] as its
//     [Environment]: the client. Config.Keys come from [keys.Parse], and a key
//     from [keys.Generate].
//   - [Client.Web] with a [WebConfig]: [Web.Link] and [Web.Callback], the two
//     routes of a host with cookies. A host without cookies, such as a mobile
//     backend, calls [Client.Authorize] and [Client.Complete].
//   - [Client.ForUser]: a [Patient], with [Patient.PublicID], [Patient.Self],
//     and [Patient.Record] for the FHIR record.
//   - [Client.Link] and [Client.Unlink]: a user's [Link].
//   - [ErrNotLinked] and [ErrRelinkRequired]: the patient has to approve.
//     [ErrTryLater]: the link is kept, and there is no token now. For every other
//     error, [github.com/betawerk/pkb-go/pkb/advice.For] returns what to do and
//     what to show the patient.
//   - [Client.Tend] and Config.Notify: links that nobody uses are looked after, and
//     you hear when one was made, ends soon or has ended.
//   - [Client.Health] for readiness probes; [Client.Close] before a process ends.
//
// # Links
//
// [Link.State] is one of:
//
//	pending          the first authorization waits to be checked
//	linked           the link works
//	uncertain        a refresh is under way, or its response was lost; the link works
//	                 until its access token expires
//	relink_required  only the patient can restore the link, by approving again
//
// No error deletes tokens: only [Client.Unlink] does, or an authorization that was
// refused. While a patient approves again, the existing link keeps working until
// the new tokens are saved and have proved to be the same patient's. The page
// [protocol.md] shows how a link moves between these states, the steps of one
// refresh, and what each response of the token endpoint leads to.
//
// # Errors, logs and metrics
//
// The text of an error says what happened; package advice has what to do about it,
// and errors.md of that package lists every error. No error or log line holds a
// token, the body of a response, or anything about a patient.
//
// Config.Logger gets a line for each event of a link. Package observe lists its
// keys, and incidents.md what to do about each event. Config.Telemetry gets the
// same events for metrics, and operations for traces.
//
// # Concurrency
//
// All methods of [Client], [Patient] and [Web] may be called from any goroutine. A
// context bounds the wait of its caller, and never a refresh or a code exchange,
// which others depend on. Nothing runs in the background other than what a call has
// begun; [Client.Close] waits for that. If your own code (the store, the transport,
// the keys, a function of Config) panics, hangs or ignores its context, only the call
// that needed it fails, and [Health] counts calls that do not return.
//
// [protocol.md]: https://github.com/betawerk/pkb-go/blob/main/pkb/protocol.md
package pkb
