// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// designs are what is compared, each with one layer more than the one before.
var designs = []design{
	{name: "x/oauth2 in each replica", start: startPerReplica},
	{name: "map of mutexes", start: startMutexMap},
	{name: "lock for a fixed time", start: startFixedLock},
	{name: "lease row, replicas' time", start: startLeaseRow(false)},
	{name: "lease row, database's time", start: startLeaseRow(true)},
	{name: "ours", ours: true, start: startOurs},
}

// row is what the designs that are not ours keep of a user. Its times are those of
// the process that wrote them.
type row struct {
	token oauth2.Token
	// leasedBy has the right to refresh until leased.
	leasedBy string
	leased   time.Time
}

// locks are what such designs keep in Redis.
type locks struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// peer is what the designs that are not ours have in common.
type peer struct {
	*process
	mu      sync.Mutex
	sources map[string]oauth2.TokenSource
	cached  map[string]oauth2.Token
	gates   map[string]chan struct{}
}

func newPeer(p *process) *peer {
	return &peer{process: p, sources: map[string]oauth2.TokenSource{}, cached: map[string]oauth2.Token{}, gates: map[string]chan struct{}{}}
}

func (p *peer) close() {}

func (p *peer) rest() {}

// alone lets one caller in for each user: what a sync.Mutex for each user does,
// made of a channel, because simulated time does not pass for who waits for a
// mutex.
func (p *peer) alone(s *session) (leave func()) {
	p.mu.Lock()
	gate := p.gates[s.user]
	if gate == nil {
		gate = make(chan struct{}, 1)
		p.gates[s.user] = gate
	}
	p.mu.Unlock()
	gate <- struct{}{}
	return func() { <-gate }
}

// link writes the first pair, and lets all replicas forget the one before.
func (p *peer) link(ctx context.Context, s *session, answer []byte) error {
	var t oauth2.Token
	if err := json.Unmarshal(answer, &t); err != nil {
		return err
	}
	t.Expiry = time.Now().Add(tokenLife)
	if err := p.write(ctx, s, t); err != nil {
		return err
	}
	for n := range replicas {
		other := p.world.replica(n).keeper.(interface{ forget(user string) })
		other.forget(s.user)
	}
	return nil
}

func (p *peer) forget(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sources, user)
	delete(p.cached, user)
}

// update is one UPDATE, and one INSERT where there is nothing yet. It returns the row as
// it was to be.
func (p *peer) update(ctx context.Context, s *session, change func(*row) error) (row, error) {
	got, err := reach(ctx, p.process, s, true, func() (row, error) {
		before, after, err := p.world.rows.change(s.user, p.world.lags(s), func(r row) (row, pairID, error) {
			err := change(&r)
			return r, pairOfRow(r), err
		})
		if err != nil {
			return after, err
		}
		pair := pairOfRow(after)
		p.world.server.keeps(s, p.process, pair)
		if after.leasedBy != "" {
			p.world.server.leased(s, p.process, before.leasedBy, after.leasedBy, leaseFor)
		}
		return after, nil
	})
	if err != nil {
		p.world.server.refusesToKeep(s, p.process, pairOfRow(got))
	}
	return got, err
}

func pairOfRow(r row) (pair pairID) {
	_, pair = split(r.token.RefreshToken)
	return pair
}

// write writes a token. Its expiry is true in this process, and gets into the row
// by its wall clock.
func (p *peer) write(ctx context.Context, s *session, t oauth2.Token) error {
	_, err := p.update(ctx, s, func(r *row) error {
		r.token = t
		r.token.Expiry = t.Expiry.Add(p.clock.offset())
		return nil
	})
	return err
}

// read is a SELECT.
func (p *peer) read(ctx context.Context, s *session) (t oauth2.Token, err error) {
	t, err = reach(ctx, p.process, s, false, func() (oauth2.Token, error) {
		r, saw := p.world.rows.read(s.user)
		p.world.server.misled(s, p.process, saw != newest)
		if saw == absent {
			return oauth2.Token{}, errNoRow
		}
		return r.token, nil
	})
	t.Expiry = t.Expiry.Add(-p.clock.offset())
	return t, err
}

var errNoRow = errors.New("there is no such row")

// source is x/oauth2's, with what it is given to start from.
func (p *peer) source(s *session, t oauth2.Token) oauth2.TokenSource {
	conf := oauth2.Config{ClientID: "client", Endpoint: oauth2.Endpoint{
		TokenURL: "https://pkb.example/apiToken.action", AuthStyle: oauth2.AuthStyleInParams,
	}}
	ctx := context.WithValue(context.Background(), whose{}, s)
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: p.process, Timeout: postLimit})
	return conf.TokenSource(ctx, &t)
}

