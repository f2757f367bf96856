// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// host is host code that fails without an error: it panics, ends its goroutine, or
// ignores its context until it is let go.
type host struct {
	how  string
	left atomic.Int64 // so many calls fail
	let  chan struct{}
	once sync.Once
}

// hows are the ways to fail.
var hows = []string{"panics", "ends its goroutine", "is deaf"}

func newHost(t testing.TB, how string, calls int64) *host {
	h := &host{how: how, let: make(chan struct{})}
	h.left.Store(calls)
	t.Cleanup(h.letGo)
	return h
}

// letGo ends the calls that hang.
func (h *host) letGo() { h.once.Do(func() { close(h.let) }) }

// fail is called where the host code begins.
func (h *host) fail() {
	if h.left.Add(-1) < 0 {
		return
	}
	switch h.how {
	case "panics":
		panic("the host's code, with a canary in its words")
	case "ends its goroutine":
		runtime.Goexit()
	}
	<-h.let
}

// badly is a store whose operations fail as its host does.
type badly struct {
	*tokenstore.Memory
	host  *host
	op    string
	after bool // it is done, and then fails
	on    atomic.Bool
}

func (b *badly) fail(op string, after bool) {
	if b.on.Load() && b.op == op && b.after == after {
		b.host.fail()
	}
}

func (b *badly) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	b.fail("load", false)
	return b.Memory.Load(ctx, user)
}

func (b *badly) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	b.fail("save", false)
	saved, err := b.Memory.Save(ctx, r)
	b.fail("save", true)
	return saved, err
}

func (b *badly) Delete(ctx context.Context, user string, version uint64) error {
	b.fail("delete", false)
	return b.Memory.Delete(ctx, user, version)
}

func (b *badly) FindPublicID(ctx context.Context, id string, limit int) ([]tokenstore.Record, error) {
	b.fail("find", false)
	return b.Memory.FindPublicID(ctx, id, limit)
}

// within fails the test if f takes longer than at most.
func within(t *testing.T, what string, most time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > most {
		t.Errorf("%s: it took %v, want %v at most", what, took, most)
	}
}

// A look that panics, ends its goroutine or does not return is an error for those
// who wait for it. The next call looks again.
func TestStoreThatFailsToLoad(t *testing.T) {
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				store := &badly{Memory: s, host: newHost(t, how, 1), op: "load"}
				k := keeper(t, store, i)
				link(t, k, i)
				store.on.Store(true)
				within(t, "Token", 12*time.Second, func() {
					_, err := k.Token(t.Context(), user)
					wantStoreError(t, err, "load")
					wantHostError(t, err, how)
				})
				wantAbandoned(t, k, how)
				wantToken(t, k, "access-1")
				store.host.letGo()
				synctest.Wait()
				if n := k.Health().Abandoned; n != 0 {
					t.Errorf("%d calls are abandoned that have returned", n)
				}
			})
		})
	}
}

// wantHostError checks that an error is about how host code failed, and repeats none
// of its words.
func wantHostError(t testing.TB, err error, how string) {
	t.Helper()
	var panicked *custody.PanicError
	var late *custody.TimeoutError
	if errors.As(err, &panicked) != (how != "is deaf") || errors.As(err, &late) != (how == "is deaf") {
		t.Errorf("%v, of code that %s", err, how)
	}
}

// wantAbandoned checks that the one call that ignores its context is counted.
func wantAbandoned(t testing.TB, k *custody.Keeper, how string) {
	t.Helper()
	want := 0
	if how == "is deaf" {
		want = 1
	}
	if n := k.Health().Abandoned; n != want {
		t.Errorf("%d calls are abandoned, want %d", n, want)
	}
}

// A save that fails so, before or after it was done, has an unknown outcome: it is
// looked for. Nothing is lost by it, and nothing is sent twice. A late save meets
// what was saved meanwhile.
func TestStoreThatFailsToSave(t *testing.T) {
	for _, how := range hows {
		for name, tc := range map[string]struct {
			after  bool
			inPost bool
		}{"the lease": {}, "the lease, done": {after: true}, "the response": {inPost: true}, "the response, done": {inPost: true, after: true}} {
			t.Run(how+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
					store := &badly{Memory: s, host: newHost(t, how, 1), op: "save", after: tc.after}
					k := keeper(t, store, i)
					link(t, k, i)
					time.Sleep(life)
					store.on.Store(!tc.inPost)
					i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
						store.on.Store(true)
						return answer()
					}
					within(t, "Token", 12*time.Second, func() {
						if got, err := k.Token(t.Context(), user); err != nil {
							wantStoreError(t, err, "save")
							wantHostError(t, err, how)
						} else if got.Value != "access-2" {
							t.Errorf("Token = %q", got.Value)
						}
					})
					time.Sleep(30 * time.Second) // the store has been away
					wantToken(t, k, "access-2")
					wantPosts(t, i, 1)
					wantAbandoned(t, k, how)
					store.host.letGo()
					time.Sleep(time.Second)
					wantPair(t, s, "access-2", "refresh-2")
					if r := record(t, s); r.Tried != 0 || r.Lease.Owner != "" || r.Generation != 2 {
						t.Errorf("tried %d, lease %+v, generation %d", r.Tried, r.Lease, r.Generation)
					}
					if n := k.Health(); n.Abandoned != 0 || n.Unsaved != 0 {
						t.Errorf("Health: %+v", n)
					}
				})
			})
		}
	}
}

