// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"maps"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/listing"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	// tendEvery is how often a process asks the store what is due. A store that can
	// only list is asked less often.
	tendEvery = 10 * time.Second
	listEvery = 5 * time.Minute
	// tendBatch is how many records are asked for at a time, and tendAtOnce, how many
	// of them are looked at at a time.
	tendBatch  = 300
	tendAtOnce = 8
	// lookSoon is when a record is looked at again that another process is busy
	// with.
	lookSoon = 20 * time.Second
	// mostAside bounds the records that a process has put aside.
	mostAside = 5000
)

// tender is what the sweeps of one process share.
type tender struct {
	mu      sync.Mutex
	running int
	// owed are users whose record has a new notice by this process, and wake has room
	// for one signal that there are some.
	owed map[string]struct{}
	wake chan struct{}
	// refused are the users of whom the host did not accept a notice, and when it last
	// did not, or when the notice was last seen to be owed still.
	refused map[string]time.Time
	// next is when the next refresh may begin, and spared has room for one signal that
	// it is earlier than it was.
	next   time.Time
	spared chan struct{}
}

func (s *tender) nudge(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == 0 {
		return
	}
	s.owed[user] = struct{}{}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *tender) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running++; s.owed == nil {
		s.owed, s.wake, s.spared = map[string]struct{}{}, make(chan struct{}, 1), make(chan struct{}, 1)
	}
}

func (s *tender) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// nudged returns the users whose record has a new notice.
func (s *tender) nudged() (users []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user := range s.owed {
		users = append(users, user)
	}
	clear(s.owed)
	return users
}

// heard notes whether a user's first notice was delivered now.
func (s *tender) heard(user string, yes bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if yes {
		delete(s.refused, user)
		return
	}
	if s.refused == nil {
		s.refused = map[string]time.Time{}
	}
	s.refused[user] = now
}

// doubtful returns some users of whom a notice was refused so long ago that it is
// another process that has tried since.
func (s *tender) doubtful(now time.Time) (users []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for user, at := range s.refused {
		if now.Sub(at) > tellAgainMost+leaseTTL+patience && len(users) < tendBatch {
			users = append(users, user)
		}
	}
	return users
}

func (s *tender) health() (running bool, undelivered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running > 0, len(s.refused)
}

// take returns how long the next refresh has to wait; 0 means that it may begin, and
// that the one after it waits.
func (s *tender) take(now time.Time, every time.Duration) (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait = s.next.Sub(now); wait > every {
		wait, s.next = every, now.Add(every) // the clock was set back
	}
	if wait > 0 {
		return wait
	}
	s.next = later(s.next, now.Add(-every)).Add(every) // who comes a little late is not later for ever
	return 0
}

// spare takes back that a refresh began.
func (s *tender) spare(every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = s.next.Add(-every)
	select {
	case s.spared <- struct{}{}:
	default:
	}
}

// sweeping is one run of Tend or TendOnce.
type sweeping struct {
	k   *Keeper
	ctx context.Context
	// aside are the users who are not looked at until then.
	mu    sync.Mutex
	aside map[string]time.Time
	// busy counts those that another process is busy with.
	busy int
	// done counts those that were looked at, and reported is how many of them were in
	// a report to the host.
	done, reported int
	// listed is when the store was last listed.
	listed time.Time
}

// job is a user to look after.
type job struct {
	user string
	// version is that of the record that is due; 0 if it was not seen.
	version uint64
	// idle means that a refresh is due.
	idle bool
}

func jobs(users []string) (all []job) {
	for _, user := range users {
		all = append(all, job{user: user})
	}
	return all
}

// batch is jobs that were given out together.
type batch struct {
	// crossed means that another process was found to be at the same records.
	crossed atomic.Bool
}

// tendEach is the time between two refreshes.
func (k *Keeper) tendEach() time.Duration {
	rate := k.TendRate
	if rate <= 0 {
		rate = 10
	}
	return time.Duration(float64(time.Second) / rate)
}

