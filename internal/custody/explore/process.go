// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"github.com/betawerk/pkb-go/internal/custody/core"
)

// process yields what process i may do, and what may happen to it.
func (c *setup) process(w *world, i int, yield func(*world, move)) {
	p := w.proc[i]
	say := func(n *world, m move) {
		m.who = uint8(i + 1) //nolint:gosec // a few processes
		yield(n, m)
	}
	if !p.flying {
		c.launch(w, i, say)
		return
	}
	c.befall(w, i, say)
	if p.asleep || p.cut {
		c.comeBack(w, i, say)
		if p.asleep {
			return
		}
	}
	if c.beats(w, i) {
		n := *w
		n.b.beat--
		c.renewLease(&n, i)
		say(&n, move{verb: beats})
	}
	switch p.e.Kind {
	case core.Load:
		c.load(w, i, say)
	case core.Save, core.Delete:
		c.save(w, i, say)
	case core.Enter:
		c.enter(w, i, say)
	case core.Verify:
		c.verify(w, i, say)
	case core.Find:
		c.find(w, i, say)
	case core.Post, core.Exchange:
		c.post(w, i, say)
	case core.Notify:
		c.notify(w, i, say)
	}
}

func (c *setup) launch(w *world, i int, say func(*world, move)) {
	p := w.proc[i]
	start := func(f core.Flight, m move, left uint8) {
		n := *w
		q := n.own(i)
		f.Kept, f.Newest, f.Sight = q.kept, q.newest, q.sight
		q.looking = m.verb == looks
		q.f, q.flying, q.left = f, true, left
		n.step(c, i, core.Input{Kind: core.Begin})
		say(&n, m)
	}
	if w.back && !p.looked && p.kept.Version != 0 {
		kept := p.kept
		start(core.Flight{Goal: core.Put, Ev: core.Event{Kind: core.Restore, Known: &kept}}, move{verb: looks}, p.left)
	}
	g := c.programs[i]
	if p.left == 0 || g.when != nil && !g.when(w) {
		return
	}
	f := core.Flight{Goal: g.goal, Session: g.session, Terms: g.terms, Unlinks: g.unlinks, Ev: g.event, Unheard: g.mute}
	start(f, move{verb: begins, arg: uint8(g.goal)}, p.left-1)
	if g.rejected {
		f.Rejected = true
		start(f, move{verb: beginsRejected}, p.left-1)
	}
}

// befall yields what may happen to a process at any time.
func (c *setup) befall(w *world, i int, say func(*world, move)) {
	p := w.proc[i]
	if w.b.crash > 0 {
		n := *w
		n.b.crash--
		n.g.fault = true
		n.proc[i] = &proc{left: p.left}
		if p.air == sent && p.e.Kind == core.Post && w.late.IsZero() {
			n.late = p.e.Pair
		}
		n.allLooked()
		say(&n, move{verb: crashes})
	}
	if w.b.sleep > 0 && !p.asleep {
		n := *w
		n.b.sleep--
		n.g.fault = true
		n.own(i).asleep = true
		say(&n, move{verb: sleeps})
	}
	if w.b.cut > 0 && !p.cut {
		n := *w
		n.b.cut--
		n.g.fault = true
		n.own(i).cut = true
		say(&n, move{verb: cutOff})
	}
	if p.air == sent && p.e.Kind != core.Notify { // the server continues, whatever its client does
		n := *w
		q := n.own(i)
		q.air = processed
		if p.e.Kind == core.Post {
			q.ans = n.present(c, p.e.Pair)
		} else {
			s := p.f.Session
			n.ses[number(s)].valid = 1
			q.ans = answer{outcome: core.OK, next: c.pair(s, 1)}
		}
		say(&n, move{verb: serverProcesses})
	}
}

// comeBack resumes a process that stood still. It may or may not renew its lease
// before anything else.
func (c *setup) comeBack(w *world, i int, say func(*world, move)) {
	n := *w
	q := n.own(i)
	q.asleep, q.cut = false, false
	say(&n, move{verb: isBack})
	if r := &w.row[c.programs[i].user]; q.e.Kind == core.Post && r.Lease.Owner == q.f.Owner {
		n := n
		c.renewLease(&n, i)
		say(&n, move{verb: isBackAndBeats})
	}
}

