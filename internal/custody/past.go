// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Happened is an event in a link's past, as the record keeps it. It holds nothing
// secret and nothing about the patient.
type Happened struct {
	Kind Kind `json:"kind"`
	// At is the time of the event; of several in a row, of the first.
	At time.Time `json:"at"`
	// Until is the time of the last of several in a row.
	Until time.Time `json:"until,omitzero"`
	// Count is how many in a row; 0 means one.
	Count int `json:"n,omitempty"`
	// Cause is set for RelinkRequired.
	Cause Cause `json:"cause,omitempty"`

	rest *unknown
}

// timeline is a link's past as its record keeps it. Of an event that has nothing
// more it is an array: the kind, the milliseconds since the event before it (of the
// first, since 1970), and if there were several in a row, the milliseconds until the
// last and how many; then the cause. A year of refreshes and forty events fit into a
// row of two kilobytes.
type timeline []Happened

// MarshalJSON implements json.Marshaler.
func (t timeline) MarshalJSON() ([]byte, error) {
	var before time.Time
	return writeList(t, func(b []byte, h *Happened) []byte {
		b = appendNumber(appendText(b, string(h.Kind)), millis(h.At)-millis(before))
		before = h.At
		if (h.Count > 0) == h.Until.IsZero() {
			return nil
		}
		if h.Count > 0 || h.Cause != "" {
			b = appendNumber(appendNumber(b, max(millis(h.Until)-millis(h.At), 0)), int64(h.Count))
		}
		if h.Cause != "" {
			b = appendText(append(b, ','), string(h.Cause))
		}
		return b
	})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *timeline) UnmarshalJSON(data []byte) (err error) {
	var before time.Time
	*t, err = readList(data, func(h *Happened, array []byte) error {
		if array != nil {
			since, lasted, err := h.read(array)
			if err != nil {
				return err
			}
			h.At = time.UnixMilli(millis(before) + since).UTC()
			if h.Count > 0 {
				h.Until = h.At.Add(time.Duration(lasted) * time.Millisecond)
			}
		}
		before = h.At
		return nil
	})
	return err
}

// read reads an event that is an array. Its times are relative, in milliseconds.
func (h *Happened) read(array []byte) (since, lasted int64, err error) {
	for i, each := range elements(array) {
		switch i {
		case 0:
			err = readText(each, &h.Kind)
		case 1:
			err = readNumber(each, &since)
		case 2:
			err = readNumber(each, &lasted)
		case 3:
			err = readNumber(each, &h.Count)
		case 4:
			err = readText(each, &h.Cause)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return since, lasted, nil
}

// millis is a time in milliseconds since 1970, which the zero time is as well.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// maxPast bounds what is kept of a link's past: with everything else it fits many
// times into a record's details.
const maxPast = 40

// past adds what the next save is about. Equal events in a row are counted: a link
// that is refreshed for a year has a short past.
func past(of timeline, events []Event, at time.Time) timeline {
	if len(events) == 0 {
		return of
	}
	at = at.UTC().Truncate(time.Millisecond)
	of = slices.Clone(of) // rows are copied, and a copy must not change this one
	for _, e := range events {
		if n := len(of); n > 0 && of[n-1].Kind == e.Kind && of[n-1].Cause == e.Cause {
			last := &of[n-1]
			last.Count, last.Until = max(last.Count, 1)+1, at
			continue
		}
		of = append(of, Happened{Kind: e.Kind, At: at, Cause: e.Cause})
	}
	return of[max(0, len(of)-maxPast):]
}

// refusedLately reports whether the pair in use was refused with an unrecognized
// error before.
func refusedLately(past timeline) bool {
	for _, h := range slices.Backward(past) {
		switch h.Kind {
		case Unclear:
			return true
		case Refreshed, Linked:
			return false
		}
	}
	return false
}

// plain maps the events of the core that always are the same event for the host.
var plain = map[core.EventKind]Kind{
	core.Reserve: Approved, core.Settle: Exchanged, core.Import: Exchanged, core.Forfeit: NotExchanged, core.Refuse: Refused, core.Ambiguous: Uncertain,
	core.Unreadable: Unreadable, core.Refused: Unclear, core.Abandon: Abandoned, core.Restore: Restored, core.Discard: Discarded,
	core.Unlink: Unlinked, core.Reseal: KeyRotated,
}

// transition returns the events for what the flight's event makes of the record.
func (t *trip) transition(next core.Record) *written {
	e, was := t.program.Ev, t.row.Record
	w := &t.wrote
	*w = written{event: e, next: next}
	say := func(kind Kind, cause Cause) {
		w.events = append(w.events, Event{Kind: kind, User: t.e.user, Cause: cause})
	}
	if kind, ok := plain[e.Kind]; ok {
		say(kind, "")
	}
	switch e.Kind {
	case core.Admit:
		t.admission(was, next, say)
	case core.Successor:
		t.succession(was, w, say)
	case core.Reject, core.Refused:
		if was.Candidate.ID == e.Pair && next.Candidate.ID.IsZero() {
			say(Abandoned, e.Dropped())
		}
	}
	if next.Warned != was.Warned {
		say(EndsSoon, "")
		w.events[len(w.events)-1].EndsAt = t.k.endOf(t.vault.answers[next.Active.ID], next.Active.Final)
	}
	if next.Phase == core.Relink && was.Phase != core.Relink {
		say(RelinkRequired, next.Cause)
	}
	for i := range w.events {
		w.events[i].Status, w.events[i].Code, w.events[i].Err = t.out.Status, t.out.Code, t.out.Err
	}
	return w
}

func (t *trip) admission(was, next core.Record, say func(Kind, Cause)) {
	e := t.program.Ev
	switch {
	case e.Shared && (next.Phase == core.Relink || !next.Holds(e.Session)):
		say(Shared, "")
	case !next.Holds(e.Session):
		say(OtherPatient, "")
	case next.Active.ID != was.Active.ID || next.Public != was.Public:
		say(Linked, "")
	}
}

func (t *trip) succession(was core.Record, w *written, say func(Kind, Cause)) {
	k, e := t.k, t.program.Ev
	if t.saving {
		say(SaveRetried, "")
	}
	if s := was.Slot(e.Pair); s != nil && s.Tried > 1 || w.next.Phase == core.Linked && was.Phase == core.Relink {
		say(Recovered, "")
	}
	say(Refreshed, "")
	// A response without a scope has not changed it (RFC 6749 section 5.1).
	if is := t.out.Grant.Scope; is != "" && k.Scope != "" && !strings.EqualFold(is, k.Scope) {
		say(ScopeChanged, "")
	}
}

// Verified reports whether the link's patient is known. Nobody gets a token of a
// session that had to be checked first.
func Verified(r tokenstore.Record) bool { return r.PublicID != "" }

func remembered(r tokenstore.Record) (d details) {
	_ = decode(r.Details, &d) // what cannot be read is not remembered
	return d
}
