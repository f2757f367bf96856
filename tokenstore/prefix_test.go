// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// A prefix that could be the beginning of another would mix up two tenants' users.
func TestAmbiguousPrefixesAreRefused(t *testing.T) {
	store := tokenstore.NewMemory()
	for _, prefix := range []string{"", "/", "tenant", "a/b/", "//", "/a/", "a", strings.Repeat("x", 64) + "/", "\xff/"} {
		if s, err := tokenstore.WithPrefix(store, prefix); err == nil || s != nil {
			t.Errorf("%q: %v, %v", prefix, s, err)
		}
	}
	if _, err := tokenstore.WithPrefix(nil, "a/"); err == nil {
		t.Error("without a store")
	}
	inner, err := tokenstore.WithPrefix(store, "a/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokenstore.WithPrefix(inner, "b/"); err == nil {
		t.Error("a prefix in a prefix: the user b/x of the one is x of the other")
	}
}

// A tenant's name, and what its store holds, are nobody's who prints it.
func TestPrefixPrintsNothing(t *testing.T) {
	store := tokenstore.NewMemory()
	part, err := tokenstore.WithPrefix(store, "tenant/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Save(t.Context(), tokenstore.Record{AppUserID: "anna"}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, part); got != "tokenstore.WithPrefix" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// The longest id that a host may have is one under a prefix too.
func TestPrefixLeavesRoom(t *testing.T) {
	store := tokenstore.NewMemory()
	part, err := tokenstore.WithPrefix(store, strings.Repeat("x", 63)+"/")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("y", tokenstore.MaxUserID)
	if _, err := part.Save(t.Context(), tokenstore.Record{AppUserID: long}); err != nil {
		t.Error(err)
	}
	if r, err := part.Load(t.Context(), long); err != nil || r.AppUserID != long {
		t.Errorf("%d bytes, %v", len(r.AppUserID), err)
	}
	if _, err := part.Save(t.Context(), tokenstore.Record{AppUserID: long + "y"}); !errors.Is(err, tokenstore.ErrInvalid) {
		t.Errorf("a longer one: %v", err)
	}
}

// plain is a store that can do nothing but what it must.
type plain struct{ tokenstore.Store }

// asked is a store of somebody else's: it has the optional interfaces, and knows
// nothing of prefixes.
type asked struct {
	tokenstore.Store
	of    *tokenstore.Memory
	calls int
}

func (a *asked) List(ctx context.Context, after string, limit int) ([]tokenstore.Record, error) {
	a.calls++
	return a.of.List(ctx, after, limit)
}

func (a *asked) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	a.calls++
	return a.of.FindPublicID(ctx, publicID, limit)
}

func (a *asked) Count(ctx context.Context) (int, error) { return a.of.Count(ctx) }

func (a *asked) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	a.calls++
	return a.of.Due(ctx, before, limit)
}

// Others' records neither show nor use up the limit.
func TestPartsOfAForeignStore(t *testing.T) {
	ctx, memory := t.Context(), tokenstore.NewMemory()
	for _, tenant := range []string{"a/", "b/"} {
		for i := range 20 {
			_, err := memory.Save(ctx, tokenstore.Record{AppUserID: fmt.Sprint(tenant, i), PublicID: "p", TendAt: time.Unix(int64(i+1), 0)})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	part, err := tokenstore.WithPrefix(&asked{Store: memory, of: memory}, "b/")
	if err != nil {
		t.Fatal(err)
	}
	found, err := part.(tokenstore.Finder).FindPublicID(ctx, "p", 3)
	if err != nil || len(found) != 3 || found[0].AppUserID != "0" {
		t.Errorf("found %v, %v", found, err)
	}
	due, err := part.(tokenstore.Scheduler).Due(ctx, time.Unix(10, 0), 100)
	if err != nil || len(due) != 10 || due[0].AppUserID != "0" {
		t.Errorf("due %v, %v", due, err)
	}
	if n, err := part.(tokenstore.Counter).Count(ctx); err != nil || n != 20 {
		t.Errorf("%d records, %v", n, err)
	}
}

// A part can do what its store can, and pretends nothing.
func TestPartsKeepOptionalInterfaces(t *testing.T) {
	full, err := tokenstore.WithPrefix(tokenstore.NewMemory(), "a/")
	if err != nil {
		t.Fatal(err)
	}
	none, err := tokenstore.WithPrefix(plain{tokenstore.NewMemory()}, "a/")
	if err != nil {
		t.Fatal(err)
	}
	for name, has := range map[string]func(tokenstore.Store) bool{
		"Lister":    func(s tokenstore.Store) bool { _, ok := s.(tokenstore.Lister); return ok },
		"Finder":    func(s tokenstore.Store) bool { _, ok := s.(tokenstore.Finder); return ok },
		"Counter":   func(s tokenstore.Store) bool { _, ok := s.(tokenstore.Counter); return ok },
		"Scheduler": func(s tokenstore.Store) bool { _, ok := s.(tokenstore.Scheduler); return ok },
		"Volatile":  func(s tokenstore.Store) bool { v, ok := s.(tokenstore.Volatile); return ok && v.Volatile() },
	} {
		if !has(full) || has(none) {
			t.Errorf("%s: %t with, %t without", name, has(full), has(none))
		}
	}
	if _, closes := full.(io.Closer); closes {
		t.Error("closing a part closes the store of the others")
	}
}
