// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"strconv"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// The sizes of a world suffice for every race of the protocol between two processes,
// with a third as an observer.
const (
	users     = 2
	processes = 3
	sessions  = 4 // session 0 is none
)

// A world is everything there is: rows, processes, a strict server, and what may
// still go wrong. Processes are shared between worlds, and copied before they
// change; nothing else in a world is ever changed in place.
type world struct {
	row [users]core.Record
	// past is user 0's row before its last writes, the latest first.
	past []core.Record
	proc [processes]*proc
	ses  [sessions]session
	// activeOver and candidateOver mean that the access tokens of user 0's pairs
	// have expired, by a correct clock.
	activeOver, candidateOver bool
	// late is a request that was still on its way when its sender gave up.
	late core.PairID
	// lateSave is a write that its process has given up, and that may still land.
	lateSave      *core.Record
	lateSaveUser  int
	lateSaveEvent core.Event
	// back means that the store has gone back, and not every process has looked yet.
	back bool
	// oldKey means that user 0's row is sealed with a key that is to be retired.
	oldKey bool
	b      budget
	g      ghost
	// drawn numbers nonces, and versions the versions of rows.
	drawn, versions uint64
}

// proc is a process, with at most one flight under way.
type proc struct {
	flying bool
	f      core.Flight
	e      core.Effect
	air    air
	ans    answer
	left   uint8 // flights still to begin
	asleep bool
	cut    bool
	// stood is how many steps others have seen its lease stand still. posted means
	// that a token was presented under it. beat is what its renewal saved.
	stood  uint8
	posted bool
	beat   *core.Record
	bought core.PairID // in a response to this flight
	// What the process remembers between its flights.
	kept   core.Record
	newest core.PairID
	sight  core.Sight
	// mine is an acquisition that no flight under way knows of; minePosted means
	// that a token was presented under it.
	mine       string
	minePosted bool
	tired      bool
	replaced   bool
	looked     bool // since the store has gone back
	looking    bool // and does nothing else
	broken     bool // its connection broke then, during a save
}

// air is where a request is.
type air uint8

const (
	notSent air = iota
	sent
	processed
)

// answer is the server's response, on its way back.
type answer struct {
	outcome core.Outcome
	next    core.Pair
	cause   core.Cause
}

// session is an authorization, as the server has it.
type session struct {
	patient string
	valid   uint8 // the number of the pair that is valid
	dead    bool
	coded   bool // its code was spent
}

// budget is what may still go wrong, or happen.
type budget struct {
	crash, lost, unknown, sleep, cut, unlink, reseal, unclear, unread, appWide, down, kill, reread, lose uint8
	held, beat, back, lag, lateSave, noRead, misfit, discard, abandon, fickle, removed, deaf             uint8
}

// ghost is what happened, for the invariants only.
type ghost struct {
	fault                              bool   // something that makes an outcome unknown
	wentBack                           bool   // the store has lost writes
	refused, void, ended, ok, replaced bits   // sets of sessions
	told                               uint64 // the notices that the host has accepted, by number and kind
	warned                             uint16 // the warnings that were given, by session and level
	unread                             core.PairID
	bad                                Rule
}

// bits is a set of sessions.
type bits uint8

func bit(s string) bits {
	if s == "" {
		return 0
	}
	return 1 << number(s)
}

// number returns the number in a name such as "s1", or 0 for "".
func number(name string) uint8 {
	if name == "" {
		return 0
	}
	return name[1] - '0'
}

// These names are shared, so that no world allocates one.
var (
	nonces = func() (names [256]string) {
		for i := range names {
			names[i] = "n" + strconv.Itoa(i)
		}
		return names
	}()
)

// sessionEnded is the cause that the strict server gives.
const sessionEnded core.Cause = "session_ended"

// tick is how much time passes between two looks, if anything stands still.
const tick = time.Second

// own returns a process that may be changed.
func (w *world) own(i int) *proc {
	p := *w.proc[i]
	w.proc[i] = &p
	return &p
}

func (w *world) violate(r Rule) {
	if w.g.bad == 0 {
		w.g.bad = r
	}
}

func (w *world) nonce() string {
	w.drawn++
	return nonces[w.drawn%uint64(len(nonces))]
}

