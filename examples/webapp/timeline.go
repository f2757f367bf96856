// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
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

// timeline returns what happened to a link, the newest first.
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

// what describes an event.
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
		return "Saving new tokens failed at first"
	case observe.EventRelinkRequired:
		return "Ended"
	case observe.EventEndsSoon:
		return "Ends soon"
	case observe.EventWrongPatient:
		return "Another patient's authorization refused"
	case observe.EventSharedRecord:
		return "Refused: another user is linked with this record"
	case observe.EventRefused:
		return "Authorization refused"
	case observe.EventKeyRotated:
		return "Sealed with another key"
	case observe.EventScopeChanged:
		return "PKB changed the scope"
	case observe.EventUnlinked:
		return "Unlinked"
	case observe.EventNotExchanged:
		return "The code was not exchanged for tokens"
	case observe.EventAbandoned:
		return "An authorization that waited to be checked has ended"
	case observe.EventUnclear:
		return "Refresh refused, with an unknown code"
	case observe.EventUnreadable:
		return "Response to a refresh kept, because it cannot be read"
	case observe.EventDiscarded:
		return "That response discarded"
	case observe.EventRestored:
		return "Written again after the store had lost it"
	}
	return string(kind)
}

// why returns the reason why a link has ended, "" for none.
func why(cause observe.Cause) string {
	if cause == "" {
		return ""
	}
	return advice.For(&pkb.RelinkError{Cause: cause}).Cause
}
