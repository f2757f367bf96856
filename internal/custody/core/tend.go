// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

// tend does one thing after the other that a record needs though nobody calls: what
// is to be written, what is to be checked, a refresh by the rules of every refresh,
// and last what the host is to be told.
func (f *Flight) tend(p Policy, in *Input) Effect {
	if f.Rec.Version == 0 {
		return f.done(NoLink, PairID{})
	}
	if e, ok := f.chore(p, in.Facts); ok {
		return f.put(p, in, e)
	}
	before := *f
	var e Effect
	switch {
	case f.checks(in.Facts):
		e = f.check(p, in)
	case f.renews(in.Facts):
		e = f.refresh(p, in, f.Rec.Active, in.Facts.ActiveOver)
	default:
		return f.tell(p, in)
	}
	if e.Kind != Done {
		return e
	}
	*f = before
	f.After = e.Result // not now; the host can be told all the same
	return f.tell(p, in)
}

// chore returns a single event that is due.
func (f *Flight) chore(p Policy, now Facts) (Event, bool) {
	r := &f.Rec
	forget := Event{Kind: Forget, Old: now.Old}
	switch {
	case forgettable(p, r, &forget):
		return forget, true
	case now.Undecided && !r.Candidate.ID.IsZero():
		return Event{Kind: Abandon, Session: r.Candidate.ID.Session}, true
	case r.Phase == Linked && r.Active.Final && now.ActiveOver:
		return Event{Kind: Lose, Pair: r.Active.ID, Cause: FinalTokenExpired}, true
	case r.Phase == Linked && now.Ends > r.warned():
		return Event{Kind: Warn, Session: r.Active.ID.Session, Warning: now.Ends}, true
	case f.claimStuck(p):
		return Event{Kind: Claim, Session: f.Asked}, r.Holds(f.Asked)
	case now.OldKey && hasPairs(p, r, nil):
		return Event{Kind: Reseal}, true
	}
	return Event{}, false
}

// claimStuck reports whether whoever claimed the patient is gone, and it cannot be
// settled now.
func (f *Flight) claimStuck(p Policy) bool {
	claim := f.Rec.Claim
	return claim != "" && f.Asked != "" && f.Sight.Claim.seenFor(claim) >= p.patience(Lease{})
}

// renews reports whether a sweep refreshes the active pair: because it is older than
// the host wants, or because it is not known whether the link still works.
func (f *Flight) renews(now Facts) bool {
	a := &f.Rec.Active
	doubtful := now.ActiveOver && (a.Tried > 0 || a.Unread || now.Ended)
	return f.Rec.Phase == Linked && !a.ID.IsZero() && !a.Final && !f.behind() && f.Bought.IsZero() && f.After == 0 && (now.Idle || doubtful)
}

// turn is whose the first notice is to deliver.
type turn uint8

const (
	nobodys    turn = iota // there is none, or this process delivers none
	anothers               // another process may be delivering it
	laterKnown             // a later version knows its kind
	thisFlights
)

func (f *Flight) turn(p Policy) turn {
	r := &f.Rec
	switch {
	case p.Notices == 0 || len(r.Notices) == 0:
		return nobodys
	case r.Telling.Owner != "" && r.owed(r.Telling.Notice) && f.Sight.Telling.seenFor(r.Telling) < p.patience(Lease{}):
		return anothers
	case !r.Notices[0].Kind.Known():
		return laterKnown
	}
	return thisFlights
}

// tell delivers the first notice, if that is this flight's to deliver and the host has
// not just refused one.
func (f *Flight) tell(p Policy, in *Input) Effect {
	r := &f.Rec
	f.At = atDecide
	switch turn := f.turn(p); {
	case turn == thisFlights && !f.Unheard:
		return f.put(p, in, Event{Kind: ClaimNotice, Notice: r.Notices[0], Owner: f.Teller, Instead: r.Telling.Owner})
	case turn == anothers:
		return f.done(LaterElsewhere, PairID{})
	case f.After == LaterHeld || f.After == LaterElsewhere: // that ends soon, or for all links at once
		return f.done(f.After, PairID{})
	case turn == laterKnown && !in.Facts.Full: // it stays due, for the version that knows the kind
		return f.done(Swept, PairID{})
	case in.Facts.Owing && !f.Left:
		f.Left = true
		return f.put(p, in, Event{Kind: Postpone})
	}
	return f.done(Swept, PairID{})
}

// notify delivers the notice that is claimed.
func (f *Flight) notify(p Policy, in *Input) Effect {
	r := &f.Rec
	if len(r.Notices) == 0 || r.Notices[0].N != r.Telling.Notice {
		return f.decide(p, in)
	}
	f.At = atNotify
	return Effect{Kind: Notify, Notice: r.Notices[0]}
}

func (f *Flight) notified(p Policy, in *Input) Effect {
	e := Event{Kind: Delivered, Notice: f.Rec.Notices[0], Owner: f.Teller}
	if !in.Heard {
		e.Kind, f.Unheard = Returned, true
	}
	return f.put(p, in, e)
}
