// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// TestRows has what exploring cannot show: which of two true causes is given.
func TestRows(t *testing.T) {
	pair := core.PairID{Session: "s1", Seq: 1}
	held := func(tried int, change func(*core.Record)) core.Record {
		r := core.Record{
			Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair, Tried: tried}, Public: "p1",
			Lease: core.Lease{Owner: "n1", TTL: time.Second, Pair: pair},
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	const ended core.Cause = "session_expired"
	reject := core.Event{Kind: core.Reject, Owner: "n1", Pair: pair, Cause: ended}
	refused := core.Event{Kind: core.Refused, Owner: "n1", Pair: pair, Witnessed: true, Few: true}
	decided := func(r *core.Record) { r.Phase, r.Cause = core.Relink, core.WrongPatient }
	for _, of := range []struct {
		name  string
		r     core.Record
		e     core.Event
		phase core.Phase
		cause core.Cause
		tried int
	}{
		{"rejected", held(1, nil), reject, core.Relink, ended, 1},
		{"rejected after a lost response", held(2, nil), reject, core.Relink, core.OutcomeUnknown, 2},
		{"rejected under a decision", held(1, decided), reject, core.Relink, core.WrongPatient, 1},
		{"refused", held(1, nil), refused, core.Linked, "", 0},
		{"refused to the limit", held(1, func(r *core.Record) { r.Active.Unclear = policy.UnclearLimit - 1 }), refused, core.Relink, core.RefusedUnclear, 0},
		{"refused after a lost response", held(2, nil), refused, core.Linked, "", 1},
		{"not sent", held(1, nil), core.Event{Kind: core.NotSpent, Owner: "n1", Pair: pair}, core.Linked, "", 0},
		{"lost", held(1, nil), core.Event{Kind: core.Ambiguous, Owner: "n1", Pair: pair}, core.Linked, "", 1},
		{"learned", held(0, nil), core.Event{Kind: core.Lose, Pair: pair, Cause: ended}, core.Relink, ended, 0},
	} {
		r, verdict := policy.Apply(of.r, of.e)
		if verdict != core.Write || r.Phase != of.phase || r.Cause != of.cause || r.Active.Tried != of.tried {
			t.Errorf("%s: %v, %v (%s), tried %d", of.name, verdict, r.Phase, r.Cause, r.Active.Tried)
		}
	}
}

// drive is a flight and the row that it works on.
type drive struct {
	t *testing.T
	f core.Flight
	e core.Effect
}

func (d *drive) give(in core.Input, want core.EffectKind) {
	d.t.Helper()
	in.Nonce = "n1"
	if d.f, d.e = d.f.Step(policy, in); d.e.Kind != want {
		d.t.Fatalf("after input %d: effect %d (result %d), want %d", in.Kind, d.e.Kind, d.e.Result, want)
	}
}

// A row that is read back after a failed save may be missing on every standby. What
// is in it may be used, and is written again until that is acknowledged.
func TestReadBackIsNotSaved(t *testing.T) {
	pair, next := core.PairID{Session: "s1", Seq: 1}, core.PairID{Session: "s1", Seq: 2}
	over := core.Facts{ActiveOver: true}
	d := &drive{t: t, f: core.Flight{Goal: core.Call}}
	d.give(core.Input{Kind: core.Begin}, core.Load)
	d.give(core.Input{Kind: core.Loaded, Rec: core.Record{Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair}, Public: "p1"}, Facts: over}, core.Enter)
	d.give(core.Input{Kind: core.Entered, Open: true, Facts: over}, core.Save)

	landed := d.e.Rec
	landed.Version = 2
	d.give(core.Input{Kind: core.StoreFailed}, core.Load)
	d.give(core.Input{Kind: core.Loaded, Rec: landed, Facts: over}, core.Save) // no request relies on it
	landed.Version = 3
	d.give(core.Input{Kind: core.Saved, Rec: landed, Facts: over}, core.Post)

	d.give(core.Input{Kind: core.Answered, Outcome: core.OK, Next: core.Pair{ID: next}, Facts: over}, core.Save)
	landed = d.e.Rec
	landed.Version = 4
	d.give(core.Input{Kind: core.StoreFailed}, core.Load)
	d.give(core.Input{Kind: core.Loaded, Rec: landed}, core.Save)
	if d.e.Tell != core.Token || d.e.Pair != next || !d.e.Rec.Equal(&landed) {
		t.Errorf("callers receive %d of %v, and %+v is saved", d.e.Tell, d.e.Pair, d.e.Rec)
	}
	d.give(core.Input{Kind: core.StoreFailed}, core.Load)
	if d.e.Tell != 0 {
		t.Errorf("callers who were released receive %d", d.e.Tell)
	}
	d.give(core.Input{Kind: core.Loaded, Rec: landed}, core.Save)
	landed.Version = 5
	d.give(core.Input{Kind: core.Saved, Rec: landed}, core.Done)
	if d.e.Result != core.Token || d.e.Pair != next {
		t.Errorf("result %d of %v", d.e.Result, d.e.Pair)
	}
}

