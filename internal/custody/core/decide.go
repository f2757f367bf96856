// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

// decide reads a fresh record and picks the next step: it repairs a row that is
// behind, checks an unchecked session, serves a token that serves, and otherwise
// refreshes.
func (f *Flight) decide(p Policy, in *Input) Effect {
	f.At = atDecide
	if f.Goal == Approve {
		return f.begin(p, in)
	}
	in.Facts.ActiveOver = in.Facts.ActiveOver && f.Rec.Active.ID != f.Bought
	in.Facts.CandidateOver = in.Facts.CandidateOver && f.Rec.Candidate.ID != f.Bought
	if e, ok := f.repair(in.Facts); ok {
		return f.put(p, in, e)
	}
	switch r := &f.Rec; {
	case f.Goal == Tend:
		return f.tend(p, in)
	case r.Phase == Unlinked, r.Active.ID.IsZero() && r.Candidate.ID.IsZero():
		return f.done(NoLink, PairID{})
	case f.behind():
		return f.done(LaterBehind, PairID{}) // its successor was seen: presenting it ends the session
	case f.checks(in.Facts):
		return f.check(p, in)
	}
	return f.serve(p, in)
}

// behind reports whether nothing but waiting is left because the successor of the
// active pair was seen. A link that has ended is reported as such by all processes.
func (f *Flight) behind() bool { return f.Rec.Phase != Relink && f.outdated() }

// outdated reports whether the successor of the active pair was seen.
func (f *Flight) outdated() bool {
	return f.Newest.Session == f.Rec.Active.ID.Session && f.Newest.Seq > f.Rec.Active.ID.Seq
}

// repair returns the event that a record needs before anything else.
func (f *Flight) repair(now Facts) (Event, bool) {
	r := &f.Rec
	switch {
	case r.Version != 0 && r.Behind(f.Kept):
		known := f.Kept
		return Event{Kind: Restore, Known: &known}, true
	case now.Unsent && r.Lease.Owner != "" && r.Lease.Owner != f.Owner:
		// Its save was reported as failed, but landed.
		return Event{Kind: NotSpent, Owner: r.Lease.Owner, Pair: r.Lease.Pair}, true
	case !now.ParsedFrom.IsZero() && r.Slot(now.ParsedFrom) != nil && r.Slot(now.ParsedFrom).Unread:
		return Event{Kind: Successor, Pair: now.ParsedFrom, Next: now.Parsed}, true
	case f.dead(now):
		return Event{Kind: Abandon, Session: r.Candidate.ID.Session}, true
	}
	return Event{}, false
}

// dead reports whether the candidate expired unchecked and nothing can renew it.
func (f *Flight) dead(now Facts) bool {
	c := &f.Rec.Candidate
	return !c.ID.IsZero() && (c.Final || c.Unread) && now.CandidateOver
}

// checks reports whether this flight checks a session now. A call does so only where
// no link works: a slow check must not hold up a patient whose link does.
func (f *Flight) checks(now Facts) bool {
	r := &f.Rec
	works := r.Phase == Linked && !r.Active.ID.IsZero()
	switch {
	case now.Tired || f.Goal == Warm || f.Goal == Call && works:
		return false
	case f.candidateWaits(now):
		return true
	}
	return (f.Goal == Look || f.Goal == Tend) && works && r.Public == "" && f.Asked != r.Active.ID.Session && !now.ActiveOver
}

// candidateWaits reports whether there is a candidate to check that this flight did
// not check yet.
func (f *Flight) candidateWaits(now Facts) bool {
	c := &f.Rec.Candidate
	return !c.ID.IsZero() && f.Asked != c.ID.Session && (!now.CandidateOver || !c.Unread && f.After == 0)
}

func (f *Flight) check(p Policy, in *Input) Effect {
	switch {
	case !f.candidateWaits(in.Facts):
		return f.ask(f.Rec.Active.ID)
	case in.Facts.CandidateOver:
		return f.refresh(p, in, f.Rec.Candidate, true)
	}
	return f.ask(f.Rec.Candidate.ID)
}

// ask finds out whose a session is, once per flight.
func (f *Flight) ask(id PairID) Effect {
	f.At, f.Asked, f.Whose = atVerify, id.Session, ""
	return Effect{Kind: Verify, Pair: id}
}

func (f *Flight) serve(p Policy, in *Input) Effect {
	r, now := &f.Rec, in.Facts
	over := now.ActiveOver
	switch {
	case r.Phase == Relink:
		return f.ended(p, in)
	case r.Active.ID.IsZero():
		return f.later(f.because(LaterUnchecked), 0)
	case f.Goal == Look:
		return f.done(Looked, PairID{})
	case !over && f.serves(now):
		e := f.done(Token, r.Active.ID)
		e.Look = r.Public == "" || !r.Candidate.ID.IsZero()
		return e
	case r.Active.Final && over:
		return f.put(p, in, Event{Kind: Lose, Pair: r.Active.ID, Cause: FinalTokenExpired})
	case r.Active.Final:
		return f.done(LaterRejected, PairID{})
	case f.Rejected && now.Replaced:
		return f.done(LaterReplaced, PairID{})
	}
	return f.refresh(p, in, r.Active, over)
}

