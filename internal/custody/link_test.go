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
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

var errNoAnswer = errors.New("no answer")

// wantUnchecked checks that an authorization waits next to a link that works.
func wantUnchecked(t testing.TB, err error) {
	t.Helper()
	if _, ok := errors.AsType[*custody.UncheckedError](err); !ok {
		t.Fatalf("Approve: %v, want that it could not be checked", err)
	}
}

// must ends the test at the first error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lose records that user's current session has ended.
func lose(t testing.TB, k *custody.Keeper, cause custody.Cause) {
	t.Helper()
	must(t, k.Lose(t.Context(), user, token(t, k), cause))
}

// S43: twenty callbacks of one authorization: one of them gets to send the code,
// and all of them get the link that it makes.
func TestCallbackThatComesManyTimes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var sent atomic.Int64
		var wg sync.WaitGroup
		for range 20 {
			k := keeper(t, s, i)
			a := approval(i, user, "mark")
			exchange := a.Exchange
			a.Exchange = func(ctx context.Context) tokenwire.Outcome {
				sent.Add(1)
				time.Sleep(10 * time.Second)
				return exchange(ctx)
			}
			wg.Go(func() {
				if r, err := k.Approve(t.Context(), a); err != nil || r.Pair != "mark/1" || r.PublicID != patient {
					t.Errorf("Approve = pair %q of %q, %v", r.Pair, r.PublicID, err)
				}
			})
		}
		wg.Wait()
		if n := sent.Load(); n != 1 {
			t.Errorf("%d callbacks of one authorization sent the code", n)
		}
	})
}

// S43: the code was not sent, or the application was refused: the same callback may
// be repeated.
func TestCodeThatWasNotSpentCanBeSentAgain(t *testing.T) {
	for name, out := range map[string]tokenwire.Outcome{
		"not sent": {Class: tokenwire.NotSent},
		"refused":  {Class: tokenwire.AppWide, Status: 401, Code: "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i)
				a := approval(i, user, "mark")
				a.Exchange = func(context.Context) tokenwire.Outcome { return out }
				for range 2 {
					var failed *custody.ExchangeError
					if _, err := k.Approve(t.Context(), a); !errors.As(err, &failed) || !failed.Repeatable {
						t.Fatalf("Approve: %v, want that it may be repeated", err)
					}
				}
				must(t, approve(t, k, i, "mark"))
				wantToken(t, k, "access-1")
			})
		})
	}
}

// S45: unlinked while the code was being exchanged: no link comes of it.
func TestUnlinkDuringApproval(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		a := approval(i, user, "mark")
		a.Exchange = func(context.Context) tokenwire.Outcome {
			if err := k.Unlink(t.Context(), user); err != nil {
				t.Error(err)
			}
			return i.grant()
		}
		if _, err := k.Approve(t.Context(), a); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Approve: %v, want no link", err)
		}
		wantNoLink(t, k)
	})
}

// S44: a link belongs to one patient; another's authorization changes nothing.
func TestApprovalOfAnotherPatientIsRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		w := whose{"access-2": "patient-2"}
		k := keeper(t, s, i, func(c *custody.Config) {
			c.Verify = func(ctx context.Context, c custody.Candidate) (string, error) {
				time.Sleep(5 * time.Second)
				return w.verify(ctx, c)
			}
		})
		first := link(t, k, i)
		wantToken(t, k, first)

		asked := make(chan error, 1)
		go func() { asked <- approve(t, k, i, "second") }()
		time.Sleep(time.Second)
		wantToken(t, k, first) // until it is certain whose the new pair is
		if err := <-asked; !errors.Is(err, custody.ErrOtherPatient) {
			t.Fatalf("Approve: %v, want ErrOtherPatient", err)
		}
		wantToken(t, k, first)
		if r := record(t, s); r.PublicID != patient || r.Generation != 1 || r.State != tokenstore.StateLinked || r.Candidate != "" {
			t.Errorf("the link became %q, generation %d, %s, next to %q", r.PublicID, r.Generation, r.State, r.Candidate)
		}
		// And the pair of the other patient is gone from the record.
		lose(t, k, sessionExpired)
		wantLost(t, k, sessionExpired)
	})
}