// A lease whose save was reported as failed, but landed, shuts everybody out though
// nothing was presented under it. Its owner gives it back.
func TestUnsentLeaseIsGivenBack(t *testing.T) {
	pair, other := core.PairID{Session: "s1", Seq: 1}, core.PairID{Session: "s2", Seq: 1}
	r := core.Record{
		Version: 7, Phase: core.Linked, Active: core.Pair{ID: pair, Tried: 1}, Candidate: core.Pair{ID: other, Tried: 1}, Public: "p1",
		Lease: core.Lease{Owner: "lost", TTL: time.Second, Pair: other},
	}
	for _, unsent := range []bool{true, false} {
		d := &drive{t: t, f: core.Flight{Goal: core.Call}}
		d.give(core.Input{Kind: core.Begin}, core.Load)
		if !unsent {
			d.give(core.Input{Kind: core.Loaded, Rec: r, Facts: core.Facts{Ours: true}}, core.Done)
			continue
		}
		d.give(core.Input{Kind: core.Loaded, Rec: r, Facts: core.Facts{Ours: true, Unsent: true}}, core.Save)
		if got := d.e.Rec; got.Lease != (core.Lease{}) || got.Active.Tried != 1 || got.Candidate.Tried != 0 {
			t.Errorf("%+v", got)
		}
	}
}

// A lease whose save was in doubt is saved once more before anything is presented under
// it, with a beat: others may have watched it since it landed, and are about to take it.
// If its pair was replaced meanwhile it is given back.
func TestLeaseInDoubt(t *testing.T) {
	pair, next := core.PairID{Session: "s1", Seq: 1}, core.PairID{Session: "s1", Seq: 2}
	row := core.Record{Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair}, Public: "p1"}
	over := core.Facts{ActiveOver: true}
	for _, of := range []struct {
		name string
		then func(*core.Record)
		want func(*testing.T, *drive)
	}{
		{"as it was", func(*core.Record) {}, func(t *testing.T, d *drive) {
			d.give(core.Input{Kind: core.Loaded, Rec: row, Facts: over}, core.Save)
			if l := d.e.Rec.Lease; l.Owner != "n1" || l.Beat != 1 {
				t.Errorf("saved again: %+v, want the lease with a beat", l)
			}
			row = d.e.Rec
			row.Version++
			d.give(core.Input{Kind: core.Saved, Rec: row, Facts: over}, core.Post)
		}},
		{"its pair was replaced", func(r *core.Record) { r.Active = core.Pair{ID: next} }, func(t *testing.T, d *drive) {
			d.give(core.Input{Kind: core.Loaded, Rec: row}, core.Save)
			if l := d.e.Rec.Lease; l.Owner != "" {
				t.Errorf("saved again: %+v, want no lease", l)
			}
			row = d.e.Rec
			row.Version++
			d.give(core.Input{Kind: core.Saved, Rec: row}, core.Done)
			if d.e.Result != core.Token || d.e.Pair != next {
				t.Errorf("result %d of %v", d.e.Result, d.e.Pair)
			}
		}},
	} {
		t.Run(of.name, func(t *testing.T) {
			row = core.Record{Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair}, Public: "p1"}
			d := &drive{t: t, f: core.Flight{Goal: core.Call}}
			d.give(core.Input{Kind: core.Begin}, core.Load)
			d.give(core.Input{Kind: core.Loaded, Rec: row, Facts: over}, core.Enter)
			d.give(core.Input{Kind: core.Entered, Open: true}, core.Save)
			row = d.e.Rec // it landed
			row.Version++
			d.give(core.Input{Kind: core.StoreFailed}, core.Load)
			of.then(&row)
			of.want(t, d)
		})
	}
}

// waits looks at a record every second. It returns the number of looks before its
// token is presented, and what callers receive until then.
func waits(t *testing.T, r core.Record, facts core.Facts) (looks int, told core.Result) {
	t.Helper()
	var sight core.Sight
	for looks = range 100 {
		d := &drive{t: t, f: core.Flight{Goal: core.Call, Sight: sight}}
		d.give(core.Input{Kind: core.Begin}, core.Load)
		f, e := d.f.Step(policy, core.Input{Kind: core.Loaded, Rec: r, Facts: facts})
		if e.Kind == core.Enter {
			return looks, told
		}
		told, sight, facts.Since = e.Result, f.Sight, time.Second
	}
	return looks, told
}