// sleep reports whether the sweep goes on after d.
func (s *sweeping) sleep(d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.ctx.Err() == nil
	case <-s.ctx.Done():
		return false
	}
}

func (k *Keeper) sweeps(ctx context.Context) *sweeping {
	return &sweeping{k: k, ctx: ctx, aside: map[string]time.Time{}}
}

// Tend looks after links that nobody uses, until ctx ends: it does what is due, a
// batch at a time, and waits for what is next. Any number of processes may run it at
// the same time. It returns nil when ctx ends, ErrClosed, or ErrCannotTend.
func (k *Keeper) Tend(ctx context.Context) error {
	if !k.canTend() {
		return ErrCannotTend
	}
	k.tender.begin()
	defer k.tender.end()
	s := k.sweeps(ctx)
	fails := 0
	for ctx.Err() == nil {
		if k.work.closing() {
			return ErrClosed
		}
		wait := tendEvery/2 + mathrand.N(tendEvery)
		err := s.all()
		s.report(err)
		if err != nil {
			fails++
			wait = min(time.Second<<min(fails, 6), time.Minute)
			wait += mathrand.N(wait) // so that the processes do not return at once
		} else {
			fails = 0
		}
		s.wait(wait)
	}
	return nil
}

// report reports a sweep to the host.
func (s *sweeping) report(err error) {
	if s.k.OnSweep == nil || errors.Is(err, ErrClosed) || s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	links := s.done - s.reported
	s.reported = s.done
	s.mu.Unlock()
	_, undelivered := s.k.tender.health()
	sweep := Sweep{Links: links, Undelivered: undelivered, Err: err}
	s.k.events.add(s.k, "", func() { s.k.OnSweep(sweep) })
}

func (k *Keeper) canTend() bool {
	_, schedules := k.Store.(tokenstore.Scheduler)
	_, lists := k.Store.(tokenstore.Lister)
	return schedules || lists
}

// wait waits, and tends meanwhile what this process knows to be due.
func (s *sweeping) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-s.ctx.Done():
			return
		case <-s.k.tender.wake:
			s.each(jobs(s.k.tender.nudged()))
		}
	}
}

// TendOnce does what is due now, and returns how many links it looked at: for a job
// that runs from time to time. It waits for a notice that another process may have
// been delivering when it ended. It returns ErrClosed, ErrCannotTend, a *StoreError,
// or the error of ctx.
func (k *Keeper) TendOnce(ctx context.Context) (links int, err error) {
	if !k.canTend() {
		return 0, ErrCannotTend
	}
	k.tender.begin()
	defer k.tender.end()
	s := k.sweeps(ctx)
	defer func() { s.report(err) }()
	deadline := k.now().Add(leaseTTL + patience + 2*lookSoon)
	for {
		if k.work.closing() {
			return s.done, ErrClosed
		}
		s.busy, s.listed = 0, time.Time{}
		if err := s.all(); err != nil {
			return s.done, err
		}
		if s.busy == 0 || !k.now().Before(deadline) {
			return s.done, nil
		}
		if !s.sleep(lookSoon + time.Second) {
			return s.done, ctx.Err()
		}
	}
}

// all does what is due, one batch after the other.
func (s *sweeping) all() error {
	for s.ctx.Err() == nil && !s.k.work.closing() {
		found, err := s.due()
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return s.doubts()
		}
		s.each(found)
	}
	return s.ctx.Err()
}

// doubts reads the records of whose notices this process does not know any more
// whether they are owed. It delivers nothing: they are not due here.
func (s *sweeping) doubts() error {
	k := s.k
	for _, user := range k.tender.doubtful(k.now()) {
		r, err := k.view(s.ctx, user)
		if _, failed := errors.AsType[*StoreError](err); failed {
			return err
		}
		owed := len(r.Notices) > 0 || err != nil && !errors.Is(err, ErrNoLink) // what does not open stays as it was
		k.tender.heard(user, !owed, k.now())
	}
	return nil
}