func TestNewApprovalOfTheSamePatientReplacesThePair(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		wantToken(t, k, link(t, k, i))
		must(t, approve(t, k, i, "second"))
		wantToken(t, k, "access-2")
		if r := record(t, s); r.PublicID != patient || r.Generation != 2 {
			t.Errorf("public id %q, generation %d", r.PublicID, r.Generation)
		}
	})
}

// It could not be checked whose the new authorization is. The old link works on, and
// the new pair replaces it when it dies: not before it is checked. What the check
// refuses is dropped, and the link is lost for its own cause.
func TestUncheckedApprovalWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		whose any
		want  func(*testing.T, *custody.Keeper)
	}{
		"same patient":    {patient, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-2") }},
		"another patient": {"patient-2", func(t *testing.T, k *custody.Keeper) { wantLost(t, k, sessionInvalid) }},
		"refused":         {&custody.RefusedError{}, func(t *testing.T, k *custody.Keeper) { wantLost(t, k, sessionInvalid) }},
		"not to be checked": {errNoAnswer, func(t *testing.T, k *custody.Keeper) {
			wantWait(t, k, custody.WaitVerify)
			wantWait(t, k, custody.WaitVerify)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				w := whose{"access-2": errNoAnswer}
				k := keeper(t, s, i, w.config)
				first := link(t, k, i)
				wantUnchecked(t, approve(t, k, i, "second"))
				wantToken(t, k, first)
				lose(t, k, sessionInvalid)
				wantWait(t, k, custody.WaitVerify)
				w.set("access-2", tc.whose)
				time.Sleep(10 * time.Second) // the checks are not repeated by every caller
				tc.want(t, k)
				wantPosts(t, i, 0)
			})
		})
	}
}

// S44: the new authorization is checked again while the old link works on, by calls
// that do not wait for it.
func TestUncheckedApprovalIsCheckedInTheBackground(t *testing.T) {
	for name, tc := range map[string]struct {
		whose any
		terms custody.Terms
		want  string // the token then
		of    string // the patient
	}{
		"same patient":            {patient, custody.Terms{}, "access-2", patient},
		"another patient":         {"patient-2", custody.Terms{}, "access-1", patient},
		"another one, as allowed": {"patient-2", custody.Terms{Switch: true}, "access-2", "patient-2"},
		"refused":                 {&custody.RefusedError{}, custody.Terms{Switch: true}, "access-1", patient},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				w := whose{"access-2": errNoAnswer}
				k := keeper(t, s, i, func(c *custody.Config) {
					c.Verify = func(ctx context.Context, c custody.Candidate) (string, error) {
						time.Sleep(3 * time.Second)
						return w.verify(ctx, c)
					}
				})
				link(t, k, i)
				wantUnchecked(t, approve(t, k, i, "second", tc.terms))
				w.set("access-2", tc.whose)
				for range 30 {
					began := time.Now()
					if _, err := k.Present(t.Context(), user); err != nil || time.Since(began) != 0 {
						t.Fatalf("Present: %v after %v", err, time.Since(began))
					}
					time.Sleep(time.Second)
				}
				wantToken(t, k, tc.want)
				if r := record(t, s); r.PublicID != tc.of || r.Candidate != "" {
					t.Errorf("the link is %q's, next to %q", r.PublicID, r.Candidate)
				}
				wantPosts(t, i, 0)
			})
		})
	}
}

