// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// issued returns a pair that other code has obtained just now.
func issued(i *issuer) custody.Imported {
	out := i.grant()
	return custody.Imported{
		AccessToken: out.Grant.AccessToken, RefreshToken: out.Grant.RefreshToken, Scope: out.Grant.Scope, ExpiresAt: time.Now().Add(out.Grant.ExpiresIn),
	}
}

// A pair that other code obtained is checked, and is a link then like any other.
func TestImport(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		in := issued(i)
		r, err := k.Import(t.Context(), user, in)
		must(t, err)
		if r.State != tokenstore.StateLinked || r.PublicID != patient {
			t.Errorf("%v, %q", r.State, r.PublicID)
		}
		wantToken(t, k, in.AccessToken)
		wantPosts(t, i, 0)
		time.Sleep(life)
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)

		_, err = k.Import(t.Context(), user, in)
		if !errors.Is(err, custody.ErrUsed) && err != nil {
			t.Errorf("the same pair again: %v", err)
		}
		if _, err := k.Import(t.Context(), user, issued(i)); !errors.Is(err, custody.ErrInUse) {
			t.Errorf("another pair: %v, want that the user is linked", err)
		}
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)
	})
}

// An expired pair is refreshed first, once, and checked with what that brings.
func TestImportOfAnExpiredPair(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		in := issued(i)
		time.Sleep(time.Hour)
		_, err := k.Import(t.Context(), user, in)
		must(t, err)
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)
	})
}

// A pair that is no use, or not the user's, leaves nothing behind and ends nothing
// else.
func TestImportsOfNoUse(t *testing.T) {
	for name, of := range map[string]struct {
		change func(i *issuer, in *custody.Imported)
		verify any
		want   func(error) bool
		posts  int
	}{
		"no refresh token": {func(_ *issuer, in *custody.Imported) { in.RefreshToken = "" }, nil, func(err error) bool { return errors.Is(err, custody.ErrNotImportable) }, 0},
		"no access token":  {func(_ *issuer, in *custody.Imported) { in.AccessToken = "" }, nil, func(err error) bool { return errors.Is(err, custody.ErrNotImportable) }, 0},
		"refused by the host": {
			nil, &custody.RefusedError{Err: errReadOnly}, func(err error) bool { _, ok := errors.AsType[*custody.RefusedError](err); return ok }, 0,
		},
		"its session has ended": {func(i *issuer, in *custody.Imported) {
			i.dead[1] = true
			in.ExpiresAt = time.Now().Add(-time.Minute)
		}, nil, func(err error) bool { _, ok := errors.AsType[*custody.LostError](err); return ok }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				who := whose{}
				who.set("access-1", of.verify)
				k := keeper(t, s, i, who.config)
				in := issued(i)
				if of.change != nil {
					of.change(i, &in)
				}
				if _, err := k.Import(t.Context(), user, in); !of.want(err) {
					t.Errorf("Import: %v", err)
				}
				wantNoLink(t, k)
				wantPosts(t, i, of.posts)
			})
		})
	}
}

// Code that was not stopped has refreshed the pair since: that is told, and the pair
// is presented once.
func TestImportOfAPairThatWasRefreshedSince(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		in := issued(i)
		i.answer(in.RefreshToken)
		in.ExpiresAt = time.Now().Add(-time.Minute)
		_, err := k.Import(t.Context(), user, in)
		if lost, ok := errors.AsType[*custody.LostError](err); !ok {
			t.Errorf("Import: %v, want that it was rejected (%v)", err, lost)
		}
		wantNoLink(t, k)
		if posts, _ := i.count(); posts != 1 {
			t.Errorf("presented %d times", posts)
		}
		if _, err := k.Import(t.Context(), user, in); !errors.Is(err, custody.ErrUsed) {
			t.Errorf("again: %v", err)
		}
		if posts, _ := i.count(); posts != 1 {
			t.Errorf("presented %d times", posts)
		}
	})
}

// Another user's patient comes in under no other id.
func TestImportOfAnotherUsersPatient(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		_, err := approveAs(t, k, i, "user-2", "session-1")
		must(t, err)
		if _, err = k.Import(t.Context(), user, issued(i)); !isShared(err) {
			t.Errorf("Import: %v, want that the record is shared", err)
		}
		wantNoLink(t, k)
	})
}

func isShared(err error) bool { _, ok := errors.AsType[*custody.SharedError](err); return ok }

