// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkbtest is a PKB for tests: it acts as Patients Know Best (PKB) for an
// app that links patients, with the log-in and consent pages, the token endpoint,
// Purview, users/self and the FHIR record, inside the test or on a local port.
//
// It is not PKB and not made by PKB. It is for tests and demonstrations only:
// there is no password, whoever opens the log-in page picks the patient. All
// its patients are made up; put no real one in.
//
//	server := pkbtest.New(pkbtest.Config{})
//	patient := server.AddPatient(pkbtest.Patient{})
//	app := &http.Client{Transport: server.Transport()}
//	// ... the app under test makes authorizeURL ...
//	callback, err := server.Approve(ctx, authorizeURL, patient)
//
// A Server is an http.Handler. Reach it in memory through Transport, which
// opens no socket and works inside a testing/synctest bubble, or through a port
// with Start. Next queues faults, Requests shows what arrived, Advance moves the
// clock. All methods may be called from any goroutine.
//
// A system client, which calls for an organisation and not for a patient, is package
// pkbsystem's. AddOrganisation gives it somebody to call for; its token endpoint is at
// URL + "/api/oauth/token", under whatever host name Transport is asked for.
//
// AddScenarios adds named patients who deny, are slow, frozen, flaky and so on.
// As a program, with those patients, it is examples/sandbox:
//
//	go run github.com/betawerk/pkb-go/examples/sandbox@latest
//
// # Control API
//
// With Config.ControlAPI the server can also be controlled over HTTP, by tests that
// are not written in Go and by people who try their app by hand:
//
//	GET    /sandbox/patients         all patients, whether they are frozen, and their live sessions
//	GET    /sandbox/requests         as Requests, secrets redacted
//	GET    /sandbox/clock            as Now
//	POST   /sandbox/clock            as Advance: {"advance": "15m"}
//	POST   /sandbox/faults           as Next, see below
//	DELETE /sandbox/faults           as ClearFaults
//	POST   /sandbox/sessions/end     as EndSessions: {"patient": "slow"} or {"all": true}
//	POST   /sandbox/sessions/revoke  as InvalidateSessions, with the same body
//	POST   /sandbox/freeze           as Freeze: {"patient": "slow", "frozen": false}
//
// A patient is named as for FindPatient. A fault applies to the next request to an
// endpoint, and has these members:
//
//	endpoint     authorize, token, purview, self, facade, system-token, messaging, or other
//	             for all other addresses
//	status       respond with this status, as Respond
//	contentType  ... and this content type
//	header       ... and these headers: {"Retry-After": "30"}
//	body         ... and this body
//	cut          true: cut the connection, as Drop
//	commit       true: do the work before that, as RespondAfter and DropAfter
//	refuse       respond with this response code of PKB, as Refuse
//	delay        wait before, such as "1.5s"; alone, as Delay
//	times        the number of requests it applies to; default 1
//
// The next token request is carried out and its response lost, and the one after
// that takes 10 seconds:
//
//	curl -d '{"endpoint": "token", "cut": true, "commit": true}' \
//	    -H 'Content-Type: application/json' http://127.0.0.1:8090/sandbox/faults
//	curl -d '{"endpoint": "token", "delay": "10s"}' \
//	    -H 'Content-Type: application/json' http://127.0.0.1:8090/sandbox/faults
//
// A call that is not understood gets status 400 and {"error": "..."}, which names
// what to write, and changes nothing. Calls of the control API are neither listed
// nor counted as requests. There is no credential: whoever reaches the server can
// control it, so let it listen on loopback only. Web pages cannot control it: a
// request with an Origin, one whose body is not sent as application/json, and one
// to a host name other than localhost and that of URL are refused.
//
// # What is documented by PKB
//
// The paths apiAuthorize.action, apiToken.action and /json/users/self; the
// parameters of the authorize request and of the code exchange; that a bad
// authorize request ends on an error page and not at the app; that extra
// parameters may stand on top of a registered redirect URI; that the code is
// bound to the client id and the exact redirect_uri; the members of the token
// response, and that refresh_token is left out when the access token outlives the
// session; that a refresh token used more than once invalidates the session;
// the response codes ACC_TOKEN_EXPIRED, BAD_AUTHENTICATION,
// API_SESSION_EXPIRED, API_SESSION_INVALID, ACCESS_FROZEN_OUTWARD and
// USER_TYPE_NOT_PERM; the responses of users/self and of Purview; the searches
// and reads of the Facade, their parameters, which of those are required and
// the prefixes of their dates (its CapabilityStatement); the Patient resource;
// the response of date-of-last-data-point; that what the patient may not see is
// left out silently; of system clients, the token request, its response and its 401
// (which PKB prints without a comma, as it is sent here), X-Org-Public-Id, that an
// organisation's grant is checked at the call, the parameters of $status-query and its
// two diagnostics, and the elements of $process-message with the rule of the default
// team.
//
// # What is inferred
//
// PKB's own behaviour may differ in all of this: the HTTP status of every error
// and of the redirect; the parameters that are returned when the patient denies
// (here error=access_denied, as in RFC 6749); the token endpoint's error body
// (RFC 6749 section 5.2, with a PKB response code as error_description when the
// session has ended); the refresh form (RFC 6749 section 6); that the newer pair
// dies with the session; that an older access token of a live session lasts
// until its own expiry; that a frozen patient's tokens can be refreshed; how
// long a code lives, that it works once, and what a second use does (here it
// invalidates the session made from it); what else ends a session, such as a
// patient who revokes access (here InvalidateSessions, so
// API_SESSION_INVALID); how log-in and consent are split into pages; the name
// "CHI number" and whatever else makes a scenario; client secrets and PKCE,
// which PKB documents for no patient's client; the path /fhir/Consent/$purview
// and its methods; where the response code sits in an OperationOutcome; which
// values are null or missing when a patient lacks them; of the Facade, the
// paging and its addresses, which element a search parameter looks at, every
// refusal, the response to a search for somebody else (nothing) and to a read of
// one (403), the path and methods of date-of-last-data-point and its response
// without data, and what MadeUpResource puts where PKB's pages are silent; of system
// clients, the value of scope, the types of the values in $status-query, the URL of the
// team alias, every response of $process-message, that a patient's token with
// X-Org-Public-Id and a system client's token for a patient's record are both refused
// (USER_TYPE_NOT_PERM), and every other refusal.
//
// Where PKB's pages allow several readings of what an app may send, this server is
// strict: a parameter sent twice, an unexpected secret or an unknown scope is
// refused, though PKB may accept it.
package pkbtest
