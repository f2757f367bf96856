// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkbsystem calls Patients Know Best (PKB) for an organisation, as PKB's
// System Client: the host's backend as itself, without a patient.
//
// A host has both. Package pkb links its users and acts for one patient at a time,
// with the token that the patient approved. With a system client the host acts for
// its own organisation:
//
//   - [Client.FindByNHSNumber]: the public id that PKB has for an NHS number. If it is
//     the one that the patient's own authorization gave (pkb.Patient.PublicID, or
//     pkb.Candidate.PublicID in pkb.Config.Identify), PKB itself confirms that this
//     record is the known person's, whatever the names look like.
//   - [Client.Status]: whether numbers are known to PKB, and their owners registered
//     or deceased, before anybody is asked to link.
//   - [Client.AddPatient]: puts a patient into the organisation, the step that follows
//     linking in PKB's journey.
//
// Make one [Client] per process and organisation with [New], and share it. All methods
// may be called from any goroutine. The client secret is sent to Config.TokenURL and
// nowhere else; the token goes to the origins of the environment's FHIR address and of
// Config.StatusURL and Config.AddPatientURL, always with X-Org-Public-Id. Neither
// follows a redirect.
//
// Errors of PKB are *pkb.APIError, whose Operation is "system token", "system find",
// "system status-query" or "system process-message"; package advice knows them. No
// error or log line has a token, the secret, or anything about a patient.
//
// # What PKB's pages state, and what is inferred
//
// Nothing here was checked against a live PKB server. Stated are: the sandbox's token
// endpoint, its form, HTTP Basic, the members of its response; X-Org-Public-Id; the
// search for a patient by NHS number; the names of the parameters of $status-query and
// its limit of 5,000 identifiers; the elements of $process-message, and which of them
// are required.
//
// Inferred, and to be set where yours differs: the token endpoint outside the sandbox
// (Config.TokenURL, required); the addresses of $status-query and $process-message
// outside the sandbox (Config.StatusURL, Config.AddPatientURL); that the client id and
// secret are not percent-encoded before they are put into HTTP Basic, as PKB's page
// has it and RFC 6749 has not (Config.EncodeCredentials); the extension for team
// aliases (Config.TeamAliasURL); and the scope, which is neither sent nor checked
// unless Config.Scope is set.
//
// Inferred, and read with tolerance: the types of the values in a response of
// $status-query; every response of $process-message, of which any status from 200 to
// 299 means accepted, unless it brings an OperationOutcome with an error; that a
// Patient that is sent twice is updated twice, and not created twice; that an empty
// search result means that PKB does not know the number or does not show its owner to
// the organisation; the status of every error; that INDETERMINATE is FHIR's gender
// "other" here as it is when PKB sends it; and that a CHI number and a Health and Care
// number serve as the verified identifier in place of an NHS number.
package pkbsystem