// serves reports whether a token that has not expired is what this flight is for.
func (f *Flight) serves(now Facts) bool {
	early := f.Goal == Warm && now.Due && f.After == 0 && !f.Rec.Active.Final
	return !f.Rejected && !early
}

// ended handles a link that has ended, unless an authorization waits or the verdict
// is provisional and due for another look.
func (f *Flight) ended(p Policy, in *Input) Effect {
	r := &f.Rec
	switch {
	case !r.Candidate.ID.IsZero() && (!in.Facts.CandidateOver || !r.Candidate.Unread):
		return f.later(f.because(LaterUnchecked), 0)
	case r.Cause == RefusedUnclear && f.Goal == Call && f.After == 0 && !r.Active.Final && !f.outdated() && f.Sight.unclearDue(p, r.Active):
		return f.refresh(p, in, r.Active, true)
	}
	return f.done(LostNow, PairID{})
}

// because returns why this flight has no token: its own reason, or the record's.
func (f *Flight) because(r Result) Result {
	if f.After != 0 {
		return f.After
	}
	return r
}

// held reports whether another flight may be presenting a token: it has the lease,
// and this process has not watched it stand still for long enough.
func (f *Flight) held(p Policy, now Facts) bool {
	l := f.Rec.Lease
	if l.Owner == "" || l.Owner == f.Owner || now.Ours {
		return false
	}
	seen := f.Sight.Lease.seenFor(l)
	if now.Stale {
		return seen < p.TTL/2 // or this clock is more than a day ahead, and misses beats
	}
	return seen < p.patience(l)
}

// refresh presents a pair's refresh token, if it may. over means that the access
// token has expired, so that nothing is left to lose.
func (f *Flight) refresh(p Policy, in *Input, s Pair, over bool) Effect {
	now := in.Facts
	switch {
	case f.After != 0:
		return f.later(f.After, 0) // one presentation a flight
	case f.held(p, now):
		return f.watch(p, now)
	case s.Unread && over && s.ID == f.Rec.Active.ID:
		return f.put(p, in, Event{Kind: Unusable, Pair: s.ID})
	case s.Unread:
		return f.done(LaterUnread, PairID{})
	case s.Tried > 0 && !now.Forgiven && (f.Goal == Warm || !over):
		return f.done(LaterUncertain, PairID{}) // nor is a 401 a reason: something is left to lose
	case now.Wary: // even a pair that this process saved may have been presented by another since
		return f.done(LaterWary, PairID{})
	}
	if wait := p.replayWait(s.Tried) - f.Sight.Tried.seenFor(Count{s.ID, s.Tried}); wait > 0 {
		return f.later(LaterUncertain, wait)
	}
	if wait := f.Sight.unclearLeft(p, s); wait > 0 {
		return f.later(LaterUnclear, wait)
	}
	f.At, f.Pair, f.Over = atEnter, s.ID, over
	return Effect{Kind: Enter, Pair: s.ID}
}

// watch waits for another flight, which may be another process's.
func (f *Flight) watch(p Policy, now Facts) Effect {
	if f.Goal != Call || p.WatchFor > 0 && f.Watched >= p.WatchFor {
		return f.done(LaterElsewhere, PairID{})
	}
	f.Watched += now.Here
	return f.wait(atDecide, false)
}

func (f *Flight) entered(p Policy, in *Input) Effect {
	switch {
	case !in.Open && f.Goal == Tend:
		f.After = LaterHeld
		return f.tell(p, in)
	case !in.Open:
		return f.later(LaterHeld, in.Wait)
	}
	f.Owner = in.Nonce
	return f.put(p, in, Event{Kind: Acquire, Owner: f.Owner, Pair: f.Pair, TTL: p.TTL})
}

// answered turns the token endpoint's response to a code or a refresh token into its
// event.
func (f *Flight) answered(p Policy, in *Input) Effect {
	if in.Rec.Version != 0 {
		f.Rec, f.Kept = in.Rec, in.Rec.kept(f.Owner) // beats have changed it
	}
	if f.At == atExchange {
		return f.exchanged(p, in)
	}
	return f.refreshed(p, in)
}

func (f *Flight) refreshed(p Policy, in *Input) Effect {
	e := Event{Owner: f.Owner, Pair: f.Pair, Next: in.Next, Cause: in.Cause, Witnessed: in.Witnessed, Few: in.Few(), Warning: in.Facts.Ends}
	switch in.Meaning(in.Outcome) {
	case OK:
		e.Kind = Successor
	case Rejected:
		e.Kind = Reject
	case Unclear:
		e.Kind, f.After = Refused, LaterUnclear
		f.Sight.refused(f.Pair)
	case AppWide:
		e.Kind, f.After = NotSpent, LaterAppWide
	case Unsent:
		if f.Sends < maxSends {
			f.Sends++ // nothing left the process, so the same intent covers another try
			return Effect{Kind: Post, Pair: f.Pair, Long: true}
		}
		e.Kind, f.After = NotSpent, LaterUnsent
	case Unread:
		e.Kind, f.After = Unreadable, LaterUnread
	default:
		e.Kind, f.After = Ambiguous, LaterUncertain
	}
	return f.put(p, in, e)
}
