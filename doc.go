// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkbgo is the tour of this module; there is no code in it.
//
// The module links the users of a host application to their records at
// Patients Know Best (PKB). A patient approves once, in a browser; from then on
// the host's backend calls PKB for that patient, from every replica it runs,
// for as long as PKB allows.
//
// What a host imports:
//
//   - [github.com/betawerk/pkb-go/pkb] is the client: configuration, the
//     authorization and its callback, the link's state, and the calls for a
//     patient. Start here.
//   - [github.com/betawerk/pkb-go/pkb/identity] is who the patient is,
//     [github.com/betawerk/pkb-go/pkb/record] reads their FHIR record, and
//     [github.com/betawerk/pkb-go/pkb/advice] says what to do about an error.
//   - [github.com/betawerk/pkb-go/pkb/keys] has the keys that seal tokens, and
//     [github.com/betawerk/pkb-go/pkb/observe] the vocabulary of logs and metrics.
//   - [github.com/betawerk/pkb-go/pkb/pkbsystem] calls PKB for the host's organisation,
//     without a patient: who has an NHS number, and adding a patient after linking.
//   - [github.com/betawerk/pkb-go/tokenstore] is where links are kept: the
//     Store interface to implement over your database, and a store in memory
//     to begin with.
//   - [github.com/betawerk/pkb-go/tokenstore/sqlstore] keeps links in the host's
//     own database, through database/sql.
//   - [github.com/betawerk/pkb-go/fhir] decodes the responses of PKB's FHIR API.
//   - github.com/betawerk/pkb-go/pkb/pkbotel, a module of its own, makes metrics
//     and traces of it all for OpenTelemetry.
//
// What a host's tests import:
//
//   - [github.com/betawerk/pkb-go/pkb/pkbtest] is a PKB that runs inside a test:
//     consent screens, tokens, the patient's data, and faults on request. It is
//     not PKB, and only tests should use it.
//   - [github.com/betawerk/pkb-go/tokenstore/storetest] proves a store of the
//     host's own.
//
// To see it all work, with nothing but Go installed:
//
//	go run github.com/betawerk/pkb-go/examples/quickstart@latest
//	go run github.com/betawerk/pkb-go/examples/organisation@latest
//
// To try an application by hand, run that PKB as a program:
//
//	go run github.com/betawerk/pkb-go/examples/sandbox@latest
//
// In a clone, examples/webapp is a small application to click through and to
// copy from, and examples/pkbctl is the operators' command. pkb/hosting.md shows how
// to send what the library returns to a frontend, how to keep it in a database, how to
// take in notices, and how to test with it; pkb/organisations.md, how several
// organisations share a backend.
//
// A link can end while nobody uses it. Client.Tend, which any number of replicas may
// run, looks after such links, and Config.Notify hears of what must not be missed: a
// link was made, ends soon, or has ended.
//
// The one thing to know before building on it: a PKB refresh token works once.
// Whoever presents it a second time ends the session, and the patient has to
// approve again. This module therefore refreshes each user's token once across
// all replicas, and saves the new tokens before anybody uses them. Leave the
// refreshing to it.
package pkbgo