// beats reports whether a process may renew its lease now: while it presents, and
// writes nothing else.
func (c *setup) beats(w *world, i int) bool {
	p := w.proc[i]
	return w.b.beat > 0 && p.e.Kind == core.Post && !p.cut
}

// renewLease is a beat, which the driver writes while the flight waits for the token
// endpoint.
func (c *setup) renewLease(w *world, i int) {
	u, p := c.programs[i].user, w.proc[i]
	base, kept := w.row[u], p.f.Kept
	if p.beat != nil {
		kept = *p.beat
	}
	if base.Behind(kept) {
		base = base.Merged(kept)
	}
	e := core.Event{Kind: core.Beat, Owner: p.f.Owner}
	next, verdict := c.policy.Apply(base, e)
	c.reached(base, e)
	if verdict != core.Write {
		return
	}
	w.write(c, u, next, e)
	q, r := w.own(i), w.row[u]
	q.stood, q.beat = 0, &r
}

func (c *setup) load(w *world, i int, say func(*world, move)) {
	p := w.proc[i]
	if p.cut {
		return
	}
	if w.b.noRead > 0 {
		n := *w
		n.b.noRead--
		n.step(c, i, core.Input{Kind: core.StoreFailed})
		say(&n, move{verb: cannotLoad})
	}
	r := w.row[c.programs[i].user]
	if w.b.lag > 0 && r.Version != 0 && p.f.Kept.Version != 0 {
		n := *w
		n.b.lag--
		n.step(c, i, core.Input{Kind: core.Loaded, Facts: core.Facts{Lagging: true, Since: tick, Here: tick}})
		say(&n, move{verb: readsNothing})
	}
	if w.b.lag > 0 && c.programs[i].user == 0 && len(w.past) > 0 && w.past[0].Version != 0 && w.past[0].Behind(p.f.Kept) {
		old := w.past[0]
		c.facts(w, i, &old, func(f core.Facts) {
			n := *w
			n.b.lag--
			f.Lagging = true
			n.step(c, i, core.Input{Kind: core.Loaded, Rec: old, Facts: f})
			say(&n, move{verb: readsOld})
		})
	}
	c.facts(w, i, &r, func(f core.Facts) {
		n := *w
		n.look(i, &r)
		c.reachedOnLoad(p, &r)
		n.step(c, i, core.Input{Kind: core.Loaded, Rec: r, Facts: f})
		n.stoodStill(i)
		say(&n, move{verb: loads})
	})
}

// stoodStill counts for the holder what an observer has counted: beats that were
// missed.
func (w *world) stoodStill(i int) {
	seen := w.proc[i].sight
	if w.proc[i].flying {
		seen = w.proc[i].f.Sight
	}
	for j, h := range w.proc {
		n := uint8(0)
		switch {
		case !h.flying || !h.asleep && !h.cut:
		case h.f.Owner != "" && h.f.Owner == seen.Lease.Of.Owner:
			n = uint8(seen.Lease.For / tick) //nolint:gosec // a few
		case h.f.Teller != "" && h.f.Teller == seen.Telling.Of.Owner:
			n = uint8(seen.Telling.For / tick) //nolint:gosec // a few
		}
		if h.stood < n {
			w.own(j).stood = n
		}
	}
}

// look records that a process has seen the row after the store went back.
func (w *world) look(i int, r *core.Record) {
	switch {
	case !w.back || w.proc[i].looked:
	case !r.Behind(w.proc[i].f.Kept):
		w.own(i).looked = true
		w.allLooked()
	}
}

// allLooked ends the time in which processes are wary.
func (w *world) allLooked() {
	if !w.back {
		return
	}
	for _, p := range w.proc {
		kept := p.kept.Version
		if p.flying {
			kept = p.f.Kept.Version
		}
		if kept != 0 && !p.looked {
			return
		}
	}
	w.back = false
}