// A pair that cannot be checked now is kept and is no link yet, whether or not a link
// has to be checked first. It is checked later.
func TestImportThatCannotBeChecked(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("VerifyFirst %t", first), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				who := whose{}
				who.set("access-1", errReadOnly)
				k := keeper(t, s, i, who.config, func(c *custody.Config) { c.VerifyFirst = first })
				in := issued(i)
				for range 2 {
					r, err := k.Import(t.Context(), user, in)
					if _, ok := errors.AsType[*custody.UncheckedError](err); !ok || r.State != tokenstore.StatePending || r.Candidate == "" {
						t.Fatalf("Import: %s, %v, want that it waits", r.State, err)
					}
				}
				if _, err := k.Import(t.Context(), user, issued(i)); !errors.Is(err, custody.ErrInUse) {
					t.Errorf("another: %v, want that one waits", err)
				}
				who.set("access-1", patient)
				tending(t, k)
				time.Sleep(20 * time.Minute)
				if r := record(t, s); r.State != tokenstore.StateLinked || r.PublicID != patient {
					t.Errorf("%v, %q", r.State, r.PublicID)
				}
			})
		})
	}
}

// A pair that could not be checked and that a call has used since, as one of a new
// authorization may be, is reported as unchecked until it is checked.
func TestImportOfALinkThatIsUnchecked(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		who := whose{}
		who.set("access-1", errReadOnly)
		k := keeper(t, s, i, who.config)
		in := issued(i)
		unchecked := func() {
			t.Helper()
			_, err := k.Import(t.Context(), user, in)
			if _, ok := errors.AsType[*custody.UncheckedError](err); !ok {
				t.Errorf("Import: %v, want that it is unchecked", err)
			}
		}
		unchecked()
		time.Sleep(time.Minute)
		wantToken(t, k, in.AccessToken)
		unchecked()
		who.set("access-1", patient)
		r, err := k.Import(t.Context(), user, in)
		must(t, err)
		if r.State != tokenstore.StateLinked || r.PublicID != patient {
			t.Errorf("%v, %q", r.State, r.PublicID)
		}
		wantPosts(t, i, 0)
	})
}

// Why a pair is refused is told by the look that found it out, with the cause of the
// server, and is in the record's history.
func TestImportTellsWhy(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		who := whose{}
		who.set("access-1", &custody.RefusedError{Err: errReadOnly})
		k := keeper(t, s, i, who.config)
		_, err := k.Import(t.Context(), user, issued(i))
		if !errors.Is(err, errReadOnly) {
			t.Errorf("Import: %v, want the reason of who refused it", err)
		}
		in := issued(i)
		i.dead[2] = true
		in.ExpiresAt = time.Now().Add(-time.Minute)
		_, err = k.Import(t.Context(), "user-3", in)
		lost, ok := errors.AsType[*custody.LostError](err)
		if !ok || lost.Cause == "" {
			t.Fatalf("Import: %v, want the cause", err)
		}
		past, err := k.Past(t.Context(), "user-3")
		must(t, err)
		if last := past[len(past)-1]; last.Kind != custody.Abandoned || last.Cause != lost.Cause {
			t.Errorf("the history ends in %+v, want %s", last, lost.Cause)
		}
		_, err = approveAs(t, k, i, "user-2", "session-1")
		must(t, err)
		_, err = k.Import(t.Context(), "user-4", issued(i))
		if shared, ok := errors.AsType[*custody.SharedError](err); !ok || len(shared.Users) != 1 || shared.Users[0] != "user-2" {
			t.Errorf("Import: %v, want that it is user-2's", err)
		}
	})
}

// Replicas that import the same pair at once make one link of it.
func TestImportsAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		in := issued(i)
		in.ExpiresAt = time.Now().Add(-time.Minute)
		i.slow(time.Second)
		var group sync.WaitGroup
		for n := range 4 {
			k := keeper(t, s, i)
			group.Go(func() {
				if _, err := k.Import(t.Context(), user, in); err != nil {
					if _, waits := errors.AsType[*custody.UncheckedError](err); !waits {
						t.Errorf("replica %d: %v", n, err)
					}
				}
			})
		}
		group.Wait()
		wantToken(t, keeper(t, s, i), "access-2")
		wantPosts(t, i, 1)
	})
}

// The server does not answer: the pair is kept, and nothing is presented twice that
// may be spent.
func TestImportWhileTheServerIsSilent(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.NotSent, Err: errReadOnly}
		}
		k := keeper(t, s, i)
		in := issued(i)
		in.ExpiresAt = time.Now().Add(-time.Minute)
		_, err := k.Import(t.Context(), user, in)
		if _, ok := errors.AsType[*custody.UncheckedError](err); !ok {
			t.Errorf("Import: %v, want that it is unchecked", err)
		}
		i.disturb = nil
		time.Sleep(time.Minute)
		tending(t, k)
		time.Sleep(time.Hour)
		if r := record(t, s); r.State != tokenstore.StateLinked {
			t.Errorf("%v", r.State)
		}
	})
}

func TestImportedPrintsNothing(t *testing.T) {
	in := custody.Imported{AccessToken: "canary", RefreshToken: "canary"}
	if text := fmt.Sprintf("%v %+v %#v %s", in, in, in, in); text != "[redacted] [redacted] [redacted] [redacted]" {
		t.Error(text)
	}
}
