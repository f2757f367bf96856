// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "slices"

// The conditions of the table.

func always(Policy, *Record, *Event) bool { return true }

// unlinkedSince: an authorization that began before an unlink must not bring the
// link back, even if the unlink was written while it ran.
func unlinkedSince(_ Policy, r *Record, e *Event) bool {
	return r.Unlinks > e.Unlinks && !r.Holds(e.Session)
}

func markUnknown(_ Policy, r *Record, e *Event) bool { return r.mark(e.Session).State == 0 }

func markMine(_ Policy, r *Record, e *Event) bool {
	m := r.mark(e.Session)
	return m.State == Open && m.By == e.Owner
}

func sessionHeld(_ Policy, r *Record, e *Event) bool { return r.Holds(e.Session) }

func claimSame(_ Policy, r *Record, e *Event) bool {
	return r.Holds(e.Session) && r.Claim == e.Patient
}

func isActive(_ Policy, r *Record, e *Event) bool {
	return e.Session != "" && r.Active.ID.Session == e.Session
}

func activeSame(p Policy, r *Record, e *Event) bool {
	return isActive(p, r, e) && (e.Patient == "" || r.Public == e.Patient)
}

func activeOther(p Policy, r *Record, e *Event) bool { return isActive(p, r, e) && r.Public != "" }

func activeShared(p Policy, r *Record, e *Event) bool { return isActive(p, r, e) && e.Shared }

func activeUndecided(p Policy, r *Record, e *Event) bool {
	return isActive(p, r, e) && r.Public == "" && (r.Phase != Relink || !r.Cause.Decided())
}

func isCandidate(_ Policy, r *Record, e *Event) bool {
	return e.Session != "" && r.Candidate.ID.Session == e.Session
}

func mustWait(p Policy, r *Record, e *Event) bool {
	return isCandidate(p, r, e) && e.Patient == "" && (p.VerifyFirst || !r.Active.ID.IsZero())
}

// unwelcome is the only place that compares the session's patient with the link's.
func unwelcome(p Policy, r *Record, e *Event) bool {
	other := !r.Active.ID.IsZero() && r.Public != "" && r.Public != e.Patient
	return isCandidate(p, r, e) && (e.Shared && !r.Terms.Share || other && !r.Terms.Switch)
}

func leaseMine(_ Policy, r *Record, e *Event) bool {
	return e.Owner != "" && r.Lease.Owner == e.Owner
}

func pairHeld(_ Policy, r *Record, e *Event) bool { return r.Slot(e.Pair) != nil }

func mineHeld(p Policy, r *Record, e *Event) bool { return leaseMine(p, r, e) && pairHeld(p, r, e) }

// presentable leaves it to the flight, which has watched, whether the lease is free.
func presentable(_ Policy, r *Record, e *Event) bool {
	s := r.Slot(e.Pair)
	return s != nil && !s.Unread && !s.Final
}

// acquired: between a save of the lease that landed and the look for it, another
// presentation of the pair may have ended, whose holder had been taken for dead.
func acquired(p Policy, r *Record, e *Event) bool { return leaseMine(p, r, e) && presentable(p, r, e) }

func nextHeld(_ Policy, r *Record, e *Event) bool { return r.Slot(e.Next.ID) != nil }

func revives(_ Policy, r *Record, e *Event) bool {
	return r.Active.ID == e.Pair && !e.Pair.IsZero() && r.Phase == Relink && !r.Cause.Decided()
}

// unclearLimit: six witnessed refusals end a link, and only while the server serves
// nearly everybody else.
func unclearLimit(p Policy, r *Record, e *Event) bool {
	return mineHeld(p, r, e) && e.Witnessed && e.Few && r.Slot(e.Pair).Unclear+1 >= p.UnclearLimit
}

func replayed(p Policy, r *Record, e *Event) bool {
	return mineHeld(p, r, e) && r.Slot(e.Pair).Tried > 1
}

func activeLinked(_ Policy, r *Record, e *Event) bool {
	return r.Phase == Linked && !e.Pair.IsZero() && r.Active.ID == e.Pair
}

func unusable(p Policy, r *Record, e *Event) bool { return activeLinked(p, r, e) && r.Active.Unread }

func heldUnread(p Policy, r *Record, e *Event) bool {
	return pairHeld(p, r, e) && r.Slot(e.Pair).Unread
}

func isUnlinked(_ Policy, r *Record, _ *Event) bool { return r.Phase == Unlinked }

func isBehind(_ Policy, r *Record, e *Event) bool { return e.Known != nil && r.Behind(*e.Known) }

func hasPairs(_ Policy, r *Record, _ *Event) bool {
	return !r.Active.ID.IsZero() || !r.Candidate.ID.IsZero()
}

func forgettable(p Policy, r *Record, e *Event) bool {
	return e.Old && !hasPairs(p, r, e) && len(r.Notices) == 0
}

// importable: an import takes the place of nothing that works or waits, and no pair
// is imported twice.
func importable(p Policy, r *Record, e *Event) bool {
	inUse := r.Phase == Linked || !r.Candidate.ID.IsZero()
	return !inUse && markUnknown(p, r, e) && !unlinkedSince(p, r, e)
}

