// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"slices"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// Rule is an invariant.
type Rule uint8

// The invariants have the numbers of the design.
const (
	Again          Rule = iota + 1 // presented again without a lost outcome, or with something left to lose
	AgainUnread                    // presented again while a response is kept that may hold the successor
	Refused                        // a refused or ended authorization is in use
	Unlinked                       // an authorization from before an unlink is back
	WrongPerson                    // the public id is not the patient's
	Unverified                     // an unverified pair took the place of a working one, or was handed out
	LostAlive                      // the link has ended though the session lives
	Stale                          // at rest the record has another token than the server
	Stuck                          // no process can continue
	TwoUsers                       // two users have one patient
	OwnVisit                       // a visit waits for itself
	CodeTwice                      // a code was presented twice
	Unwitnessed                    // ended after unrecognized errors that no success witnesses
	Limbo                          // a call never comes to an end
	PastHolder                     // a process without the lease records the outcome of a presentation
	SeenDone                       // presented though a live process has seen it superseded
	NotRestored                    // a live process has the newer facts, and the link does not work again
	FalseAlarm                     // a record counts as behind though the store lost nothing
	ThrownAway                     // the pair of a code is dropped though nothing was decided against it
	NoticeLost                     // a notice is gone, or stays, and the host never accepted it
	ToldAtOnce                     // two processes deliver one notice at the same time
	Unnoticed                      // a link was made or has ended, and the host will not hear of it
	WarnedTwice                    // one warning of a session's end was given twice
	ToldLate                       // the host was told of something after what had followed it
	ImportReplaces                 // an import took the place of a link, or of an authorization
	ToldWrong                      // a caller received something other than what the record holds
	OutOfRow                       // a token is presented that is not in the row, or without the lease for it
)

var ruleNames = [...]string{
	Again:          "I1 a token is presented again without a lost outcome, or with something left to lose",
	AgainUnread:    "I2 a token is presented again while a response is kept that may hold its successor",
	Refused:        "I3 a refused or ended authorization is in use",
	Unlinked:       "I4 an authorization from before an unlink is back",
	WrongPerson:    "I5 the public id is not the patient's",
	Unverified:     "I6 an unverified pair took the place of a working one, or was handed out",
	LostAlive:      "I7 the link has ended though the session lives",
	Stale:          "I8 at rest the record has another token than the server",
	Stuck:          "I9 no process can continue",
	TwoUsers:       "I10 two users have one patient",
	OwnVisit:       "I11 a visit waits for itself",
	CodeTwice:      "I12 a code was presented twice",
	Unwitnessed:    "I13 a link was ended after unrecognized errors that no success witnesses",
	Limbo:          "I14 a call never comes to an end",
	PastHolder:     "I15 a process without the lease records the outcome of a presentation",
	SeenDone:       "I16 a token is presented that a live process has seen superseded",
	NotRestored:    "I17 a live process holds the newer facts, and the link does not work again",
	FalseAlarm:     "I18 a record counts as behind though the store has lost nothing",
	ThrownAway:     "I20 the pair of a code is dropped though nothing was decided against it",
	NoticeLost:     "I21 the host has never accepted a notice that is gone, or cannot be delivered",
	ToldAtOnce:     "I22 two processes deliver one notice at the same time",
	Unnoticed:      "I23 a link was made or has ended without a notice of it",
	WarnedTwice:    "I24 one warning of a session's end was given twice",
	ToldLate:       "I26 the host was told of something after what had followed it",
	ImportReplaces: "I25 an import took the place of a link, or of an authorization that waits",
	ToldWrong:      "I19 a caller received something other than what the record holds",
	OutOfRow:       "I27 a token is presented that the record, as its process last saw it, does not hold under its lease",
}

func (r Rule) String() string { return ruleNames[r] }

// stillFor is how many steps a lease must have stood still before another process
// may present its token.
const stillFor = uint8((ttl + patience) / tick)

// checkSend judges a request of process i that leaves now.
func (c *setup) checkSend(w *world, i int) {
	p := w.proc[i]
	switch id := p.e.Pair; {
	case p.e.Kind == core.Exchange:
		c.checkCode(w, p.f.Session)
	case p.f.Rec.Slot(id) == nil || p.f.Rec.Lease.Owner != p.f.Owner:
		w.violate(OutOfRow)
	case c.withoutToken(id):
		w.violate(Again)
	case !w.g.wentBack && !c.stale && w.heldByAnother(i):
		w.violate(Again)
	case w.g.wentBack && !w.back && w.seenSuperseded(i):
		w.violate(SeenDone)
	case !w.g.wentBack && w.presentedBefore(i):
		c.checkRepetition(w, p)
	}
}

