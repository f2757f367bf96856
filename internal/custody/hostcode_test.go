// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// mood is how host code behaves in one call.
type mood int

const (
	kind   mood = iota
	fails       // it returns an error
	hangs       // it returns when its context ends
	deaf        // it returns when the test lets it, whatever its context
	panics      //
	exits       // it ends its goroutine
	hollow      // its error is a nil pointer, whose methods panic
)

func (m mood) String() string {
	return [...]string{"kind", "fails", "hangs", "deaf", "panics", "exits", "hollow"}[m]
}

// rude is a store with moods.
type rude struct {
	*tokenstore.Memory
	mu      sync.Mutex
	mood    func(op string, n int) mood // n counts the calls of an op since the mood was set
	calls   map[string]int
	release chan struct{}
}

func newRude(s *tokenstore.Memory) *rude {
	return &rude{Memory: s, calls: map[string]int{}, release: make(chan struct{})}
}

// feels sets the mood of every call from now on.
func (r *rude) feels(mood func(op string, n int) mood) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mood, r.calls = mood, map[string]int{}
}

// relents releases deaf calls, and is kind from now on.
func (r *rude) relents() {
	r.feels(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.release)
	r.release = make(chan struct{})
}

func (r *rude) act(ctx context.Context, op string) error {
	r.mu.Lock()
	r.calls[op]++
	m := kind
	if r.mood != nil {
		m = r.mood(op, r.calls[op])
	}
	release := r.release
	r.mu.Unlock()
	return m.act(ctx, release)
}

func (m mood) act(ctx context.Context, release chan struct{}) error {
	switch m {
	case fails:
		return errBroken
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case deaf:
		<-release
	case panics:
		panic("with something secret")
	case exits:
		runtime.Goexit()
	case hollow:
		return errHollow
	}
	return nil
}

// nilError is how an error is returned that one has not made.
type nilError struct{ of error }

func (e *nilError) Error() string        { return e.of.Error() }
func (e *nilError) Is(target error) bool { return e.of == target }
func (e *nilError) Unwrap() error        { return e.of }
func (e *nilError) Timeout() bool        { return e.of != nil }

var errHollow error = (*nilError)(nil)

func (r *rude) Load(ctx context.Context, u string) (tokenstore.Record, error) {
	if err := r.act(ctx, "load"); err != nil {
		return tokenstore.Record{}, err
	}
	return r.Memory.Load(ctx, u)
}

func (r *rude) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	if err := r.act(ctx, "save"); err != nil {
		return tokenstore.Record{}, err
	}
	return r.Memory.Save(ctx, rec)
}

func (r *rude) Delete(ctx context.Context, u string, v uint64) error {
	if err := r.act(ctx, "delete"); err != nil {
		return err
	}
	return r.Memory.Delete(ctx, u, v)
}

func (r *rude) FindPublicID(ctx context.Context, id string, n int) ([]tokenstore.Record, error) {
	if err := r.act(ctx, "find"); err != nil {
		return nil, err
	}
	return r.Memory.FindPublicID(ctx, id, n)
}

var allMoods = []mood{fails, hangs, deaf, panics, exits, hollow}

// always has the same mood for some ops.
func always(m mood, ops ...string) func(string, int) mood {
	return func(op string, _ int) mood {
		if slices.Contains(ops, op) {
			return m
		}
		return kind
	}
}

// operations are what hosts call, each with its user.
var operations = []struct {
	name string
	do   func(ctx context.Context, w *town, k *custody.Keeper, token custody.Token) error
}{
	{"Token", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Token(ctx, user)
		return err
	}},
	{"Present", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Present(ctx, user)
		return err
	}},
	{"Replace", func(ctx context.Context, _ *town, k *custody.Keeper, token custody.Token) error {
		_, err := k.Replace(ctx, user, token)
		return err
	}},
	{"Lose", func(ctx context.Context, _ *town, k *custody.Keeper, token custody.Token) error {
		return k.Lose(ctx, user, token, "session_expired")
	}},
	{"Unlink", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		return k.Unlink(ctx, user)
	}},
	{"Approve", func(ctx context.Context, w *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Approve(ctx, w.visit(user, "anew"))
		return err
	}},
	{"Check", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		return k.Check(ctx, user)
	}},
	{"Discard", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		return k.Discard(ctx, user)
	}},
	{"Look", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Look(ctx, user)
		return err
	}},
	{"Past", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Past(ctx, user)
		return err
	}},
	{"Reseal", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Reseal(ctx, user)
		return err
	}},
	{"Purge", func(ctx context.Context, _ *town, k *custody.Keeper, _ custody.Token) error {
		_, err := k.Purge(ctx, tokenstore.Record{
			AppUserID: user, Version: 1, State: tokenstore.StateUnlinked, DueAt: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		})
		return err
	}},
}