// next yields the worlds that may follow.
func (c *setup) next(w *world, yield func(*world, move)) {
	for i := range w.proc {
		c.process(w, i, yield)
	}
	c.outside(w, yield)
	c.failing(w, yield)
	c.acts(w, yield)
}

// outside yields what the clock and the server do.
func (c *setup) outside(w *world, yield func(*world, move)) {
	r := &w.row[0]
	if !w.late.IsZero() {
		n := *w
		n.late = core.PairID{}
		n.present(c, w.late)
		yield(&n, move{verb: lateRequest})
	}
	if !c.skew && !w.activeOver && !r.Active.ID.IsZero() {
		n := *w
		n.activeOver = true
		yield(&n, move{verb: activeExpires})
	}
	if !c.skew && !w.candidateOver && !r.Candidate.ID.IsZero() {
		n := *w
		n.candidateOver = true
		yield(&n, move{verb: candidateExpires})
	}
	if s := number(r.Active.ID.Session); w.b.kill > 0 && s != 0 && !w.ses[s].dead {
		n := *w
		n.b.kill--
		n.ses[s].dead = true
		yield(&n, move{verb: sessionEnds})
	}
}

// failing yields what the store does by itself.
func (c *setup) failing(w *world, yield func(*world, move)) {
	if w.lateSave != nil {
		n := *w
		n.lateSave, n.lateSaveEvent = nil, core.Event{}
		if u := w.lateSaveUser; w.lateSave.Version == w.row[u].Version {
			n.write(c, u, *w.lateSave, w.lateSaveEvent)
		}
		yield(&n, move{verb: lateSaveLands, event: w.lateSaveEvent.Kind})
	}
	for i := range w.past {
		if w.b.back > 0 && w.past[i].Version != 0 {
			n := *w
			n.b.back--
			n.back, n.g.wentBack = true, true
			n.row[0], n.past = w.past[i], nil
			for i, p := range n.proc {
				if q := n.own(i); p.flying {
					q.looked, q.broken = false, p.e.Kind == core.Save
				} else {
					q.looked = false
				}
			}
			n.allLooked()
			yield(&n, move{verb: storeGoesBack, arg: uint8(i + 1)})
		}
	}
}

// acts yields the writes of programs other than the processes.
func (c *setup) acts(w *world, yield func(*world, move)) {
	r := &w.row[0]
	act := func(budget *uint8, n *world, e core.Event) {
		if *budget == 0 {
			return
		}
		*budget--
		next, verdict := c.policy.Apply(n.row[0], e)
		c.reached(n.row[0], e)
		if verdict == core.Write {
			n.write(c, 0, next, e)
			yield(n, move{verb: somebody, event: e.Kind})
		}
	}
	if w.b.unlink > 0 {
		n := *w
		act(&n.b.unlink, &n, core.Event{Kind: core.Unlink})
	}
	if w.b.reseal > 0 {
		n := *w
		act(&n.b.reseal, &n, core.Event{Kind: core.Reseal})
	}
	if w.b.lose > 0 && w.ses[number(r.Active.ID.Session)].dead {
		n := *w
		act(&n.b.lose, &n, core.Event{Kind: core.Lose, Pair: r.Active.ID, Cause: sessionEnded})
	}
	if w.b.discard > 0 && r.Active.Unread {
		n := *w
		act(&n.b.discard, &n, core.Event{Kind: core.Discard, Pair: r.Active.ID})
	}
	if w.b.abandon > 0 {
		n := *w
		act(&n.b.abandon, &n, core.Event{Kind: core.Abandon, Session: r.Candidate.ID.Session})
	}
	if w.b.removed > 0 && r.Version != 0 {
		n := *w
		n.b.removed--
		n.remove(0)
		yield(&n, move{verb: removesRow})
	}
}

// present is the server: strict, and without mercy.
func (w *world) present(c *setup, id core.PairID) answer {
	s := &w.ses[number(id.Session)]
	no := answer{outcome: core.Rejected, cause: sessionEnded}
	if c.unknown {
		no.outcome = core.Unclear
	}
	if s.dead {
		return no
	}
	switch {
	case id.Seq == uint64(s.valid):
		s.valid++
	case c.forgiving && id.Seq+1 == uint64(s.valid):
	default:
		s.dead = true
		return no
	}
	return answer{outcome: core.OK, next: c.pair(id.Session, uint64(s.valid))}
}

