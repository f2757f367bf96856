// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"slices"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// checkNotices judges what a write of user 0's record does to what is owed to the
// host.
func (c *setup) checkNotices(w *world, old, next *core.Record, e core.Event) {
	if e.Kind == core.Import && importReplaces(old, next, e.Session) {
		w.violate(ImportReplaces)
	}
	if c.policy.Notices == 0 || w.g.wentBack && e.Kind != core.Delivered {
		return
	}
	if c.losesNotice(w, old, next) {
		w.violate(NoticeLost)
	}
	if e.Kind == core.Restore || w.g.wentBack {
		return
	}
	if unnoticed(old, next, e.Kind) {
		w.violate(Unnoticed)
	}
	if noticed(next, core.EndsSoon, "") && next.Noticed > old.Noticed {
		w.checkWarning(&next.Notices[len(next.Notices)-1])
	}
}

// importReplaces reports whether the import of a session that was not in the record
// found a link or a candidate there, or put another pair in use.
func importReplaces(old, next *core.Record, session string) bool {
	return !old.Holds(session) && (old.Phase == core.Linked || !old.Candidate.ID.IsZero() || old.Active.ID != next.Active.ID)
}

// losesNotice reports whether a notice leaves the record that the host has not
// accepted, and that no other takes the place of.
func (c *setup) losesNotice(w *world, old, next *core.Record) bool {
	for _, n := range old.Notices {
		kept := slices.ContainsFunc(next.Notices, func(o core.Notice) bool { return o.N == n.N })
		if !kept && w.g.told&told(n) == 0 && !c.replaced(old, next, n) {
			return true
		}
	}
	return false
}

// unnoticed reports whether a link was made or has ended, or a candidate was given
// up, and the record does not owe the host a notice of it.
func unnoticed(old, next *core.Record, by core.EventKind) bool {
	switch {
	case isMade(old, next) && !noticed(next, core.Made, ""):
		return true
	case hasEnded(old, next) && !noticed(next, core.Ended, next.Cause):
		return true
	}
	return by == core.Abandon && !noticed(next, core.Dropped, core.NeverChecked)
}

// isMade reports whether a write makes a link, or another session the link's.
func isMade(old, next *core.Record) bool {
	return next.Phase == core.Linked && (old.Phase != core.Linked || old.Active.ID.Session != next.Active.ID.Session)
}

// hasEnded reports whether a write ends a link, or changes why it has ended.
func hasEnded(old, next *core.Record) bool {
	return next.Phase == core.Relink && (old.Phase != core.Relink || old.Cause != next.Cause)
}

// checkWarning judges a warning that is given now: each is given once for a session.
func (w *world) checkWarning(n *core.Notice) {
	given := uint16(1) << (4*uint8(n.Warning) + number(n.Session))
	if w.g.warned&given != 0 {
		w.violate(WarnedTwice)
	}
	w.g.warned |= given
}

// noticed reports whether the latest notice, or the one before it, is of that.
func noticed(r *core.Record, kind core.NoticeKind, why core.Cause) bool {
	return slices.ContainsFunc(r.Notices, func(n core.Notice) bool { return n.N == r.Noticed && n.Kind == kind && n.Cause == why }) ||
		slices.ContainsFunc(r.Notices, func(n core.Notice) bool { return n.N+1 == r.Noticed && n.Kind == kind && n.Cause == why })
}

// replaced reports whether a new notice takes the place of n, by the rule for that:
// a later warning of an earlier one, and of too many the oldest, of which an end is
// counted.
func (c *setup) replaced(old, next *core.Record, n core.Notice) bool {
	switch {
	case next.Noticed == old.Noticed:
		return false
	case n.Kind == core.EndsSoon && noticed(next, core.EndsSoon, ""):
		return true
	case len(old.Notices) < c.policy.Notices:
		return false
	case n.Kind != core.Ended:
		return true
	}
	ends := 0
	for _, n := range old.Notices {
		if n.Kind == core.Ended {
			ends += 1 + n.Also
		}
	}
	for _, n := range next.Notices {
		switch {
		case n.Kind == core.Ended && n.N <= old.Noticed:
			ends -= 1 + n.Also
		case n.Kind == core.Ended:
			ends -= n.Also
		}
	}
	return ends <= 0
}

// checkTell judges a delivery that begins now: nobody else is at it, unless others
// have seen its claim stand still for long enough.
func (c *setup) checkTell(w *world, i int) {
	p := w.proc[i]
	for j, o := range w.proc {
		if j != i && o.flying && o.e.Kind == core.Notify && o.air != notSent && o.e.Notice.N == p.e.Notice.N && o.stood < stillFor {
			w.violate(ToldAtOnce)
		}
	}
	if p.f.Rec.Telling.Owner != p.f.Teller || c.programs[i].mute {
		w.violate(ToldAtOnce)
	}
}