func isRow(_ Policy, r *Record, _ *Event) bool { return r.Phase != None }

// What the rows write.

func nothing(*Record, *Event) {}

func openMark(r *Record, e *Event) {
	if r.Phase == None || r.Phase == Unlinked {
		r.Phase = Pending
	}
	r.setMark(Mark{Session: e.Session, By: e.Owner, State: Open})
}

func removeMark(r *Record, e *Event) { r.setMark(Mark{Session: e.Session}) }

func spendMark(r *Record, e *Event) { r.setMark(Mark{Session: e.Session, State: Spent}) }

// settle never touches the active pair. An earlier candidate is replaced.
func settle(r *Record, e *Event) {
	if r.Candidate.ID.Session != "" {
		r.void(r.Candidate.ID.Session)
	}
	spendMark(r, e)
	r.Candidate, r.Terms, r.Claim = e.Next, e.Terms, ""
}

func claim(r *Record, e *Event) { r.Claim = e.Patient }

func endShared(r *Record, _ *Event) { r.Phase, r.Cause, r.Claim = Relink, Shared, "" }

func endWrong(r *Record, _ *Event) { r.Phase, r.Cause, r.Claim = Relink, WrongPatient, "" }

func fixPatient(r *Record, e *Event) { r.Public, r.Claim = e.Patient, "" }

func dropCandidate(r *Record, _ *Event) { r.drop() }

func admit(r *Record, e *Event) {
	if was := r.Active.ID.Session; was != e.Session {
		r.void(was)
	}
	r.Active, r.Phase, r.Cause, r.Public = r.Candidate, Linked, "", e.Patient
	r.Candidate, r.Terms, r.Claim = Pair{}, Terms{}, ""
	r.Generation++
}

// acquire takes the lease and records the intent, in one write.
func acquire(r *Record, e *Event) {
	r.Lease = Lease{Owner: e.Owner, TTL: e.TTL, Pair: e.Pair}
	r.Slot(e.Pair).Tried++
}

func beat(r *Record, _ *Event) { r.Lease.Beat++ }

func release(r *Record, e *Event) {
	if r.Lease.Owner == e.Owner {
		r.Lease = Lease{}
	}
}

// replace puts the successor in the place of the pair that it was bought with,
// whoever holds the lease now: the response is real.
func replace(r *Record, e *Event) {
	if r.Active.ID == e.Pair {
		r.Generation++
	}
	*r.Slot(e.Pair) = e.Next
	release(r, e)
}

func revive(r *Record, e *Event) {
	r.Phase, r.Cause = Linked, ""
	replace(r, e)
}

func unsend(r *Record, e *Event) {
	r.Slot(e.Pair).Tried--
	release(r, e)
}

// refused undoes the intent: a refusal hands out no successor.
func refused(r *Record, e *Event) {
	if e.Witnessed {
		r.Slot(e.Pair).Unclear++
	}
	unsend(r, e)
}

func endUnclear(r *Record, e *Event) {
	refused(r, e)
	r.lost(e.Pair, RefusedUnclear)
}

func keepUnread(r *Record, e *Event) {
	r.Slot(e.Pair).Unread = true
	release(r, e)
}

func reject(r *Record, e *Event) {
	release(r, e)
	r.lost(e.Pair, e.Cause)
}

func endUnknown(r *Record, e *Event) {
	release(r, e)
	r.lost(e.Pair, OutcomeUnknown)
}

func endUnreadable(r *Record, e *Event) { r.lost(e.Pair, ResponseUnreadable) }

func lose(r *Record, e *Event) { r.lost(e.Pair, e.Cause) }

func takeIn(r *Record, e *Event) {
	if r.Phase == None || r.Phase == Unlinked {
		r.Phase = Pending
	}
	settle(r, e)
}

// unlink keeps only what prevents the link from coming back, and what the host is
// still to be told.
func unlink(r *Record, _ *Event) {
	n := Record{
		Version: r.Version, Phase: Unlinked, Unlinks: r.Unlinks + 1, Generation: r.Generation, Marks: slices.Clone(r.Marks),
		Notices: r.Notices, Noticed: r.Noticed, Telling: r.Telling,
	}
	for i := range n.Marks {
		n.Marks[i].State, n.Marks[i].By = Void, ""
	}
	n.void(r.Active.ID.Session)
	n.void(r.Candidate.ID.Session)
	*r = n
}

// discard gives up a response that cannot be read. The pair was presented, so it
// stays uncertain. Tried grows, so that the row is further than the one before the
// response.
func discard(r *Record, e *Event) {
	s := r.Slot(e.Pair)
	s.Unread = false
	s.Tried++
	if r.Active.ID == e.Pair && r.Phase == Relink && r.Cause == ResponseUnreadable {
		r.Phase, r.Cause = Linked, ""
	}
}

func restore(r *Record, e *Event) { *r = r.Merged(*e.Known) }
