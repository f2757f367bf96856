// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

var policy = core.Policy{
	Finds: true, TTL: time.Second, Patience: 2 * time.Second, ReplayAfter: time.Second, UnclearAfter: time.Second,
	LongestWait: 4 * time.Second, RetryUnclear: 4 * time.Second, UnclearLimit: 2, Notices: 3,
}

// kinds are all events.
func kinds() (all []core.EventKind) {
	for _, rule := range core.Table {
		if !slices.Contains(all, rule.Event) {
			all = append(all, rule.Event)
		}
	}
	return all
}

// Few names, so that events and records often meet.
var (
	sessions = []string{"", "s1", "s2", "s3"}
	patients = []string{"", "p1", "p2"}
	owners   = []string{"", "n1", "n2"}
	causes   = []core.Cause{"session_expired", core.OutcomeUnknown, core.Shared}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func anyPair(r *rand.Rand) core.Pair {
	p := core.Pair{ID: core.PairID{Session: pick(r, sessions), Seq: uint64(1 + r.IntN(2))}, Tried: r.IntN(3), Unclear: r.IntN(3), Unread: r.IntN(4) == 0, Final: r.IntN(5) == 0}
	if p.ID.Session == "" {
		return core.Pair{}
	}
	return p
}

func anyEvent(r *rand.Rand, kind core.EventKind) core.Event {
	next := anyPair(r)
	return core.Event{
		Kind: kind, Owner: pick(r, owners[1:]), Pair: anyPair(r).ID, Next: core.Pair{ID: next.ID, Final: next.Final}, Session: pick(r, sessions[1:]), Unlinks: uint64(r.IntN(2)),
		Patient: pick(r, patients), Terms: core.Terms{Switch: r.IntN(2) == 0, Share: r.IntN(2) == 0}, Cause: pick(r, causes),
		Shared: r.IntN(3) == 0, Witnessed: r.IntN(2) == 0, Few: r.IntN(2) == 0, Old: r.IntN(2) == 0, TTL: time.Second,
		Notice: core.Notice{N: uint64(1 + r.IntN(3)), Kind: core.NoticeKind(1 + r.IntN(2))}, Instead: pick(r, owners), Warning: core.Warning(r.IntN(3)),
	}
}

// anyRecord makes a record that need not be reachable.
func anyRecord(r *rand.Rand) core.Record {
	rec := core.Record{
		Version: 1, Phase: core.Phase(r.IntN(5)), Active: anyPair(r), Candidate: anyPair(r), Public: pick(r, patients), Claim: pick(r, patients),
		Unlinks: uint64(r.IntN(2)), Terms: core.Terms{Switch: r.IntN(2) == 0, Share: r.IntN(2) == 0},
	}
	if rec.Phase == core.Relink {
		rec.Cause = pick(r, causes)
	}
	if o := pick(r, owners); o != "" {
		rec.Lease = core.Lease{Owner: o, TTL: time.Second, Pair: pick(r, []core.PairID{rec.Active.ID, rec.Candidate.ID})}
	}
	if rec.Active.ID.Session == rec.Candidate.ID.Session {
		rec.Candidate = core.Pair{}
	}
	rec.Marks = make([]core.Mark, 0, 8) // with room, where a write in place would land
	for _, s := range sessions[1:] {
		if r.IntN(2) == 0 {
			m := core.Mark{Session: s, State: core.MarkState(1 + r.IntN(3))}
			if m.State == core.Open {
				m.By = pick(r, owners[1:])
			}
			rec.Marks = append(rec.Marks, m)
		}
	}
	rec.Notices = make([]core.Notice, 0, 8)
	for range r.IntN(4) {
		rec.Noticed++
		rec.Notices = append(rec.Notices, core.Notice{N: rec.Noticed, Kind: core.NoticeKind(1 + r.IntN(4)), Session: pick(r, sessions)})
	}
	if o := pick(r, owners); o != "" && rec.Noticed > 0 {
		rec.Telling = core.Telling{Owner: o, Notice: 1}
	}
	rec.Warned = core.Warned{Session: pick(r, sessions), Level: core.Warning(r.IntN(3))}
	return rec
}

// A record is shared by everybody who has read it, so nothing may change it in
// place.
func TestApplyNeverChangesItsArgument(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	met := make([]bool, len(core.Table))
	for range 40_000 {
		rec := anyRecord(r)
		known := anyRecord(r)
		before, knew := rec, known
		before.Marks, knew.Marks = slices.Clone(rec.Marks[:cap(rec.Marks)]), slices.Clone(known.Marks[:cap(known.Marks)])
		before.Notices, knew.Notices = slices.Clone(rec.Notices[:cap(rec.Notices)]), slices.Clone(known.Notices[:cap(known.Notices)])
		e := anyEvent(r, pick(r, kinds()))
		if e.Kind == core.Restore {
			e.Known = &known
		}
		if i := policy.Row(rec, e); i >= 0 {
			met[i] = true
		}
		policy.Apply(rec, e)
		rec.Marks, known.Marks = rec.Marks[:cap(rec.Marks)], known.Marks[:cap(known.Marks)]
		rec.Notices, known.Notices = rec.Notices[:cap(rec.Notices)], known.Notices[:cap(known.Notices)]
		if d := cmp.Diff(before, rec); d != "" {
			t.Fatalf("%v changed the record that it was applied to:\n%s", e.Kind, d)
		}
		if d := cmp.Diff(knew, known); d != "" {
			t.Fatalf("%v changed what is known:\n%s", e.Kind, d)
		}
	}
	for i, met := range met {
		if !met {
			t.Errorf("no record and event meet the row %v, %s", core.Table[i].Event, core.Table[i].When)
		}
	}
}

// A writer that does not know whether its save landed applies the same event again.
// That must change nothing more, whatever the event.
func TestTwiceIsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	// Each beat is one more, and a new key is a new key. Restore has a test of its
	// own, with reachable records.
	more := []core.EventKind{core.Beat, core.Reseal, core.Restore}
	for range 100_000 {
		rec, e := anyRecord(r), anyEvent(r, pick(r, kinds()))
		once, verdict := policy.Apply(rec, e)
		if verdict != core.Write || slices.Contains(more, e.Kind) || !plausible(&rec, &e) {
			continue
		}
		twice, verdict := policy.Apply(once, e)
		if verdict == core.Denied || !once.Equal(&twice) {
			t.Fatalf("%+v\nmakes of %+v\nfirst %+v\nand then (%v) %+v", e, rec, once, verdict, twice)
		}
	}
}

