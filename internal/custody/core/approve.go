// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

// begin reserves the authorization: its code is spent by one visit.
func (f *Flight) begin(p Policy, in *Input) Effect {
	if f.Asked != "" {
		return f.approved(Event{})
	}
	return f.put(p, in, Event{Kind: Reserve, Session: f.Session, Unlinks: f.Unlinks, Owner: f.Owner})
}

// denied handles an authorization that another visit has: the record shows what
// became of it.
func (f *Flight) denied(p Policy, now Facts) Effect {
	f.Ev = Event{}
	switch {
	case f.Rec.Holds(f.Session):
		return f.approved(Event{})
	case f.Rec.mark(f.Session).State != Open:
		return f.done(ApprovalUsed, PairID{})
	case p.VisitFor > 0 && f.Watched >= p.VisitFor:
		return f.done(ApprovalStalled, PairID{})
	}
	f.Watched += now.Here
	return f.wait(atDecide, false)
}

func (f *Flight) exchanged(p Policy, in *Input) Effect {
	e := Event{Session: f.Session, Owner: f.Owner}
	switch in.Outcome {
	case OK:
		e.Kind, e.Next, e.Terms = Settle, in.Next, f.Terms
	case Unsent, AppWide:
		e.Kind, f.After = Release, ApprovalRepeatable
	case Misfit:
		e.Kind, f.After = Forfeit, ApprovalBarred
	default: // the code may be spent: the patient must start again
		e.Kind, f.After = Forfeit, ApprovalFailed
	}
	return f.put(p, in, e)
}

func (f *Flight) verified(p Policy, in *Input) Effect {
	switch in.Ruling {
	case Barred:
		return f.put(p, in, Event{Kind: Refuse, Session: f.Asked})
	case Unknown:
		return f.put(p, in, Event{Kind: Admit, Session: f.Asked})
	}
	f.Whose = in.Patient
	return f.admit(p, in)
}

// admit begins to admit a session whose patient is known. It runs again after a
// conflict: the other writer may have withdrawn the claim, and others then looked
// and saw nobody.
func (f *Flight) admit(p Policy, in *Input) Effect {
	f.At = atVerify
	r := &f.Rec
	e := Event{Kind: Admit, Session: f.Asked, Patient: f.Whose}
	candidate := r.Candidate.ID.Session == f.Asked
	switch {
	case !p.Finds, r.Public == f.Whose, candidate && r.Terms.Share, // admitting it cannot make two users share a patient
		candidate && r.Public != "" && !r.Active.ID.IsZero() && !r.Terms.Switch: // refused in any case
		return f.put(p, in, e)
	}
	// Claim before looking: of two users who claim one patient at the same time, at
	// least one sees the other.
	e.Kind = Claim
	return f.put(p, in, e)
}

func (f *Flight) claimed(p Policy, in *Input, e Event) Effect {
	switch {
	case e.Patient != "":
		f.At = atFind
		return Effect{Kind: Find, Patient: e.Patient}
	case f.Goal == Approve:
		return f.approved(e)
	}
	return f.decide(p, in)
}

// found decides on the other users of the patient. One who is linked settles it. One
// who has only claimed may still withdraw, so the session waits; of the two, one
// yields.
func (f *Flight) found(p Policy, in *Input) Effect {
	switch {
	case in.Claimed && !in.Shared && in.Yield:
		return f.put(p, in, Event{Kind: Claim, Session: f.Asked})
	case in.Claimed && !in.Shared && f.Goal == Approve:
		return f.approved(Event{})
	case in.Claimed && !in.Shared:
		return f.decide(p, in)
	}
	return f.put(p, in, Event{Kind: Admit, Session: f.Asked, Patient: f.Whose, Shared: in.Shared})
}

// approved reports to the caller what the record holds of its session, after e.
func (f *Flight) approved(e Event) Effect {
	switch r := &f.Rec; {
	case r.Active.ID.Session == f.Session:
		return f.inUse()
	case r.Candidate.ID.Session == f.Session && (r.Active.ID.IsZero() || r.Phase == Relink):
		return f.done(LinkWaiting, PairID{})
	case r.Candidate.ID.Session == f.Session:
		return f.done(LinkUnchecked, PairID{})
	case e.Kind == Refuse:
		return f.done(ApprovalBarred, PairID{})
	case r.Unlinks > f.Unlinks:
		return f.done(ApprovalUnlinked, PairID{})
	case e.Kind == Admit && e.Shared:
		return f.done(ApprovalShared, PairID{})
	case e.Kind == Admit && f.other():
		return f.done(ApprovalOther, PairID{})
	}
	return f.done(ApprovalOvertaken, PairID{})
}

// inUse handles a session that is active, and may have been decided against since.
func (f *Flight) inUse() Effect {
	switch r := &f.Rec; {
	case r.Phase == Relink && r.Cause == Shared:
		return f.done(ApprovalShared, PairID{})
	case r.Phase == Relink && r.Cause == WrongPatient:
		return f.done(ApprovalBarred, PairID{})
	default:
		return f.done(LinkMade, r.Active.ID)
	}
}

// other reports whether the session belongs to another patient than the link, and
// may not replace it.
func (f *Flight) other() bool {
	return f.Whose != "" && f.Rec.Public != "" && f.Rec.Public != f.Whose && !f.Terms.Switch
}