// checkOrder judges what the host accepts: nothing that it has not had, after what
// followed it.
func (c *setup) checkOrder(w *world, n core.Notice) {
	if w.g.told&told(n) == 0 && w.g.told>>(8*n.N) != 0 && !w.g.wentBack {
		w.violate(ToldLate)
	}
}

// told is the bit of a notice that the host has accepted. A store that goes back gives
// numbers again.
func told(n core.Notice) uint64 { return 1 << (8*(n.N-1) + uint64(n.Kind)) }

// telling is the policy of a host that wants notices.
func telling(most int) core.Policy {
	p := policy
	p.Notices = most
	return p
}

// mute is a program of a process without Notify.
func mute(p program) program {
	p.mute = true
	return p
}

// policyOf is the policy of a process's step. Without Notify it notes what is owed
// only in a row that has had notices.
func (c *setup) policyOf(i int, f *core.Flight, in *core.Input) core.Policy {
	p := c.policy
	if !c.programs[i].mute {
		return p
	}
	r := &f.Rec
	if in.Rec.Version != 0 {
		r = &in.Rec
	}
	if r.Noticed == 0 {
		p.Notices = 0
	}
	return p
}

// owing adds notices to how a world begins.
func owing(begin func(*world), kinds ...core.NoticeKind) func(*world) {
	return func(w *world) {
		begin(w)
		r := &w.row[0]
		for _, kind := range kinds {
			r.Noticed++
			r.Notices = append(r.Notices, core.Notice{N: r.Noticed, Kind: kind, Session: r.Active.ID.Session})
		}
	}
}

// issued adds a session whose pair other code has.
func issued(begin func(*world), session int) func(*world) {
	return func(w *world) {
		if begin != nil {
			begin(w)
		}
		w.ses[session].valid, w.ses[session].coded = 1, true
	}
}

func tend(n uint8) program { return program{goal: core.Tend, flights: n} }

func imports(s string) program {
	return put(core.Event{Kind: core.Import, Session: s, Next: core.Pair{ID: core.PairID{Session: s, Seq: 1}}})
}

// ended begins with a link that only the patient can repair.
func ended(w *world) {
	linked("p1")(w)
	w.row[0].Phase, w.row[0].Cause = core.Relink, sessionEnded
	w.ses[1].dead = true
}

// over begins with a link whose session has ended, and nobody knows.
func over(w *world) {
	linked("p1")(w)
	w.ses[1].dead = true
}

// leftBehind begins with a candidate whose claim nobody pursues any more.
func leftBehind(w *world) {
	candidate(w)
	w.row[0].Claim = "p1"
}

// toReseal begins with a link that a key seals which is to be retired.
func toReseal(w *world) {
	linked("p1")(w)
	w.oldKey = true
}

