// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
)

// How likely it is that a host's Notify does this to a notice.
const (
	refusesNotice = 1.0 / 12 // its database is busy
	hangsBefore   = 1.0 / 50
	panicsBefore  = 1.0 / 50
	diesBefore    = 1.0 / 200
	failsAfter    = 1.0 / 30 // it has the notice, and the acknowledgement is lost
	hangsAfter    = 1.0 / 50
	panicsAfter   = 1.0 / 50
	diesAfter     = 1.0 / 100

	slowNotify = 500 * time.Millisecond
)

// The lives of ours, in which Tend looks after what nobody uses.
const (
	sessionLife  = 6 * time.Hour
	firstWarning = 2 * time.Hour
	lastWarning  = 30 * time.Minute
	keepWarm     = time.Hour
	// idleUsers are so many of a world whom nobody calls. Every importsAt-th session
	// was authorized elsewhere, and is imported.
	idleUsers = 5
	importsAt = 3
)

var errNotify = errors.New("the host's database is busy")

// notify is the Config.Notify of ours: it takes a notice, unless it fails at it,
// before it has it or after.
func (p *process) notify(ctx context.Context, n custody.Notice) error {
	w := p.world
	w.late.Add(1) // a sweep that ends does not wait for it
	defer w.late.Done()
	s, began := w.session(n.User), time.Now()
	if err := p.point(ctx, s); err != nil {
		return err
	}
	dice := w.chance(s)
	is := picker(dice)
	if w.isQuiet() {
		is = func(float64) bool { return false }
	}
	if err := pause(ctx, random(dice, slowNotify)); err != nil {
		return err
	}
	switch {
	case is(refusesNotice):
		return errNotify
	case is(hangsBefore):
		<-ctx.Done()
		return ctx.Err()
	case is(panicsBefore):
		panic("the host has a bug")
	case is(diesBefore):
		p.die()
		return errDead
	}
	_, stood := p.clock.haltedSince(began)
	w.told.take(n, stood)
	switch {
	case is(failsAfter):
		return errNotify
	case is(hangsAfter):
		<-ctx.Done()
		return ctx.Err()
	case is(panicsAfter):
		panic("the host has a bug")
	case is(diesAfter):
		p.die()
		return errDead
	}
	return p.point(ctx, s)
}

// idle is the life of a user whom nobody calls: the library keeps the link warm, and
// the host hears from it that it has ended.
func (w *world) idle(s *session) {
	w.link(s)
	for w.isYoung() {
		time.Sleep(5 * time.Minute)
		cause, ended := w.hears(s)
		if !ended {
			w.bury(s, nil)
			continue
		}
		w.bury(s, []error{w.named(s, cause)})
	}
}

// hears is what the host was told of the end of a session.
func (w *world) hears(s *session) (cause custody.Cause, ended bool) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if !s.dead {
		s.worked = time.Now() // as far as anybody can tell
	}
	return w.told.ended(s.user, s.epoch)
}

func (s *session) isIdle() bool { return s.index >= usersPerWorld-idleUsers }

// isYoung reports whether there is a user who has not refreshed often enough.
func (w *world) isYoung() bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.young > 0
}

// isQuiet reports whether the users' lives are over, and with them all faults.
func (w *world) isQuiet() bool {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.quiet
}

// longestDelivery is how long the host is waited for at the end of a world. A notice
// that it has refused a few times is delivered again within the hour, by the clock of
// whoever was refused.
const longestDelivery = 2*maxWrong + 2*time.Hour

// deliver waits, once nothing goes wrong any more, until no row owes a notice.
func (w *world) deliver() {
	w.server.mu.Lock()
	w.quiet = true
	w.server.mu.Unlock()
	for i := range replicas {
		w.replica(i) // somebody has to deliver
	}
	for began := time.Now(); w.told.isOwing() && time.Since(began) < longestDelivery; {
		time.Sleep(time.Minute)
	}
	w.told.ends()
}
