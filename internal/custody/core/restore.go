// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "slices"

// Behind reports whether a store has gone back behind known, a record that a process
// has seen acknowledged: facts are missing that nothing can undo.
func (r *Record) Behind(known Record) bool {
	if known.Version == 0 {
		return false
	}
	m := r.Merged(known)
	return !r.Equal(&m)
}

// Equal reports whether two records are the same, with the same version.
func (r *Record) Equal(o *Record) bool {
	return r.Version == o.Version && r.Phase == o.Phase && r.Cause == o.Cause && r.Active == o.Active && r.Candidate == o.Candidate &&
		r.Terms == o.Terms && r.Public == o.Public && r.Claim == o.Claim && r.Lease == o.Lease && slices.Equal(r.Marks, o.Marks) &&
		r.Unlinks == o.Unlinks && r.Generation == o.Generation && r.equalNotices(o)
}

func (r *Record) equalNotices(o *Record) bool {
	return slices.Equal(r.Notices, o.Notices) && r.Noticed == o.Noticed && r.Telling == o.Telling && r.Warned == o.Warned
}

// Merged adds to a record what known proves: fact by fact, never as a whole row,
// which would erase what others have written since. Pairs are ordered, not versions.
func (r *Record) Merged(known Record) Record {
	m := *r
	for _, k := range known.Marks {
		if k.State == Void && m.mark(k.Session) != k && (m.Holds(k.Session) || m.mark(k.Session).State != 0 || known.Unlinks > m.Unlinks) {
			m.setMark(k)
		}
	}
	if known.Unlinks > m.Unlinks {
		m.Unlinks = known.Unlinks
	}
	m.owe(&known)
	m.readmit(&known)
	m.resettle(&known)
	for _, slot := range []*Pair{&m.Active, &m.Candidate} {
		m.forward(slot, &known)
	}
	m.decide(&known)
	m.dropVoid()
	return m
}

// owe restores the notices that the row has lost. Their numbers only grow.
func (r *Record) owe(known *Record) {
	if known.Noticed <= r.Noticed {
		return
	}
	notices := slices.Clone(r.Notices)
	for _, n := range known.Notices {
		if n.N > r.Noticed {
			notices = append(notices, n)
		}
	}
	r.Notices, r.Noticed = notices, known.Noticed
}

// kept returns what a saved record proves for ever: all but the intent under another
// flight's lease, which its holder may undo.
func (r Record) kept(owner string) Record {
	if r.Lease.Owner != "" && r.Lease.Owner != owner {
		if s := r.Slot(r.Lease.Pair); s != nil && s.Tried > 0 {
			s.Tried--
		}
		r.Lease = Lease{}
	}
	return r
}

// forward brings a slot to the furthest known pair of its session, with the lease
// that covers it.
func (r *Record) forward(slot *Pair, known *Record) {
	for _, k := range []Pair{known.Active, known.Candidate} {
		if k.ID.Session != slot.ID.Session || !further(k, *slot) {
			continue
		}
		*slot = k
		switch l := r.Lease.Pair; {
		case known.Lease.Pair == k.ID:
			r.Lease = known.Lease
		case l.Session == k.ID.Session && l != k.ID:
			r.Lease = Lease{} // of a pair that is spent
		}
		return
	}
}

// further reports whether a is further than b, of the same session. A response that
// is kept unread is later than the presentation that it belongs to, and earlier than
// the one that follows its discarding.
func further(a, b Pair) bool {
	switch {
	case a.ID.IsZero():
		return false
	case a.ID.Seq != b.ID.Seq:
		return a.ID.Seq > b.ID.Seq
	case a.Tried != b.Tried:
		return a.Tried > b.Tried
	}
	return a.Unread && !b.Unread
}

// readmit restores the session that had replaced the row's.
func (r *Record) readmit(known *Record) {
	was, is := r.Active.ID.Session, known.Active.ID.Session
	if was == "" || is == "" || known.mark(was).State != Void || r.Holds(is) || r.mark(is).State == Void {
		return
	}
	r.Active, r.Phase, r.Cause, r.Public, r.Lease = known.Active, known.Phase, known.Cause, known.Public, known.Lease
	r.Generation++
	r.setMark(Mark{Session: is, State: Spent})
}

// resettle restores the pair of a spent code, if the row has it as about to be
// spent, or does not know the authorization.
func (r *Record) resettle(known *Record) {
	for _, k := range []Pair{known.Candidate, known.Active} {
		if !r.lacks(k.ID.Session, known) {
			continue
		}
		if r.Candidate.ID.Session != "" {
			r.void(r.Candidate.ID.Session)
		}
		r.Candidate, r.Terms, r.Claim = k, known.Terms, ""
		r.setMark(Mark{Session: k.ID.Session, State: Spent})
	}
}

// lacks reports whether the row has lost a session that was settled. A row that does
// not know it must be the same link's: a link that was deleted by hand stays
// deleted.
func (r *Record) lacks(session string, known *Record) bool {
	switch {
	case session == "" || r.Holds(session):
		return false
	case r.mark(session).State == 0:
		is := r.Active.ID.Session
		return r.Candidate.ID.IsZero() && r.Unlinks <= known.Unlinks && (known.Holds(is) || is != "" && known.mark(is).State != 0)
	}
	return r.mark(session).State == Open
}

// decide takes over whose the active session is, and what was decided against it.
func (r *Record) decide(known *Record) {
	if r.Active.ID.IsZero() || r.Active.ID.Session != known.Active.ID.Session {
		return
	}
	if r.Public == "" {
		r.Public = known.Public
	}
	if known.Phase == Relink && known.Cause.Decided() {
		r.Phase, r.Cause = Relink, known.Cause
	}
}

func (r *Record) dropVoid() {
	if s := r.Candidate.ID.Session; s != "" && r.mark(s).State == Void {
		r.Candidate, r.Terms, r.Claim = Pair{}, Terms{}, ""
	}
	if s := r.Active.ID.Session; s != "" && r.mark(s).State == Void {
		r.Active, r.Phase, r.Cause, r.Public, r.Lease = Pair{}, Unlinked, "", "", Lease{}
		if !r.Candidate.ID.IsZero() {
			r.Phase = Pending
		}
	}
}