// ticks reports whether time passes for a process that waits for a lease, or for a
// claim on a notice: a live holder renews, or ends, before a step has passed.
func (c *setup) ticks(w *world, i int, r *core.Record) bool {
	for j, h := range w.proc {
		if j == i || !h.flying || h.asleep || h.cut {
			continue
		}
		if h.f.Owner != "" && h.f.Owner == r.Lease.Owner || h.f.Teller != "" && h.f.Teller == r.Telling.Owner {
			return false
		}
	}
	return true
}

// choices are the facts of which a process may see any one.
type choices []core.Facts

// fork adds, if something may be otherwise, each choice with that changed.
func (of choices) fork(maybe bool, change func(*core.Facts)) choices {
	if !maybe {
		return of
	}
	for _, f := range of {
		change(&f)
		of = append(of, f)
	}
	return of
}

// facts yields what process i may find out about a record, by its clock and its
// memory.
func (c *setup) facts(w *world, i int, r *core.Record, yield func(core.Facts)) {
	p, f := w.proc[i], c.measured(w, i, r)
	of := choices{f}
	of = of.fork(c.skew && !r.Active.ID.IsZero(), func(f *core.Facts) { f.ActiveOver = !f.ActiveOver })
	of = of.fork(c.skew && !r.Candidate.ID.IsZero(), func(f *core.Facts) { f.CandidateOver = !f.CandidateOver })
	of = of.fork(p.tired, func(f *core.Facts) { f.Tired = true })
	of = of.fork(p.replaced && p.f.Rejected, func(f *core.Facts) { f.Replaced = true })
	of = of.fork(c.pace && f.Since > 0, func(f *core.Facts) { f.Since, f.Here = 0, 0 })
	of = of.fork(c.stale && r.Lease.Owner != "" && c.ownerless(w, r.Lease.Owner), func(f *core.Facts) { f.Stale = true })
	of = of.fork(w.b.reread > 0 && r.Active.Unread, func(f *core.Facts) {
		f.ParsedFrom, f.Parsed = r.Active.ID, c.pair(r.Active.ID.Session, r.Active.ID.Seq+1)
	})
	if p.f.Goal == core.Tend {
		of = c.swept(of, w, i, r, f.ActiveOver)
	}
	of = of.fork(c.ends, func(f *core.Facts) { f.Ends = core.Early })
	of = of.fork(c.ends, func(f *core.Facts) { f.Ends = core.Late })
	for _, f := range of {
		yield(f)
	}
}

// measured returns what a correct clock measures of a record, and what process i
// knows about its lease.
func (c *setup) measured(w *world, i int, r *core.Record) core.Facts {
	p := w.proc[i]
	f := core.Facts{Due: true, Forgiven: c.forgiving && p.f.Pair == r.Active.ID, Wary: w.back}
	if c.programs[i].user == 0 {
		f.ActiveOver, f.CandidateOver = w.activeOver, w.candidateOver
	}
	if c.ticks(w, i, r) {
		f.Since, f.Here = tick, tick
	}
	if p.mine != "" && r.Lease.Owner == p.mine {
		f.Ours, f.Unsent = true, !p.minePosted
	}
	return f
}

// swept adds what only a sweep asks about a record. Its session can have ended only if
// the access token has expired by a correct clock.
func (c *setup) swept(of choices, w *world, i int, r *core.Record, expired bool) choices {
	for n := range of {
		of[n].Owing, of[n].Old, of[n].OldKey = true, c.old && w.alone(i), w.oldKey
	}
	of = of.fork(c.undecided && !r.Candidate.ID.IsZero(), func(f *core.Facts) { f.Undecided = true })
	of = of.fork(len(r.Notices) > 0 && !r.Notices[0].Kind.Known(), func(f *core.Facts) { f.Full = true })
	of = of.fork(c.idle, func(f *core.Facts) { f.Idle = true })
	return of.fork(c.idle && expired, func(f *core.Facts) { f.Ended = true })
}

// alone reports whether no other flight is under way: none lasts for two days.
func (w *world) alone(i int) bool {
	for j, p := range w.proc {
		if j != i && p.flying {
			return false
		}
	}
	return true
}