// checkCode judges the code of a session that is presented now: it was not before,
// unless the store has lost that it was.
func (c *setup) checkCode(w *world, session string) {
	if w.ses[number(session)].coded && !w.g.wentBack {
		w.violate(CodeTwice)
	}
}

// withoutToken reports whether the server issued a pair without a refresh token.
func (c *setup) withoutToken(id core.PairID) bool { return c.final != 0 && id.Seq >= c.final }

// presents reports whether a request with the token of a pair has left, and its
// process does not have the response.
func (p *proc) presents(id core.PairID) bool {
	return p.flying && p.air != notSent && p.e.Kind == core.Post && p.e.Pair == id
}

// heldByAnother reports whether another process presents the token of process i, and
// its lease has not stood still for long enough to be taken.
func (w *world) heldByAnother(i int) bool {
	for j, o := range w.proc {
		if j != i && o.stood < stillFor && o.presents(w.proc[i].e.Pair) {
			return true
		}
	}
	return false
}

// seenSuperseded reports whether a live process knows a later pair of the session
// than the one that process i presents. Of the others, what they have saved counts.
func (w *world) seenSuperseded(i int) bool {
	id := w.proc[i].e.Pair
	for j, o := range w.proc {
		if o.seen(id.Session, i == j) > id.Seq {
			return true
		}
	}
	return false
}

// presentedBefore reports whether the server has, or may yet receive, the token that
// process i presents from an earlier request.
func (w *world) presentedBefore(i int) bool {
	id := w.proc[i].e.Pair
	if w.late == id || uint64(w.ses[number(id.Session)].valid) > id.Seq {
		return true
	}
	for j, o := range w.proc {
		if j != i && o.presents(id) {
			return true
		}
	}
	return false
}

// checkRepetition judges a token that is presented once more: no response to it is
// kept, the outcome was lost, nothing is left to lose, and the record counts both.
func (c *setup) checkRepetition(w *world, p *proc) {
	id := p.e.Pair
	if w.g.unread == id {
		w.violate(AgainUnread)
	}
	if !w.g.fault || !p.f.Over && !c.forgiving {
		w.violate(Again)
	}
	if s := p.f.Rec.Slot(id); s != nil && s.Tried < 2 {
		w.violate(Again)
	}
}

// seen returns the number of the furthest pair of a session that a process has saved
// or, with had, whose token it had.
func (p *proc) seen(session string, had bool) (seq uint64) {
	kept, newest := &p.kept, p.newest
	if p.flying {
		kept, newest = &p.f.Kept, p.f.Newest
	}
	for n, id := range []core.PairID{kept.Active.ID, kept.Candidate.ID, newest} {
		if id.Session == session && (had || n < 2) {
			seq = max(seq, id.Seq)
		}
	}
	return seq
}

// checkWrite judges the step from one record to the next.
func (c *setup) checkWrite(w *world, old, next *core.Record, e core.Event) {
	if w.g.wentBack {
		return
	}
	was, is := old.Active.ID.Session, next.Active.ID.Session
	replaced := was != "" && was != is
	switch {
	case isOutcome(e.Kind) && old.Lease.Owner != e.Owner:
		w.violate(PastHolder)
	case e.Kind == core.Unlink:
	case replaced && w.g.ok&bit(is) == 0:
		w.violate(Unverified)
	case replaced && becomesAnothers(old, next):
		w.violate(WrongPerson)
	case e.Kind == core.Restore:
		w.violate(FalseAlarm)
	case endedThoughRenewed(old, next, &e):
		w.violate(LostAlive)
	}
}

// isOutcome reports whether an event needs the lease under which a token was
// presented. A successor is written without it, rather than lost.
func isOutcome(k core.EventKind) bool { return k >= core.NotSpent && k <= core.Reject }

// becomesAnothers reports whether a link has another patient than before, though
// whoever authorized it did not allow that.
func becomesAnothers(old, next *core.Record) bool {
	return old.Public != "" && next.Public != old.Public && !old.Terms.Switch
}

// endedThoughRenewed reports whether a link stays ended, though nobody decided that,
// when its active pair is the successor that an event brings: the session lives.
func endedThoughRenewed(old, next *core.Record, e *core.Event) bool {
	return next.Phase == core.Relink && !next.Cause.Decided() &&
		e.Kind == core.Successor && old.Active.ID != e.Next.ID && next.Active.ID == e.Next.ID
}