// Nobody waits beyond their own context, whatever the store does; and when it is
// well again, so is the link, unless it was unlinked.
func TestNobodyWaitsBeyondTheirContext(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for _, m := range allMoods {
			for _, calls := range [][]string{{"load"}, {"save"}, {"load", "save", "find", "delete"}} {
				for _, expired := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %v %s, expired=%v", op.name, m, strings.Join(calls, " "), expired), func(t *testing.T) {
						stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
							store := newRude(s)
							k := w.replica(t, store)
							w.joins(t, k, user, "once")
							token := wantServed(t, k, user, "once")
							time.Sleep(2 * time.Second)
							if expired {
								time.Sleep(life)
							}
							store.feels(always(m, calls...))
							ctx, leave := context.WithTimeout(t.Context(), time.Second)
							defer leave()
							began := time.Now()
							err := op.do(ctx, w, k, token)
							if took := time.Since(began); took > 2100*time.Millisecond { // one more for code that ignores its context
								t.Errorf("with one second it took %v: %v", took, err)
							}
							time.Sleep(2 * time.Minute)
							store.relents()
							_, _ = k.Present(t.Context(), user) // finds the store back
							time.Sleep(2 * time.Minute)
							switch _, err := k.Present(t.Context(), user); {
							case op.name == "Unlink" && errors.Is(err, custody.ErrNoLink):
							case op.name == "Lose" && isLost(err):
							case err != nil:
								t.Errorf("afterwards: %v", err)
							}
							time.Sleep(time.Minute)
							synctest.Wait()
							if h := k.Health(); h.Abandoned != 0 || h.Unsaved != 0 || h.Busy != 0 {
								t.Errorf("afterwards: %+v", h)
							}
							w.wantNoneAgain(t)
						})
					})
				}
			}
		}
	}
}

func isLost(err error) bool {
	_, ok := errors.AsType[*custody.LostError](err)
	return ok
}

