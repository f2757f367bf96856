// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	if err := k.Settle(t.Context(), user, time.Now(), i.grant(), custody.Terms{}); !errors.Is(err, custody.ErrNoLink) {
		t.Errorf("Settle: %v, want no link", err)
	}
	if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
		t.Errorf("Token: %v, want no link", err)
	}
}

// approve settles a new approval and returns its access token.
func approve(t *testing.T, k *custody.Keeper, i *issuer, mark string, terms ...custody.Terms) string {
	t.Helper()
	return approveAs(t, k, i, user, mark, terms...)
}

func approveAs(t *testing.T, k *custody.Keeper, i *issuer, who, mark string, terms ...custody.Terms) string {
	t.Helper()
	if err := k.Reserve(t.Context(), who, mark, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	out := i.grant()
	if err := k.Settle(t.Context(), who, time.Now(), out, append(terms, custody.Terms{})[0]); err != nil {
		t.Fatal(err)
	}
	return out.Grant.AccessToken
}

// whose is what Purview and the host say of each access token: the patient's
// id, or an error.
type whose map[string]any

func (w whose) verify(_ context.Context, c custody.Candidate) (string, error) {
	switch v := w[c.AccessToken].(type) {
	case error:
		return "", v
	case string:
		return v, nil
	}
	return patient, nil
}

func (w whose) config(c *custody.Config) { c.Verify = w.verify }

// S44: a link belongs to one patient; another's approval changes nothing.
func TestApprovalOfAnotherPatientIsRefused(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i, whose{"access-2": "patient-2"}.config)
	first := link(t, k, i)
	wantToken(t, k, first)

	other := approve(t, k, i, "second")
	wantToken(t, k, first) // until it is certain whose the new pair is
	if err := k.Admit(t.Context(), user, other); !errors.Is(err, custody.ErrOtherPatient) {
		t.Fatalf("Admit: %v, want ErrOtherPatient", err)
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
	if err := k.Admit(t.Context(), user, second); err != nil {
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
	noAnswer := errors.New("no answer")
	for name, tc := range map[string]struct {
		whose any
		want  func(*testing.T, *custody.Keeper)
	}{
		"same patient":    {patient, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-2") }},
		"another patient": {"patient-2", func(t *testing.T, k *custody.Keeper) { wantLost(t, k, custody.WrongPatient) }},
		"refused":         {&custody.RefusedError{}, func(t *testing.T, k *custody.Keeper) { wantLost(t, k, custody.WrongPatient) }},
		"not to be found out": {noAnswer, func(t *testing.T, k *custody.Keeper) {
			wantWait(t, k, custody.WaitVerify)
			wantWait(t, k, custody.WaitVerify)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store, i, w := tokenstore.NewMemory(), newIssuer(), whose{"access-2": noAnswer}
			k := keeper(t, store, i, w.config)
			first := link(t, k, i)
			second := approve(t, k, i, "second")
			wantUnchecked(t, k, user, second)
			wantToken(t, k, first)
			w["access-2"] = tc.whose
			if err := k.Lose(t.Context(), user, first, custody.SessionInvalid); err != nil {
				t.Fatal(err)
			}
			tc.want(t, k)
			wantPosts(t, i, 0)
		})
	}
}

func wantUnchecked(t *testing.T, k *custody.Keeper, who, token string) {
	t.Helper()
	var unchecked *custody.UncheckedError
	if err := k.Admit(t.Context(), who, token); !errors.As(err, &unchecked) {
		t.Fatalf("Admit: %v, want that it could not be found out", err)
	}
}

// The same for a link that has ended: the new pair is all there is, and is
// still checked first.
func TestUncheckedApprovalOfAnEndedLink(t *testing.T) {
	store, i, w := tokenstore.NewMemory(), newIssuer(), whose{"access-2": errors.New("no answer"), "access-3": errors.New("no answer")}
	k := keeper(t, store, i, w.config)
	first := link(t, k, i)
	if err := k.Lose(t.Context(), user, first, custody.SessionExpired); err != nil {
		t.Fatal(err)
	}
	wantUnchecked(t, k, user, approve(t, k, i, "second"))
	w["access-2"] = "patient-2"
	wantLost(t, k, custody.WrongPatient)

	third := approve(t, k, i, "third")
	wantUnchecked(t, k, user, third)
	w["access-3"] = patient
	wantToken(t, k, third)
}

// An approval that could not be checked, and whose access token ends before it
// is used: what a refresh brings is checked as the first token would have been.
func TestUncheckedApprovalIsCheckedAfterARefreshToo(t *testing.T) {
	for name, tc := range map[string]struct {
		whose string
		terms custody.Terms
		want  func(*testing.T, *custody.Keeper)
	}{
		"same patient":            {patient, custody.Terms{}, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-3") }},
		"another patient":         {"patient-2", custody.Terms{}, func(t *testing.T, k *custody.Keeper) { wantLost(t, k, custody.WrongPatient) }},
		"another one, as allowed": {"patient-2", custody.Terms{Switch: true}, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-3") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, i, w := tokenstore.NewMemory(), newIssuer(), whose{"access-2": errors.New("no answer")}
				k := keeper(t, store, i, w.config)
				if err := k.Lose(t.Context(), user, link(t, k, i), custody.SessionExpired); err != nil {
					t.Fatal(err)
				}
				wantUnchecked(t, k, user, approve(t, k, i, "second", tc.terms))
				w["access-3"] = tc.whose
				time.Sleep(life)
				tc.want(t, k)
				wantPosts(t, i, 1)
			})
		})
	}
}

// VerifyFirst: nobody gets a token before Verify has let the approval pass.
func TestFirstApprovalIsVerified(t *testing.T) {
	refused := &custody.RefusedError{Err: errors.New("not the person we know")}
	first := func(c *custody.Config) { c.VerifyFirst = true }
	t.Run("passes", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i, first)
		wantToken(t, k, link(t, k, i))
		if !custody.Verified(record(t, store)) {
			t.Error("the record does not say that it was verified")
		}
	})
	t.Run("refused", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i, first, whose{"access-1": refused}.config)
		if err := k.Admit(t.Context(), user, approve(t, k, i, "first")); !errors.Is(err, error(refused)) {
			t.Fatalf("Admit: %v", err)
		}
		if r := record(t, store); custody.IsLink(r) || len(r.Sealed) != 0 || r.PublicID != "" {
			t.Errorf("left: %s with %d sealed bytes, public id %q", r.State, len(r.Sealed), r.PublicID)
		}
	})
	t.Run("refused beside a link that works", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i, first, whose{"access-2": refused}.config)
		works := link(t, k, i)
		if err := k.Admit(t.Context(), user, approve(t, k, i, "second")); !errors.Is(err, error(refused)) {
			t.Fatalf("Admit: %v", err)
		}
		wantToken(t, k, works)
	})
	t.Run("asked again until there is an answer", func(t *testing.T) {
		store, i, w := tokenstore.NewMemory(), newIssuer(), whose{"access-1": errors.New("no answer")}
		k := keeper(t, store, i, first, w.config)
		token := approve(t, k, i, "first")
		wantUnchecked(t, k, user, token)
		wantWait(t, k, custody.WaitVerify)
		if r := record(t, store); custody.Verified(r) || r.PublicID != "" {
			t.Errorf("verified %t, public id %q", custody.Verified(r), r.PublicID)
		}
		w["access-1"] = patient
		wantToken(t, k, token)
	})
	t.Run("refused later", func(t *testing.T) {
		store, i, w := tokenstore.NewMemory(), newIssuer(), whose{"access-1": errors.New("no answer")}
		k := keeper(t, store, i, first, w.config)
		wantUnchecked(t, k, user, approve(t, k, i, "first"))
		w["access-1"] = refused
		if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Token: %v, want no link", err)
		}
	})
}