// The same for a link that has ended: the new pair is all there is, and is
// still checked first.
func TestUncheckedApprovalOfAnEndedLink(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		w := whose{"access-2": errNoAnswer, "access-3": errNoAnswer}
		k := keeper(t, s, i, w.config)
		link(t, k, i)
		lose(t, k, sessionExpired)
		must(t, approve(t, k, i, "second")) // it waits, and there is no other link
		wantWait(t, k, custody.WaitVerify)
		w.set("access-2", "patient-2")
		time.Sleep(time.Second)
		wantLost(t, k, sessionExpired)

		must(t, approve(t, k, i, "third"))
		wantWait(t, k, custody.WaitVerify)
		w.set("access-3", patient)
		time.Sleep(time.Second)
		wantToken(t, k, "access-3")
	})
}

// An authorization that could not be checked, and whose access token expires
// before it is used: what a refresh brings is checked as the first token would
// have been.
func TestUncheckedApprovalIsCheckedAfterARefreshToo(t *testing.T) {
	for name, tc := range map[string]struct {
		whose string
		terms custody.Terms
		want  func(*testing.T, *custody.Keeper)
	}{
		"same patient":            {patient, custody.Terms{}, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-3") }},
		"another patient":         {"patient-2", custody.Terms{}, func(t *testing.T, k *custody.Keeper) { wantLost(t, k, sessionExpired) }},
		"another one, as allowed": {"patient-2", custody.Terms{Switch: true}, func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-3") }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				w := whose{"access-2": errNoAnswer}
				k := keeper(t, s, i, w.config)
				link(t, k, i)
				lose(t, k, sessionExpired)
				must(t, approve(t, k, i, "second", tc.terms))
				w.set("access-3", tc.whose)
				time.Sleep(life)
				tc.want(t, k)
				wantPosts(t, i, 1)
			})
		})
	}
}

// VerifyFirst: nobody gets a token before Verify has let the authorization pass.
func TestFirstApprovalIsVerified(t *testing.T) {
	refused := &custody.RefusedError{Err: errors.New("not the person we know")}
	first := func(c *custody.Config) { c.VerifyFirst = true }
	run := func(name string, w whose, f func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				f(t, keeper(t, s, i, first, w.config), i, s)
			})
		})
	}
	run("passes", whose{}, func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory) {
		wantToken(t, k, link(t, k, i))
		if !custody.Verified(record(t, s)) {
			t.Error("the record is not marked as verified")
		}
	})
	run("refused", whose{"access-1": refused}, func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory) {
		if err := approve(t, k, i, "first"); !errors.Is(err, error(refused)) {
			t.Fatalf("Approve: %v", err)
		}
		if r := record(t, s); custody.IsLink(r) || len(r.Sealed) != 0 || r.PublicID != "" {
			t.Errorf("left: %s with %d sealed bytes, public id %q", r.State, len(r.Sealed), r.PublicID)
		}
		wantNoLink(t, k)
	})
	run("refused next to a link that works", whose{"access-2": refused}, func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory) {
		works := link(t, k, i)
		if err := approve(t, k, i, "second"); !errors.Is(err, error(refused)) {
			t.Fatalf("Approve: %v", err)
		}
		wantToken(t, k, works)
	})
	w := whose{"access-1": errNoAnswer}
	run("asked again until there is a result", w, func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory) {
		must(t, approve(t, k, i, "first"))
		wantWait(t, k, custody.WaitVerify)
		if r := record(t, s); custody.Verified(r) || r.PublicID != "" {
			t.Errorf("verified %t, public id %q", custody.Verified(r), r.PublicID)
		}
		w.set("access-1", patient)
		time.Sleep(time.Second)
		wantToken(t, k, "access-1")
	})
	v := whose{"access-1": errNoAnswer}
	run("refused later", v, func(t *testing.T, k *custody.Keeper, i *issuer, s *tokenstore.Memory) {
		must(t, approve(t, k, i, "first"))
		v.set("access-1", refused)
		time.Sleep(time.Second)
		wantNoLink(t, k)
	})
}

