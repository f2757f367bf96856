// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// many links n users, whose tokens are all over, and returns their ids.
func many(t *testing.T, k *custody.Keeper, i *issuers, n int) []string {
	t.Helper()
	var users []string
	for j := range n {
		u := fmt.Sprintf("user-%d", j)
		users = append(users, u)
		if err := k.Reserve(t.Context(), u, "mark", time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if err := k.Settle(t.Context(), u, time.Now(), i.grant(), custody.Terms{}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(life)
	return users
}

// issuers is an issuer with many sessions: any of its refresh tokens works,
// once.
type issuers struct {
	issuer
	trouble atomic.Pointer[tokenwire.Outcome]
}

func newKeeperOfMany(t *testing.T, i *issuers) *custody.Keeper {
	i.spent = map[string]bool{}
	i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
		if o := i.trouble.Load(); o != nil {
			return *o
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.grant()
	}
	return keeper(t, tokenstore.NewMemory(), &i.issuer)
}

// S37, S48: one answer about the application stops the requests of all links, for as
// long as the server asks; one at a time then finds out whether it is over.
func TestBreakerKeepsEverybodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuers{}
		k := newKeeperOfMany(t, i)
		users := many(t, k, i, 50)
		i.trouble.Store(&tokenwire.Outcome{Class: tokenwire.AppWide, Status: 429, RetryAfter: 20 * time.Second})

		var wait *custody.WaitError
		for _, u := range users {
			if _, err := k.Token(t.Context(), u); !errors.As(err, &wait) || wait.Reason != custody.WaitAppWide || wait.Status != 429 {
				t.Fatalf("Token: %v", err)
			}
		}
		if posts, _ := i.count(); posts != 1 {
			t.Errorf("%d POSTs at a server that asked for 20 seconds of peace, want 1", posts)
		}
		if wait.RetryAfter <= 15*time.Second || wait.RetryAfter > 20*time.Second {
			t.Errorf("callers are told to wait %v", wait.RetryAfter)
		}

		// It goes on: one probe after each back-off.
		i.trouble.Store(&tokenwire.Outcome{Class: tokenwire.AppWide, Status: 401, Code: "invalid_client"})
		time.Sleep(21 * time.Second)
		i.mu.Lock()
		i.delay = time.Second
		i.mu.Unlock()
		var wg sync.WaitGroup
		for _, u := range users {
			wg.Go(func() { _, _ = k.Token(t.Context(), u) })
		}
		wg.Wait()
		if posts, _ := i.count(); posts != 2 {
			t.Errorf("%d POSTs, want one more", posts)
		}

		// And over: the first success lets everybody in.
		i.trouble.Store(nil)
		time.Sleep(2 * time.Minute)
		if _, err := k.Token(t.Context(), users[0]); err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			wg.Go(func() {
				if _, err := k.Token(t.Context(), u); err != nil {
					t.Errorf("after the trouble: %v", err)
				}
			})
		}
		wg.Wait()
	})
}

// Many requests that were under way when the trouble began are one trouble: the
// pause after them is as short as after one.
func TestBreakerCountsATroubleOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuers{}
		k := newKeeperOfMany(t, i)
		users := many(t, k, i, 17)
		i.trouble.Store(&tokenwire.Outcome{Class: tokenwire.AppWide, Status: 503})
		i.mu.Lock()
		i.delay = time.Second
		i.mu.Unlock()
		var wg sync.WaitGroup
		for _, u := range users[1:] {
			wg.Go(func() { _, _ = k.Token(t.Context(), u) })
		}
		wg.Wait()
		if posts, _ := i.count(); posts != 16 {
			t.Fatalf("%d POSTs were under way, want 16", posts)
		}
		var wait *custody.WaitError
		if _, err := k.Token(t.Context(), users[0]); !errors.As(err, &wait) || wait.RetryAfter > 2*time.Second {
			t.Errorf("Token: %v, to wait %v", err, wait.RetryAfter)
		}
	})
}

// S38: an outage of hours makes few links uncertain, and loses none.
func TestBreakerSparesLinksInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuers{}
		k := newKeeperOfMany(t, i)
		users := many(t, k, i, 50)
		i.trouble.Store(&tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503})
		for range 4 * 60 {
			for _, u := range users {
				if _, err := k.Token(t.Context(), u); err == nil {
					t.Fatal("a token in the outage")
				}
			}
			time.Sleep(time.Minute)
		}
		uncertain := 0
		for _, u := range users {
			r, err := k.Look(t.Context(), u)
			if err != nil || r.State == tokenstore.StateRelinkRequired {
				t.Fatalf("%s, %v", r.State, err)
			}
			if r.State == tokenstore.StateUncertain {
				uncertain++
			}
		}
		t.Logf("%d of %d links were made uncertain", uncertain, len(users))
		i.trouble.Store(nil)
		time.Sleep(15 * time.Minute)
		for _, u := range users {
			if _, err := k.Token(t.Context(), u); err != nil {
				t.Errorf("after the outage: %v", err)
			}
		}
		if got := k.Stats(); got.Events[custody.Refreshed] != 50 || len(got.Lost) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// S08, and the memory of cold users: entries whose token is over are dropped,
// unknown users leave none behind, and a refresh is still one.
func TestIdleEntriesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		for j := range 20_000 {
			if _, err := k.Token(t.Context(), fmt.Sprintf("stranger-%d", j)); !errors.Is(err, custody.ErrNoLink) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := k.Known(); n != 0 {
			t.Errorf("%d strangers are remembered", n)
		}
		wantToken(t, k, link(t, k, i))
		time.Sleep(life)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantToken(t, k, "access-2") })
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// Losses are counted by cause.
func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		first := link(t, k, i)
		if err := k.Lose(t.Context(), user, first, custody.SessionExpired); err != nil {
			t.Fatal(err)
		}
		if err := k.Lose(t.Context(), user, first, custody.SessionExpired); err != nil {
			t.Fatal(err)
		}
		if got := k.Stats(); got.Lost[custody.SessionExpired] != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// S11: the POST takes longer than a third of the lease: it is renewed, and
// nobody else takes it.
func TestLeaseIsRenewedDuringASlowPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k, other := keeper(t, store, i), keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.delay = 19 * time.Second
		var wg sync.WaitGroup
		wg.Go(func() { wantToken(t, k, "access-2") })
		time.Sleep(time.Second)
		taken := record(t, store).Lease
		time.Sleep(16 * time.Second)
		renewed := record(t, store).Lease
		if renewed.Fence != taken.Fence || !renewed.ExpiresAt.After(taken.ExpiresAt) {
			t.Errorf("lease %+v became %+v", taken, renewed)
		}
		wantToken(t, other, "access-2")
		wg.Wait()
		wantPosts(t, i, 1)
	})
}
