// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// S43: two callbacks of one approval: one of them gets to send the code.
func TestReserveLetsOneThrough(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	var wg sync.WaitGroup
	results := make(chan error, 20)
	for range 20 {
		k := keeper(t, store, i)
		wg.Go(func() { results <- k.Reserve(t.Context(), user, "mark", time.Now().Add(time.Minute)) })
	}
	wg.Wait()
	close(results)
	let := 0
	for err := range results {
		switch {
		case err == nil:
			let++
		case !errors.Is(err, custody.ErrUsed):
			t.Errorf("Reserve: %v", err)
		}
	}
	if let != 1 {
		t.Errorf("%d callbacks of one approval got through", let)
	}
}

func TestReleasedReservationCanBeMadeAgain(t *testing.T) {
	k := keeper(t, tokenstore.NewMemory(), newIssuer())
	until := time.Now().Add(time.Minute)
	for range 2 {
		if err := k.Reserve(t.Context(), user, "mark", until); err != nil {
			t.Fatal(err)
		}
		if err := k.Release(t.Context(), user, "mark"); err != nil {
			t.Fatal(err)
		}
	}
}

// S45: unlinked while the code was being exchanged: no link comes of it.
func TestUnlinkDuringApproval(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	if err := k.Reserve(t.Context(), user, "mark", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := k.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if err := k.Settle(t.Context(), user, time.Now(), i.grant()); !errors.Is(err, custody.ErrNoLink) {
		t.Errorf("Settle: %v, want no link", err)
	}
	if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
		t.Errorf("Token: %v, want no link", err)
	}
}