// S44: a host may let a link move to another patient, separately for each
// authorization.
func TestSwitchOfPatients(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i, whose{"access-2": "patient-2", "access-3": patient}.config)
		wantToken(t, k, link(t, k, i))
		must(t, approve(t, k, i, "second", custody.Terms{Switch: true}))
		wantToken(t, k, "access-2")
		if r := record(t, s); r.PublicID != "patient-2" {
			t.Errorf("the link is %q's", r.PublicID)
		}
		// What was allowed once is not allowed again.
		if err := approve(t, k, i, "third"); !errors.Is(err, custody.ErrOtherPatient) {
			t.Errorf("Approve: %v, want ErrOtherPatient", err)
		}
	})
}

// S46: one patient's record, linked by two users.
func TestSharedRecord(t *testing.T) {
	const second = "user-2"
	var shared *custody.SharedError
	run := func(name string, w whose, f func(t *testing.T, k *custody.Keeper, i *issuer, s *blind)) {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				b := &blind{Memory: s}
				f(t, keeper(t, b, i, w.config), i, b)
			})
		})
	}
	also := func(t *testing.T, k *custody.Keeper, i *issuer, terms ...custody.Terms) error {
		t.Helper()
		_, err := approveAs(t, k, i, second, "m", terms...)
		return err
	}
	run("is refused", nil, func(t *testing.T, k *custody.Keeper, i *issuer, s *blind) {
		first := link(t, k, i)
		if err := also(t, k, i); !errors.As(err, &shared) || !cmp.Equal(shared.Users, []string{user}) {
			t.Fatalf("Approve: %v", err)
		}
		wantToken(t, k, first)
		if r := recordOf(t, s, second); custody.IsLink(r) || r.PublicID+r.Claim != "" || len(r.Sealed) != 0 {
			t.Errorf("left: %s, public id %q, claim %q", r.State, r.PublicID, r.Claim)
		}
	})
	run("is allowed", nil, func(t *testing.T, k *custody.Keeper, i *issuer, _ *blind) {
		link(t, k, i)
		must(t, also(t, k, i, custody.Terms{Share: true}))
		// And may be approved again like any other link.
		if err := approve(t, k, i, "again"); err != nil {
			t.Errorf("renewing the first link: %v", err)
		}
	})
	run("is free again after an unlink", nil, func(t *testing.T, k *custody.Keeper, i *issuer, _ *blind) {
		link(t, k, i)
		must(t, k.Unlink(t.Context(), user))
		must(t, also(t, k, i))
	})
	run("by a switch is refused, and the link works on", whose{"access-1": "patient-2"}, func(t *testing.T, k *custody.Keeper, i *issuer, _ *blind) {
		first := link(t, k, i)
		must(t, also(t, k, i))
		if err := approve(t, k, i, "m", custody.Terms{Switch: true}); !errors.As(err, &shared) {
			t.Fatalf("Approve: %v", err)
		}
		wantToken(t, k, first)
	})
	w := whose{"access-2": errNoAnswer}
	run("found out late ends the link and deletes nothing", w, func(t *testing.T, k *custody.Keeper, i *issuer, s *blind) {
		link(t, k, i)
		must(t, also(t, k, i))
		w.set("access-2", patient)
		var lost *custody.LostError
		if err := k.Check(t.Context(), second); !errors.As(err, &lost) || lost.Cause != custody.SharedRecord {
			t.Fatalf("Check: %v", err)
		}
		r := recordOf(t, s, second)
		if r.State != tokenstore.StateRelinkRequired || r.Cause != string(custody.SharedRecord) || len(r.Sealed) == 0 || r.PublicID != "" {
			t.Errorf("%s (%s), %d sealed bytes, public id %q", r.State, r.Cause, len(r.Sealed), r.PublicID)
		}
	})
}

