// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import "github.com/betawerk/pkb-go/internal/custody/core"

// Which rows of the table a flight meets is invisible from outside where it writes
// nothing. The functions below predict what it is about to apply.

func (c *setup) reached(r core.Record, e core.Event) {
	if i := c.policy.Row(r, e); i >= 0 {
		c.rows[i]++
	}
}

// base is the record to which a flight applies an event.
func base(f *core.Flight, r *core.Record) core.Record {
	if f.Ev.Kind != core.Restore && r.Version != 0 && r.Behind(f.Kept) {
		return r.Merged(f.Kept)
	}
	return *r
}

func (c *setup) reachedByEffect(p *proc) {
	if (p.e.Kind == core.Save || p.e.Kind == core.Delete) && p.f.Ev.Kind != 0 {
		c.reached(base(&p.f, &p.f.Rec), p.f.Ev)
	}
}

// silent counts what writes nothing: the rest is counted by its effect.
func (c *setup) silent(p *proc, r *core.Record, e core.Event) {
	b := base(&p.f, r)
	if i := c.policy.Row(b, e); i >= 0 && core.Table[i].Verdict() != core.Write && core.Table[i].Verdict() != core.Remove {
		c.rows[i]++
	}
}

func (c *setup) reachedOnLoad(p *proc, r *core.Record) {
	switch {
	case p.f.Ev.Kind == core.Acquire && r.Lease.Owner != p.f.Owner:
	case p.f.Ev.Kind != 0:
		c.silent(p, r, p.f.Ev)
	case p.f.Goal == core.Approve && p.f.Asked == "":
		c.silent(p, r, core.Event{Kind: core.Reserve, Session: p.f.Session, Unlinks: p.f.Unlinks, Owner: p.f.Owner})
	}
}

func (c *setup) reachedOnVerified(p *proc, in core.Input) {
	kinds := []core.EventKind{core.Admit, core.Claim}
	if in.Ruling == core.Barred {
		kinds = []core.EventKind{core.Refuse}
	}
	for _, k := range kinds {
		c.silent(p, &p.f.Rec, core.Event{Kind: k, Session: p.f.Asked, Patient: in.Patient})
	}
}

func (c *setup) reachedOnFound(p *proc, in core.Input) {
	if in.Claimed && !in.Shared {
		return
	}
	c.silent(p, &p.f.Rec, core.Event{Kind: core.Admit, Session: p.f.Asked, Patient: p.f.Whose, Shared: in.Shared})
}

func (c *setup) reachedOnAnswered(p *proc, in core.Input) {
	if in.Outcome == core.OK && p.e.Kind == core.Post {
		c.silent(p, &p.f.Rec, core.Event{Kind: core.Successor, Owner: p.f.Owner, Pair: p.f.Pair, Next: in.Next})
	}
}
