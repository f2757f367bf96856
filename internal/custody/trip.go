// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	mathrand "math/rand/v2"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// trip drives one flight of the core: it performs the flight's effects, and feeds
// back the results.
type trip struct {
	k        *Keeper
	e        *entry
	ctx      context.Context
	program  core.Flight
	flight   *flight // that callers wait for; nil for authorizations and single events
	approval *Approval
	// early reports trouble to callers before the trip ends.
	early    func(error)
	epoch    uint32
	rejected core.PairID
	anew     bool // seal with the current key, whatever has changed
	// blind means that the record need not open, since nothing of it is used.
	blind bool
	// tending is the sweep that the trip is part of, or nil; job is what it was begun
	// for, and batch, together with what.
	tending *sweeping
	job     job
	batch   *batch
	// version is the only one that may be changed; 0 means any.
	version uint64

	row  row      // as last loaded or saved
	kept []notice // of the row that was last acknowledged
	// knows is the version of that row, and saved, that this trip has saved one.
	knows    uint64
	saved    bool
	vault    vault // every response that this trip has met
	lookedAt time.Time
	looked   bool // in this trip
	waited   time.Duration
	wanted   []string  // owners of leases
	entered  bool      // the breaker expects leave or withdraw
	began    time.Time // when the save of the current lease was begun
	out      tokenwire.Outcome
	err      error // the latest of the store or the keys
	fails    int
	clashes  int
	refused  error // by Verify
	shared   []string
	saving   bool // counted as unsaved
	// toldFailed means that SaveFailed was emitted.
	toldFailed bool
	wrote      written
	deadline   time.Time // see late
}

// written is a save whose outcome is not known yet.
type written struct {
	event  core.Event
	next   core.Record
	events []Event
}

func (w *written) pending() bool { return w.event.Kind != 0 }

func (k *Keeper) newTrip(caller context.Context, e *entry, program core.Flight, f *flight) *trip {
	// The context derives from no caller's: the work belongs to the link.
	ctx := context.Background()
	if k.Follow != nil {
		ctx = k.Follow(ctx, caller)
	}
	t := &trip{k: k, e: e, ctx: ctx, program: program, flight: f, epoch: e.epoch, vault: newVault()}
	if f != nil {
		t.rejected = f.rejected
		t.early = func(err error) { f.tell(Token{}, err) }
	}
	now := k.now()
	if l := e.live.Load(); l != nil {
		t.program.Newest = l.Pair
	}
	if m := e.memory; m != nil {
		t.takeOver(m.row(now))
		t.program.Sight, t.lookedAt = m.sight, m.lookedAt
		if t.program.Newest.IsZero() {
			t.program.Newest = m.newest
		}
	}
	return t
}

func (t *trip) fly() {
	done, err := t.run()
	token := Token{}
	if err == nil {
		token, err = t.result(done)
	}
	if done.Kind == core.Done && done.Look {
		_, _ = t.k.checkLater(t.e.user)
	}
	t.k.landed(t, token, err)
}

func (k *Keeper) checkLater(user string) (*flight, error) {
	return k.check(context.Background(), user, &flight{})
}

// run drives the flight to its end. It returns an error that no flight can fix: the
// record does not open, or the keeper closes.
func (t *trip) run() (core.Effect, error) {
	f, e := t.program.Step(t.policy(), core.Input{Kind: core.Begin, Nonce: nonce()})
	t.program = f
	for e.Kind != core.Done {
		if e.Tell != 0 {
			t.tell(e)
		}
		in, err := t.do(e)
		if err != nil {
			t.end()
			return core.Effect{}, err
		}
		e = t.step(in)
	}
	t.end()
	return e, nil
}

// policy is the keeper's. Where no notices are delivered they are kept all the same in
// a record that has had some: another process delivers them. A strict flight admits
// nothing that could not be checked.
func (t *trip) policy() core.Policy {
	p := t.k.policy
	if t.row.Noticed > 0 {
		p.Notices = mostNotices
	}
	p.VerifyFirst = p.VerifyFirst || t.flight != nil && t.flight.strict
	return p
}

// step feeds back the result of an effect, and updates memory.
func (t *trip) step(in core.Input) core.Effect {
	if in.Kind == core.Entered || in.Kind == core.Begin {
		in.Nonce = nonce()
	}
	if in.Kind == core.Loaded || in.Kind == core.Saved {
		t.program.Rejected = !t.rejected.IsZero() && in.Rec.Active.ID == t.rejected
	}
	t.confirm(in)
	f, e := t.program.Step(t.policy(), in)
	t.program = f
	if in.Kind == core.Answered && e.Kind != core.Post && t.approval == nil {
		t.leave(in)
	}
	if t.entered && (e.Kind == core.Load || e.Kind == core.Done || e.Kind == core.Wait) && in.Kind != core.Conflict && in.Kind != core.StoreFailed {
		t.entered = false
		t.k.endpoint.withdraw(t.e.user)
	}
	return e
}

