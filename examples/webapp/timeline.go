// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
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
	// At is when it happened last; From is when it happened first, if it did several
	// times in a row.
	At, From  time.Time
	What, Why string
	Count     int
}

// day is what happened on one day.
type day struct {
	Date       time.Time
	Happenings []happening
}

// timeline returns what happened to a link by day, the newest first.
func (a *app) timeline(ctx context.Context, user string) ([]day, error) {
	entries, err := a.client.Timeline(ctx, user)
	if errors.Is(err, pkb.ErrNotLinked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var days []day
	for _, e := range slices.Backward(entries) {
		h := happening{At: e.At, What: what(e.Kind), Why: why(e.Cause), Count: e.Count}
		if !e.Until.IsZero() {
			h.At, h.From = e.Until, e.At
		}
		date := h.At.UTC().Truncate(24 * time.Hour)
		if len(days) == 0 || !days[len(days)-1].Date.Equal(date) {
			days = append(days, day{Date: date})
		}
		last := &days[len(days)-1]
		last.Happenings = append(last.Happenings, h)
	}
	return days, nil
}

// happened describes the events.
var happened = map[observe.EventKind]string{
	observe.EventApproved:       "Approved",
	observe.EventExchanged:      "Code exchanged, tokens saved",
	observe.EventLinked:         "Linked",
	observe.EventRefreshed:      "Refreshed",
	observe.EventUncertain:      "Refresh sent, outcome unknown",
	observe.EventRecovered:      "Refreshed, after an unknown outcome",
	observe.EventSaveRetried:    "Saving new tokens failed at first",
	observe.EventSaveFailed:     "Saving new tokens failed at first",
	observe.EventRelinkRequired: "Ended",
	observe.EventEndsSoon:       "Ends soon",
	observe.EventWrongPatient:   "Another patient's authorization refused",
	observe.EventSharedRecord:   "Refused: another user is linked with this record",
	observe.EventRefused:        "Authorization refused",
	observe.EventKeyRotated:     "Sealed with another key",
	observe.EventScopeChanged:   "PKB changed the scope",
	observe.EventUnlinked:       "Unlinked",
	observe.EventNotExchanged:   "The code was not exchanged for tokens",
	observe.EventAbandoned:      "An authorization that waited to be checked has ended",
	observe.EventUnchecked:      "Authorization saved, and not checked yet",
	observe.EventUnclear:        "Refresh refused, with an unknown code",
	observe.EventUnreadable:     "Response to a refresh kept, because it cannot be read",
	observe.EventDiscarded:      "That response discarded",
	observe.EventRestored:       "Written again after the store had lost it",
}

// what describes an event.
func what(kind observe.EventKind) string { return cmp.Or(happened[kind], string(kind)) }

// why returns the reason why a link has ended, "" for none.
func why(cause observe.Cause) string {
	if cause == "" {
		return ""
	}
	return plain(advice.For(&pkb.RelinkError{Cause: cause}).Cause)
}