// S44: a host may let a link move to another patient, and says so for each
// approval.
func TestSwitchOfPatients(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i, whose{"access-2": "patient-2", "access-3": patient}.config)
	wantToken(t, k, link(t, k, i))
	second := approve(t, k, i, "second", custody.Terms{Switch: true})
	if err := k.Admit(t.Context(), user, second); err != nil {
		t.Fatal(err)
	}
	wantToken(t, k, second)
	if r := record(t, store); r.PublicID != "patient-2" {
		t.Errorf("the link is %q's", r.PublicID)
	}
	// What was allowed once is not allowed again.
	if err := k.Admit(t.Context(), user, approve(t, k, i, "third")); !errors.Is(err, custody.ErrOtherPatient) {
		t.Errorf("Admit: %v, want ErrOtherPatient", err)
	}
}

// S46: one patient's record, linked by two users.
func TestSharedRecord(t *testing.T) {
	const second = "user-2"
	var shared *custody.SharedError
	load := func(t *testing.T, s tokenstore.Store, who string) tokenstore.Record {
		t.Helper()
		r, err := s.Load(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("is refused", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i)
		first := link(t, k, i)
		if err := k.Admit(t.Context(), second, approveAs(t, k, i, second, "m")); !errors.As(err, &shared) || !cmp.Equal(shared.Users, []string{user}) {
			t.Fatalf("Admit: %v", err)
		}
		wantToken(t, k, first)
		if r := load(t, store, second); custody.IsLink(r) || r.PublicID != "" || len(r.Sealed) != 0 {
			t.Errorf("left: %s, public id %q", r.State, r.PublicID)
		}
	})
	t.Run("is allowed", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i)
		link(t, k, i)
		if err := k.Admit(t.Context(), second, approveAs(t, k, i, second, "m", custody.Terms{Share: true})); err != nil {
			t.Fatal(err)
		}
		// And may be approved again like any other link.
		if err := k.Admit(t.Context(), user, approve(t, k, i, "again")); err != nil {
			t.Errorf("renewing the first link: %v", err)
		}
	})
	t.Run("is free again after an unlink", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i)
		link(t, k, i)
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		if err := k.Admit(t.Context(), second, approveAs(t, k, i, second, "m")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("by a switch is refused, and the link works on", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i, whose{"access-1": "patient-2"}.config)
		first := link(t, k, i)
		if err := k.Admit(t.Context(), second, approveAs(t, k, i, second, "m")); err != nil {
			t.Fatal(err)
		}
		if err := k.Admit(t.Context(), user, approve(t, k, i, "m", custody.Terms{Switch: true})); !errors.As(err, &shared) {
			t.Fatalf("Admit: %v", err)
		}
		wantToken(t, k, first)
	})
	t.Run("found out late ends the link and deletes nothing", func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i, whose{"access-2": errors.New("no answer")}.config)
		link(t, k, i)
		wantUnchecked(t, k, second, approveAs(t, k, i, second, "m"))
		r := load(t, store, second)
		if err := k.Fix(t.Context(), second, r.LinkedAt, patient); !errors.As(err, &shared) {
			t.Fatalf("Fix: %v", err)
		}
		r = load(t, store, second)
		if r.State != tokenstore.StateRelinkRequired || r.Cause != string(custody.WrongPatient) || len(r.Sealed) == 0 || r.PublicID != "" {
			t.Errorf("%s (%s), %d sealed bytes, public id %q", r.State, r.Cause, len(r.Sealed), r.PublicID)
		}
	})
	t.Run("when the store cannot tell, the approval waits", func(t *testing.T) {
		store, i := &blind{Memory: tokenstore.NewMemory(), fail: true}, newIssuer()
		k := keeper(t, store, i)
		token := approve(t, k, i, "m")
		var failed *custody.StoreError
		if err := k.Admit(t.Context(), user, token); !errors.As(err, &failed) {
			t.Fatalf("Admit: %v", err)
		}
		store.fail = false
		if err := k.Admit(t.Context(), user, token); err != nil {
			t.Fatal(err)
		}
		wantToken(t, k, token)
	})
}

