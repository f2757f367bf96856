// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// counted is a store that records its calls.
type counted struct {
	store interface {
		tokenstore.Store
		tokenstore.Finder
	}
	mu    sync.Mutex
	calls []string
}

func (c *counted) called(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, op)
}

// since returns the calls since the last time.
func (c *counted) since() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.calls, " ")
	c.calls = nil
	return all
}

func (c *counted) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	c.called("load")
	return c.store.Load(ctx, user)
}

func (c *counted) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	c.called("save")
	return c.store.Save(ctx, r)
}

func (c *counted) Delete(ctx context.Context, user string, version uint64) error {
	c.called("delete")
	return c.store.Delete(ctx, user, version)
}

// finding is the same with a Finder.
type finding struct{ *counted }

func (f finding) FindPublicID(ctx context.Context, id string, limit int) ([]tokenstore.Record, error) {
	f.called("find")
	return f.store.FindPublicID(ctx, id, limit)
}

// The calls of the store in each operation, when nothing goes wrong.
func TestStoreCalls(t *testing.T) {
	for name, finds := range map[string]bool{"with a finder": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				c := &counted{store: s}
				var store tokenstore.Store = c
				first := "load save save save" // reserve, settle, admit
				if finds {
					store, first = finding{c}, "load save save save find save" // and claim
				}
				k := keeper(t, store, i)
				other := keeper(t, s, i)
				step := func(what, want string, do func() error) {
					t.Helper()
					if err := do(); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					synctest.Wait()
					if got := c.since(); got != want {
						t.Errorf("%s: %q, want %q", what, got, want)
					}
				}
				ask := func() error { _, err := k.Token(t.Context(), user); return err }
				present := func() error { _, err := k.Present(t.Context(), user); return err }
				again := func() error { _, err := k.Approve(t.Context(), approval(i, user, "session")); return err }

				step("the first authorization", first, again)
				step("its callback again", "load", again)
				step("the first token", "load", ask)
				step("a token in memory", "", ask)
				step("one to present", "", present)
				time.Sleep(time.Second)
				step("one to present, a second later", "load", present)
				step("a check of what is known", "load", func() error { return k.Check(t.Context(), user) })
				time.Sleep(life)
				step("a refresh", "load save save", ask)
				step("a replacement", "load save save", func() error { _, err := k.Replace(t.Context(), user, token(t, k)); return err })
				time.Sleep(life)
				token(t, other)
				step("another process's refresh", "load", ask)
				time.Sleep(life * 86 / 100)
				step("an early refresh", "load save save", ask)
				step("an authorization of the same patient", "load save save save", func() error {
					_, err := k.Approve(t.Context(), approval(i, user, "second"))
					return err
				})
				step("a token after it", "load", ask)
				step("the end of a session", "load save", func() error { return k.Lose(t.Context(), user, token(t, k), sessionExpired) })
				step("a link that has ended", "load", func() error {
					var lost *custody.LostError
					if err := ask(); !errors.As(err, &lost) {
						return errors.New("it has not ended")
					}
					return nil
				})
				step("an unlink", "load load save", func() error { return k.Unlink(t.Context(), user) })
				step("no link", "load", func() error {
					if err := ask(); !errors.Is(err, custody.ErrNoLink) {
						return errors.New("there is one")
					}
					return nil
				})
			})
		})
	}
}

// The uses of the key: one opening for each look, and one sealing each time that
// what is secret changes. A lease is taken, kept and given back without it.
func TestKeyCalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		key := &aead{}
		k := keeper(t, s, i, key.config(t))
		step := func(what string, opened, sealed int, do func()) {
			t.Helper()
			key.opened.Store(0)
			key.sealed.Store(0)
			do()
			synctest.Wait()
			if o, s := int(key.opened.Load()), int(key.sealed.Load()); o != opened || s != sealed {
				t.Errorf("%s: opened %d times and sealed %d times, want %d and %d", what, o, s, opened, sealed)
			}
		}
		step("a first authorization", 0, 2, func() { link(t, k, i) }) // settle, admit
		step("the first token", 1, 0, func() { token(t, k) })
		step("one in memory", 0, 0, func() { token(t, k) })
		time.Sleep(life)
		i.slow(170 * time.Second)
		step("a refresh of three minutes", 1, 1, func() { token(t, k) })
		i.slow(0)
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.Unclear, Status: 400}
		}
		before := record(t, s)
		step("a refresh that is refused with an unrecognized error", 1, 0, func() { wantWait(t, k, custody.WaitUnclear) })
		i.disturb = nil
		if after := record(t, s); after.Version == before.Version || string(after.Sealed) != string(before.Sealed) {
			t.Error("what is sealed was sealed anew")
		}
		step("another tab", 1, 0, func() { spend(t, k, "another tab") })
		time.Sleep(15 * time.Minute)
		step("a refresh", 1, 1, func() { token(t, k) })
		step("the end of the session", 1, 1, func() { lose(t, k, sessionExpired) })
		step("an unlink", 1, 0, func() { must(t, k.Unlink(t.Context(), user)) })
	})
}