// notify delivers a notice to the host, unless others may have begun to.
func (c *setup) notify(w *world, i int, say func(*world, move)) {
	p := w.proc[i]
	end := func(n *world, heard bool, m move) {
		n.own(i).air = notSent
		c.answer(n, i, core.Input{Kind: core.Notified, Heard: heard}, say, m)
	}
	n := *w
	switch {
	case p.air == notSent && p.stood > 0:
		n.own(i).stood = 0
		end(&n, false, move{verb: lapses})
	case p.air == notSent:
		c.checkTell(&n, i)
		n.own(i).air = sent
		say(&n, move{verb: tells, arg: uint8(p.e.Notice.N)}) //nolint:gosec // a few
	case p.air == sent:
		c.checkOrder(&n, p.e.Notice)
		n.g.told |= told(p.e.Notice)
		n.own(i).air = processed
		say(&n, move{verb: accepts})
		if w.b.deaf > 0 {
			n := *w
			n.b.deaf--
			end(&n, false, move{verb: doesNotAccept})
		}
	default:
		end(&n, true, move{verb: hears, arg: uint8(core.OK)})
	}
}

// ownerless reports whether no live process has a lease, and nothing sent under it
// is still on its way.
func (c *setup) ownerless(w *world, owner string) bool {
	for _, h := range w.proc {
		if h.flying && h.f.Owner == owner {
			return false
		}
	}
	return w.late.IsZero()
}

// answer yields the inputs in which the driver judges nothing but the clock.
func (c *setup) answer(w *world, i int, in core.Input, say func(*world, move), m move) {
	r := &w.proc[i].f.Rec
	if in.Rec.Version != 0 {
		r = &in.Rec
	}
	c.facts(w, i, r, func(f core.Facts) {
		n := *w
		in.Facts = f
		n.step(c, i, in)
		say(&n, m)
	})
}

func (c *setup) save(w *world, i int, say func(*world, move)) {
	p, u := w.proc[i], c.programs[i].user
	if p.cut {
		return
	}
	if p.broken {
		n := *w
		n.own(i).broken = false
		n.step(c, i, core.Input{Kind: core.StoreFailed})
		say(&n, move{verb: cannotSave, event: p.f.Ev.Kind})
		return
	}
	if p.e.Rec.Version != w.row[u].Version {
		n := *w
		n.step(c, i, core.Input{Kind: core.Conflict})
		say(&n, move{verb: conflicts})
		return
	}
	e := p.f.Ev
	if w.b.unknown > 0 {
		n := *w
		n.b.unknown--
		n.step(c, i, core.Input{Kind: core.StoreFailed})
		say(&n, move{verb: cannotSave, event: e.Kind})
	}
	if w.b.lateSave > 0 && w.lateSave == nil {
		n := *w
		n.b.lateSave--
		rec := p.e.Rec
		n.lateSave, n.lateSaveUser, n.lateSaveEvent = &rec, u, e
		n.step(c, i, core.Input{Kind: core.StoreFailed})
		say(&n, move{verb: savesLater, event: e.Kind})
	}
	n := *w
	if p.e.Kind == core.Delete {
		if u == 0 {
			c.checkNotices(&n, &w.row[0], &core.Record{}, e)
		}
		n.remove(u)
	} else {
		n.write(c, u, p.e.Rec, e)
	}
	if w.b.unknown > 0 {
		n := n
		n.b.unknown--
		n.step(c, i, core.Input{Kind: core.StoreFailed})
		say(&n, move{verb: savesUnheard, event: e.Kind})
	}
	if w.back {
		n.own(i).looked = true
	}
	c.answer(&n, i, core.Input{Kind: core.Saved, Rec: n.row[u]}, func(n *world, m move) {
		n.allLooked()
		say(n, m)
	}, move{verb: saves, event: e.Kind})
}

func (w *world) remove(user int) {
	w.row[user] = core.Record{}
	if user == 0 {
		w.activeOver, w.candidateOver, w.past = false, false, nil
	}
}

