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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

const life = 10 * time.Minute

const (
	user    = "user-1"
	patient = "patient-1"
)

// The causes of a rejection that the tests use.
const (
	sessionExpired = custody.Cause("session_expired")
	sessionInvalid = custody.Cause("session_invalid")
	grantRejected  = custody.Cause("grant_rejected")
	frozen         = custody.Cause("frozen")
)

// causes are those of rejections, as package pkb defines them.
var causes = map[string]custody.Cause{
	"invalid_grant": grantRejected, "API_SESSION_EXPIRED": sessionExpired, "API_SESSION_INVALID": sessionInvalid, "ACCESS_FROZEN_OUTWARD": frozen,
}

// rejected is a refusal of one token, by its code.
func rejected(code string) tokenwire.Outcome {
	return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: code, Cause: string(causes[code])}
}

// issuer is the strictest token endpoint there is: a refresh token works once, and
// its session dies when one is presented twice. Each code begins a session; what it
// issues is numbered, whoever's it is.
type issuer struct {
	mu      sync.Mutex
	serial  int
	session map[string]int  // refresh token -> session
	spent   map[string]bool // refresh tokens
	dead    map[int]bool    // sessions
	begun   int             // sessions
	posts   int
	reuses  int
	delay   time.Duration
	final   bool // leave the refresh token out
	disturb func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome
}

func newIssuer() *issuer {
	return &issuer{session: map[string]int{}, spent: map[string]bool{}, dead: map[int]bool{}}
}

// grant issues the pair of a code.
func (i *issuer) grant() tokenwire.Outcome {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.begun++
	return i.issue(i.begun)
}

// issue issues a pair; the lock is held.
func (i *issuer) issue(session int) tokenwire.Outcome {
	i.serial++
	access, refresh := fmt.Sprintf("access-%d", i.serial), fmt.Sprintf("refresh-%d", i.serial)
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(life.Seconds()), "scope": "PATIENT"}
	if !i.final {
		answer["refresh_token"] = refresh
		i.session[refresh] = session
	}
	body, _ := json.Marshal(answer)
	return granted(body)
}

// granted is the outcome of a POST whose response is body.
func granted(body []byte) tokenwire.Outcome {
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
	answer := func() tokenwire.Outcome { return i.answer(refreshToken) }
	if disturb != nil {
		return disturb(n, answer)
	}
	return answer()
}

func (i *issuer) answer(refreshToken string) tokenwire.Outcome {
	i.mu.Lock()
	defer i.mu.Unlock()
	session, known := i.session[refreshToken]
	if i.spent[refreshToken] {
		i.dead[session] = true
		i.reuses++
	}
	switch {
	case !known:
		return rejected("invalid_grant")
	case i.dead[session]:
		return rejected("API_SESSION_INVALID")
	}
	i.spent[refreshToken] = true
	return i.issue(session)
}

func (i *issuer) count() (posts, reuses int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.posts, i.reuses
}

// slow delays each later POST.
func (i *issuer) slow(delay time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.delay = delay
}

// keeper returns a replica on store. When the test ends, it is closed, and has an
// hour to finish.
func keeper(t testing.TB, store tokenstore.Store, i *issuer, change ...func(*custody.Config)) *custody.Keeper {
	t.Helper()
	ring := &seal.Ring{}
	if err := ring.Add("k1", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	c := custody.Config{
		Store: store, Ring: ring, Environment: "test", ClientID: "client",
		Refresh: i.Refresh, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verify:     func(context.Context, custody.Candidate) (string, error) { return patient, nil },
		HardMargin: 30 * time.Second, AssumedLife: life, PostTimeout: 3 * time.Minute,
		Foreseen: []custody.Cause{sessionExpired, frozen},
	}
	for _, f := range change {
		f(&c)
	}
	k := custody.New(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Hour)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return k
}

// approval is an authorization of who whose code i exchanges.
func approval(i *issuer, who, session string, terms ...custody.Terms) custody.Approval {
	return custody.Approval{
		User: who, Session: session, Terms: append(terms, custody.Terms{})[0],
		Exchange: func(context.Context) tokenwire.Outcome { return i.grant() },
	}
}

// approveAs completes an authorization of who that is begun now, and returns the
// access token that its code brought.
func approveAs(t testing.TB, k *custody.Keeper, i *issuer, who, session string, terms ...custody.Terms) (access string, err error) {
	t.Helper()
	a := approval(i, who, session, terms...)
	if r, err := k.Store.Load(t.Context(), who); err == nil {
		a.Unlinks = custody.Show(r).Unlinks
	}
	exchange := a.Exchange
	a.Exchange = func(ctx context.Context) tokenwire.Outcome {
		out := exchange(ctx)
		access = out.Grant.AccessToken
		return out
	}
	_, err = k.Approve(t.Context(), a)
	return access, err
}

// approve completes an authorization of user that is begun now.
func approve(t testing.TB, k *custody.Keeper, i *issuer, session string, terms ...custody.Terms) error {
	t.Helper()
	_, err := approveAs(t, k, i, user, session, terms...)
	return err
}

// link makes a link for user and returns its first access token.
func link(t testing.TB, k *custody.Keeper, i *issuer) string {
	t.Helper()
	i.mu.Lock()
	session := fmt.Sprintf("session-%d", i.serial+1)
	i.mu.Unlock()
	access, err := approveAs(t, k, i, user, session)
	if err != nil {
		t.Fatalf("Approve: %v", err)
	}
	return access
}

// token returns user's token.
func token(t testing.TB, k *custody.Keeper) custody.Token {
	t.Helper()
	got, err := k.Token(t.Context(), user)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return got
}

// record returns user's record as it is stored.
func record(t testing.TB, s tokenstore.Store) tokenstore.Record {
	t.Helper()
	return recordOf(t, s, user)
}

func recordOf(t testing.TB, s tokenstore.Store, who string) tokenstore.Record {
	t.Helper()
	r, err := s.Load(t.Context(), who)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return r
}

// wantToken asks for a token and checks it.
func wantToken(t testing.TB, k *custody.Keeper, want string) {
	t.Helper()
	got, err := k.Token(t.Context(), user)
	if err != nil || got.Value != want {
		t.Fatalf("Token = %q, %v, want %q", got.Value, err, want)
	}
}

// wantLost checks that the link is lost, and why.
func wantLost(t testing.TB, k *custody.Keeper, want custody.Cause) {
	t.Helper()
	_, err := k.Token(t.Context(), user)
	var lost *custody.LostError
	if !errors.As(err, &lost) || lost.Cause != want {
		t.Fatalf("Token: %v, want relink required: %s", err, want)
	}
}

// wantWait checks that there is no token, and nothing is lost.
func wantWait(t testing.TB, k *custody.Keeper, reason string) {
	t.Helper()
	_, err := k.Token(t.Context(), user)
	var wait *custody.WaitError
	if !errors.As(err, &wait) || wait.Reason != reason {
		t.Fatalf("Token: %v, want to wait: %s", err, reason)
	}
}

// wantNoLink checks that there is no link.
func wantNoLink(t testing.TB, k *custody.Keeper) {
	t.Helper()
	if got, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
		t.Fatalf("Token = %q, %v, want no link", got.Value, err)
	}
}