// The same for every other call of the store, of an authorization and of the rest.
func TestStoreThatFailsOtherwise(t *testing.T) {
	for _, how := range hows {
		for _, op := range []string{"find", "load", "save"} {
			t.Run(how+"/"+op+" of an authorization", func(t *testing.T) {
				bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
					store := &badly{Memory: s, host: newHost(t, how, 1), op: op}
					k := keeper(t, store, i)
					store.on.Store(true)
					var err error
					within(t, "Approve", 12*time.Second, func() { _, err = k.Approve(t.Context(), approval(i, user, "mark")) })
					if op != "find" {
						wantStoreError(t, err, op)
						wantHostError(t, err, how)
					} else if err != nil { // it waits until a look succeeds
						t.Errorf("Approve: %v", err)
					}
					time.Sleep(30 * time.Second)
					if _, err = k.Approve(t.Context(), approval(i, user, "mark")); err != nil {
						t.Errorf("the callback again: %v", err)
					}
					wantToken(t, k, "access-1")
					store.host.letGo()
				})
			})
		}
		t.Run(how+"/delete", func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				store := &badly{Memory: s, host: newHost(t, how, 1), op: "delete"}
				k := keeper(t, store, i)
				link(t, k, i)
				must(t, k.Unlink(t.Context(), user))
				time.Sleep(49 * time.Hour)
				store.on.Store(true)
				if done, err := k.Purge(t.Context(), record(t, s)); !done || err != nil {
					t.Errorf("Purge: %v, %v, want that it is tried again", done, err)
				}
				if _, err := s.Load(t.Context(), user); !errors.Is(err, tokenstore.ErrNotFound) {
					t.Errorf("the tombstone is still there: %v", err)
				}
			})
		})
	}
}

// A check that fails so has not found out whose the session is: it waits, and is
// checked again. Without another link, that is no error of the authorization.
func TestVerifyThatFails(t *testing.T) {
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				h := newHost(t, how, 0)
				k := keeper(t, s, i, func(c *custody.Config) {
					c.VerifyFirst = true
					c.Verify = func(context.Context, custody.Candidate) (string, error) { h.fail(); return patient, nil }
				})
				link(t, k, i)
				h.left.Store(1)
				within(t, "Approve", 62*time.Second, func() {
					err := approve(t, k, i, "second")
					wantUnchecked(t, err)
					wantHostError(t, err, how)
				})
				wantAbandoned(t, k, how)
				wantToken(t, k, "access-1")
				time.Sleep(2 * time.Second)
				must(t, k.Check(t.Context(), user))
				wantToken(t, k, "access-2")
				h.letGo()
			})
		})
	}
}

// A request that fails so may have left: its outcome is unknown. With nothing left
// to lose it is repeated, once, like any other.
func TestRefreshThatFails(t *testing.T) {
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				h := newHost(t, how, 1)
				k := keeper(t, s, i, func(c *custody.Config) {
					c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome { h.fail(); return i.Refresh(ctx, token) }
				})
				link(t, k, i)
				was := token(t, k)
				_, err := k.Replace(t.Context(), user, was)
				var wait *custody.WaitError
				if !errors.As(err, &wait) || wait.Reason != custody.WaitUncertain {
					t.Errorf("Replace: %v", err)
				}
				wantHostError(t, err, how)
				wantAbandoned(t, k, how)
				if r := record(t, s); r.State != tokenstore.StateUncertain || r.Lease.Owner != "" {
					t.Errorf("%s, lease %+v", r.State, r.Lease)
				}
				time.Sleep(life)
				wantToken(t, k, "access-2")
				h.letGo()
				time.Sleep(time.Second)
				wantToken(t, k, "access-2")
			})
		})
	}
}

// A code that was exchanged so may be spent: the patient must start again.
func TestExchangeThatFails(t *testing.T) {
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				h := newHost(t, how, 1)
				k := keeper(t, s, i)
				a := approval(i, user, "mark")
				a.Exchange = func(context.Context) tokenwire.Outcome { h.fail(); return i.grant() }
				var failed *custody.ExchangeError
				if _, err := k.Approve(t.Context(), a); !errors.As(err, &failed) || failed.Repeatable {
					t.Errorf("Approve: %v", err)
				}
				wantUsed(t, k, i, "mark")
				h.letGo()
			})
		})
	}
}

