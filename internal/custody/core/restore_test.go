// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// written are the events of a history; the other events do not change what is known.
var written = []core.EventKind{
	core.Reserve, core.Release, core.Forfeit, core.Settle, core.Claim, core.Admit, core.Admit, core.Refuse, core.Acquire, core.Acquire, core.Beat,
	core.Successor, core.Successor, core.NotSpent, core.Refused, core.Ambiguous, core.Unreadable, core.Reject, core.Unusable, core.Lose,
	core.Abandon, core.Unlink, core.Discard,
}

// walk writes n events, of those that a driver may send at the time.
func walk(r *rand.Rand, rec core.Record, n int) core.Record {
	for range n {
		e := anyEvent(r, pick(r, written))
		for _, id := range []core.PairID{rec.Active.ID, rec.Candidate.ID} {
			if !id.IsZero() && r.IntN(2) == 0 {
				e.Pair, e.Session = id, id.Session
			}
		}
		e.Next = core.Pair{ID: core.PairID{Session: e.Session, Seq: 1}}
		if e.Kind == core.Successor {
			e.Next.ID = core.PairID{Session: e.Pair.Session, Seq: e.Pair.Seq + 1}
		}
		if rec.Lease.Owner != "" && r.IntN(2) == 0 {
			e.Owner = rec.Lease.Owner
		}
		if next, verdict := policy.Apply(rec, e); verdict == core.Write {
			next.Version++
			rec = next
		}
	}
	return rec
}

// A merge is complete: nothing is left to restore, and nothing is taken from the
// row, or two processes with different knowledge would write for ever.
func TestMergedSettles(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	behind := 0
	for range 40_000 {
		old := walk(r, core.Record{Version: 1}, r.IntN(12))
		known := walk(r, old, 1+r.IntN(4))
		row := walk(r, old, r.IntN(3)) // the store after it has gone back, and others have written
		story := func() string { return fmt.Sprintf("row   %+v\nknown %+v\n", row, known) }
		m := row.Merged(known)
		if !m.Equal(&row) {
			behind++
		}
		if m.Behind(known) {
			again := m.Merged(known)
			t.Fatalf("still behind:\n%sfirst %+v\nthen  %+v", story(), m, again)
		}
		if m.Version != row.Version {
			t.Fatal("a version is the store's")
		}
		if m.Unlinks < row.Unlinks || m.Unlinks < known.Unlinks {
			t.Fatalf("an unlink got lost:\n%s%+v", story(), m)
		}
		for _, k := range []core.Record{row, known} {
			for _, p := range []core.Pair{k.Active, k.Candidate} {
				if s := held(&m, p.ID.Session); s != nil && s.ID.Seq < p.ID.Seq {
					t.Fatalf("a successor got lost:\n%s%+v", story(), m)
				}
			}
		}
	}
	if behind < 1000 {
		t.Errorf("only %d rows were behind", behind)
	}
}

func held(r *core.Record, session string) *core.Pair {
	switch session {
	case "":
	case r.Active.ID.Session:
		return &r.Active
	case r.Candidate.ID.Session:
		return &r.Candidate
	}
	return nil
}

// A row that others have written further is not behind, whatever they wrote. The
// intent under a lease is its holder's to undo, and what a flight keeps leaves it
// out.
func TestFurtherIsNotBehind(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 40_000 {
		known := walk(r, core.Record{Version: 1}, r.IntN(14))
		f, _ := core.Flight{Goal: core.Call, Kept: known}.Step(policy, core.Input{Kind: core.Begin})
		row := walk(r, known, r.IntN(8))
		if len(row.Marks) < core.MaxMarks && row.Behind(f.Kept) {
			m := row.Merged(f.Kept)
			t.Fatalf("known %+v\nrow   %+v\nmerged %+v", f.Kept, row, m)
		}
	}
}

// Two processes that know different facts about one history agree in the end, and do
// not undo each other's restoring.
func TestProcessesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 40_000 {
		old := walk(r, core.Record{Version: 1}, r.IntN(12))
		one := walk(r, old, r.IntN(4))
		other := walk(r, one, 1+r.IntN(4))
		row := walk(r, old, r.IntN(2))
		keeps := func(k core.Record) core.Record {
			f, _ := core.Flight{Goal: core.Call, Kept: k}.Step(policy, core.Input{Kind: core.Begin})
			return f.Kept
		}
		m := row
		for range 4 {
			m = m.Merged(keeps(one))
			m = m.Merged(keeps(other))
		}
		if m.Behind(keeps(one)) || m.Behind(keeps(other)) {
			t.Fatalf("row   %+v\none   %+v\nother %+v\nafter %+v\nthen  %+v", row, keeps(one), keeps(other), m, m.Merged(keeps(one)))
		}
	}
}

// A store that has lost a switch, from the authorization on, still holds the earlier
// patient's session. A process that knows the switch puts the later session back:
// nobody is shown a record that the user has left.
func TestSwitchIsRestored(t *testing.T) {
	p := core.Policy{}
	before := core.Record{
		Version: 1, Phase: core.Linked, Public: "patient-1",
		Active: core.Pair{ID: core.PairID{Session: "first", Seq: 3}}, Generation: 3,
	}
	after := before
	for _, e := range []core.Event{
		{Kind: core.Reserve, Session: "second", Owner: "visit"},
		{Kind: core.Settle, Session: "second", Owner: "visit", Next: core.Pair{ID: core.PairID{Session: "second", Seq: 1}}, Terms: core.Terms{Switch: true}},
		{Kind: core.Admit, Session: "second", Patient: "patient-2"},
	} {
		var verdict core.Verdict
		if after, verdict = p.Apply(after, e); verdict != core.Write {
			t.Fatalf("%s: %s", e.Kind, verdict)
		}
	}
	after.Version = 4
	merged := before.Merged(after)
	if merged.Active.ID != after.Active.ID || merged.Public != "patient-2" || merged.Phase != core.Linked {
		t.Errorf("restored: %s of %q, %s; want %s of %q", merged.Active.ID, merged.Public, merged.Phase, after.Active.ID, after.Public)
	}
	if forward := after.Merged(before); !forward.Equal(&after) {
		t.Error("the row from before the switch took it back")
	}
}