// checkBought judges a flight that received a pair and has nothing of it left to
// save: while the server accepts that pair and the record holds its session, the
// record has the pair.
func (c *setup) checkBought(w *world, i int) {
	id, r := w.proc[i].bought, &w.row[c.programs[i].user]
	switch {
	case !c.works(w, id) || r.Slot(id) != nil || r.Version == 0:
	case r.Holds(id.Session) && !w.g.wentBack:
		w.violate(Stale)
	case w.proc[i].f.Goal == core.Approve && r.Candidate.ID.IsZero():
		w.violate(ThrownAway)
	}
}

// check judges what must hold in every world.
func (c *setup) check(w *world) {
	if w.back {
		return // what the store has lost is not restored yet
	}
	for u := range w.row {
		c.checkRow(w, &w.row[u])
	}
	if samePatient(&w.row[0], &w.row[1]) && !c.shares() {
		w.violate(TwoUsers)
	}
	if !w.g.wentBack && c.seemsBehind(w) {
		w.violate(FalseAlarm)
	}
}

// samePatient reports whether two users are linked with one patient.
func samePatient(a, b *core.Record) bool {
	return a.Phase == core.Linked && b.Phase == core.Linked && a.Public != "" && a.Public == b.Public
}

// seemsBehind reports whether a row lacks, by the measure of the processes, what a
// flight has kept of it.
func (c *setup) seemsBehind(w *world) bool {
	for i, p := range w.proc {
		if !p.flying || p.f.Kept.Version == 0 {
			continue
		}
		if r := &w.row[c.programs[i].user]; r.Version != 0 && r.Behind(p.f.Kept) {
			return true
		}
	}
	return false
}

// checkRow judges a row by itself.
func (c *setup) checkRow(w *world, r *core.Record) {
	w.checkDecided(r)
	switch {
	case r.Phase == core.Linked && r.Active.ID.Session != "":
		c.checkLink(w, r)
	case r.Phase == core.Relink:
		c.checkEnd(w, r)
	}
}

// checkDecided judges that no session is in the row that somebody decided against:
// none that was refused or has ended in use, none from before an unlink, and none
// that another has replaced.
func (w *world) checkDecided(r *core.Record) {
	s := bit(r.Active.ID.Session)
	switch {
	case r.Phase == core.Linked && (w.g.refused|w.g.ended)&s&w.proven() != 0:
		w.violate(Refused)
	case w.g.void&(s|bit(r.Candidate.ID.Session))&w.proven() != 0:
		w.violate(Unlinked)
	case w.g.replaced&s&w.proven() != 0:
		w.violate(NotRestored)
	}
}

// checkLink judges a link that works: its session is the patient's, and verified if
// the host wants that first.
func (c *setup) checkLink(w *world, r *core.Record) {
	s := r.Active.ID.Session
	switch {
	case r.Public != "" && w.ses[number(s)].patient != r.Public && c.b.fickle == 0:
		w.violate(WrongPerson)
	case c.policy.VerifyFirst && w.g.ok&bit(s) == 0:
		w.violate(Unverified)
	}
}

// checkEnd judges a link that has ended: for a true cause, and after unrecognized
// errors only if others succeeded.
func (c *setup) checkEnd(w *world, r *core.Record) {
	switch {
	case !c.mayEnd(w, r):
		w.violate(LostAlive)
	case r.Cause == core.RefusedUnclear && (!c.evidence.Witnessed || !c.evidence.Few()):
		w.violate(Unwitnessed)
	}
}

// proven returns the sessions that are known to have ended: all that have, or those
// of which a live process has a record, if the store has lost writes.
func (w *world) proven() (of bits) {
	if !w.g.wentBack {
		return ^bits(0)
	}
	for _, p := range w.proc {
		kept := &p.kept
		if p.flying {
			kept = &p.f.Kept
		}
		for _, m := range kept.Marks {
			if m.State == core.Void {
				of |= bit(m.Session)
			}
		}
		if kept.Phase == core.Relink && kept.Cause.Decided() {
			of |= bit(kept.Active.ID.Session)
		}
	}
	return of
}

// mayEnd reports whether the cause of a link that has ended is true.
func (c *setup) mayEnd(w *world, r *core.Record) bool {
	switch r.Cause {
	case sessionEnded, core.OutcomeUnknown:
		return w.ses[number(r.Active.ID.Session)].dead
	case core.FinalTokenExpired:
		return r.Active.Final
	case core.ResponseUnreadable:
		return r.Active.Unread
	case core.RefusedUnclear:
		return true
	}
	return r.Cause.Decided()
}