// plausible leaves out what no driver sends: a successor of its own pair, or one
// that is another slot's already.
func plausible(r *core.Record, e *core.Event) bool {
	return e.Kind != core.Successor || e.Next.ID.Session == e.Pair.Session && e.Next.ID.Seq == e.Pair.Seq+1 && r.Slot(e.Next.ID) == nil
}

// Where an event is in the record already, the next writer of it learns that.
func TestAlready(t *testing.T) {
	pair, next := core.PairID{Session: "s1", Seq: 1}, core.Pair{ID: core.PairID{Session: "s1", Seq: 2}}
	linked := core.Record{Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair}, Public: "p1"}
	open := core.Record{Version: 1, Phase: core.Pending, Marks: []core.Mark{{Session: "s1", By: "n1", State: core.Open}}}
	waiting := core.Record{Version: 1, Phase: core.Pending, Candidate: core.Pair{ID: pair}}
	for _, of := range []struct {
		name string
		rec  core.Record
		e    core.Event
	}{
		{"Reserve", core.Record{}, core.Event{Kind: core.Reserve, Session: "s1", Owner: "n1"}},
		{"Settle", open, core.Event{Kind: core.Settle, Session: "s1", Owner: "n1", Next: core.Pair{ID: pair}}},
		{"Claim", waiting, core.Event{Kind: core.Claim, Session: "s1", Patient: "p1"}},
		{"Admit", waiting, core.Event{Kind: core.Admit, Session: "s1", Patient: "p1"}},
		{"Acquire", linked, core.Event{Kind: core.Acquire, Owner: "n1", Pair: pair, TTL: time.Second}},
		{"Successor", linked, core.Event{Kind: core.Successor, Owner: "n1", Pair: pair, Next: next}},
		{"Unlink", linked, core.Event{Kind: core.Unlink}},
		{"Unlink of nothing", core.Record{}, core.Event{Kind: core.Unlink}},
	} {
		once, verdict := policy.Apply(of.rec, of.e)
		if verdict != core.Write {
			t.Errorf("%s: %v", of.name, verdict)
		}
		if _, verdict := policy.Apply(once, of.e); verdict != core.Already {
			t.Errorf("%s again: %v, want already", of.name, verdict)
		}
	}
	if _, verdict := policy.Apply(open, core.Event{Kind: core.Reserve, Session: "s1", Owner: "n2"}); verdict != core.Denied {
		t.Errorf("another visit: %v, want denied", verdict)
	}
}

func TestMarksAreBounded(t *testing.T) {
	var rec core.Record
	for i := range 2 * core.MaxMarks {
		rec, _ = policy.Apply(rec, core.Event{Kind: core.Reserve, Session: "s" + string(rune('A'+i)), Owner: "n1"})
	}
	if len(rec.Marks) != core.MaxMarks || rec.Marks[0].Session != "s"+string(rune('A'+2*core.MaxMarks-1)) {
		t.Errorf("%d marks, the first of %s", len(rec.Marks), rec.Marks[0].Session)
	}
}

func TestPairIDsAreRead(t *testing.T) {
	for _, id := range []core.PairID{{}, {Session: "s1", Seq: 1}, {Session: "a/b", Seq: 18446744073709551615}, {Session: "s", Seq: 0}} {
		if got, ok := core.ParsePairID(id.String()); !ok || got != id {
			t.Errorf("%q is read as %v, %t", id, got, ok)
		}
	}
	for _, s := range []string{"/1", "s1", "s1/", "s1/x", "s1/-1", "s1/01", "s1/+1", "s1/1 ", "s1/18446744073709551616", "/"} {
		if got, ok := core.ParsePairID(s); ok {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}

func FuzzParsePairID(f *testing.F) {
	f.Add("s1/1")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := core.ParsePairID(s); ok && id.String() != s {
			t.Errorf("%q is read as %q", s, id)
		}
	})
}