// S46: when the store cannot find who is linked to a patient, the authorization
// waits until it can.
func TestStoreThatCannotFind(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, m *tokenstore.Memory) {
		s := &blind{Memory: m}
		k := keeper(t, s, i)
		s.fail.Store(true)
		must(t, approve(t, k, i, "m"))
		if r := record(t, s); r.State != tokenstore.StatePending || r.Claim != patient {
			t.Errorf("%s, claim %q", r.State, r.Claim)
		}
		wantWait(t, k, custody.WaitVerify)
		s.fail.Store(false)
		wantToken(t, k, "access-1")
	})
}

// blind is a store that cannot find out who is linked to a patient, for a while.
type blind struct {
	*tokenstore.Memory
	fail atomic.Bool
}

func (b *blind) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	if b.fail.Load() {
		return nil, errors.New("no index")
	}
	return b.Memory.FindPublicID(ctx, publicID, limit)
}

// Many users approve with one patient's account at the same time: never two of them
// are linked. Those who wait because of the others learn with the next calls who it
// is.
func TestSharedRecordAtTheSameTime(t *testing.T) {
	t.Parallel()
	for range 50 {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			who := []string{"a", "b", "c"}
			linked := func() (n int) {
				for _, u := range who {
					if custody.Verified(recordOf(t, s, u)) {
						n++
					}
				}
				return n
			}
			keepers := map[string]*custody.Keeper{}
			var wg sync.WaitGroup
			for _, u := range who {
				k := keeper(t, s, i)
				keepers[u] = k
				wg.Go(func() { _, _ = approveAs(t, k, i, u, "m") })
			}
			wg.Wait()
			if n := linked(); n > 1 {
				t.Fatalf("%d users are linked to one patient", n)
			}
			for range 3 {
				for _, u := range who {
					_ = keepers[u].Check(t.Context(), u)
				}
			}
			if n := linked(); n != 1 {
				t.Fatalf("after everybody has called, %d users are linked to the patient", n)
			}
		})
	}
}

// A call looks at the record first, once a second at most; it holds nobody up when
// the store is down, and forgets nothing when the store has gone back in time.
func TestPresentLooksAtTheRecord(t *testing.T) {
	t.Parallel()
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
		present(first, 1)

		// A caller who leaves before the look spares nobody else the look: it
		// continues without the caller.
		time.Sleep(time.Second)
		left, leave := context.WithCancel(t.Context())
		leave()
		before := store.loads.Load()
		_, _ = k.Present(left, user)
		synctest.Wait()
		if n := store.loads.Load() - before; n != 1 {
			t.Errorf("%d looks into the store, want one", n)
		}
		present(first, 0)

		// The store goes back to before a refresh: what is in memory serves on.
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
		must(t, keeper(t, store, i).Unlink(t.Context(), user))
		time.Sleep(time.Second)
		if _, err := k.Present(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Present: %v, want no link", err)
		}
	})
}

// counting is a store that counts its loads, and fails on request.
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

// The link's past, for operators: bounded, counted, and kept through a relink and an
// unlink.
func TestPast(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		past := func() []custody.Happened {
			past, err := k.Past(t.Context(), user)
			must(t, err)
			return past
		}
		last := func() custody.Happened { return past()[len(past())-1] }
		link(t, k, i)
		start := time.Now().UTC()
		for range 3 {
			time.Sleep(life)
			token(t, k)
		}
		want := custody.Happened{Kind: custody.Refreshed, At: start.Add(life), Until: start.Add(3 * life), Count: 3}
		if diff := cmp.Diff(want, last(), cmpopts.IgnoreUnexported(want)); diff != "" {
			t.Errorf("three refreshes (-want +got):\n%s", diff)
		}
		lose(t, k, sessionExpired)
		if last().Cause != sessionExpired {
			t.Errorf("the end has no cause: %+v", last())
		}
		must(t, approve(t, k, i, "again"))
		must(t, k.Unlink(t.Context(), user))
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
			a := approval(i, user, fmt.Sprint(n))
			a.Unlinks = custody.Show(record(t, s)).Unlinks
			a.Exchange = func(context.Context) tokenwire.Outcome { return tokenwire.Outcome{Class: tokenwire.Ambiguous} }
			var failed *custody.ExchangeError
			if _, err := k.Approve(t.Context(), a); !errors.As(err, &failed) {
				t.Fatal(err)
			}
			must(t, k.Unlink(t.Context(), user))
			time.Sleep(time.Minute)
		}
		if n := len(record(t, s).Details); len(past()) != 40 || n > tokenstore.MaxDetails/2 {
			t.Errorf("%d entries in %d bytes", len(past()), n)
		}
	})
}

