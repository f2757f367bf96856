// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package core

import "slices"

// NoticeKind is what the host is told, even if the process that learned it is gone.
type NoticeKind uint8

// The kinds of notices.
const (
	Made     NoticeKind = iota + 1 // a link was made, or works again
	Ended                          // only the patient can repair the link; Cause is why
	EndsSoon                       // the session is about to end
	Dropped                        // an authorization that waited was given up; Cause is why
)

// Known reports whether this version knows the kind. A notice of another kind is left
// to the version that wrote it, and so is what follows it, or the host would be told
// in the wrong order.
func (k NoticeKind) Known() bool { return k >= Made && k <= Dropped }

func (k NoticeKind) String() string {
	if !k.Known() {
		return "of a later version"
	}
	return [...]string{"", "made", "ended", "ends soon", "dropped"}[k]
}

// Warning is how near the end of a session is.
type Warning uint8

// A session's end is announced twice.
const (
	Early Warning = iota + 1
	Late
)

// Notice is owed to the host until the host has accepted it.
type Notice struct {
	N       uint64 // its number in the record, given again only if the store has lost it
	Kind    NoticeKind
	Cause   Cause
	Session string // that it is about
	Warning Warning
	// Tries is how often the host did not accept it.
	Tries int
	// Also is how many earlier ends it stands for.
	Also int
}

// is reports whether two are the same, however often the host has not accepted it. A
// store that has gone back gives a number again, and a delivery from before that clears
// nothing else.
func (n Notice) is(o Notice) bool {
	n.Tries, n.Also = o.Tries, o.Also
	return n == o
}

// Telling is the right to deliver a notice. Others measure how long it has stood
// still, as they do with a lease.
type Telling struct {
	Owner  string // a nonce of one sweep of a record
	Notice uint64
}

// Warned is the latest warning of a session's end.
type Warned struct {
	Session string
	Level   Warning
}

// notice adds what the host must be told of a write, to the same write.
func (p Policy) notice(was, r *Record, e *Event) {
	if e.Kind == Restore {
		return // the notices of what is restored are restored with it
	}
	s := r.Active.ID.Session
	switch {
	case r.Phase == Relink && (was.Phase != Relink || was.Cause != r.Cause):
		p.owe(r, Notice{Kind: Ended, Cause: r.Cause, Session: s})
	case r.Phase == Linked && (was.Phase != Linked || was.Active.ID.Session != s) && !r.lastOwed(Made, s):
		p.owe(r, Notice{Kind: Made, Session: s})
	}
	if s := was.Candidate.ID.Session; s != "" && !r.Holds(s) && e.Kind != Settle && e.Kind != Unlink {
		p.owe(r, Notice{Kind: Dropped, Cause: e.Dropped(), Session: s})
	}
	if level := r.warning(e); level > r.warned() {
		r.Warned = Warned{s, level}
		p.owe(r, Notice{Kind: EndsSoon, Session: s, Warning: level})
	}
}

// lastOwed reports whether the latest notice is of that, and still owed: what is
// restored may be done again, and is told once.
func (r *Record) lastOwed(kind NoticeKind, session string) bool {
	if len(r.Notices) == 0 {
		return false
	}
	last := r.Notices[len(r.Notices)-1]
	return last.N == r.Noticed && last.Kind == kind && last.Session == session
}

// warning returns how near the end is that an event shows.
func (r *Record) warning(e *Event) Warning {
	switch {
	case r.Phase != Linked || e.Kind != Successor && e.Kind != Warn:
		return 0
	case r.Active.Final:
		return Late
	}
	return e.Warning
}

// warned returns the latest warning of the active session's end.
func (r *Record) warned() Warning {
	if r.Warned.Session != r.Active.ID.Session {
		return 0
	}
	return r.Warned.Level
}

// Dropped is why an event drops an authorization.
func (e *Event) Dropped() Cause {
	switch {
	case e.Kind == Abandon:
		return NeverChecked
	case e.Kind == Reject:
		return e.Cause
	case e.Kind == Refused:
		return RefusedUnclear
	case e.Shared:
		return Shared
	}
	return WrongPatient
}

// owe adds a notice. A later warning of the same session takes the place of the
// earlier one, unless that is being delivered: the host would get it after the later
// one. Of too many, the oldest goes that is no end, since what follows it
// shows what is so now; and if all are ends, the two oldest become one.
func (p Policy) owe(r *Record, n Notice) {
	if p.Notices == 0 {
		return
	}
	r.Noticed++
	n.N = r.Noticed
	notices := slices.DeleteFunc(slices.Clone(r.Notices), func(o Notice) bool {
		return n.Kind == EndsSoon && o.Kind == EndsSoon && o.Session == n.Session && o.N != r.Telling.Notice
	})
	notices = append(notices, n)
	if len(notices) > p.Notices {
		i := slices.IndexFunc(notices[:len(notices)-1], func(o Notice) bool { return o.Kind != Ended })
		if i < 0 {
			i = 0
			if j := slices.IndexFunc(notices[1:], func(o Notice) bool { return o.Kind == Ended }); j >= 0 {
				notices[j+1].Also += notices[0].Also + 1
			}
		}
		notices = slices.Delete(notices, i, i+1)
	}
	r.Notices = notices
}

// The conditions and writes of the rows about notices.

func tellingMine(_ Policy, r *Record, e *Event) bool {
	return e.Owner != "" && r.Telling == Telling{e.Owner, e.Notice.N}
}

// tellable leaves it to the flight, which has watched, whose claim may be replaced.
func tellable(_ Policy, r *Record, e *Event) bool {
	free := r.Telling.Owner == "" || r.Telling.Owner == e.Instead || !r.owed(r.Telling.Notice)
	return len(r.Notices) > 0 && r.Notices[0].N == e.Notice.N && free
}

func isOwed(_ Policy, r *Record, e *Event) bool { return slices.ContainsFunc(r.Notices, e.Notice.is) }

func (r *Record) owed(n uint64) bool {
	return slices.ContainsFunc(r.Notices, func(o Notice) bool { return o.N == n })
}

func claimNotice(r *Record, e *Event) { r.Telling = Telling{e.Owner, e.Notice.N} }

// delivered removes a notice, whoever claims it now: the host has it.
func delivered(r *Record, e *Event) {
	r.Notices = slices.DeleteFunc(slices.Clone(r.Notices), e.Notice.is)
	if r.Telling.Notice == e.Notice.N {
		r.Telling = Telling{}
	}
}

func returned(r *Record, e *Event) {
	r.Telling = Telling{}
	r.Notices = slices.Clone(r.Notices)
	for i := range r.Notices {
		if r.Notices[i].N == e.Notice.N {
			r.Notices[i].Tries++
		}
	}
}

func warnedBefore(p Policy, r *Record, e *Event) bool { return isActive(p, r, e) && r.Phase == Linked }

func unwarned(p Policy, r *Record, e *Event) bool {
	return warnedBefore(p, r, e) && e.Warning > r.warned()
}

// warn writes nothing itself: the warning is added as to every other write.
func warn(*Record, *Event) {}