// checkAtRest judges a world in which no flight is under way.
func (c *setup) checkAtRest(w *world) {
	if !w.atRest() || w.row[0].Phase != core.Linked {
		return
	}
	for _, p := range []*core.Pair{&w.row[0].Active, &w.row[0].Candidate} {
		if w.stale(p) && (!w.g.wentBack || c.knows(w, p.ID)) {
			w.violate(Stale)
		}
	}
}

// atRest reports whether nobody is under way, and nothing that somebody sent.
func (w *world) atRest() bool {
	return w.late.IsZero() && !w.back && w.lateSave == nil && !w.underWay()
}

// underWay reports whether a flight is.
func (w *world) underWay() bool {
	for _, p := range w.proc {
		if p.flying {
			return true
		}
	}
	return false
}

// stale reports whether the server has another token than a pair, and the record does
// not know of any reason why.
func (w *world) stale(p *core.Pair) bool {
	ses := &w.ses[number(p.ID.Session)]
	return !p.ID.IsZero() && p.Tried == 0 && !p.Unread && !ses.dead && p.ID.Seq != uint64(ses.valid)
}

// knows reports whether a live process has saved the pair that the server accepts.
func (c *setup) knows(w *world, id core.PairID) bool {
	for _, p := range w.proc {
		if p.seen(id.Session, false) == uint64(w.ses[number(id.Session)].valid) {
			return true
		}
	}
	return false
}

func (c *setup) shares() bool {
	for _, p := range c.programs {
		if p.terms.Share {
			return true
		}
	}
	return false
}

// checkTold judges the result that callers receive, and what a flight does for its
// own visit.
func (c *setup) checkTold(w *world, p *proc, told core.Result) {
	now := &w.row[c.userOf(w, p)]
	switch told {
	case core.Token:
		c.checkToken(w, p, now)
	case core.ApprovalStalled:
		if waitsForItself(&p.f, &p.f.Rec) {
			w.violate(OwnVisit)
		}
	case core.LinkMade:
		if p.f.Rec.Active.ID.Session != p.f.Session {
			w.violate(ToldWrong)
		}
	case core.ApprovalBarred, core.ApprovalOther, core.ApprovalShared, core.ApprovalOvertaken, core.ApprovalUnlinked, core.ApprovalUsed,
		core.ApprovalFailed, core.ApprovalRepeatable:
		if isLink(&p.f, now) || told == core.ApprovalOther && w.samePerson(&p.f) {
			w.violate(ToldWrong)
		}
	case core.NoLink:
		if now.Phase == core.Linked && c.couldKnow(w, &p.f, now) {
			w.violate(ToldWrong)
		}
	}
}

// checkToken judges an access token that is handed out: it is verified if the host
// wants that first, and nothing was decided against its session that the flight has
// seen.
func (c *setup) checkToken(w *world, p *proc, now *core.Record) {
	session := bit(p.e.Pair.Session)
	if c.policy.VerifyFirst && w.g.ok&session == 0 {
		w.violate(Unverified)
	}
	if p.f.Rec.Version == now.Version && !w.g.wentBack && (w.g.refused|w.g.ended)&session != 0 {
		w.violate(Refused)
	}
}

// isLink reports whether the session that a flight should link is the link, in the
// row that the flight has seen.
func isLink(f *core.Flight, now *core.Record) bool {
	return now.Phase == core.Linked && now.Active.ID.Session == f.Session && f.Rec.Version == now.Version
}

// samePerson reports whether the session that a flight should link is of the patient
// whose public id its record has.
func (w *world) samePerson(f *core.Flight) bool {
	return w.ses[number(f.Session)].patient == f.Rec.Public
}

// couldKnow reports whether a flight could know what the row holds now: it has seen
// the row so, or has seen none, and neither has the store lost it nor was it deleted.
func (c *setup) couldKnow(w *world, f *core.Flight, now *core.Record) bool {
	return !w.g.wentBack && (f.Rec.Version == now.Version || f.Rec.Version == 0 && w.b.removed == c.b.removed)
}

// waitsForItself reports whether the visit that a record shows under way is the
// flight's own.
func waitsForItself(f *core.Flight, r *core.Record) bool {
	return slices.Contains(r.Marks, core.Mark{Session: f.Session, By: f.Owner, State: core.Open})
}

// checkWait judges a visit that waits.
func (c *setup) checkWait(w *world, f *core.Flight, in *core.Input) {
	if f.Goal == core.Approve && waitsForItself(f, &in.Rec) {
		w.violate(OwnVisit)
	}
}

func (c *setup) userOf(w *world, p *proc) int {
	for i := range w.proc {
		if w.proc[i] == p {
			return c.programs[i].user
		}
	}
	return 0
}