func (c *setup) enter(w *world, i int, say func(*world, move)) {
	n := *w
	n.b.held--
	n.step(c, i, core.Input{Kind: core.Entered, Wait: tick})
	say(&n, move{verb: isHeld})
	c.answer(w, i, core.Input{Kind: core.Entered, Open: true}, say, move{verb: enters})
}

func (c *setup) verify(w *world, i int, say func(*world, move)) {
	session := w.proc[i].e.Pair.Session
	n := *w
	in := core.Input{Kind: core.Verified, Ruling: core.Known, Patient: w.ses[number(session)].patient}
	if c.refuse&bit(session) != 0 {
		in.Ruling, in.Patient = core.Barred, ""
	} else {
		n.g.ok |= bit(session)
	}
	c.reachedOnVerified(w.proc[i], in)
	c.answer(&n, i, in, say, move{verb: verifies, arg: uint8(in.Ruling)})
	if w.b.fickle > 0 && in.Ruling == core.Known {
		n := *w
		n.b.fickle--
		in := core.Input{Kind: core.Verified, Ruling: core.Known, Patient: "p3"}
		c.reachedOnVerified(w.proc[i], in)
		c.answer(&n, i, in, say, move{verb: verifies, arg: uint8(core.Known)})
	}
	if w.b.down > 0 {
		n := *w
		n.b.down--
		n.own(i).tired = true
		in := core.Input{Kind: core.Verified, Ruling: core.Unknown}
		c.reachedOnVerified(w.proc[i], in)
		c.answer(&n, i, in, say, move{verb: verifies, arg: uint8(core.Unknown)})
	}
}

func (c *setup) find(w *world, i int, say func(*world, move)) {
	p, u := w.proc[i], c.programs[i].user
	other := &w.row[1-u]
	in := core.Input{
		Kind: core.Found, Shared: other.Public == p.e.Patient, Claimed: other.Claim == p.e.Patient, Yield: u == 1,
	}
	c.reachedOnFound(p, in)
	c.answer(w, i, in, say, move{verb: finds})
}

// post yields what may become of a request to the token endpoint.
func (c *setup) post(w *world, i int, say func(*world, move)) {
	switch p := w.proc[i]; {
	case p.air == processed:
		c.respond(w, i, say)
	case p.air == sent:
		c.loseRequest(w, i, say)
	case p.e.Kind == core.Post && p.stood > 0:
		n := *w
		n.own(i).stood = 0
		c.answer(&n, i, core.Input{Kind: core.Lapsed}, say, move{verb: lapses})
	default:
		c.request(w, i, say)
	}
}

// request yields that a request leaves, and that it proves, without reaching the
// strict server, to have spent nothing.
func (c *setup) request(w *world, i int, say func(*world, move)) {
	n := *w
	n.send(c, i)
	say(&n, move{verb: sends})
	if w.b.appWide > 0 {
		n := *w
		n.b.appWide--
		c.receive(&n, i, answer{outcome: core.Unsent}, say, move{verb: hears})
		c.receive(&n, i, answer{outcome: core.AppWide}, say, move{verb: hears})
	}
	if w.b.unclear > 0 {
		n := *w
		n.b.unclear--
		c.receive(&n, i, answer{outcome: core.Unclear}, say, move{verb: hears})
	}
}

// loseRequest yields that a request does not reach the server, or that it does so
// after its sender gave up.
func (c *setup) loseRequest(w *world, i int, say func(*world, move)) {
	if w.b.lost == 0 {
		return
	}
	n := *w
	n.b.lost--
	n.g.fault = true
	c.receive(&n, i, answer{outcome: core.Lost}, say, move{verb: requestLost})
	if e := &w.proc[i].e; e.Kind == core.Post && w.late.IsZero() {
		n.late = e.Pair
		c.receive(&n, i, answer{outcome: core.Lost}, say, move{verb: requestLate})
	}
}

