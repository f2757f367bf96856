// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

var first = core.PairID{Session: "s1", Seq: 1}

func aLink() core.Record {
	return core.Record{Version: 1, Phase: core.Linked, Active: core.Pair{ID: first}, Public: "p1", Marks: []core.Mark{{Session: "s1", State: core.Spent}}}
}

// said are the notices of a record, shortened.
func said(r core.Record) (all []string) {
	for _, n := range r.Notices {
		s := n.Kind.String()
		if n.Cause != "" {
			s += " " + string(n.Cause)
		}
		for range n.Also {
			s += "+"
		}
		all = append(all, s)
	}
	return all
}

// Whatever the host must not miss is in the record with the change itself.
func TestWritesOweNotices(t *testing.T) {
	waits := core.Record{Version: 1, Phase: core.Pending, Candidate: core.Pair{ID: first}}
	beside := aLink()
	beside.Candidate = core.Pair{ID: core.PairID{Session: "s2", Seq: 1}}
	mine := aLink()
	mine.Lease, mine.Active.Tried = core.Lease{Owner: "n1", Pair: first}, 1
	gone := aLink()
	gone.Phase, gone.Cause = core.Relink, "session_expired"
	owes := aLink()
	owes.Noticed, owes.Notices = 1, []core.Notice{{N: 1, Kind: core.Made}}
	next := core.Pair{ID: core.PairID{Session: "s1", Seq: 2}}
	for _, of := range []struct {
		name string
		rec  core.Record
		e    core.Event
		want []string
	}{
		{"an admission", waits, core.Event{Kind: core.Admit, Session: "s1", Patient: "p1"}, []string{"made"}},
		{"a shared record", waits, core.Event{Kind: core.Admit, Session: "s1", Patient: "p1", Shared: true}, []string{"dropped shared"}},
		{"another patient", beside, core.Event{Kind: core.Admit, Session: "s2", Patient: "p2"}, []string{"dropped wrong_patient"}},
		{"a refusal", waits, core.Event{Kind: core.Refuse, Session: "s1"}, []string{"dropped wrong_patient"}},
		{"an abandoned one", waits, core.Event{Kind: core.Abandon, Session: "s1"}, []string{"dropped abandoned"}},
		{"an end", mine, core.Event{Kind: core.Reject, Owner: "n1", Pair: first, Cause: "session_expired"}, []string{"ended session_expired"}},
		{"an end that an API learns", aLink(), core.Event{Kind: core.Lose, Pair: first, Cause: "frozen"}, []string{"ended frozen"}},
		{"a link that works again", gone, core.Event{Kind: core.Successor, Pair: first, Next: next}, []string{"made"}},
		{"a refresh", mine, core.Event{Kind: core.Successor, Owner: "n1", Pair: first, Next: next}, nil},
		{"a refresh near the end", mine, core.Event{Kind: core.Successor, Owner: "n1", Pair: first, Next: next, Warning: core.Early}, []string{"ends soon"}},
		{"a last token", mine, core.Event{Kind: core.Successor, Owner: "n1", Pair: first, Next: core.Pair{ID: next.ID, Final: true}}, []string{"ends soon"}},
		{"an unlink", owes, core.Event{Kind: core.Unlink}, []string{"made"}},
		{"a later approval", beside, core.Event{Kind: core.Settle, Session: "s3", Next: next}, nil},
	} {
		got, _ := policy.Apply(of.rec, of.e)
		if d := cmp.Diff(of.want, said(got)); d != "" {
			t.Errorf("%s owes (-want +got):\n%s", of.name, d)
		}
		none := policy
		none.Notices = 0
		if got, _ := none.Apply(of.rec, of.e); len(got.Notices) > len(of.rec.Notices) {
			t.Errorf("%s owes %v to a host that wants none", of.name, said(got))
		}
	}
}

