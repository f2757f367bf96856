// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import "github.com/betawerk/pkb-go/internal/custody/core"

// rest judges a world in which nothing can happen any more: a later call, with no
// faults left, must return a token, or that there is no link, or that only the
// patient can repair it.
func (c *setup) rest(w *world) (Rule, []move) {
	if w.underWay() {
		return Stuck, nil
	}
	if w.row[0].Phase == core.None {
		return 0, nil
	}
	last := core.Result(0)
	after, ok := c.calls(*w, program{goal: core.Call}, 8, func(res core.Result, _ *world) bool {
		last = res
		return res == core.Token || res == core.NoLink || res == core.LostNow
	})
	switch {
	case !ok:
		return Limbo, []move{{verb: endsIn, arg: uint8(last)}}
	case last != core.Token && c.unrestored(w):
		return NotRestored, []move{{verb: endsIn, arg: uint8(last)}}
	case c.forgotten(w):
		return NotRestored, nil
	}
	_, ok = c.calls(after, program{goal: core.Look}, 6, func(res core.Result, now *world) bool {
		last = res
		return now.noneWaits(w.row[1].Claim)
	})
	if !ok {
		return Limbo, []move{{verb: staysCandidate, arg: uint8(last)}}
	}
	_, ok = c.calls(*w, program{goal: core.Tend}, 8, func(_ core.Result, now *world) bool { return now.allTold() })
	if !ok {
		return NoticeLost, nil
	}
	return 0, nil
}

// unrestored reports whether a live process knows, after the store went back, the
// pair that makes the link work: calls must return its token.
func (c *setup) unrestored(w *world) bool {
	r := &w.row[0]
	return w.g.wentBack && r.Phase == core.Linked && !w.ses[number(r.Active.ID.Session)].dead && c.knows(w, r.Active.ID)
}

// noneWaits reports whether no candidate waits that looks can decide: none whose
// response is unread, or whose patient the other user claims.
func (w *world) noneWaits(claim string) bool {
	p := &w.row[0].Candidate
	return p.ID.IsZero() || p.Unread || claim == w.ses[number(p.ID.Session)].patient
}

// allTold reports whether the host has had every notice that this version knows;
// others are left to a later one.
func (w *world) allTold() bool {
	owed := w.row[0].Notices
	return len(owed) == 0 || !owed[0].Kind.Known()
}

// forgotten reports whether a live process knows of a working session that the row
// has lost.
func (c *setup) forgotten(w *world) bool {
	r := &w.row[0]
	if !w.g.wentBack || !r.Candidate.ID.IsZero() {
		return false
	}
	for i, p := range w.proc {
		if c.programs[i].user != 0 {
			continue
		}
		var known []core.PairID
		if !r.Active.ID.IsZero() || len(r.Marks) > 0 { // or it is another row
			known = append(known, p.kept.Candidate.ID)
		}
		if p.kept.Phase == core.Linked && r.Active.ID.IsZero() {
			known = append(known, p.kept.Active.ID)
		}
		for _, id := range known {
			if !r.Holds(id.Session) && c.works(w, id) {
				return true
			}
		}
	}
	return false
}

// works reports whether the server accepts a pair of a session that nothing was
// decided against.
func (c *setup) works(w *world, id core.PairID) bool {
	ses := &w.ses[number(id.Session)]
	over := (w.g.void | w.g.refused | w.g.ended | w.g.replaced) & bit(id.Session)
	return !id.IsZero() && over == 0 && !ses.dead && uint64(ses.valid) == id.Seq
}

// calls runs flights of a new process one after the other, without faults, until one
// satisfies enough.
func (c *setup) calls(w world, g program, times int, enough func(core.Result, *world) bool) (world, bool) {
	well := *c
	well.skew, well.stale, well.pace, well.idle, well.ends, well.undecided, well.old = false, false, false, false, false, false, false
	well.evidence = core.Evidence{Witnessed: true}
	well.programs[0] = g
	var result core.Result
	well.results = func(_ int, e core.Effect) { result = e.Result }
	w.b = budget{}
	w.proc[0] = &proc{}
	for range times {
		w.activeOver, w.candidateOver, result = true, true, 0
		w.own(0).left = 1
		for n := 0; result == 0; n++ {
			if n > 100 {
				return w, false
			}
			var moved *world
			well.process(&w, 0, func(next *world, _ move) {
				if moved == nil {
					moved = next
				}
			})
			if moved == nil {
				return w, false
			}
			w = *moved
		}
		if enough(result, &w) {
			return w, true
		}
	}
	return w, false
}