// blind is a store that cannot find out who is linked to a patient, for a while.
type blind struct {
	*tokenstore.Memory
	fail bool
}

func (b *blind) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	if b.fail {
		return nil, errors.New("no index")
	}
	return b.Memory.FindPublicID(ctx, publicID, limit)
}

// Many users approve with one patient's account at the same time: never two of
// them are linked.
func TestSharedRecordAtTheSameTime(t *testing.T) {
	for range 50 {
		store, i := tokenstore.NewMemory(), newIssuer()
		tokens := map[string]string{}
		for _, who := range []string{"a", "b", "c"} {
			tokens[who] = approveAs(t, keeper(t, store, i), i, who, "m")
		}
		var wg sync.WaitGroup
		for who, token := range tokens {
			k := keeper(t, store, i)
			wg.Go(func() { _ = k.Admit(t.Context(), who, token) })
		}
		wg.Wait()
		linked := 0
		for who := range tokens {
			if r, err := store.Load(t.Context(), who); err != nil || custody.Verified(r) {
				linked++
			}
		}
		if linked > 1 {
			t.Fatalf("%d users are linked to one patient", linked)
		}
	}
}

// A call looks at the record first, once a second at most; it holds nobody up
// when the store is down, and forgets nothing when the store has gone back in
// time.
func TestPresentLooksAtTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, i := &counting{Memory: tokenstore.NewMemory()}, newIssuer()
		k := keeper(t, store, i)
		present := func(want string, looks int) {
			t.Helper()
			before := store.loads.Load()
			got, err := k.Present(t.Context(), user)
			if err != nil || got.Value != want {
				t.Fatalf("Present = %q, %v, want %q", got.Value, err, want)
			}
			if n := store.loads.Load() - before; int(n) != looks {
				t.Errorf("%d looks into the store, want %d", n, looks)
			}
		}
		first := link(t, k, i)
		present(first, 1) // the first one of all
		present(first, 0)
		time.Sleep(time.Second)
		present(first, 1)
		present(first, 0)

		store.fail.Store(true)
		time.Sleep(time.Second)
		present(first, 1)
		store.fail.Store(false)

		// A caller who has left before the look spares nobody else the look.
		time.Sleep(time.Second)
		left, leave := context.WithCancel(t.Context())
		leave()
		_, _ = k.Present(left, user)
		present(first, 1)

		// The store goes back to before a refresh: what is in memory goes on.
		old := record(t, store)
		time.Sleep(life)
		present("access-2", 2) // a look, and a refresh
		old.Version = record(t, store).Version
		if _, err := store.Save(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		present("access-2", 1)

		// Another process unlinks: nobody gets the token any more.
		if err := keeper(t, store, i).Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		now := record(t, store)
		now.Generation = 9 // as after an unlink that has seen the newer pair
		if _, err := store.Save(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := k.Present(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Present: %v, want no link", err)
		}
	})
}