// tending are the setups of what is done though nobody calls: sweeps, notices,
// imports.
func tending() []*setup {
	unlinks := put(core.Event{Kind: core.Unlink})
	loses := put(core.Event{Kind: core.Lose, Pair: core.PairID{Session: "s1", Seq: 1}, Cause: sessionEnded})
	warns := put(core.Event{Kind: core.Warn, Session: "s1", Warning: core.Early})
	return []*setup{
		{name: "two sweeps, one notice", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(2), tend(2)}, b: budget{unknown: 2, deaf: 1}},
		{name: "two sweeps, notices, crash", policy: telling(3), begin: owing(linked("p1"), core.Ended, core.Made), programs: [3]program{tend(3), tend(3)}, b: budget{crash: 1, unknown: 1}},
		{name: "two sweeps, notices, suspend", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(5), tend(1)}, b: budget{sleep: 1, deaf: 1}},
		{name: "two sweeps, notices, partition", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(5), tend(1)}, b: budget{cut: 1, unlink: 1}},
		{name: "notices and calls", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(2), call(2)}, b: budget{kill: 1, crash: 1}},
		{name: "notices and a process without Notify", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(2), mute(tend(2)), mute(call(1))}, b: budget{kill: 1, unknown: 1}},
		{name: "a sweep without Notify", policy: telling(3), begin: owing(linked("p1"), core.Made), idle: true, programs: [3]program{mute(tend(3)), mute(tend(2)), tend(1)}, b: budget{kill: 1, crash: 1}},
		{name: "too many notices", policy: telling(2), begin: owing(whose(linked("p1"), 2, "p2"), core.Made, core.Dropped), programs: [3]program{call(1), approve("s2", core.Terms{Switch: true}), tend(1)}, b: budget{kill: 1}},
		{name: "too many ends", policy: telling(2), begin: owing(linked("p1"), core.Ended, core.Ended), programs: [3]program{call(2), tend(2)}, b: budget{kill: 1, unknown: 1}},
		{name: "a notice of a later version", policy: telling(3), begin: owing(linked("p1"), core.Dropped+1, core.Made), programs: [3]program{tend(2), call(2), tend(1)}, b: budget{kill: 1, unknown: 1}},
		{name: "late saves of notices", policy: telling(3), begin: owing(linked("p1"), core.Made), programs: [3]program{tend(2), tend(2)}, b: budget{lateSave: 1}},
		{name: "a tombstone that owes notices", policy: telling(3), begin: owing(linked("p1"), core.Ended), old: true, programs: [3]program{tend(2), unlinks, tend(1)}, b: budget{unknown: 1, deaf: 1}},
		{name: "the store goes back, notices", policy: telling(3), begin: owing(linked("p1"), core.Made), keeps: true, programs: [3]program{tend(2), call(1)}, b: budget{back: 1, kill: 1}},
		{name: "the store goes back, two notices of a number", policy: telling(3), begin: over, keeps: true, programs: [3]program{loses, tend(2), warns}, b: budget{back: 1}},
		{name: "unrecognized errors, notices", policy: telling(3), begin: linked("p1"), unknown: true, evidence: core.Evidence{Witnessed: true, Sick: 1}, programs: [3]program{call(3), tend(1)}, b: budget{kill: 1, unknown: 1}},
		{name: "idle links", policy: telling(3), begin: linked("p1"), idle: true, programs: [3]program{tend(2), call(2)}, b: budget{lost: 1, unknown: 1, appWide: 1}},
		{name: "idle links, two sweeps, crash", policy: telling(3), begin: linked("p1"), idle: true, programs: [3]program{tend(2), tend(2)}, b: budget{crash: 1, held: 1}},
		{name: "idle links, wrong clocks", policy: telling(3), begin: linked("p1"), idle: true, skew: true, programs: [3]program{tend(1), call(1)}, b: budget{lost: 1, kill: 1}},
		{name: "sweeps and a lost response", begin: linked("p1"), programs: [3]program{call(1), tend(2)}, b: budget{lost: 1, unread: 1, kill: 1}},
		{name: "sweeps and final tokens", policy: telling(3), begin: linked("p1"), final: 2, programs: [3]program{call(1), tend(2)}, b: budget{unknown: 1}},
		{name: "warnings", policy: telling(4), begin: linked("p1"), ends: true, programs: [3]program{tend(2), tend(1), call(1)}},
		{name: "warnings, wrong clocks", policy: telling(4), begin: linked("p1"), ends: true, skew: true, programs: [3]program{tend(1), call(1)}, b: budget{unknown: 1}},
		{name: "undecided for long", policy: telling(3), begin: candidate, undecided: true, programs: [3]program{tend(2), look(1), approve("s2", plain)}, b: budget{down: 1}},
		{name: "a claim left behind", policy: telling(3), begin: leftBehind, programs: [3]program{tend(5), look(1)}, b: budget{down: 3}},
		{name: "a claim that is not left behind", policy: telling(3), begin: candidate, programs: [3]program{look(1), tend(5), of(1, approve("s2", plain))}, b: budget{down: 1}},
		{name: "sweeps reseal", begin: toReseal, programs: [3]program{tend(1), tend(1), call(1)}, b: budget{unknown: 1}},
		{name: "imports", policy: telling(3), begin: issued(nil, 1), programs: [3]program{imports("s1"), imports("s1"), tend(2)}, b: budget{unknown: 1, down: 1}},
		{name: "two imports", begin: issued(issued(nil, 1), 2), programs: [3]program{imports("s1"), imports("s2"), look(2)}, b: budget{unknown: 1, down: 1}},
		{name: "an import and an authorization", begin: issued(nil, 2), programs: [3]program{approve("s1", plain), imports("s2"), look(1)}, b: budget{unknown: 1, down: 1}},
		{name: "an import where a link is in use", begin: issued(linked("p1"), 2), programs: [3]program{imports("s2"), call(1), look(1)}, b: budget{kill: 1}},
		{name: "an import after a link", policy: telling(3), begin: issued(ended, 2), programs: [3]program{imports("s2"), call(1), tend(1)}, b: budget{lost: 1, unknown: 1}},
		{name: "an import and an unlink", begin: issued(nil, 1), programs: [3]program{imports("s1"), unlinks, look(1)}, b: budget{unknown: 1}},
		{name: "an import of another's patient", begin: other(issued(func(*world) {}, 1), "p1"), programs: [3]program{imports("s1"), look(2), call(1)}, b: budget{down: 1}},
	}
}