func TestLoseMindsOnlyTheCurrentToken(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		first := token(t, k)
		must(t, approve(t, k, i, "second"))
		must(t, k.Lose(t.Context(), user, first, sessionInvalid))
		wantToken(t, k, "access-2")
	})
}

// Checking a link of which all is known changes nothing: no write that others would
// run into, and the token stays in memory.
func TestCheckOfTheKnownPatientWritesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		first := link(t, k, i)
		wantToken(t, k, first)
		before := record(t, s)
		must(t, k.Check(t.Context(), user))
		if diff := cmp.Diff(before, record(t, s)); diff != "" {
			t.Errorf("record (-before +after):\n%s", diff)
		}
		if got := k.Hot(user); got == nil || got.Value != first {
			t.Error("the token is no longer in memory")
		}
	})
}

func TestRefusedApprovalLeavesNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i, whose{"access-1": &custody.RefusedError{}}.config)
		if err := approve(t, k, i, "first"); err == nil {
			t.Fatal("admitted")
		}
		if r := record(t, s); custody.IsLink(r) || len(r.Sealed) != 0 {
			t.Errorf("left: %s with %d sealed bytes", r.State, len(r.Sealed))
		}
	})
}

// S55, S56: a record that does not open, belongs elsewhere, or differs from its
// columns is an error; the record stays, and nothing is sent.
func TestRecordsThatAreNotOurs(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*custody.Config)
		tamper func(*tokenstore.Record)
		is     error
	}{
		"other environment": {change: func(c *custody.Config) { c.Environment = "production" }, is: custody.ErrForeign},
		"other client id":   {change: func(c *custody.Config) { c.ClientID = "other" }, is: custody.ErrForeign},
		"no key":            {change: func(c *custody.Config) { c.Ring = nil }, is: seal.ErrNoKeys},
		"damaged":           {tamper: func(r *tokenstore.Record) { r.Sealed[len(r.Sealed)-1] ^= 1 }, is: seal.ErrNotAuthentic},
		"cut":               {tamper: func(r *tokenstore.Record) { r.Sealed = r.Sealed[:len(r.Sealed)-5] }, is: seal.ErrNotAuthentic},
		"cut to a byte":     {tamper: func(r *tokenstore.Record) { r.Sealed = r.Sealed[:1] }, is: seal.ErrNotAuthentic},
		"emptied":           {tamper: func(r *tokenstore.Record) { r.Sealed = nil }, is: custody.ErrDamaged},
		"another user's": {tamper: func(r *tokenstore.Record) {
			elsewhere := place(*r)
			elsewhere.AppUserID = "user-2"
			r.Sealed, r.KeyID, _ = vault(t).Seal(elsewhere, []byte(`{}`))
		}, is: seal.ErrNotAuthentic},
		"another pair":      {tamper: func(r *tokenstore.Record) { r.Pair = "session-1/2" }, is: seal.ErrNotAuthentic},
		"a pair of nothing": {tamper: func(r *tokenstore.Record) { r.Pair = "" }, is: seal.ErrNotAuthentic},
		"no pair at all":    {tamper: func(r *tokenstore.Record) { r.Pair = "session-1" }, is: custody.ErrDamaged},
		"another candidate": {tamper: func(r *tokenstore.Record) { r.Candidate = "session-2/1" }, is: seal.ErrNotAuthentic},
		"another patient":   {tamper: func(r *tokenstore.Record) { r.PublicID = "patient-2" }, is: custody.ErrDamaged},
		"no patient":        {tamper: func(r *tokenstore.Record) { r.PublicID = "" }, is: custody.ErrDamaged},
		"another phase":     {tamper: func(r *tokenstore.Record) { r.State = tokenstore.StatePending }, is: custody.ErrDamaged},
		"no phase":          {tamper: func(r *tokenstore.Record) { r.State = "" }, is: custody.ErrDamaged},
		"details cut":       {tamper: func(r *tokenstore.Record) { r.Details = r.Details[:len(r.Details)-1] }, is: custody.ErrDamaged},
		"details emptied":   {tamper: func(r *tokenstore.Record) { r.Details = nil }, is: custody.ErrDamaged},
		"details of none":   {tamper: func(r *tokenstore.Record) { r.Details = []byte("null") }, is: custody.ErrDamaged},
		"details of ours":   {tamper: func(r *tokenstore.Record) { r.Details = []byte("{}") }, is: custody.ErrDamaged},
		"a later format":    {tamper: func(r *tokenstore.Record) { r.Details = bytes.Replace(r.Details, []byte(`"v":1`), []byte(`"v":2`), 1) }, is: custody.ErrNewer},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				link(t, keeper(t, s, i), i)
				r := record(t, s)
				if tc.tamper != nil {
					tc.tamper(&r)
					var err error
					r, err = s.Save(t.Context(), r)
					must(t, err)
				}
				k := keeper(t, s, i, func(c *custody.Config) {
					if tc.change != nil {
						tc.change(c)
					}
				})
				time.Sleep(life) // a refresh would be due
				wantNotOurs(t, k, i, tc.is)
				after := record(t, s)
				if after.Version != r.Version || !bytes.Equal(after.Sealed, r.Sealed) {
					t.Error("the record was changed")
				}
				wantPosts(t, i, 0)
			})
		})
	}
}