// fetch gets another pair for t with x/oauth2.
func (p *peer) fetch(s *session, t oauth2.Token) (oauth2.Token, error) {
	t.Expiry = time.Unix(1, 0) // it is the caller who found that it has expired
	next, err := p.source(s, t).Token()
	if err != nil {
		return oauth2.Token{}, err
	}
	return *next, nil
}

// refresh gets another pair and writes it, as well as that goes: a failing save
// is logged, where people log.
func (p *peer) refresh(ctx context.Context, s *session, t oauth2.Token) (oauth2.Token, error) {
	next, err := p.fetch(s, t)
	if err == nil {
		_ = p.write(context.WithoutCancel(ctx), s, next)
	}
	return next, err
}

// over is how people ask whether a token still serves; rejected is one that the
// API did not take.
func over(t oauth2.Token, rejected string) bool {
	return time.Until(t.Expiry) < 30*time.Second || t.AccessToken == rejected
}

// perReplica: each replica reads the pair once and leaves the rest to x/oauth2.
type perReplica struct{ *peer }

func startPerReplica(p *process) keeper { return perReplica{newPeer(p)} }

func (p perReplica) token(ctx context.Context, s *session, rejected string) (string, error) {
	defer p.alone(s)() // as x/oauth2's own mutex does
	if rejected != "" {
		p.forget(s.user)
	}
	p.mu.Lock()
	source := p.sources[s.user]
	p.mu.Unlock()
	if source == nil {
		t, err := p.read(ctx, s)
		if err != nil {
			return "", err
		}
		if t.AccessToken == rejected {
			t.Expiry = time.Unix(1, 0)
		}
		source = p.source(s, t)
		p.mu.Lock()
		p.sources[s.user] = source
		p.mu.Unlock()
	}
	t, err := source.Token()
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	changed := p.cached[s.user].AccessToken != t.AccessToken
	p.cached[s.user] = *t
	p.mu.Unlock()
	if changed {
		_ = p.write(context.WithoutCancel(ctx), s, *t)
	}
	return t.AccessToken, nil
}

// mutexMap: one refresh at a time for a user in each replica, from the row that
// all share.
type mutexMap struct{ *peer }

func startMutexMap(p *process) keeper { return mutexMap{newPeer(p)} }

func (p mutexMap) token(ctx context.Context, s *session, rejected string) (string, error) {
	defer p.alone(s)()
	t, err := p.read(ctx, s)
	if err == nil && over(t, rejected) {
		t, err = p.refresh(ctx, s, t)
	}
	return t.AccessToken, err
}

// fixedLock: the same, with a lock among the replicas that ends by itself after
// ten seconds, so that a dead holder stops nobody.
type fixedLock struct{ *peer }

const lockFor = 10 * time.Second

func startFixedLock(p *process) keeper { return fixedLock{newPeer(p)} }

func (p fixedLock) token(ctx context.Context, s *session, rejected string) (string, error) {
	defer p.alone(s)()
	for {
		t, err := p.read(ctx, s)
		if err != nil || !over(t, rejected) {
			return t.AccessToken, err
		}
		got, err := p.lock(ctx, s)
		if err != nil {
			return "", err
		}
		if got {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
	defer p.unlock(ctx, s)
	t, err := p.read(ctx, s) // somebody may have refreshed meanwhile
	if err == nil && over(t, rejected) {
		t, err = p.refresh(ctx, s, t)
	}
	return t.AccessToken, err
}

// lock is SET NX with a time to live.
func (p fixedLock) lock(ctx context.Context, s *session) (bool, error) {
	return reach(ctx, p.process, s, false, func() (bool, error) {
		l := &p.world.locks
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.until == nil {
			l.until = map[string]time.Time{}
		}
		got := time.Now().After(l.until[s.user])
		if got {
			l.until[s.user] = time.Now().Add(lockFor)
		}
		return got, nil
	})
}

// unlock is DEL, whosever lock it is by now.
func (p fixedLock) unlock(ctx context.Context, s *session) {
	_, _ = reach(context.WithoutCancel(ctx), p.process, s, false, func() (struct{}, error) { // else it ends by itself
		l := &p.world.locks
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.until, s.user)
		return struct{}{}, nil
	})
}
