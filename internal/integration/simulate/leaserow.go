// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// leaseRow is the best that is in public use: one flight for a user in each
// process, which outlives its callers; a lease in the user's row, with an owner
// and an end, taken and read in one statement; the token read again under it; the
// new pair saved before it is used, and only under the lease. What may pass is
// tried again for a while, what the server refuses is believed, and the refresh
// token is then deleted, unless another has taken its place. So does Coder's
// coderd/externalauth since 2026, with the database's time.
type leaseRow struct {
	*peer
	databaseTime bool
	work         sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*leasedFlight
}

type leasedFlight struct {
	done  chan struct{}
	token oauth2.Token
	err   error
}

const (
	leaseFor   = 20 * time.Second // a lease, and the flight under it
	retryFor   = 10 * time.Second
	firstRetry = 250 * time.Millisecond
	lastRetry  = 2 * time.Second
)

var (
	errLeased    = errors.New("somebody else has the lease")
	errNotLeased = errors.New("the lease is not ours any more")
)

func startLeaseRow(databaseTime bool) func(*process) keeper {
	return func(p *process) keeper {
		return &leaseRow{peer: newPeer(p), databaseTime: databaseTime, flights: map[string]*leasedFlight{}}
	}
}

func (l *leaseRow) token(ctx context.Context, s *session, rejected string) (string, error) {
	t, err := l.read(ctx, s)
	if err != nil || !over(t, rejected) {
		return t.AccessToken, err
	}
	l.mu.Lock()
	f := l.flights[s.user]
	if f == nil {
		f = &leasedFlight{done: make(chan struct{})}
		l.flights[s.user] = f
		l.work.Go(func() {
			limited, cancel := context.WithTimeout(context.Background(), leaseFor)
			defer cancel()
			f.token, f.err = l.fly(limited, s, rejected)
			l.mu.Lock()
			delete(l.flights, s.user)
			l.mu.Unlock()
			close(f.done)
		})
	}
	l.mu.Unlock()
	select {
	case <-f.done:
		return f.token.AccessToken, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (l *leaseRow) close() { l.work.Wait() }

// fly is the flight.
func (l *leaseRow) fly(ctx context.Context, s *session, rejected string) (t oauth2.Token, err error) {
	me := rand.Text()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		if t, err = l.acquire(ctx, s, me); err == nil {
			break
		}
		if !errors.Is(err, errLeased) {
			return t, err
		}
		if err := pause(ctx, wait); err != nil {
			return t, err
		}
	}
	defer func() { _ = l.release(context.WithoutCancel(ctx), s, me) }()
	switch {
	case t.RefreshToken == "":
		return t, errLost
	case !over(t, rejected):
		return t, nil
	}
	next, err := l.exchange(ctx, s, t)
	if isRefused(err) {
		return l.refused(ctx, s, me, t)
	}
	if err != nil {
		return t, err
	}
	return next, l.store(ctx, s, me, next)
}

// now is the time by which leases end.
func (l *leaseRow) now() time.Time {
	if l.databaseTime {
		return time.Now()
	}
	return time.Now().Add(l.clock.offset())
}

// acquire takes the lease and returns the token, or errLeased.
func (l *leaseRow) acquire(ctx context.Context, s *session, me string) (t oauth2.Token, err error) {
	got, err := l.update(ctx, s, func(r *row) error {
		if r.leasedBy != "" && l.now().Before(r.leased) {
			return errLeased
		}
		r.leasedBy, r.leased = me, l.now().Add(leaseFor)
		return nil
	})
	if err != nil {
		return t, err
	}
	t = got.token
	t.Expiry = t.Expiry.Add(-l.clock.offset())
	return t, nil
}

func (l *leaseRow) release(ctx context.Context, s *session, me string) error {
	return l.leased(ctx, s, me, func(r *row) { r.leasedBy = "" })
}

// store saves the new pair, if the lease is still ours.
func (l *leaseRow) store(ctx context.Context, s *session, me string, t oauth2.Token) error {
	t.Expiry = t.Expiry.Add(l.clock.offset())
	return l.leased(ctx, s, me, func(r *row) { r.token = t })
}

func (l *leaseRow) leased(ctx context.Context, s *session, me string, change func(*row)) error {
	_, err := l.update(ctx, s, func(r *row) error {
		if r.leasedBy != me {
			return errNotLeased
		}
		change(r)
		return nil
	})
	return err
}

// exchange presents the refresh token, and again for what may pass.
func (l *leaseRow) exchange(ctx context.Context, s *session, t oauth2.Token) (oauth2.Token, error) {
	limited, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		next, err := l.fetch(s, t)
		if err == nil || isRefused(err) || pause(limited, wait) != nil {
			return next, err
		}
	}
}

// refused deletes a refresh token that the server does not take, unless somebody
// else has put another in its place.
func (l *leaseRow) refused(ctx context.Context, s *session, me string, t oauth2.Token) (oauth2.Token, error) {
	if now, err := l.read(ctx, s); err == nil && now.RefreshToken != t.RefreshToken {
		return now, nil
	}
	err := l.leased(ctx, s, me, func(r *row) {
		if r.token.RefreshToken == t.RefreshToken {
			r.token.RefreshToken = ""
		}
	})
	return oauth2.Token{}, errors.Join(errLost, err)
}

// isRefused is what people take for the server's last word.
func isRefused(err error) bool {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	return ok && (refused.ErrorCode == "invalid_grant" ||
		slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusOK}, refused.Response.StatusCode))
}
