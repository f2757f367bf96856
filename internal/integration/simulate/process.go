// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// How likely things are.
const (
	crashAt  = 1.0 / 10_000 // at each point of a refresh
	pauseAt  = 1.0 / 20_000
	outageAt = 1.0 / 1_000 // with each save
	lyingAt  = 1.0 / 1_000

	slowPost     = 1.0 / 100
	latePost     = 1.0 / 2_000 // served when the client has gone
	lostRequest  = 1.0 / 1_000
	lostAnswer   = 1.0 / 2_000
	brokenBefore = 1.0 / 1_000 // 503
	brokenAfter  = 1.0 / 2_000
	tooMany      = 1.0 / 2_000

	maxSkew   = 14 * time.Second // each way: 28 s apart, which the hard margin of 30 s covers
	maxPause  = 4 * time.Minute
	maxOutage = 45 * time.Second
	postLimit = 20 * time.Second
)

// process is one replica. What it does goes through its methods, which are
// where it dies, sleeps, and loses its database.
type process struct {
	world *world
	skew  time.Duration
	dead  atomic.Bool

	mu    sync.Mutex
	until time.Time // it sleeps
	down  time.Time // so long it cannot reach the database
}

var (
	errDead   = errors.New("the process is dead")
	errOutage = errors.New("the database cannot be reached")
	errLied   = errors.New("the connection broke after the commit")
)

// whose is the key of the session in a request's context.
type whose struct{}

// now is the process's clock.
func (p *process) now() time.Time { return time.Now().Add(p.skew) }

// chance throws the dice of a user.
func (w *world) chance(s *session) *rand.Rand {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	s.dice++
	return rand.New(rand.NewPCG(w.seed^s.index<<40, w.number<<32^s.dice))
}

// random returns a duration up to limit.
func random(dice *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(limit)))
}

// point is where a process may die, or sleep. It returns errDead in a dead one.
func (p *process) point(s *session) error {
	if !p.world.isCalm(s) {
		dice := p.world.chance(s)
		switch x := dice.Float64(); {
		case x < crashAt:
			p.dead.Store(true)
		case x < crashAt+pauseAt:
			p.mu.Lock()
			p.until = time.Now().Add(random(dice, maxPause))
			p.mu.Unlock()
		}
	}
	for {
		p.mu.Lock()
		sleep := time.Until(p.until)
		p.mu.Unlock()
		if p.dead.Load() {
			return errDead
		}
		if sleep <= 0 {
			return nil
		}
		time.Sleep(sleep)
	}
}

// sleptSince reports whether the process slept after t.
func (p *process) sleptSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until.After(t)
}

// reach is one trip to the database and back. In between, do is what the
// database does.
func (p *process) reach(ctx context.Context, s *session, write bool, do func() error) error {
	if err := p.point(s); err != nil {
		return err
	}
	time.Sleep(time.Millisecond)
	if err := ctx.Err(); err != nil {
		return err
	}
	lied := false
	if write && !p.world.isCalm(s) {
		dice := p.world.chance(s)
		switch x := dice.Float64(); {
		case x < outageAt:
			p.mu.Lock()
			if time.Since(p.down) > 2*time.Minute {
				p.down = time.Now().Add(random(dice, maxOutage))
			}
			p.mu.Unlock()
		case x < outageAt+lyingAt:
			lied = true
		}
	}
	p.mu.Lock()
	down := time.Now().Before(p.down)
	p.mu.Unlock()
	if down {
		return errOutage
	}
	err := do()
	if err == nil && lied {
		err = errLied
	}
	if dead := p.point(s); dead != nil {
		return dead
	}
	return err
}

// Load implements tokenstore.Store.
func (p *process) Load(ctx context.Context, user string) (r tokenstore.Record, err error) {
	err = p.reach(ctx, p.world.session(user), false, func() error {
		r, err = p.world.store.Load(context.Background(), user)
		return err
	})
	return r, err
}

// Save implements tokenstore.Store.
func (p *process) Save(ctx context.Context, r tokenstore.Record) (saved tokenstore.Record, err error) {
	s := p.world.session(r.AppUserID)
	err = p.reach(ctx, s, true, func() error {
		p.world.server.mu.Lock() // so that nobody sees the record before it counts as saved
		defer p.world.server.mu.Unlock()
		if saved, err = p.world.store.Save(context.Background(), r); err != nil {
			return err
		}
		if r.Generation > s.stored {
			s.stored = r.Generation
			if s.last != nil && s.last.from == p {
				s.last.saved = time.Now()
			}
		}
		return nil
	})
	return saved, err
}

// Delete implements tokenstore.Store; nobody unlinks here.
func (p *process) Delete(context.Context, string, uint64) error { return errors.New("not simulated") }

// RoundTrip implements http.RoundTripper: one POST to the token endpoint. Whose
// it is stands in its context, so that a process can die before the form is
// read.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	w, ctx := p.world, req.Context()
	s := ctx.Value(whose{}).(*session)
	if err := p.point(s); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err // net/http looks before it sends, too
	}
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(form))
	if err != nil {
		return nil, err
	}
	token := values.Get("refresh_token")
	w.server.mu.Lock()
	w.tally.posts++
	w.server.mu.Unlock()

	dice := w.chance(s)
	// One number decides: each case takes its share of it.
	x := dice.Float64()
	is := func(likely float64) bool { x -= likely; return x < 0 && x >= -likely }
	sent := &post{from: p, at: time.Now()}
	wait := 50*time.Millisecond + random(dice, 350*time.Millisecond)
	broken := false
	switch {
	case is(slowPost):
		wait = time.Second + random(dice, 14*time.Second)
	case is(latePost):
		wait = postLimit + random(dice, 40*time.Second)
	case is(lostRequest):
		return nil, io.ErrUnexpectedEOF
	case is(brokenBefore):
		return answer(req, http.StatusServiceUnavailable, nil, nil), nil
	case is(tooMany):
		return answer(req, http.StatusTooManyRequests, http.Header{"Retry-After": {"3"}}, nil), nil
	case is(lostAnswer):
		sent.lost = true
	case is(brokenAfter):
		sent.lost, broken = true, true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		// A server does not notice that its client has gone.
		sent.lost = true
		left := wait - time.Since(sent.at)
		w.late.Go(func() {
			time.Sleep(left)
			w.server.take(sent, token)
		})
		return nil, ctx.Err()
	}
	status, body := w.server.take(sent, token)
	if err := p.point(s); err != nil {
		return nil, err
	}
	switch {
	case broken:
		return answer(req, http.StatusServiceUnavailable, nil, nil), nil
	case sent.lost:
		return nil, io.ErrUnexpectedEOF
	}
	return answer(req, status, http.Header{"Content-Type": {"application/json"}}, body), nil
}

func answer(req *http.Request, status int, head http.Header, body []byte) *http.Response {
	if head == nil {
		head = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: head, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}