// How long a token is left alone, by this process's own clock. The policy waits one
// second, doubled up to four.
func TestWaits(t *testing.T) {
	pair := core.PairID{Session: "s1", Seq: 1}
	over := core.Facts{ActiveOver: true}
	for _, of := range []struct {
		name  string
		pair  core.Pair
		lease core.Lease
		cause core.Cause
		looks int
		told  core.Result
	}{
		{"never presented", core.Pair{ID: pair}, core.Lease{}, "", 0, 0},
		{"lost once", core.Pair{ID: pair, Tried: 1}, core.Lease{}, "", 0, 0},
		{"lost twice", core.Pair{ID: pair, Tried: 2}, core.Lease{}, "", 1, core.LaterUncertain},
		{"lost three times", core.Pair{ID: pair, Tried: 3}, core.Lease{}, "", 2, core.LaterUncertain},
		{"lost often", core.Pair{ID: pair, Tried: 40}, core.Lease{}, "", 4, core.LaterUncertain},
		{"refused once", core.Pair{ID: pair, Unclear: 1}, core.Lease{}, "", 1, core.LaterUnclear},
		{"refused often", core.Pair{ID: pair, Unclear: 40}, core.Lease{}, "", 4, core.LaterUnclear},
		{"given up after unrecognized errors", core.Pair{ID: pair, Unclear: 2}, core.Lease{}, core.RefusedUnclear, 4, core.LostNow},
	} {
		r := core.Record{Version: 1, Phase: core.Linked, Active: of.pair, Public: "p1", Lease: of.lease}
		if of.cause != "" {
			r.Phase, r.Cause = core.Relink, of.cause
		}
		if looks, told := waits(t, r, over); looks != of.looks || told != of.told {
			t.Errorf("%s: presented after %d looks, result %d until then; want %d, %d", of.name, looks, told, of.looks, of.told)
		}
	}
}

// A lease is watched for its life and the patience after it, by looks of the process
// that wants it. A beat restarts that, and a life of hours is capped.
func TestLeasesAreWatched(t *testing.T) {
	pair := core.PairID{Session: "s1", Seq: 1}
	for _, of := range []struct {
		ttl   time.Duration
		beats bool
		facts core.Facts
		want  time.Duration
	}{
		{time.Second, false, core.Facts{}, 3 * time.Second},
		{5 * time.Second, false, core.Facts{}, 7 * time.Second},
		{0, false, core.Facts{}, 3 * time.Second},
		{100 * time.Hour, false, core.Facts{}, 10*time.Minute + 2*time.Second},
		{time.Second, true, core.Facts{}, time.Hour},
		{time.Second, false, core.Facts{Ours: true}, 0},
	} {
		r := core.Record{
			Version: 1, Phase: core.Linked, Active: core.Pair{ID: pair, Tried: 1}, Public: "p1",
			Lease: core.Lease{Owner: "another", TTL: of.ttl, Pair: pair},
		}
		d := &drive{t: t, f: core.Flight{Goal: core.Call}}
		d.give(core.Input{Kind: core.Begin}, core.Load)
		facts := of.facts
		facts.ActiveOver = true
		watched := time.Duration(0)
		for ; watched < time.Hour; watched += time.Second {
			if d.f, d.e = d.f.Step(policy, core.Input{Kind: core.Loaded, Rec: r, Facts: facts}); d.e.Kind == core.Enter {
				break
			}
			d.give(core.Input{Kind: core.Waited}, core.Load)
			if facts.Since = time.Second; of.beats {
				r.Lease.Beat++
			}
		}
		if watched != of.want {
			t.Errorf("a lease of %v, beats %t, is taken after %v, want %v", of.ttl, of.beats, watched, of.want)
		}
	}
}

// A link that was given up after unclear refusals is tried once more, but not with a
// pair whose successor this process has seen.
func TestOutdatedPairIsNotTriedOnceMore(t *testing.T) {
	pair := core.PairID{Session: "s1", Seq: 4}
	row := core.Record{Version: 1, Phase: core.Relink, Cause: core.RefusedUnclear, Active: core.Pair{ID: pair, Unclear: policy.UnclearLimit}}
	for newest, want := range map[uint64]core.EffectKind{4: core.Enter, 5: core.Done} {
		f := core.Flight{Goal: core.Call, Newest: core.PairID{Session: "s1", Seq: newest}}
		f.Sight.Unclear = core.Stopwatch[core.Count]{Of: core.Count{Pair: pair, N: policy.UnclearLimit}, For: policy.RetryUnclear}
		f, _ = f.Step(policy, core.Input{Kind: core.Begin})
		_, e := f.Step(policy, core.Input{Kind: core.Loaded, Rec: row, Facts: core.Facts{ActiveOver: true}})
		if e.Kind != want || want == core.Done && e.Result != core.LostNow {
			t.Errorf("having seen pair %d of a row with pair 4: effect %d, result %d, want effect %d", newest, e.Kind, e.Result, want)
		}
	}
}