// due returns whom to look after now, but those put aside: one query, or more if all
// that one returns are put aside by it.
func (s *sweeping) due() ([]job, error) {
	k := s.k
	for s.ctx.Err() == nil {
		now := k.now()
		aside := s.stillAside(now)
		scheduler, ok := k.Store.(tokenstore.Scheduler)
		if !ok || aside >= mostAside { // what is due behind so many is found by listing all
			return s.list(now)
		}
		found, err := guard(k, s.ctx, k.StoreTimeout, "the store", func(ctx context.Context) ([]tokenstore.Record, error) {
			return scheduler.Due(ctx, now, tendBatch+aside)
		})
		k.observe(s.ctx, err)
		if err != nil {
			return nil, storeError("list", err)
		}
		if all := s.wanted(found, now); len(all) > 0 || len(found) < tendBatch+aside || s.stillAside(now) <= aside {
			return all, nil
		}
	}
	return nil, s.ctx.Err()
}

// stillAside returns how many are put aside.
func (s *sweeping) stillAside(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.aside, func(_ string, until time.Time) bool { return !now.Before(until) })
	return len(s.aside)
}

// list is due for a store that can only list, and where a query would return again
// too many that are put aside.
func (s *sweeping) list(now time.Time) (all []job, err error) {
	k := s.k
	if !s.listed.IsZero() && now.Sub(s.listed) < listEvery {
		return nil, nil
	}
	lister, ok := k.Store.(tokenstore.Lister)
	if !ok {
		return nil, nil
	}
	list := func(after string) ([]tokenstore.Record, error) {
		return guard(k, s.ctx, k.StoreTimeout, "the store", func(ctx context.Context) ([]tokenstore.Record, error) {
			return lister.List(ctx, after, tendBatch)
		})
	}
	for page, err := range listing.Pages(list, func(r tokenstore.Record) string { return r.AppUserID }) {
		if err != nil {
			return nil, storeError("list", err)
		}
		for _, j := range s.wanted(page, now) {
			j.version = 0 // it may be long until then, and it is not asked for again
			all = append(all, j)
		}
	}
	s.listed = now
	return all, nil
}

// wanted returns whose records are due, and puts those aside that are not ours.
func (s *sweeping) wanted(found []tokenstore.Record, now time.Time) (all []job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range found {
		_, aside := s.aside[r.AppUserID]
		switch {
		case aside || r.TendAt.IsZero() || r.TendAt.After(now):
		case r.Environment != s.k.Environment || r.ClientID != s.k.ClientID:
			s.leave(r.AppUserID, now.Add(time.Hour))
		case s.k.Notify == nil && owes(r):
			s.leave(r.AppUserID, now.Add(tellAgain)) // it stays due, for a process that delivers
		default:
			linked := r.State == tokenstore.StateLinked || r.State == tokenstore.StateUncertain
			idle := linked && s.k.KeepWarm > 0 && now.Sub(r.RefreshedAt) >= s.k.KeepWarm
			all = append(all, job{r.AppUserID, r.Version, idle})
		}
	}
	return all
}

// owes reports whether a record is due because of a notice.
func owes(r tokenstore.Record) bool {
	d := remembered(r)
	return len(d.Notices) > 0 && !r.TendAt.Before(d.TellAt.Truncate(time.Microsecond))
}

// each does several jobs, a few at a time. Processes that were given the same ones
// begin at different places, and ask anew where one meets what another has done:
// otherwise all of them would look at every record.
func (s *sweeping) each(all []job) {
	b := &batch{}
	var group sync.WaitGroup
	defer group.Wait()
	free := make(chan struct{}, tendAtOnce)
	for _, j := range spread(all) {
		ready := !b.crossed.Load() && (!j.idle || s.pace(&group))
		if !ready || b.crossed.Load() || s.ctx.Err() != nil || s.k.work.closing() {
			if ready {
				s.spare(&j)
			}
			return
		}
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			s.one(j, b)
		})
	}
}

