// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

const life = 10 * time.Minute

// issuer is the strictest token endpoint there is: a refresh token works once,
// and the session dies when one comes twice.
type issuer struct {
	mu      sync.Mutex
	serial  int
	valid   string
	spent   map[string]bool
	dead    bool
	posts   int
	reuses  int
	delay   time.Duration
	final   bool // leave the refresh token out
	disturb func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome
}

func newIssuer() *issuer { return &issuer{spent: map[string]bool{}} }

// grant issues a pair.
func (i *issuer) grant() tokenwire.Outcome {
	i.serial++
	access, refresh := fmt.Sprintf("access-%d", i.serial), fmt.Sprintf("refresh-%d", i.serial)
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(life.Seconds()), "scope": "PATIENT"}
	if !i.final {
		answer["refresh_token"] = refresh
		i.valid = refresh
	}
	body, _ := json.Marshal(answer)
	g, err := tokenwire.Parse(body)
	if err != nil {
		panic(err)
	}
	return tokenwire.Outcome{Class: tokenwire.OK, Status: 200, Body: body, Grant: g}
}

// Refresh is custody.Config.Refresh.
func (i *issuer) Refresh(ctx context.Context, refreshToken string) tokenwire.Outcome {
	i.mu.Lock()
	i.posts++
	n, delay, disturb := i.posts, i.delay, i.disturb
	i.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return tokenwire.Outcome{Class: tokenwire.Ambiguous, Err: ctx.Err()}
		}
	}
	answer := func() tokenwire.Outcome {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.spent[refreshToken] {
			i.dead = true
			i.reuses++
		}
		if i.dead {
			return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: "API_SESSION_INVALID", Err: errors.New("rejected")}
		}
		if refreshToken != i.valid {
			return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: "invalid_grant", Err: errors.New("rejected")}
		}
		i.spent[refreshToken] = true
		return i.grant()
	}
	if disturb != nil {
		return disturb(n, answer)
	}
	return answer()
}

func (i *issuer) count() (posts, reuses int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.posts, i.reuses
}

// keeper returns a replica on store.
func keeper(t *testing.T, store tokenstore.Store, i *issuer, change ...func(*custody.Config)) *custody.Keeper {
	t.Helper()
	ring := &seal.Ring{}
	if err := ring.Add("k1", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	c := custody.Config{
		Store: store, Ring: ring, Environment: "test", ClientID: "client",
		Refresh: i.Refresh, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verify:     func(context.Context, custody.Candidate) (string, error) { return patient, nil },
		HardMargin: 30 * time.Second, AssumedLife: life,
		PostTimeout: 20 * time.Second, LeaseTTL: 45 * time.Second, MaxSkew: time.Minute,
		FlightTimeout: 150 * time.Second, SaveTimeout: time.Minute,
	}
	for _, f := range change {
		f(&c)
	}
	return custody.New(c)
}

const (
	user    = "user-1"
	patient = "patient-1"
)

// link makes a link for user and returns its first access token.
func link(t *testing.T, k *custody.Keeper, i *issuer) string {
	t.Helper()
	ctx := t.Context()
	if err := k.Reserve(ctx, user, fmt.Sprintf("mark-%d", i.serial), time.Now().Add(time.Minute)); err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	out := i.grant()
	if err := k.Settle(ctx, user, time.Now(), out, custody.Terms{}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	if err := k.Admit(ctx, user, out.Grant.AccessToken); err != nil {
		t.Fatalf("Admit: %v", err)
	}
	return out.Grant.AccessToken
}

// record returns user's record as it is stored.
func record(t *testing.T, s tokenstore.Store) tokenstore.Record {
	t.Helper()
	r, err := s.Load(t.Context(), user)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return r
}

// wantToken asks for a token and checks it.
func wantToken(t *testing.T, k *custody.Keeper, want string) {
	t.Helper()
	got, err := k.Token(t.Context(), user)
	if err != nil || got.Value != want {
		t.Fatalf("Token = %q, %v, want %q", got.Value, err, want)
	}
}

// wantLost checks that the link is lost, and why.
func wantLost(t *testing.T, k *custody.Keeper, want custody.Cause) {
	t.Helper()
	_, err := k.Token(t.Context(), user)
	var lost *custody.LostError
	if !errors.As(err, &lost) || lost.Cause != want {
		t.Fatalf("Token: %v, want relink required: %s", err, want)
	}
}

// wantWait checks that there is no token, and nothing is lost.
func wantWait(t *testing.T, k *custody.Keeper, reason string) {
	t.Helper()
	_, err := k.Token(t.Context(), user)
	var wait *custody.WaitError
	if !errors.As(err, &wait) || wait.Reason != reason {
		t.Fatalf("Token: %v, want to wait: %s", err, reason)
	}
}

// wantPosts checks how often the server was asked, and that it never saw a
// token twice.
func wantPosts(t *testing.T, i *issuer, want int) {
	t.Helper()
	posts, reuses := i.count()
	if posts != want || reuses != 0 {
		t.Errorf("%d POSTs and %d reused tokens, want %d and 0", posts, reuses, want)
	}
}
