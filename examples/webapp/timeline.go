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
		return "The session's last access token is over"
	case pkb.CauseOutcomeUnknown:
		return "A refresh was sent, its answer was lost, and the one repetition was rejected"
	case pkb.CauseFrozen:
		return "PKB has frozen the patient's access"
	case pkb.CauseWrongPatient:
		return "A renewed approval was another patient's"
	}
	return string(cause)
}