// spare lets another refresh begin in place of a job's, if that has not begun.
func (s *sweeping) spare(j *job) {
	if j.idle {
		s.k.tender.spare(s.k.tendEach())
	}
}

// spread returns jobs from some place on. Refreshes, which have to wait, hold up
// nothing else.
func spread(all []job) (order []job) {
	from := mathrand.N(max(len(all), 1))
	for _, idle := range []bool{false, true} {
		for i := range all {
			if j := all[(from+i)%len(all)]; j.idle == idle {
				order = append(order, j)
			}
		}
	}
	return order
}

// pace waits until the next refresh may begin, and reports whether it may. With a
// group, in which that can run, it lets the host be told meanwhile what is new.
func (s *sweeping) pace(group *sync.WaitGroup) bool {
	k, wake := s.k, s.k.tender.wake
	if group == nil {
		wake = nil
	}
	for {
		wait := k.tender.take(k.now(), k.tendEach())
		if wait == 0 {
			return s.ctx.Err() == nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.tender.spared:
		case <-wake:
			group.Go(func() { s.each(jobs(k.tender.nudged())) })
		case <-s.ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// one looks after one user. Whatever the trip could not write off is put aside, so
// that the next query does not return it at once.
func (s *sweeping) one(j job, b *batch) {
	k, user := s.k, j.user
	if k.overrun() != nil || !k.work.begin() {
		s.putAside(user, time.Minute)
		return
	}
	defer k.work.end()
	t := k.visit(s.ctx, user, core.Flight{Goal: core.Tend, Unheard: k.Notify == nil})
	t.tending, t.job, t.batch, t.deadline, t.early = s, j, b, k.now().Add(putFor), func(error) {}
	t.ctx = context.WithoutCancel(s.ctx)
	end, err := t.run()
	if bought := t.program.Bought; err == nil && !bought.IsZero() && t.e.live.Load() != nil && t.row.Slot(bought) != nil {
		k.publish(t, bought)
	}
	if t.program.Rec.Phase != core.Linked {
		k.forget(user)
	}
	if n := t.program.Rec.Notices; err == nil && k.Notify != nil && len(n) > 0 && !n[0].Kind.Known() {
		k.tender.heard(user, false, k.now())
		k.Logger.Warn("pkb: a notice is left to the later version that wrote it, and so are those after it", "link", conceal.LinkName(user))
	}
	k.left(t.e)
	s.spare(&t.job)
	s.mu.Lock()
	s.done++
	if err == nil && end.Result == core.LaterElsewhere {
		s.busy++
		b.crossed.Store(true)
	}
	s.mu.Unlock()
	s.putAside(user, t.until(end.Result, err))
}

// until returns for how long a record is put aside, which is still due.
func (t *trip) until(r core.Result, err error) time.Duration {
	at := t.row.stored.TendAt
	switch {
	case errors.Is(err, ErrClosed):
		return 0
	case err != nil:
		return askAgain
	case r == core.LaterElsewhere:
		return lookSoon
	case r == core.LaterHeld, r == core.StoreTrouble:
		return time.Minute + mathrand.N(time.Minute)
	case t.row.Version == 0, at.IsZero(), at.After(t.k.now()):
		return 0
	}
	return tellAgain
}

// full reports whether only few more records can be put aside: then what stays due
// for others is postponed, so that it does not end all sweeps of this process.
func (s *sweeping) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.aside) > mostAside/2
}

// leave puts a record aside that is not for this process, if there is room; s.mu is
// held.
func (s *sweeping) leave(user string, until time.Time) {
	if len(s.aside) < mostAside {
		s.aside[user] = until
	}
}

func (s *sweeping) putAside(user string, d time.Duration) {
	if d <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aside[user] = s.k.now().Add(d)
}