// approve settles a new approval and returns its access token.
func approve(t *testing.T, k *custody.Keeper, i *issuer, mark string) string {
	t.Helper()
	if err := k.Reserve(t.Context(), user, mark, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	out := i.grant()
	if err := k.Settle(t.Context(), user, time.Now(), out); err != nil {
		t.Fatal(err)
	}
	return out.Grant.AccessToken
}

// S44: a link belongs to one patient; another's approval changes nothing.
func TestApprovalOfAnotherPatientIsRefused(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	first := link(t, k, i)
	wantToken(t, k, first)

	other := approve(t, k, i, "second")
	wantToken(t, k, first) // until it is certain whose the new pair is
	if err := k.Confirm(t.Context(), user, other, "patient-2"); !errors.Is(err, custody.ErrOtherPatient) {
		t.Fatalf("Confirm: %v, want ErrOtherPatient", err)
	}
	wantToken(t, k, first)
	if r := record(t, store); r.PublicID != patient || r.Generation != 1 || r.State != tokenstore.StateLinked {
		t.Errorf("the link became %q, generation %d, %s", r.PublicID, r.Generation, r.State)
	}
	// And the pair of the other patient is gone from the record.
	if err := k.Lose(t.Context(), user, first, custody.SessionExpired); err != nil {
		t.Fatal(err)
	}
	wantLost(t, k, custody.SessionExpired)
}

func TestNewApprovalOfTheSamePatientReplacesThePair(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	wantToken(t, k, link(t, k, i))
	second := approve(t, k, i, "second")
	if err := k.Confirm(t.Context(), user, second, patient); err != nil {
		t.Fatal(err)
	}
	wantToken(t, k, second)
	if r := record(t, store); r.PublicID != patient || r.Generation != 2 {
		t.Errorf("public id %q, generation %d", r.PublicID, r.Generation)
	}
}

// It could not be found out whose the new approval is. The old link works on,
// and the new pair steps in when the old one dies: not before it is checked.
func TestUncheckedApprovalWaitsInReserve(t *testing.T) {
	for name, tc := range map[string]struct {
		whose string
		fails bool
		want  func(*testing.T, *custody.Keeper)
	}{
		"same patient":    {whose: patient, want: func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-2") }},
		"another patient": {whose: "patient-2", want: func(t *testing.T, k *custody.Keeper) { wantLost(t, k, custody.WrongPatient) }},
		"not to be found out": {fails: true, want: func(t *testing.T, k *custody.Keeper) {
			wantWait(t, k, custody.WaitVerify)
			wantWait(t, k, custody.WaitVerify)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store, i := tokenstore.NewMemory(), newIssuer()
			k := keeper(t, store, i, func(c *custody.Config) {
				c.Verify = func(_ context.Context, token string) (string, error) {
					if token != "access-2" {
						t.Errorf("verified %q", token)
					}
					if tc.fails {
						return "", errors.New("no answer")
					}
					return tc.whose, nil
				}
			})
			first := link(t, k, i)
			second := approve(t, k, i, "second")
			if err := k.Leave(t.Context(), user, second); err != nil {
				t.Fatal(err)
			}
			wantToken(t, k, first)
			if err := k.Lose(t.Context(), user, first, custody.SessionInvalid); err != nil {
				t.Fatal(err)
			}
			tc.want(t, k)
			wantPosts(t, i, 0)
		})
	}
}

// The same for a link that has ended: the new pair is all there is, and is
// still checked first.
func TestUncheckedApprovalOfAnEndedLink(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	whose := "patient-2"
	k := keeper(t, store, i, func(c *custody.Config) {
		c.Verify = func(context.Context, string) (string, error) { return whose, nil }
	})
	first := link(t, k, i)
	if err := k.Lose(t.Context(), user, first, custody.SessionExpired); err != nil {
		t.Fatal(err)
	}
	if err := k.Leave(t.Context(), user, approve(t, k, i, "second")); err != nil {
		t.Fatal(err)
	}
	wantLost(t, k, custody.WrongPatient)

	whose = patient
	third := approve(t, k, i, "third")
	if err := k.Leave(t.Context(), user, third); err != nil {
		t.Fatal(err)
	}
	wantToken(t, k, third)
}

func TestLoseMindsOnlyTheCurrentToken(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	first := link(t, k, i)
	second := approve(t, k, i, "second")
	if err := k.Confirm(t.Context(), user, second, patient); err != nil {
		t.Fatal(err)
	}
	if err := k.Lose(t.Context(), user, first, custody.SessionInvalid); err != nil {
		t.Fatal(err)
	}
	wantToken(t, k, second)
}

// Hearing again whose link it is changes nothing: no write that others would
// run into, and the token stays in memory.
func TestFixOfTheKnownPatientWritesNothing(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	first := link(t, k, i)
	wantToken(t, k, first)
	before := record(t, store)
	if err := k.Fix(t.Context(), user, before.LinkedAt, patient); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, record(t, store)); diff != "" {
		t.Errorf("record (-before +after):\n%s", diff)
	}
	if got := k.Hot(user); got == nil || got.Value != first {
		t.Error("the token is no longer in memory")
	}
}

func TestRefusedApprovalLeavesNothing(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	if err := k.Refuse(t.Context(), user, approve(t, k, i, "first")); err != nil {
		t.Fatal(err)
	}
	if r := record(t, store); custody.IsLink(r) || len(r.Sealed) != 0 {
		t.Errorf("left: %s with %d sealed bytes", r.State, len(r.Sealed))
	}
}

// S55, S56: what does not open, or belongs elsewhere, is an error; the record
// stays, and nothing is sent.
func TestRecordsThatAreNotOurs(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*custody.Config)
		tamper func(*tokenstore.Record)
		is     error
	}{
		"other environment": {change: func(c *custody.Config) { c.Environment = "production" }, is: custody.ErrForeign},
		"other client id":   {change: func(c *custody.Config) { c.ClientID = "other" }, is: custody.ErrForeign},
		"no key":            {change: func(c *custody.Config) { c.Ring = nil }},
		"damaged":           {tamper: func(r *tokenstore.Record) { r.Sealed[len(r.Sealed)-1] ^= 1 }},
		"cut":               {tamper: func(r *tokenstore.Record) { r.Sealed = r.Sealed[:len(r.Sealed)-5] }},
		"emptied":           {tamper: func(r *tokenstore.Record) { r.Sealed = r.Sealed[:1] }},
		"another user's": {tamper: func(r *tokenstore.Record) {
			elsewhere := place(*r)
			elsewhere.AppUserID = "user-2"
			r.Sealed, r.KeyID, _ = vault(t).Seal(elsewhere, []byte(`{}`))
		}},
		"other generation": {tamper: func(r *tokenstore.Record) { r.Generation++ }},
	} {
		t.Run(name, func(t *testing.T) {
			store, i := tokenstore.NewMemory(), newIssuer()
			link(t, keeper(t, store, i), i)
			r := record(t, store)
			if tc.tamper != nil {
				tc.tamper(&r)
				var err error
				if r, err = store.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			k := keeper(t, store, i)
			if tc.change != nil {
				k = keeper(t, store, i, tc.change)
			}
			_, err := k.Token(t.Context(), user)
			var sealed *custody.SealError
			if tc.is != nil && !errors.Is(err, tc.is) || tc.is == nil && !errors.As(err, &sealed) {
				t.Errorf("Token: %v", err)
			}
			after := record(t, store)
			if after.Version != r.Version || !bytes.Equal(after.Sealed, r.Sealed) {
				t.Error("the record was changed")
			}
			wantPosts(t, i, 0)
		})
	}
}

// A flight that read the record before an unlink does not publish after it.
func TestUnlinkIsSeenByTheNextCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Token: %v, want no link", err)
		}
		if err := k.Unlink(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Unlink: %v, want no link", err)
		}
	})
}
