// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

// happening is a line of the timeline.
type happening struct {
	// From is when it happened; To is when it happened last, if it did several
	// times in a row.
	From, To  time.Time
	What, Why string
	Count     int
}

// timeline tells what happened to a link, the newest first.
func (a *app) timeline(ctx context.Context, user string) ([]happening, error) {
	entries, err := a.client.Timeline(ctx, user)
	if errors.Is(err, pkb.ErrNotLinked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Reverse(entries)
	var all []happening
	for _, e := range entries {
		all = append(all, happening{From: e.At, To: e.Until, What: what(e.Kind), Why: why(e.Cause), Count: e.Count})
	}
	return all, nil
}

// what says in words what happened.
func what(kind pkb.EventKind) string {
	switch kind {
	case pkb.EventApproved:
		return "Approved"
	case pkb.EventExchanged:
		return "Code exchanged, tokens saved"
	case pkb.EventLinked:
		return "Linked"
	case pkb.EventRefreshed:
		return "Refreshed"
	case pkb.EventUncertain:
		return "Refresh sent, outcome unknown"
	case pkb.EventRecovered:
		return "Refreshed, after an unknown outcome"
	case pkb.EventSaveRetried, pkb.EventSaveFailed:
		return "New tokens hard to save"
	case pkb.EventRelinkRequired:
		return "Ended"
	case pkb.EventEndsSoon:
		return "Ends soon"
	case pkb.EventWrongPatient:
		return "Another patient's approval refused"
	case pkb.EventSharedRecord:
		return "Refused: another user is linked with this record"
	case pkb.EventRefused:
		return "Approval refused"
	case pkb.EventKeyRotated:
		return "Sealed with another key"
	case pkb.EventScopeChanged:
		return "PKB changed the scope"
	case pkb.EventUnlinked:
		return "Unlinked"
	case pkb.EventNotExchanged:
		return "The code brought no tokens"
	case pkb.EventAbandoned:
		return "An approval that waited to be checked has ended"
	case pkb.EventUnclear:
		return "Refresh refused, in words that are not known"
	case pkb.EventUnreadable:
		return "Response to a refresh kept, as it cannot be read"
	case pkb.EventDiscarded:
		return "That response given up"
	case pkb.EventRestored:
		return "Written again, after the store had lost it"
	}
	return string(kind)
}

// why says in words why a link has ended.
func why(cause pkb.Cause) string {
	switch cause {
	case "":
		return ""
	case pkb.CauseSessionExpired:
		return "PKB's session is over (API_SESSION_EXPIRED)"
	case pkb.CauseSessionInvalid:
		return "PKB ended the session (API_SESSION_INVALID): was a refresh token presented twice?"
	case pkb.CauseGrantRejected:
		return "PKB rejected the refresh token (invalid_grant)"
	case pkb.CauseFinalTokenExpired:
		return "The session's last access token has expired"
	case pkb.CauseOutcomeUnknown:
		return "A refresh was sent, its response was lost, and the one repetition was rejected"
	case pkb.CauseFrozen:
		return "PKB has frozen the patient's access"
	case pkb.CauseWrongPatient:
		return "The account that approved was not the right person's"
	case pkb.CauseShared:
		return "Another user is linked with this record"
	case pkb.CauseRefusedUnclear:
		return "PKB refused the refresh token in words that are not known, while it served others"
	case pkb.CauseAnswerUnreadable:
		return "The response to a refresh cannot be read; it is kept"
	}
	return string(cause)
}
