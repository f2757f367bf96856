// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// methods are those that wait for host code. Each is called on a link whose token is
// was.
var methods = map[string]func(ctx context.Context, k *custody.Keeper, i *issuer, was custody.Token) error{
	"Token": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		k.Forget(user)
		_, err := k.Token(ctx, user)
		return err
	},
	"Present": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		_, err := k.Present(ctx, user)
		return err
	},
	"Replace": func(ctx context.Context, k *custody.Keeper, _ *issuer, was custody.Token) error {
		_, err := k.Replace(ctx, user, was)
		return err
	},
	"Approve": func(ctx context.Context, k *custody.Keeper, i *issuer, _ custody.Token) error {
		_, err := k.Approve(ctx, approval(i, user, "second"))
		return err
	},
	"Check": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		return k.Check(ctx, user)
	},
	"Lose": func(ctx context.Context, k *custody.Keeper, _ *issuer, was custody.Token) error {
		return k.Lose(ctx, user, was, sessionExpired)
	},
	"Unlink": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		return k.Unlink(ctx, user)
	},
	"Discard": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		return k.Discard(ctx, user)
	},
	"Look": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		_, err := k.Look(ctx, user)
		return err
	},
	"Past": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		_, err := k.Past(ctx, user)
		return err
	},
	"Reseal": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		_, err := k.Reseal(ctx, user)
		return err
	},
	"Purge": func(ctx context.Context, k *custody.Keeper, _ *issuer, _ custody.Token) error {
		_, err := k.Purge(ctx, tokenstore.Record{AppUserID: user, State: tokenstore.StateUnlinked, DueAt: time.Unix(1, 0)})
		return err
	},
}

// S03: nobody waits beyond the context, whatever host code hangs, and whatever is
// called. The work continues, and the next callers find the link unchanged.
func TestNobodyWaitsBeyondTheContext(t *testing.T) {
	t.Parallel()
	for _, hangs := range []string{"load", "save", "find", "decrypt", "encrypt", "verify", "refresh", "exchange"} {
		for of, do := range methods {
			t.Run(of+"/"+hangs, func(t *testing.T) {
				bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
					h := newHost(t, "is deaf", 1<<30)
					store := &badly{Memory: s, host: h, op: hangs}
					var on atomic.Bool
					fail := func(op string) {
						if on.Load() && op == hangs {
							h.fail()
						}
					}
					key := &aead{before: func(op string) error { fail(op); return nil }}
					k := keeper(t, store, i, key.config(t), func(c *custody.Config) {
						c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome {
							fail("refresh")
							return i.Refresh(ctx, token)
						}
						c.Verify = func(context.Context, custody.Candidate) (string, error) { fail("verify"); return patient, nil }
					})
					link(t, k, i)
					was := token(t, k)
					time.Sleep(time.Second)
					store.on.Store(true)
					on.Store(true)
					ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
					defer cancel()
					within(t, of, 1500*time.Millisecond, func() { _ = do(ctx, k, i, was) })
					// A caller that has left already does not wait at all.
					left, leave := context.WithCancel(t.Context())
					leave()
					within(t, of+" of one who has left", 0, func() { _ = do(left, k, i, was) })
					on.Store(false)
					store.on.Store(false)
					h.letGo()
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					if n := k.Health(); n.Abandoned != 0 || n.Busy != 0 || n.Unsaved != 0 {
						t.Errorf("Health: %+v", n)
					}
				})
			})
		}
	}
}

// S28: closing gives back the lease of a flight that has not presented its token
// yet: no other process has to wait for it.
func TestCloseGivesLeasesBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		closed := make(chan error, 1)
		var k *custody.Keeper
		var once sync.Once
		store := &hooked{Memory: s}
		k = keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		store.after = func(op, _ string) {
			if op == "save" {
				once.Do(func() { // the lease is in the store, and the flight is about to learn it
					go func() { closed <- k.Close(t.Context()) }()
					time.Sleep(time.Millisecond)
				})
			}
		}
		if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("Token: %v, want that the keeper is closed", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		wantPosts(t, i, 0)
		if r := record(t, s); r.Lease.Owner != "" || r.Tried != 0 || r.State != tokenstore.StateLinked {
			t.Errorf("left: lease %+v, tried %d, %s", r.Lease, r.Tried, r.State)
		}
		within(t, "another process", 0, func() { wantToken(t, keeper(t, s, i), "access-2") })
	})
}