// wantStoreError checks that err is the store's.
func wantStoreError(t testing.TB, err error, op string) {
	t.Helper()
	var failed *custody.StoreError
	if !errors.As(err, &failed) || failed.Op != op {
		t.Fatalf("%v, want that the store failed to %s", err, op)
	}
}

// wantPosts checks how often the server was asked, and that it never saw a
// token twice.
func wantPosts(t testing.TB, i *issuer, want int) {
	t.Helper()
	posts, reuses := i.count()
	if posts != want || reuses != 0 {
		t.Errorf("%d POSTs and %d reused tokens, want %d and 0", posts, reuses, want)
	}
}

// bubble runs f with a server and a store of its own, in a bubble.
func bubble(t *testing.T, f func(t *testing.T, i *issuer, s *tokenstore.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newIssuer(), tokenstore.NewMemory()) })
}

// whose is what Purview and the host return for each access token: the patient's id,
// or an error. set changes it.
type whose map[string]any

var whoseMu sync.Mutex

func (w whose) set(access string, is any) {
	whoseMu.Lock()
	defer whoseMu.Unlock()
	w[access] = is
}

func (w whose) verify(_ context.Context, c custody.Candidate) (string, error) {
	whoseMu.Lock()
	defer whoseMu.Unlock()
	switch v := w[c.AccessToken].(type) {
	case error:
		return "", v
	case string:
		return v, nil
	}
	return patient, nil
}

func (w whose) config(c *custody.Config) { c.Verify = w.verify }

var errReadOnly = errors.New("read-only")

// flaky is a store with faults.
type flaky struct {
	*tokenstore.Memory
	failSaves      atomic.Int64 // so many fail
	lieOnSave      atomic.Bool  // the next one is done, and reported as failed
	sleepAfterSave atomic.Int64 // the process stops for so long after each
}

func (f *flaky) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.failSaves.Add(-1) >= 0 {
		return tokenstore.Record{}, errReadOnly
	}
	saved, err := f.Memory.Save(ctx, r)
	if f.lieOnSave.CompareAndSwap(true, false) {
		return tokenstore.Record{}, errReadOnly
	}
	time.Sleep(time.Duration(f.sleepAfterSave.Load()))
	return saved, err
}

// hooked is a store that passes its calls to hooks, which may fail or delay them.
type hooked struct {
	*tokenstore.Memory
	before func(ctx context.Context, op, user string) error
	after  func(op, user string)
}

func (h *hooked) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	if h.before != nil {
		if err := h.before(ctx, "load", user); err != nil {
			return tokenstore.Record{}, err
		}
	}
	r, err := h.Memory.Load(ctx, user)
	if h.after != nil {
		h.after("load", user)
	}
	return r, err
}

func (h *hooked) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if h.before != nil {
		if err := h.before(ctx, "save", r.AppUserID); err != nil {
			return tokenstore.Record{}, err
		}
	}
	saved, err := h.Memory.Save(ctx, r)
	if h.after != nil {
		h.after("save", r.AppUserID)
	}
	return saved, err
}
