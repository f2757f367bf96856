// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe

// Cause is why a link has ended.
type Cause string

// The causes of ErrRelinkRequired.
const (
	// CauseSessionExpired: PKB's session has expired (API_SESSION_EXPIRED).
	CauseSessionExpired Cause = "session_expired"
	// CauseSessionInvalid: PKB ended the session (API_SESSION_INVALID), for example
	// because a refresh token was presented twice.
	CauseSessionInvalid Cause = "session_invalid"
	// CauseGrantRejected: PKB rejected the refresh token (invalid_grant).
	CauseGrantRejected Cause = "grant_rejected"
	// CauseFinalTokenExpired: the session's last access token, whose response had
	// no refresh token, has expired.
	CauseFinalTokenExpired Cause = "final_token_expired"
	// CauseOutcomeUnknown: the response to a refresh was lost, and its one
	// repetition was rejected.
	CauseOutcomeUnknown Cause = "outcome_unknown"
	// CauseFrozen: PKB has frozen the patient's access.
	CauseFrozen Cause = "frozen"
	// CauseWrongPatient: the account that approved is not a patient's, or
	// Config.Identify refused it, after the link had begun to work unchecked.
	CauseWrongPatient Cause = "wrong_patient"
	// CauseShared: another of the host's users is linked with the record.
	CauseShared Cause = "shared"
	// CauseRefusedUnclear: the token endpoint refused this link in unknown words at
	// least six times in at least an hour, while it served others. This is
	// provisional: a call presents the refresh token once more every six hours, and
	// a success restores the link.
	CauseRefusedUnclear Cause = "refused_unclear"
	// CauseResponseUnreadable: the whole response to a refresh, which may hold the
	// new tokens, could not be read. It is kept: a later version may read it, which
	// restores the link. Client.Discard drops it.
	CauseResponseUnreadable Cause = "response_unreadable"
)
