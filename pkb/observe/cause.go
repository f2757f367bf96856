// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

// Cause says why a link has ended.
type Cause string

// The causes of ErrRelinkRequired.
const (
	// CauseSessionExpired: PKB's session is over (API_SESSION_EXPIRED).
	CauseSessionExpired Cause = "session_expired"
	// CauseSessionInvalid: PKB ended the session (API_SESSION_INVALID), for
	// example because a refresh token was presented twice.
	CauseSessionInvalid Cause = "session_invalid"
	// CauseGrantRejected: PKB rejected the refresh token (invalid_grant).
	CauseGrantRejected Cause = "grant_rejected"
	// CauseFinalTokenExpired: the session's last access token, which came
	// without a refresh token, has expired.
	CauseFinalTokenExpired Cause = "final_token_expired"
	// CauseOutcomeUnknown: a refresh was sent, its response was lost, and the one
	// repetition was rejected.
	CauseOutcomeUnknown Cause = "outcome_unknown"
	// CauseFrozen: PKB has frozen the patient's access.
	CauseFrozen Cause = "frozen"
	// CauseWrongPatient: the account that had approved turned out not to be a
	// patient's, or not to be the person whom Config.Identify accepts, after its
	// link had begun to work without that being known.
	CauseWrongPatient Cause = "wrong_patient"
	// CauseShared: the record turned out to be linked with another of the host's
	// users.
	CauseShared Cause = "shared"
	// CauseRefusedUnclear: the token endpoint refused this link in words that are
	// not known, six times or more over an hour or more, while it served others.
	// The verdict is provisional: a call presents the refresh token once more every
	// six hours, and a success restores the link.
	CauseRefusedUnclear Cause = "refused_unclear"
	// CauseAnswerUnreadable: the whole response to a refresh, which may hold the
	// new tokens, could not be read. It is kept: a later version may read it, and
	// then the link comes back. Client.Discard gives it up.
	CauseAnswerUnreadable Cause = "answer_unreadable"
)