// A store that accepts no writes, and one that never responds, is reported soon,
// also to callers who would wait.
func TestFailingStoreIsToldSoon(t *testing.T) {
	t.Parallel()
	for _, m := range []mood{fails, panics, exits, hollow} {
		for _, calls := range [][]string{{"load"}, {"save"}, {"load", "save", "find", "delete"}} {
			t.Run(fmt.Sprintf("%v %s", m, strings.Join(calls, " ")), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					store := newRude(s)
					k := w.replica(t, store)
					w.joins(t, k, user, "once")
					time.Sleep(life)
					store.feels(always(m, calls...))
					said := 0
					for range 6 {
						for _, op := range []int{0, 1, 5} { // Token, Present, Approve
							began := time.Now()
							err := operations[op].do(t.Context(), w, k, custody.Token{})
							if _, ok := errors.AsType[*custody.StoreError](err); ok {
								said++
							} else if wait, ok := errors.AsType[*custody.WaitError](err); !ok || wait.Reason != custody.WaitWary {
								t.Errorf("%s: %v", operations[op].name, err)
							}
							if took := time.Since(began); took > time.Second {
								t.Errorf("%s took %v: %v", operations[op].name, took, err)
							}
						}
						time.Sleep(10 * time.Second)
					}
					if said < 8 { // in between, it seems to have come back
						t.Errorf("only %d of 18 callers got the store's error", said)
					}
					if n := w.posts("once"); n != 0 {
						t.Errorf("presented %d times without a store", n)
					}
					store.relents()
					_, _ = k.Present(t.Context(), user)
					time.Sleep(time.Minute)
					if _, err := k.Present(t.Context(), user); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// A response that the store does not accept for hours is retried, ever less often,
// and operators are told.
func TestResponseThatTheStoreDoesNotTakeForHours(t *testing.T) {
	t.Parallel()
	for _, calls := range [][]string{{"save"}, {"load", "save"}} {
		t.Run(strings.Join(calls, " "), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				var said tells
				store := newRude(s)
				a, b := w.replica(t, store, said.config), w.replica(t, s)
				w.joins(t, a, user, "once")
				time.Sleep(life)
				w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
					if q.refresh {
						store.feels(always(fails, calls...)) // just now
					}
					return serve(), nil
				})
				began := time.Now()
				_, err := a.Token(t.Context(), user)
				if _, ok := errors.AsType[*custody.StoreError](err); !ok || time.Since(began) > time.Second {
					t.Errorf("its caller got %v after %v", err, time.Since(began))
				}
				for range 3 * 60 {
					time.Sleep(time.Minute)
					_, _ = a.Token(t.Context(), user)
				}
				if h := a.Health(); h.Unsaved != 1 {
					t.Errorf("%+v", h)
				}
				if said.count(custody.SaveRetried) == 0 || said.count(custody.SaveFailed) == 0 {
					t.Errorf("events: %v", said.counts())
				}
				store.mu.Lock()
				saves := store.calls["save"]
				store.mu.Unlock()
				if calls[0] == "save" && (saves < 500 || saves > 3*60*60/4) {
					t.Errorf("%d saves in 3 hours", saves)
				}
				if n := w.posts("once"); n != 1 {
					t.Errorf("presented %d times", n)
				}
				w.disturb(nil)
				store.relents()
				time.Sleep(time.Minute)
				wantServed(t, a, user, "once")
				wantServed(t, b, user, "once")
				if r := recordOf(t, s, user); sessionOfPair(r.Pair) != "once" || r.Tried != 0 || w.posts("once") > 2 {
					t.Errorf("%q, tried %d, presented %d times", r.Pair, r.Tried, w.posts("once"))
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A store that hangs holds up one caller of a token in memory, and not each one.
func TestHangingStoreHoldsUpOneCaller(t *testing.T) {
	for _, m := range []mood{hangs, deaf} {
		t.Run(m.String(), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				store := newRude(s)
				k, other := w.replica(t, store), w.replica(t, s)
				for _, u := range []string{"user-a", "user-b"} {
					w.joins(t, k, u, u)
					wantServed(t, k, u, u)
				}
				store.feels(always(m, "load"))
				time.Sleep(2 * time.Second)
				slow := 0
				for n := range 60 {
					began := time.Now()
					if _, err := k.Present(t.Context(), []string{"user-a", "user-b"}[n%2]); err != nil {
						t.Errorf("a token in memory: %v", err)
					}
					if took := time.Since(began); took > 100*time.Millisecond {
						slow++
						if took > 2100*time.Millisecond {
							t.Errorf("a call took %v", took)
						}
					}
					time.Sleep(time.Second)
				}
				if slow > 1 {
					t.Errorf("%d of 60 calls waited for a store that hangs", slow)
				}
				if h := k.Health(); h.Abandoned > 64 {
					t.Errorf("%+v", h)
				}
				// When it is well again, it is looked at again.
				store.relents()
				time.Sleep(2 * time.Second)
				for _, u := range []string{"user-a", "user-b"} {
					_, _ = k.Present(t.Context(), u)
				}
				synctest.Wait()
				if err := other.Unlink(t.Context(), "user-a"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				wantUnlinked(t, k, "user-a")
				wantServed(t, k, "user-b", "user-b")
			})
		})
	}
}

// Calls that never return are counted, and bounded: the process keeps serving what
// it has, and is well when they do return.
func TestCallsThatNeverReturnAreBounded(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		store := newRude(s)
		k := w.replica(t, store)
		for n := range 200 {
			u := fmt.Sprintf("user-%03d", n)
			w.joins(t, k, u, u)
		}
		time.Sleep(life)
		store.feels(always(deaf, "load"))
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * time.Second)
				ctx, leave := context.WithTimeout(t.Context(), 30*time.Second)
				defer leave()
				if _, err := k.Token(ctx, fmt.Sprintf("user-%03d", n)); err == nil {
					t.Error("a token without a store")
				}
			})
		}
		wg.Wait()
		if h := k.Health(); h.Abandoned == 0 || h.Abandoned > 64+16 {
			t.Errorf("%d calls hang", h.Abandoned)
		}
		store.relents()
		synctest.Wait()
		_, _ = k.Present(t.Context(), "user-000")
		time.Sleep(time.Minute)
		for n := range 200 {
			u := fmt.Sprintf("user-%03d", n)
			wantServed(t, k, u, u)
		}
		synctest.Wait()
		if h := k.Health(); h.Abandoned != 0 || h.Busy != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// The store hangs while a lease is renewed: the response is saved all the same.
func TestRenewalThatHangsHoldsUpNoResponse(t *testing.T) {
	for _, m := range allMoods {
		for _, nth := range []int{2, 3, 4} { // the first save is the lease
			t.Run(fmt.Sprintf("%v %d", m, nth), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					store := newRude(s)
					k := w.replica(t, store)
					w.joins(t, k, user, "once")
					time.Sleep(life)
					store.feels(func(op string, n int) mood {
						if op == "save" && n == nth {
							return m
						}
						return kind
					})
					w.disturb(slowly(true, 18*time.Second))
					began := time.Now()
					wantServed(t, k, user, "once")
					if took := time.Since(began); took > 30*time.Second {
						t.Errorf("its caller waited %v", took)
					}
					if r := recordOf(t, s, user); r.Tried != 0 || r.Lease.Owner != "" {
						t.Errorf("%d presentations of unknown outcome, and a lease of %q", r.Tried, r.Lease.Owner)
					}
					store.relents()
					time.Sleep(time.Minute)
					wantServed(t, k, user, "once")
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// If host code panics, or ends its goroutine, only the operation in which it did
// fails: not the process, and no later caller.
func TestHostCodeThatPanics(t *testing.T) {
	t.Parallel()
	for _, m := range []mood{panics, exits, fails, hollow} {
		for _, part := range []string{"check", "transport", "transport after the form", "key", "events"} {
			t.Run(fmt.Sprintf("%s %v", part, m), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					var on sync.Map
					act := func(of string) error {
						if _, yes := on.Load(of); yes {
							return m.act(t.Context(), nil)
						}
						return nil
					}
					key := &touchy{act: func() error { return act("key") }}
					k := w.replica(t, s, func(c *custody.Config) {
						c.Ring = key.ring(t)
						c.OnEvent = func(custody.Event) { _ = act("events") }
						verify := c.Verify
						c.Verify = func(ctx context.Context, who custody.Candidate) (string, error) {
							if err := act("check"); err != nil {
								return "", err
							}
							return verify(ctx, who)
						}
						e := w.endpoint()
						e.HTTP = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
							if err := act("transport"); err != nil {
								return nil, err
							}
							resp, err := w.RoundTrip(req)
							if err := act("transport after the form"); err != nil {
								return nil, err
							}
							return resp, err
						})}
						c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome { return e.Refresh(ctx, token, "") }
					})
					w.joins(t, k, user, "once")
					wantServed(t, k, user, "once")

					on.Store(part, true)
					for range 3 {
						for _, op := range operations[:6] {
							if op.name == "Lose" || op.name == "Unlink" {
								continue
							}
							began := time.Now()
							err := op.do(t.Context(), w, k, custody.Token{})
							if took := time.Since(began); took > 20*time.Second {
								t.Errorf("%s took %v: %v", op.name, took, err)
							}
							if err != nil && strings.Contains(err.Error(), "secret") {
								t.Errorf("the panic value is repeated: %v", err)
							}
						}
						time.Sleep(life / 2)
					}
					on.Delete(part)
					time.Sleep(16 * time.Minute)
					token, err := k.Present(t.Context(), user)
					if part == "transport after the form" {
						// What the server had issued is gone: that is a lost
						// response.
						if !isLost(err) {
							t.Errorf("%q, %v", token.Value, err)
						}
						w.joins(t, k, user, "after")
						wantServed(t, k, user, "after")
						return
					}
					if err != nil {
						t.Errorf("afterwards: %v", err)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// roundTrip is a transport that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// touchy is a key of the host's.
type touchy struct {
	act func() error
}

func (k *touchy) ring(t *testing.T) *seal.Ring {
	t.Helper()
	r := &seal.Ring{}
	if err := r.AddAEAD("k1", k); err != nil {
		t.Fatal(err)
	}
	return r
}

func (k *touchy) Encrypt(plain, _ []byte) ([]byte, error) {
	if err := k.act(); err != nil {
		return nil, err
	}
	return append([]byte("sealed:"), plain...), nil
}

func (k *touchy) Decrypt(sealed, _ []byte) ([]byte, error) {
	if err := k.act(); err != nil {
		return nil, err
	}
	return sealed[len("sealed:"):], nil
}

// An OnEvent that hangs holds up no flight, and a slow one gets every event in
// order.
func TestSlowEventsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var mu sync.Mutex
		var kinds []custody.Kind
		k := w.replica(t, s, func(c *custody.Config) {
			c.OnEvent = func(e custody.Event) {
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				kinds = append(kinds, e.Kind)
			}
		})
		began := time.Now()
		w.joins(t, k, user, "once")
		wantServed(t, k, user, "once")
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(5 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []custody.Kind{custody.Approved, custody.Exchanged, custody.Linked}; !slices.Equal(kinds, want) {
			t.Errorf("%v, want %v", kinds, want)
		}
	})
}