// wantNotOurs checks that nothing is shown or begun on a record.
func wantNotOurs(t *testing.T, k *custody.Keeper, i *issuer, is error) {
	t.Helper()
	for of, do := range map[string]func() error{
		"Token":   func() error { _, err := k.Token(t.Context(), user); return err },
		"Present": func() error { _, err := k.Present(t.Context(), user); return err },
		"Replace": func() error { _, err := k.Replace(t.Context(), user, custody.Token{}); return err },
		"Look":    func() error { _, err := k.Look(t.Context(), user); return err },
		"Check":   func() error { return k.Check(t.Context(), user) },
		"Approve": func() error {
			a := approval(i, user, "another")
			a.Exchange = func(context.Context) tokenwire.Outcome {
				t.Error("a code is sent")
				return i.grant()
			}
			_, err := k.Approve(t.Context(), a)
			return err
		},
		"Lose":   func() error { return k.Lose(t.Context(), user, custody.Token{}, sessionExpired) },
		"Reseal": func() error { _, err := k.Reseal(t.Context(), user); return err },
	} {
		err := do()
		var sealed *custody.SealError
		if !errors.Is(err, is) || errors.As(err, &sealed) != (!errors.Is(is, custody.ErrForeign) && !errors.Is(is, custody.ErrNewer)) {
			t.Errorf("%s: %v, want %v", of, err, is)
		}
	}
}

// A flight that read the record before an unlink does not publish after it.
func TestUnlinkIsSeenByTheNextCaller(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		wantToken(t, k, link(t, k, i))
		must(t, k.Unlink(t.Context(), user))
		wantNoLink(t, k)
		if err := k.Unlink(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Unlink: %v, want no link", err)
		}
	})
}