// pair is a pair as the server issues it.
func (c *setup) pair(session string, seq uint64) core.Pair {
	return core.Pair{ID: core.PairID{Session: session, Seq: seq}, Final: c.final != 0 && seq >= c.final}
}

// write stores a record and checks the step from the old one.
func (w *world) write(c *setup, user int, next core.Record, e core.Event) {
	old := w.row[user]
	w.versions++
	next.Version = w.versions
	w.row[user] = next
	if user == 0 {
		w.renew(&old, &next)
		if w.b.back > 0 || w.b.lag > 0 {
			depth := max(c.depth, 2)
			w.past = append([]core.Record{old}, w.past[:min(len(w.past), depth-1)]...)
		}
	}
	c.note(w, &old, &next, e)
	c.checkWrite(w, &old, &next, e)
	if user == 0 {
		w.oldKey = w.oldKey && e.Kind != core.Reseal
		c.checkNotices(w, &old, &next, e)
	}
}

// renew marks the tokens of a pair that is new to the row as not expired.
func (w *world) renew(old, next *core.Record) {
	switch {
	case next.Active.ID == old.Candidate.ID && !old.Candidate.ID.IsZero():
		w.activeOver, w.candidateOver = w.candidateOver, false
	case next.Active.ID != old.Active.ID:
		w.activeOver = false
	}
	if next.Candidate.ID != old.Candidate.ID && next.Active.ID != old.Candidate.ID {
		w.candidateOver = false
	}
}

// note records what the invariants ask about.
func (c *setup) note(w *world, old, next *core.Record, e core.Event) {
	g := &w.g
	if refuses(old, next, &e) {
		g.refused |= bit(e.Session)
	}
	g.replaced |= supplanted(old, next, e.Kind)
	if next.Phase == core.Relink && next.Cause.Decided() {
		g.ended |= bit(next.Active.ID.Session)
	}
	if e.Kind == core.Unlink {
		g.void |= known(old) | c.toCome(old.Unlinks)
	}
	g.noteUnread(next, e.Kind)
}

// refuses reports whether an event decides against its session: it must not be used,
// was not checked in time, or was found to be another's.
func refuses(old, next *core.Record, e *core.Event) bool {
	switch e.Kind {
	case core.Abandon:
		return true
	case core.Refuse:
		return old.Candidate.ID.Session == e.Session
	case core.Admit:
		return old.Candidate.ID.Session == e.Session && !next.Holds(e.Session)
	}
	return false
}

// supplanted returns the sessions that others have taken the place of: that of the
// active pair, by whatever event, and that of the candidate, by another's first pair.
func supplanted(old, next *core.Record, by core.EventKind) (of bits) {
	if was := old.Active.ID.Session; was != next.Active.ID.Session {
		of |= bit(was)
	}
	if was := old.Candidate.ID.Session; by == core.Settle && was != next.Candidate.ID.Session {
		of |= bit(was)
	}
	return of
}

// known returns every session that a record knows of.
func known(r *core.Record) bits {
	of := bit(r.Active.ID.Session) | bit(r.Candidate.ID.Session)
	for _, m := range r.Marks {
		of |= bit(m.Session)
	}
	return of
}

// toCome returns the sessions whose callback or import may be still to come, of
// authorizations that began when there had been so many unlinks, or fewer.
func (c *setup) toCome(unlinks uint64) (of bits) {
	for i := range c.programs {
		p := &c.programs[i]
		if p.goal == core.Approve && p.user == 0 && p.unlinks <= unlinks {
			of |= bit(p.session)
		}
		if p.event.Kind == core.Import && p.event.Unlinks <= unlinks {
			of |= bit(p.event.Session)
		}
	}
	return of
}

// noteUnread keeps which response is kept that nobody could read, until an operator
// gives it up: then it is unknown what the server has done.
func (g *ghost) noteUnread(next *core.Record, by core.EventKind) {
	if next.Active.Unread {
		g.unread = next.Active.ID
	}
	if next.Candidate.Unread {
		g.unread = next.Candidate.ID
	}
	if by == core.Discard {
		g.unread, g.fault = core.PairID{}, true
	}
}