func (t *trip) do(e core.Effect) (core.Input, error) {
	closing := t.k.work.closing()
	if err := t.stopped(closing); err != nil {
		return core.Input{}, err
	}
	switch e.Kind {
	case core.Load:
		return t.load()
	case core.Save:
		return t.save(e.Rec), nil
	case core.Delete:
		return t.remove(e.Rec), nil
	case core.Notify:
		return t.notify(e.Notice, closing), nil
	case core.Enter:
		return t.enter(e.Pair), nil
	case core.Post:
		return t.post(e, closing), nil
	case core.Exchange:
		return t.exchange(), nil
	case core.Verify:
		return t.verify(e.Pair), nil
	case core.Find:
		return t.find(e.Patient)
	}
	t.pause(e.Long)
	return core.Input{Kind: core.Waited}, nil
}

// stopped returns why the trip ends before its program does, or nil.
func (t *trip) stopped(closing bool) error {
	switch {
	case closing && t.program.Idle() && t.program.Goal != core.Put:
		return ErrClosed
	case t.late():
		return t.storeTrouble()
	}
	return nil
}

// enter asks the breaker whether the token endpoint may be asked, at the sweep's pace.
func (t *trip) enter(id core.PairID) core.Input {
	if t.tending != nil && !t.job.idle && !t.tending.pace(nil) {
		return core.Input{Kind: core.Entered, Wait: time.Minute}
	}
	t.job.idle = false // it has waited
	s := t.row.Slot(id)
	wait, ok := t.k.endpoint.enter(t.e.user, t.k.now(), s != nil && s.Tried > 0)
	t.entered = ok
	return core.Input{Kind: core.Entered, Open: ok, Wait: wait}
}

// late reports whether a trip that nobody waits for, and that holds nothing, has
// tried for long enough.
func (t *trip) late() bool {
	return !t.deadline.IsZero() && t.program.Failing && t.k.now().After(t.deadline) && (t.program.Goal == core.Put || t.program.Ev.Kind == core.Reserve || t.tending != nil && !outcome(t.program.Ev.Kind))
}

// outcome reports whether an event records what a presentation came to.
func outcome(k core.EventKind) bool { return k >= core.Successor && k <= core.Reject }

// pause waits a moment, at random so that waiters spread. After a long wait it looks
// less often: a caller barely notices an eighth more, and a store does.
func (t *trip) pause(long bool) {
	from, to := min(max(50*time.Millisecond, t.waited/16), 500*time.Millisecond), min(max(150*time.Millisecond, t.waited/8), time.Second)
	if long {
		from, to = 500*time.Millisecond, 1500*time.Millisecond
		if w := t.k.Forgive; w > 0 {
			from, to = min(from, w/8), min(to, w/4)
		}
	}
	t.waited += (from + to) / 2
	sleep(from, to)
}

func sleep(from, to time.Duration) {
	timer := time.NewTimer(from + mathrand.N(max(to-from, 1)))
	defer timer.Stop()
	<-timer.C
}

// pace keeps a failing store, or a busy row, from being asked in a tight loop.
func (t *trip) pace() {
	switch {
	case t.fails > 0:
		d := min(20*time.Millisecond<<min(t.fails-1, 8), 5*time.Second)
		sleep(d, 2*d)
	case t.clashes > 0:
		sleep(5*time.Millisecond, 25*time.Millisecond)
	}
}

// end saves what was seen for the next flight.
func (t *trip) end() {
	k, e := t.k, t.e
	if t.saving {
		t.saving = false
		k.unsaved.remove(t)
	}
	if t.entered {
		t.entered = false
		k.endpoint.withdraw(e.user)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if (t.flight != nil || t.tending != nil) && (!t.program.Sight.Quiet() || e.memory != nil) {
		m := k.remember(e)
		m.sight, m.lookedAt = t.program.Sight, t.lookedAt
	}
	m := e.memory
	for _, owner := range t.wanted {
		if c, ok := m.leases[owner]; ok {
			m.leases[owner] = claim{over: true, sent: c.sent}
		}
	}
	if m != nil && t.program.Absent {
		m.kept = nil // the row was removed by hand
	}
	if m != nil && t.program.Out == core.StoreTrouble && m.unsent() && !m.seeking {
		m.seeking = true
		k.seek(e, time.Second)
	}
}
