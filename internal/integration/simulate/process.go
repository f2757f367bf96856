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
)

// How likely things are.
const (
	crashAt   = 1.0 / 10_000 // at each point of a refresh
	pauseAt   = 1.0 / 20_000
	suspendAt = 1.0 / 12_000 // in worlds whose clocks are wrong
	jumpAt    = 1.0 / 3_000

	outageAt   = 1.0 / 1_000 // with each save
	lyingAt    = 1.0 / 1_000
	slowAt     = 1.0 / 1_000
	lagAt      = 1.0 / 500
	failoverAt = 1.0 / 3_000

	slowPost     = 1.0 / 200
	latePost     = 1.0 / 2_000 // served when most clients have gone
	latestPost   = 1.0 / 4_000 // served when all have
	lostRequest  = 1.0 / 1_000
	lostAnswer   = 1.0 / 2_000
	brokenBefore = 1.0 / 1_000 // 503
	brokenAfter  = 1.0 / 2_000
	tooMany      = 1.0 / 2_000
	endsAt       = 1.0 / 3_000 // PKB ends the session

	maxSkew   = 14 * time.Second // each way: 28 s apart, which the hard margin of 30 s covers
	maxWrong  = 5 * time.Hour    // of clocks that are wrong
	maxPause  = 4 * time.Minute
	maxSleep  = 2 * time.Hour // suspended
	maxOutage = 45 * time.Second
	maxSlow   = 20 * time.Second
	// A failover takes so long, and loses what was written in the last moment.
	minFailover  = time.Second
	maxFailover  = 20 * time.Second
	lostMoment   = 2 * time.Second
	failoverRest = 10 * time.Minute // until there can be another one

	postLimit = 20 * time.Second // the time-out of people's HTTP clients
	longLimit = 3 * time.Minute  // ours
)

// process is one replica. What it does goes through its methods, which are
// where it dies, stops, and loses its database.
type process struct {
	world *world
	clock *clock
	dead  atomic.Bool
	ctx   context.Context // ends with it
	end   context.CancelFunc

	mu     sync.Mutex
	down   time.Time // so long it cannot reach the database
	missed time.Time // when it last noticed that
}

var (
	errDead   = errors.New("the process is dead")
	errOutage = errors.New("the database cannot be reached")
	errLied   = errors.New("the connection broke after the commit")
)

// whose is the key of the session in a request's context.
type whose struct{}

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

// picker makes one number decide: each case takes its share of it.
func picker(dice *rand.Rand) func(likely float64) bool {
	x := dice.Float64()
	return func(likely float64) bool { x -= likely; return x < 0 && x >= -likely }
}

// point is where a process may die, or stop, or get another time of day. It
// returns errDead in a dead one. In one that stands still nothing returns before
// it goes on, other than what the caller's context ends: connections do not
// outlive it.
func (p *process) point(ctx context.Context, s *session) error {
	if !p.world.isCalm(s) {
		dice := p.world.chance(s)
		switch is := picker(dice); {
		case is(crashAt):
			p.die()
		case is(pauseAt):
			p.clock.halt(random(dice, maxPause), false)
		case p.world.wrongClocks && is(suspendAt):
			p.clock.halt(random(dice, maxSleep), true)
		case p.world.wrongClocks && is(jumpAt):
			p.clock.jump(random(dice, 2*maxWrong) - maxWrong)
		}
	}
	for {
		halted := p.clock.halted()
		if p.dead.Load() {
			return errDead
		}
		if halted <= 0 {
			return nil
		}
		if err := pause(ctx, halted); err != nil {
			return err
		}
	}
}

func (p *process) die() {
	p.dead.Store(true)
	p.end()
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reach is one trip of a process to the database and back. In between, do is what the
// database does, and returns what comes back: it may come late, when nobody waits any
// more, and then that reaches nobody.
func reach[R any](ctx context.Context, p *process, s *session, write bool, do func() (R, error)) (got R, err error) {
	if err := p.point(ctx, s); err != nil {
		return got, err
	}
	time.Sleep(time.Millisecond)
	if err := ctx.Err(); err != nil {
		return got, err
	}
	var slow time.Duration
	early, lied, failover := false, false, false
	dice := p.world.chance(s)
	if write && !p.world.isCalm(s) {
		switch is := picker(dice); {
		case is(outageAt):
			p.mu.Lock()
			if time.Since(p.down) > 2*time.Minute {
				p.down = time.Now().Add(random(dice, maxOutage))
			}
			p.mu.Unlock()
		case is(lyingAt):
			lied = true
		case is(slowAt):
			slow, early = 100*time.Millisecond+random(dice, maxSlow), dice.IntN(2) == 0
		case is(failoverAt):
			failover = true
		}
	}
	if p.isDown() {
		p.mu.Lock()
		p.missed = time.Now()
		p.mu.Unlock()
		return got, errOutage
	}
	if slow > 0 && !early {
		began := time.Now()
		if err := pause(ctx, slow); err != nil {
			p.world.late.Go(func() {
				time.Sleep(slow - time.Since(began))
				if !p.isDown() {
					_, _ = do() // if it is refused, that is right
				}
			})
			return got, err
		}
	}
	got, err = do()
	p.world.server.saw(s, p)
	if slow > 0 && early {
		if late := pause(ctx, slow); late != nil {
			return got, late
		}
	}
	if err == nil && failover {
		p.world.failover(dice)
	}
	if err == nil && lied {
		err = errLied
	}
	if dead := p.point(ctx, s); dead != nil {
		return got, dead
	}
	return got, err
}

// isDown reports whether the database cannot be reached.
func (p *process) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.down) || p.world.isDown()
}

// noticed reports whether the process has found the database away since t.
func (p *process) noticed(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missed.After(t)
}

// RoundTrip implements http.RoundTripper: one POST to the token endpoint. Whose
// it is stands in its context, so that a process can die before the form is
// read.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	w, ctx := p.world, req.Context()
	w.late.Add(1) // a process that closes does not wait for what stands still
	defer w.late.Done()
	s := ctx.Value(whose{}).(*session)
	if err := p.point(ctx, s); err != nil {
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
	dice := w.chance(s)
	if status, body, refused := w.refuses(s, dice); refused {
		time.Sleep(20 * time.Millisecond)
		return answer(req, status, nil, body), nil
	}
	w.server.mu.Lock()
	w.tally.posts++
	w.server.mu.Unlock()

	is := picker(dice)
	sent := w.server.send(s, p)
	wait := 50*time.Millisecond + random(dice, 350*time.Millisecond)
	broken := false
	switch {
	case is(slowPost):
		wait = time.Second + random(dice, 14*time.Second)
	case is(latePost):
		wait = postLimit + random(dice, 40*time.Second)
	case is(latestPost):
		wait = longLimit + random(dice, 40*time.Second)
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
	case is(endsAt):
		w.server.end(s)
	}
	if err := pause(ctx, wait); err != nil {
		// A server does not notice that its client has gone.
		sent.lost = true
		left := wait - time.Since(sent.at)
		w.late.Go(func() {
			time.Sleep(left)
			w.server.take(sent, token)
		})
		return nil, err
	}
	status, body := w.server.take(sent, token)
	if err := p.point(context.WithoutCancel(ctx), s); err != nil {
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