// If OnEvent fails so, only that event is lost. One that does not return holds up
// other events, and nobody else. Events in excess are dropped.
func TestOnEventThatFails(t *testing.T) {
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				h := newHost(t, how, 1)
				var mu sync.Mutex
				var heard []custody.Kind
				k := keeper(t, s, i, func(c *custody.Config) {
					c.OnEvent = func(e custody.Event) {
						h.fail()
						mu.Lock()
						defer mu.Unlock()
						heard = append(heard, e.Kind)
					}
				})
				within(t, "all of it", 0, func() {
					link(t, k, i)
					token(t, k)
					must(t, k.Unlink(t.Context(), user))
				})
				h.letGo()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				want := []custody.Kind{custody.Exchanged, custody.Linked, custody.Unlinked}
				if how == "is deaf" {
					want = append([]custody.Kind{custody.Approved}, want...)
				}
				if fmt.Sprint(heard) != fmt.Sprint(want) {
					t.Errorf("received %v, want %v", heard, want)
				}
			})
		})
	}
}

// A key that fails so opens and seals nothing: an error for those who wait, and a
// response is sealed and saved when the key is well.
func TestKeyThatFails(t *testing.T) {
	for _, how := range hows {
		for _, op := range []string{"decrypt", "encrypt"} {
			t.Run(how+"/"+op, func(t *testing.T) {
				bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
					h := newHost(t, how, 0)
					key := &aead{before: func(is string) error {
						if is == op {
							h.fail()
						}
						return nil
					}}
					k := keeper(t, s, i, key.config(t))
					link(t, k, i)
					time.Sleep(life)
					h.left.Store(1)
					within(t, "Token", 12*time.Second, func() {
						_, err := k.Token(t.Context(), user)
						if _, ok := errors.AsType[*custody.SealError](err); !ok {
							t.Errorf("Token: %v, want that it does not open", err)
						}
						wantHostError(t, err, how)
					})
					wantAbandoned(t, k, how)
					time.Sleep(time.Second)
					wantToken(t, k, "access-2")
					wantPosts(t, i, 1)
					h.letGo()
				})
			})
		}
	}
}

// 64 abandoned calls hang: nothing new begins that could hang too, and callers get
// the store's error. A token in memory serves on, and a response is saved all the
// same.
func TestTooManyCallsHang(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		h := newHost(t, "is deaf", 1<<30)
		store := &badly{Memory: s, host: h, op: "load"}
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		if _, err := approveAs(t, k, i, "posting", "mark", custody.Terms{Share: true}); err != nil {
			t.Fatal(err)
		}
		was, err := k.Token(t.Context(), "posting")
		must(t, err)

		var wg sync.WaitGroup
		i.slow(61 * time.Second) // not when the lease is renewed
		wg.Go(func() {
			if got, err := k.Replace(t.Context(), "posting", was); err != nil || got.Value != "access-3" {
				t.Errorf("Replace = %q, %v", got.Value, err)
			}
		})
		synctest.Wait()
		store.on.Store(true)
		for n := range 64 {
			wg.Go(func() {
				_, err := k.Token(t.Context(), fmt.Sprint(n))
				wantStoreError(t, err, "load")
			})
		}
		time.Sleep(12 * time.Second)
		if n := k.Health().Abandoned; n != 64 {
			t.Fatalf("%d calls are abandoned, want 64", n)
		}
		within(t, "all of it", 0, func() {
			for of, do := range map[string]func() error{
				"Token":   func() error { _, err := k.Token(t.Context(), "another"); return err },
				"Approve": func() error { _, err := k.Approve(t.Context(), approval(i, "another", "mark")); return err },
				"Check":   func() error { return k.Check(t.Context(), "another") },
				"Lose":    func() error { return k.Lose(t.Context(), "another", was, sessionExpired) },
				"Unlink":  func() error { return k.Unlink(t.Context(), "another") },
				"Look":    func() error { _, err := k.Look(t.Context(), "another"); return err },
				"Past":    func() error { _, err := k.Past(t.Context(), "another"); return err },
				"Reseal":  func() error { _, err := k.Reseal(t.Context(), "another"); return err },
				"Discard": func() error { return k.Discard(t.Context(), "another") },
			} {
				if err := do(); err == nil {
					t.Errorf("%s began", of)
				} else {
					wantStoreError(t, err, "load")
				}
			}
			if got, err := k.Present(t.Context(), user); err != nil || got.Value != "access-1" {
				t.Errorf("Present = %q, %v", got.Value, err)
			}
		})
		if n := k.Health().Abandoned; n != 64 {
			t.Errorf("%d calls are abandoned, want 64 still", n)
		}
		wg.Wait()
		h.letGo()
		synctest.Wait()
		wantToken(t, k, "access-1")
		if _, err := k.Token(t.Context(), "another"); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Token: %v, want no link", err)
		}
	})
}
