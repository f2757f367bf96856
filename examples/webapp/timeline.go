// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
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
func what(kind observe.EventKind) string {
	switch kind {
	case observe.EventApproved:
		return "Approved"
	case observe.EventExchanged:
		return "Code exchanged, tokens saved"
	case observe.EventLinked:
		return "Linked"
	case observe.EventRefreshed:
		return "Refreshed"
	case observe.EventUncertain:
		return "Refresh sent, outcome unknown"
	case observe.EventRecovered:
		return "Refreshed, after an unknown outcome"
	case observe.EventSaveRetried, observe.EventSaveFailed:
		return "New tokens hard to save"
	case observe.EventRelinkRequired:
		return "Ended"
	case observe.EventEndsSoon:
		return "Ends soon"
	case observe.EventWrongPatient:
		return "Another patient's approval refused"
	case observe.EventSharedRecord:
		return "Refused: another user is linked with this record"
	case observe.EventRefused:
		return "Approval refused"
	case observe.EventKeyRotated:
		return "Sealed with another key"
	case observe.EventScopeChanged:
		return "PKB changed the scope"
	case observe.EventUnlinked:
		return "Unlinked"
	case observe.EventNotExchanged:
		return "The code brought no tokens"
	case observe.EventAbandoned:
		return "An approval that waited to be checked has ended"
	case observe.EventUnclear:
		return "Refresh refused, in words that are not known"
	case observe.EventUnreadable:
		return "Response to a refresh kept, as it cannot be read"
	case observe.EventDiscarded:
		return "That response given up"
	case observe.EventRestored:
		return "Written again, after the store had lost it"
	}
	return string(kind)
}

// why says in words why a link has ended.
func why(cause observe.Cause) string {
	switch cause {
	case "":
		return ""
	case observe.CauseSessionExpired:
		return "PKB's session is over (API_SESSION_EXPIRED)"
	case observe.CauseSessionInvalid:
		return "PKB ended the session (API_SESSION_INVALID): was a refresh token presented twice?"
	case observe.CauseGrantRejected:
		return "PKB rejected the refresh token (invalid_grant)"
	case observe.CauseFinalTokenExpired:
		return "The session's last access token has expired"
	case observe.CauseOutcomeUnknown:
		return "A refresh was sent, its response was lost, and the one repetition was rejected"
	case observe.CauseFrozen:
		return "PKB has frozen the patient's access"
	case observe.CauseWrongPatient:
		return "The account that approved was not the right person's"
	case observe.CauseShared:
		return "Another user is linked with this record"
	case observe.CauseRefusedUnclear:
		return "PKB refused the refresh token in words that are not known, while it served others"
	case observe.CauseAnswerUnreadable:
		return "The response to a refresh cannot be read; it is kept"
	}
	return string(cause)
}
