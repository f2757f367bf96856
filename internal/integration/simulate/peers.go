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

// designs are what is compared.
var designs = []design{
	{name: "x/oauth2 in each replica", start: startPerReplica},
	{name: "map of mutexes", start: startMutexMap},
	{name: "lock for a fixed time", start: startFixedLock},
	{name: "ours", ours: true, start: startOurs},
}

// rows are the table of the designs that are not ours: the last write wins. The
// lock is the row that such designs keep in Redis or in a table.
type rows struct {
	mu    sync.Mutex
	rows  map[string]oauth2.Token
	locks map[string]time.Time
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
func (p *peer) link(ctx context.Context, s *session, asked time.Time, answer []byte) error {
	var t oauth2.Token
	if err := json.Unmarshal(answer, &t); err != nil {
		return err
	}
	t.Expiry = asked.Add(-p.skew).Add(tokenLife) // their clocks are right
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

// write and read are a plain UPDATE and a plain SELECT.
func (p *peer) write(ctx context.Context, s *session, t oauth2.Token) error {
	return p.reach(ctx, s, true, func() error {
		p.world.server.mu.Lock()
		defer p.world.server.mu.Unlock()
		p.world.rows.mu.Lock()
		defer p.world.rows.mu.Unlock()
		if p.world.rows.rows == nil {
			p.world.rows.rows = map[string]oauth2.Token{}
		}
		p.world.rows.rows[s.user] = t
		if s.last != nil && s.refresh(s.gen) == t.RefreshToken {
			s.last.saved = time.Now()
		}
		return nil
	})
}

func (p *peer) read(ctx context.Context, s *session) (t oauth2.Token, err error) {
	err = p.reach(ctx, s, false, func() error {
		p.world.rows.mu.Lock()
		defer p.world.rows.mu.Unlock()
		t = p.world.rows.rows[s.user]
		return nil
	})
	return t, err
}

// source is x/oauth2's, with what it is given to start from.
func (p *peer) source(s *session, t oauth2.Token) oauth2.TokenSource {
	conf := oauth2.Config{ClientID: "client", Endpoint: oauth2.Endpoint{
		TokenURL: "https://pkb.example/apiToken.action", AuthStyle: oauth2.AuthStyleInParams,
	}}
	ctx := context.WithValue(context.Background(), whose{}, s)
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: p.process, Timeout: postLimit})
	return conf.TokenSource(ctx, &t)
}

// refresh gets another pair for t with x/oauth2 and writes it, as well as that
// goes: a failing save is logged, where people log.
func (p *peer) refresh(ctx context.Context, s *session, t oauth2.Token) (oauth2.Token, error) {
	t.Expiry = time.Unix(1, 0) // it is the caller who found that it is over
	next, err := p.source(s, t).Token()
	if err != nil {
		return oauth2.Token{}, err
	}
	if err := p.write(context.WithoutCancel(ctx), s, *next); err != nil {
		p.world.gaveUp(s, p.process)
	}
	return *next, nil
}

// over is how people ask whether a token still serves.
func over(t oauth2.Token) bool { return time.Until(t.Expiry) < 30*time.Second }

// perReplica: each replica reads the pair once and leaves the rest to x/oauth2.
type perReplica struct{ *peer }

func startPerReplica(p *process) keeper { return perReplica{newPeer(p)} }

func (p perReplica) token(ctx context.Context, s *session) (string, error) {
	defer p.alone(s)() // as x/oauth2's own mutex does
	p.mu.Lock()
	source := p.sources[s.user]
	p.mu.Unlock()
	if source == nil {
		t, err := p.read(ctx, s)
		if err != nil {
			return "", err
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
		if err := p.write(context.WithoutCancel(ctx), s, *t); err != nil {
			p.world.gaveUp(s, p.process)
		}
	}
	return t.AccessToken, nil
}

// mutexMap: one refresh at a time for a user in each replica, from the row that
// all share.
type mutexMap struct{ *peer }

func startMutexMap(p *process) keeper { return mutexMap{newPeer(p)} }

func (p mutexMap) token(ctx context.Context, s *session) (string, error) {
	defer p.alone(s)()
	t, err := p.read(ctx, s)
	if err == nil && over(t) {
		t, err = p.refresh(ctx, s, t)
	}
	return t.AccessToken, err
}

// fixedLock: the same, with a lock among the replicas that ends by itself after
// ten seconds, so that a dead holder stops nobody.
type fixedLock struct{ *peer }

const lockFor = 10 * time.Second

func startFixedLock(p *process) keeper { return fixedLock{newPeer(p)} }

func (p fixedLock) token(ctx context.Context, s *session) (string, error) {
	for {
		t, err := p.read(ctx, s)
		if err != nil || !over(t) {
			return t.AccessToken, err
		}
		got, err := p.lock(ctx, s)
		if err != nil {
			return "", err
		}
		if got {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	defer p.unlock(ctx, s)
	t, err := p.read(ctx, s) // somebody may have refreshed meanwhile
	if err == nil && over(t) {
		t, err = p.refresh(ctx, s, t)
	}
	return t.AccessToken, err
}

// lock is SET NX with a time to live.
func (p fixedLock) lock(ctx context.Context, s *session) (got bool, err error) {
	err = p.reach(ctx, s, false, func() error {
		l := &p.world.rows
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.locks == nil {
			l.locks = map[string]time.Time{}
		}
		if got = time.Now().After(l.locks[s.user]); got {
			l.locks[s.user] = time.Now().Add(lockFor)
		}
		return nil
	})
	return got, err
}

// unlock is DEL, whosever lock it is by now.
func (p fixedLock) unlock(ctx context.Context, s *session) {
	err := p.reach(context.WithoutCancel(ctx), s, false, func() error {
		l := &p.world.rows
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.locks, s.user)
		return nil
	})
	if err != nil && !errors.Is(err, errDead) && !errors.Is(err, errOutage) {
		panic(err) // nothing else can go wrong here
	}
}
