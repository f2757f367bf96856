// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// person is a patient who uses the app.
type person struct {
	w       *world
	user    string
	patient *pkbtest.Patient

	mu     sync.Mutex
	linked bool
	epoch  int // grows when the link is made or ended
	// since is when calls began not to succeed; zero while they do.
	since time.Time
}

// state returns whether the person is linked, and the epoch.
func (p *person) state() (linked bool, epoch int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.linked, p.epoch
}

func (p *person) is(linked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linked, p.since = linked, time.Time{}
	p.epoch++
}

// live links, calls, approves again and unlinks, until it is enough.
func (p *person) live(ctx context.Context, enough <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-enough:
			return
		default:
		}
		switch linked, _ := p.state(); {
		case !linked:
			p.arrive(ctx)
		case rand.IntN(60) == 0:
			p.unlink(ctx, p.w.any)
		case rand.IntN(60) == 0:
			p.approve(ctx, p.w.any) // again
		default:
			_ = p.call(ctx, p.w.any()) // the judge has heard it
		}
		pass(ctx, 100*time.Millisecond+rand.N(300*time.Millisecond))
	}
}

// arrive links, and calls at once through every replica: the page that the patient is
// sent to asks for this and that, and the load balancer spreads it.
func (p *person) arrive(ctx context.Context) {
	if p.approve(ctx, p.w.any) {
		each(p.w.all(), func(r *replica) { _ = p.call(ctx, r) }) // the judge has heard it
	}
}

// otherTab calls for the same person at the same time.
func (p *person) otherTab(ctx context.Context, enough <-chan struct{}) {
	for ctx.Err() == nil {
		select {
		case <-enough:
			return
		case <-time.After(100*time.Millisecond + rand.N(300*time.Millisecond)):
		}
		if linked, _ := p.state(); linked {
			_ = p.call(ctx, p.w.any()) // the judge has heard it
		}
	}
}

// patience is how long one request of a browser takes at most.
const patience = 20 * time.Second

// ask asks a replica for the person's token.
func (p *person) ask(ctx context.Context, r *replica) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := r.client.Token(ctx, p.user)
	p.w.judge.hears(err)
	return err
}

// call calls for the person through a replica, and judges what it is told.
func (p *person) call(ctx context.Context, r *replica) error {
	before, epoch := p.state()
	err := p.ask(ctx, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != epoch || !before {
		return err // somebody has changed the link meanwhile
	}
	switch {
	case err == nil:
		if !p.since.IsZero() {
			p.w.judge.waited(time.Since(p.since))
		}
		p.since = time.Time{}
	case errors.Is(err, pkb.ErrNotLinked):
		p.w.judge.authorizationLost(p, "told so in a call", err)
	case errors.Is(err, pkb.ErrRelinkRequired):
		p.w.judge.linkLost(p, "told so in a call", err)
	case p.since.IsZero():
		p.since = time.Now()
	}
	if final(err) {
		p.linked, p.epoch = false, p.epoch+1 // it is counted once; the patient starts again
	}
	return err
}

// approve takes the person to PKB and back. The patient reloads the callback while it
// is worth it.
func (p *person) approve(ctx context.Context, through func() *replica) bool {
	address, pending, err := through().client.Authorize(ctx, p.user)
	p.w.judge.hears(err)
	if err != nil {
		return false
	}
	back, err := p.w.pkb.Approve(ctx, address, p.patient)
	if err != nil {
		return false // the program ends
	}
	code := back.Query().Get("code")
	p.w.tokens.expect(code, p.user)
	for began := time.Now(); ; pass(ctx, 300*time.Millisecond) {
		visit, cancel := context.WithTimeout(ctx, patience)
		_, err := through().client.Complete(visit, p.user, pending, back.Query())
		cancel()
		p.w.judge.hears(err)
		switch {
		case err == nil:
			if linked, _ := p.state(); !linked {
				p.is(true)
			}
			return true
		case ctx.Err() != nil:
			return false
		case reload(err) && time.Since(began) < longest:
			continue
		case p.w.tokens.exchanged(code):
			p.w.judge.authorizationLost(p, "though the code was exchanged", err)
		}
		return false
	}
}

// reload reports whether the patient is asked to try again.
func reload(err error) bool {
	for _, again := range []error{pkb.ErrStore, pkb.ErrTryLater, pkb.ErrUnchecked, context.DeadlineExceeded} {
		if errors.Is(err, again) {
			return true
		}
	}
	return false
}

// unlink ends the link, however often it takes.
func (p *person) unlink(ctx context.Context, through func() *replica) {
	p.is(false)
	for ctx.Err() == nil {
		err := through().client.Unlink(ctx, p.user)
		p.w.judge.hears(err)
		if err == nil || errors.Is(err, pkb.ErrNotLinked) {
			break
		}
		pass(ctx, 300*time.Millisecond)
	}
	p.is(false)
}