// Of too many notices the oldest goes that is no end, and ends are counted.
func TestNoEndIsForgotten(t *testing.T) {
	r := aLink()
	lose := func(cause core.Cause) {
		r, _ = policy.Apply(r, core.Event{Kind: core.Lose, Pair: r.Active.ID, Cause: cause})
	}
	again := func() {
		id := r.Active.ID
		r, _ = policy.Apply(r, core.Event{Kind: core.Successor, Pair: id, Next: core.Pair{ID: core.PairID{Session: "s1", Seq: id.Seq + 1}}})
	}
	for _, cause := range []core.Cause{"a", "b", "c", "d", "e"} {
		lose(cause)
		again()
	}
	if d := cmp.Diff([]string{"ended d+++", "ended e", "made"}, said(r)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if r.Noticed != 10 || r.Notices[2].N != 10 {
		t.Errorf("numbered up to %d, and the last is %d", r.Noticed, r.Notices[2].N)
	}
}

// A later warning takes the place of the earlier one, and each is given once.
func TestWarningsAreGivenOnce(t *testing.T) {
	r := aLink()
	for _, of := range []struct {
		level   core.Warning
		verdict core.Verdict
	}{{core.Early, core.Write}, {core.Early, core.Already}, {core.Late, core.Write}, {core.Early, core.Already}, {core.Late, core.Already}} {
		var verdict core.Verdict
		if r, verdict = policy.Apply(r, core.Event{Kind: core.Warn, Session: "s1", Warning: of.level}); verdict != of.verdict {
			t.Errorf("warning %d: %v, want %v", of.level, verdict, of.verdict)
		}
	}
	if len(r.Notices) != 1 || r.Notices[0].Warning != core.Late {
		t.Errorf("%+v", r.Notices)
	}
	if _, verdict := policy.Apply(r, core.Event{Kind: core.Warn, Session: "s2", Warning: core.Late}); verdict != core.Superseded {
		t.Errorf("of a session that is not the link's: %v", verdict)
	}
}

// A warning that is being delivered stays: what took its place would be delivered
// before it.
func TestAWarningThatIsBeingDeliveredStays(t *testing.T) {
	r := aLink()
	for _, e := range []core.Event{
		{Kind: core.Warn, Session: "s1", Warning: core.Early},
		{Kind: core.ClaimNotice, Notice: core.Notice{N: 1}, Owner: "n1"},
		{Kind: core.Warn, Session: "s1", Warning: core.Late},
	} {
		r, _ = policy.Apply(r, e)
	}
	if len(r.Notices) != 2 || r.Notices[0].Warning != core.Early || r.Telling.Notice != 1 {
		t.Fatalf("%+v, and %+v is being delivered", r.Notices, r.Telling)
	}
	if _, e := sweep(policy, r, core.Facts{}); e.Kind != core.Done || e.Result != core.LaterElsewhere {
		t.Errorf("meanwhile another sweep does %+v", e)
	}
	r, _ = policy.Apply(r, core.Event{Kind: core.Delivered, Notice: r.Notices[0], Owner: "n1"})
	if len(r.Notices) != 1 || r.Notices[0].Warning != core.Late {
		t.Errorf("and then %+v", r.Notices)
	}
}

func TestNoticesAreRestored(t *testing.T) {
	row := aLink()
	known, _ := policy.Apply(row, core.Event{Kind: core.Lose, Pair: first, Cause: "session_expired"})
	if !row.Behind(known) {
		t.Fatal("a row that has lost a notice is not behind")
	}
	if got := row.Merged(known); len(got.Notices) != 1 || got.Noticed != 1 {
		t.Errorf("restored: %+v", got)
	}
	told, _ := policy.Apply(known, core.Event{Kind: core.Delivered, Notice: known.Notices[0]})
	if told.Behind(known) || len(told.Notices) != 0 {
		t.Errorf("a notice that was delivered comes back: %+v", told)
	}
}

// A store that has gone back gives a number again: who delivered the first notice of that
// number has not delivered the second.
func TestADeliveryClearsOnlyWhatWasDelivered(t *testing.T) {
	ended, _ := policy.Apply(aLink(), core.Event{Kind: core.Lose, Pair: first, Cause: "session_expired"})
	warned, _ := policy.Apply(aLink(), core.Event{Kind: core.Warn, Session: "s1", Warning: core.Early})
	first, second := ended.Notices[0], warned.Notices[0]
	if first.N != second.N {
		t.Fatalf("numbered %d and %d", first.N, second.N)
	}
	again := second
	again.Tries++
	for _, of := range []struct {
		told core.Notice
		want core.Verdict
	}{{first, core.Superseded}, {second, core.Write}, {again, core.Write}} {
		if r, verdict := policy.Apply(warned, core.Event{Kind: core.Delivered, Notice: of.told}); verdict != of.want || (len(r.Notices) == 0) != (verdict == core.Write) {
			t.Errorf("%+v was delivered: %v, and %+v is owed", of.told, verdict, r.Notices)
		}
	}
}

// An import takes the place of nothing, and no pair comes in twice.
func TestImportRows(t *testing.T) {
	in := core.Event{Kind: core.Import, Session: "s2", Next: core.Pair{ID: core.PairID{Session: "s2", Seq: 1}}}
	waits := core.Record{Version: 1, Phase: core.Pending, Candidate: core.Pair{ID: first}}
	gone := aLink()
	gone.Phase, gone.Cause = core.Relink, "session_expired"
	was := gone
	was.Marks = append(was.Marks, core.Mark{Session: "s2", State: core.Void})
	unlinked := core.Record{Version: 1, Phase: core.Unlinked, Unlinks: 1}
	held, _ := policy.Apply(gone, in)
	for _, of := range []struct {
		name string
		rec  core.Record
		want core.Verdict
	}{
		{"no record", core.Record{}, core.Write}, {"a link that has ended", gone, core.Write}, {"the same pair again", held, core.Already},
		{"a link in use", aLink(), core.Superseded}, {"an authorization that waits", waits, core.Superseded},
		{"a pair that the record has had", was, core.Superseded}, {"an unlink since it began", unlinked, core.Superseded},
	} {
		got, verdict := policy.Apply(of.rec, in)
		if verdict != of.want {
			t.Errorf("%s: %v, want %v", of.name, verdict, of.want)
		}
		if got.Active != of.rec.Active || verdict == core.Write && got.Candidate != in.Next {
			t.Errorf("%s: %+v", of.name, got)
		}
	}
}

// sweep begins a sweep of a record, and returns its first effect.
func sweep(p core.Policy, r core.Record, now core.Facts) (core.Flight, core.Effect) {
	f, _ := core.Flight{Goal: core.Tend}.Step(p, core.Input{Kind: core.Begin, Nonce: "n9"})
	return f.Step(p, core.Input{Kind: core.Loaded, Rec: r, Facts: now})
}

// saved feeds back that what the flight saves was saved.
func saved(p core.Policy, f core.Flight, e core.Effect, now core.Facts) (core.Flight, core.Effect) {
	e.Rec.Version++
	return f.Step(p, core.Input{Kind: core.Saved, Rec: e.Rec, Facts: now})
}

// A host that does not accept a notice is not asked for the next one, which would
// come before it.
func TestARefusedNoticeWaits(t *testing.T) {
	r := aLink()
	r.Noticed, r.Notices = 2, []core.Notice{{N: 1, Kind: core.Made}, {N: 2, Kind: core.EndsSoon}}
	f, e := sweep(policy, r, core.Facts{})
	f, e = saved(policy, f, e, core.Facts{})
	if e.Kind != core.Notify || e.Notice.N != 1 {
		t.Fatalf("%+v", e)
	}
	f, e = f.Step(policy, core.Input{Kind: core.Notified})
	if e.Kind != core.Save || len(e.Rec.Notices) != 2 || e.Rec.Notices[0].Tries != 1 || e.Rec.Telling.Owner != "" {
		t.Fatalf("%+v", e)
	}
	if _, e = saved(policy, f, e, core.Facts{}); e.Kind != core.Done {
		t.Errorf("and then %v", e.Kind)
	}
}

func TestASweepRefreshesOnce(t *testing.T) {
	idle := core.Facts{Idle: true}
	f, _ := sweep(policy, aLink(), idle)
	f, e := f.Step(policy, core.Input{Kind: core.Entered, Open: true, Nonce: "n1"})
	f, e = saved(policy, f, e, idle)
	if e.Kind != core.Post {
		t.Fatalf("%+v", e)
	}
	f, e = f.Step(policy, core.Input{Kind: core.Answered, Outcome: core.OK, Next: core.Pair{ID: core.PairID{Session: "s1", Seq: 2}}, Facts: idle})
	if _, e = saved(policy, f, e, idle); e.Kind != core.Done {
		t.Errorf("after the refresh: %v", e.Kind)
	}
}

// A notice of a later version is left to that version, and so is the record's being
// due, as long as there is room for that.
func TestANoticeOfALaterVersionWaits(t *testing.T) {
	r := aLink()
	r.Noticed, r.Notices = 2, []core.Notice{{N: 1, Kind: core.Dropped + 1}, {N: 2, Kind: core.Ended}}
	if _, e := sweep(policy, r, core.Facts{Owing: true}); e.Kind != core.Done {
		t.Errorf("%v", e.Kind)
	}
	_, e := sweep(policy, r, core.Facts{Owing: true, Full: true})
	if e.Kind != core.Save || len(e.Rec.Notices) != 2 || e.Rec.Telling.Owner != "" {
		t.Errorf("where no more can be left due: %+v", e)
	}
	r.Notices = r.Notices[1:]
	if _, e = sweep(policy, r, core.Facts{Owing: true}); e.Kind != core.Save || e.Rec.Telling.Notice != 2 {
		t.Errorf("when it is gone: %+v", e)
	}
	if s := (core.Dropped + 1).String(); s != "of a later version" {
		t.Errorf("it is called %q", s)
	}
}