// S28: closing ends those who only wait: for another process's refresh, or for
// another visit's exchange. It waits for presentations and saves.
func TestCloseDrains(t *testing.T) {
	t.Run("one that watches another process", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k, other := keeper(t, s, i), keeper(t, s, i)
			link(t, k, i)
			time.Sleep(life)
			i.slow(time.Minute)
			var wg sync.WaitGroup
			wg.Go(func() { wantToken(t, other, "access-2") })
			time.Sleep(time.Second)
			wg.Go(func() {
				if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrClosed) {
					t.Errorf("Token: %v, want that the keeper is closed", err)
				}
			})
			time.Sleep(time.Second)
			within(t, "Close", time.Second, func() { must(t, k.Close(t.Context())) })
			wg.Wait()
		})
	})
	t.Run("a second visit", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k, other := keeper(t, s, i), keeper(t, s, i)
			a := approval(i, user, "mark")
			exchange := a.Exchange
			a.Exchange = func(ctx context.Context) tokenwire.Outcome { time.Sleep(time.Minute); return exchange(ctx) }
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := other.Approve(t.Context(), a); err != nil {
					t.Errorf("Approve: %v", err)
				}
			})
			time.Sleep(time.Second)
			wg.Go(func() {
				if _, err := k.Approve(t.Context(), a); !errors.Is(err, custody.ErrClosed) {
					t.Errorf("Approve: %v, want that the keeper is closed", err)
				}
			})
			time.Sleep(time.Second)
			within(t, "Close", time.Second, func() { must(t, k.Close(t.Context())) })
			wg.Wait()
		})
	})
	t.Run("an exchange", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			k := keeper(t, s, i)
			a := approval(i, user, "mark")
			exchange := a.Exchange
			a.Exchange = func(ctx context.Context) tokenwire.Outcome { time.Sleep(time.Minute); return exchange(ctx) }
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := k.Approve(t.Context(), a); err != nil {
					t.Errorf("Approve: %v", err)
				}
			})
			time.Sleep(time.Second)
			must(t, k.Close(t.Context()))
			wg.Wait()
			wantToken(t, keeper(t, s, i), "access-1")
		})
	})
	t.Run("a response that the store does not accept", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			store := &flaky{Memory: s}
			k := keeper(t, store, i)
			link(t, k, i)
			time.Sleep(life)
			i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				store.failSaves.Store(1 << 30)
				return answer()
			}
			_, err := k.Token(t.Context(), user)
			wantStoreError(t, err, "save")
			for n := range 2 { // and it may be called again
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				within(t, "Close", 5*time.Second, func() {
					if err := k.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Close: %v, and the response is not saved", err)
					}
				})
				cancel()
				if unsaved, told := k.Health().Unsaved, k.Stats().Events[custody.SaveFailed]; unsaved != 1 || told != uint64(n+1) {
					t.Errorf("%d responses are not saved, and that was reported %d times, want 1 and %d", unsaved, told, n+1)
				}
			}
			store.failSaves.Store(0)
			for range 2 {
				must(t, k.Close(t.Context()))
			}
			wantPair(t, s, "access-2", "refresh-2")
			if n := k.Health(); n.Unsaved != 0 || n.Busy != 0 {
				t.Errorf("Health: %+v", n)
			}
		})
	})
}

// After Close nothing begins, and nothing that was in memory is shown.
func TestNothingBeginsAfterClose(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		was := token(t, k)
		must(t, k.Close(t.Context()))
		before := record(t, s)
		for of, do := range methods {
			err := do(t.Context(), k, i, was)
			switch of {
			case "Look", "Past", "Reseal", "Discard": // reading is still possible
				if err != nil && !errors.Is(err, custody.ErrNoLink) {
					t.Errorf("%s: %v", of, err)
				}
			default:
				if !errors.Is(err, custody.ErrClosed) {
					t.Errorf("%s: %v, want that the keeper is closed", of, err)
				}
			}
		}
		if k.Hot(user) != nil {
			t.Error("a token is still in memory")
		}
		if after := record(t, s); after.Version != before.Version {
			t.Error("the record was changed")
		}
		wantPosts(t, i, 0)
	})
}