// respond yields that the server's response arrives, is lost, or cannot be used.
func (c *setup) respond(w *world, i int, say func(*world, move)) {
	p := w.proc[i]
	c.receive(w, i, p.ans, say, move{verb: hears})
	if w.b.lost > 0 {
		n := *w
		n.b.lost--
		n.g.fault = true
		c.receive(&n, i, answer{outcome: core.Lost}, say, move{verb: answerLost})
	}
	if p.ans.outcome != core.OK {
		return
	}
	if w.b.unread > 0 && p.e.Kind == core.Post {
		n := *w
		n.b.unread--
		c.receive(&n, i, answer{outcome: core.Unread}, say, move{verb: hears})
	}
	if w.b.misfit > 0 && p.e.Kind == core.Exchange {
		n := *w
		n.b.misfit--
		c.receive(&n, i, answer{outcome: core.Misfit}, say, move{verb: hears})
	}
}

// receive yields what process i does with the outcome of its request.
func (c *setup) receive(w *world, i int, o answer, say func(*world, move), m move) {
	n, p := *w, w.proc[i]
	q := n.own(i)
	q.air, q.ans = notSent, answer{}
	in := core.Input{Kind: core.Answered, Outcome: o.outcome, Next: o.next, Cause: o.cause, Evidence: c.evidence}
	if p.beat != nil {
		in.Rec, q.beat = *p.beat, nil
	}
	q.bought = o.next.ID
	c.reachedOnAnswered(p, in)
	m.arg = uint8(o.outcome)
	c.answer(&n, i, in, say, m)
}

// send lets the request of process i out, and checks that it may go.
func (w *world) send(c *setup, i int) {
	p := w.own(i)
	p.air, p.posted = sent, true
	c.checkSend(w, i)
	if p.e.Kind == core.Exchange {
		w.ses[number(p.f.Session)].coded = true
	}
}

// step runs the code that is explored, and what needs no decision of the world.
func (w *world) step(c *setup, i int, in core.Input) {
	p := w.own(i)
	for {
		in.Nonce = w.nonce()
		was := &p.f
		f, e := p.f.Step(c.policyOf(i, was, &in), in)
		if f.Owner != was.Owner {
			p.leaveLease(was.Owner)
		}
		p.replaced = p.replaced || was.Rejected && !f.Rejected
		p.f, p.e = f, e
		c.reachedByEffect(p)
		if !p.bought.IsZero() && f.Ev.Kind != core.Successor && f.Ev.Kind != core.Settle {
			c.checkBought(w, i)
			p.bought = core.PairID{}
		}
		switch {
		case p.e.Kind == core.Wait:
			c.checkWait(w, &f, &in)
			in = core.Input{Kind: core.Waited}
			continue
		case p.e.Kind == core.Enter && w.b.held == 0:
			in = core.Input{Kind: core.Entered, Open: true, Facts: in.Facts}
			continue
		}
		break
	}
	if p.e.Tell != 0 {
		c.checkTold(w, p, p.e.Tell)
		p.e.Tell = 0
	}
	if p.e.Kind == core.Done {
		c.checkTold(w, p, p.e.Result)
		w.land(c, i)
	}
}

// leaveLease remembers a lease that its flight goes on without, if it had one, and
// what happened under it no more.
func (p *proc) leaveLease(was string) {
	if was != "" {
		p.mine, p.minePosted = was, p.posted
	}
	p.stood, p.posted, p.beat = 0, false, nil
}

// land ends a flight. The process keeps its memory.
func (w *world) land(c *setup, i int) {
	p := w.proc[i]
	f, e := p.f, p.e
	p.flying, p.f, p.e, p.stood, p.posted, p.beat = false, core.Flight{}, core.Effect{}, 0, false, nil
	p.sight = f.Sight
	if f.Owner != "" && f.Goal != core.Approve {
		p.mine, p.minePosted = f.Owner, p.posted
	}
	if c.keeps {
		p.kept, p.newest = f.Kept, f.Newest
		if id := e.Pair; e.Result == core.Token && (p.newest.Session != id.Session || p.newest.Seq < id.Seq) {
			p.newest = id
		}
	}
	if c.results != nil {
		c.results(i, e)
	}
	if w.back {
		p.looked = p.looked || p.looking
		w.allLooked()
	}
	p.looking = false
}