// counting is a store that counts how often it is looked into, and fails on
// request.
type counting struct {
	*tokenstore.Memory
	loads atomic.Int64
	fail  atomic.Bool
}

func (c *counting) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	c.loads.Add(1)
	if c.fail.Load() {
		return tokenstore.Record{}, errors.New("down")
	}
	return c.Memory.Load(ctx, user)
}

// The link's past, as operators see it: bounded, counted, and kept through a
// relink and an unlink.
func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, i := tokenstore.NewMemory(), newIssuer()
		k := keeper(t, store, i)
		past := func() []custody.Happened {
			past, err := k.Past(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			return past
		}
		last := func() custody.Happened { return past()[len(past())-1] }
		link(t, k, i)
		start := time.Now().UTC()
		for range 3 {
			time.Sleep(life)
			if _, err := k.Token(t.Context(), user); err != nil {
				t.Fatal(err)
			}
		}
		want := custody.Happened{Kind: custody.Refreshed, At: start.Add(life), Until: start.Add(3 * life), Count: 3}
		if diff := cmp.Diff(want, last()); diff != "" {
			t.Errorf("three refreshes (-want +got):\n%s", diff)
		}
		token, err := k.Token(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Lose(t.Context(), user, token.Value, custody.SessionExpired); err != nil {
			t.Fatal(err)
		}
		if last().Cause != custody.SessionExpired {
			t.Errorf("the end has no cause: %+v", last())
		}
		if err := k.Admit(t.Context(), user, approve(t, k, i, "again")); err != nil {
			t.Fatal(err)
		}
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		var kinds []custody.Kind
		for _, h := range past() {
			kinds = append(kinds, h.Kind)
		}
		if diff := cmp.Diff([]custody.Kind{
			custody.Approved, custody.Exchanged, custody.Linked, custody.Refreshed, custody.RelinkRequired,
			custody.Approved, custody.Exchanged, custody.Linked, custody.Unlinked,
		}, kinds); diff != "" {
			t.Errorf("past (-want +got):\n%s", diff)
		}

		for n := range 50 {
			if err := k.Reserve(t.Context(), user, fmt.Sprint(n), time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if err := k.Unlink(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := len(record(t, store).Details); len(past()) != 40 || n > tokenstore.MaxDetails/2 {
			t.Errorf("%d entries in %d bytes", len(past()), n)
		}
	})
}

func TestLoseMindsOnlyTheCurrentToken(t *testing.T) {
	store, i := tokenstore.NewMemory(), newIssuer()
	k := keeper(t, store, i)
	first := link(t, k, i)
	second := approve(t, k, i, "second")
	if err := k.Admit(t.Context(), user, second); err != nil {
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
	k := keeper(t, store, i, whose{"access-1": &custody.RefusedError{}}.config)
	if err := k.Admit(t.Context(), user, approve(t, k, i, "first")); err == nil {
		t.Fatal("admitted")
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
