// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// after is Verify with a delay.
func after(d time.Duration, whose any) func(context.Context, custody.Candidate) (string, error) {
	return func(ctx context.Context, _ custody.Candidate) (string, error) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if err, ok := whose.(error); ok {
			return "", err
		}
		return whose.(string), nil
	}
}

// pace is how long things take in a race of a check with a refresh.
type pace struct{ check, refresh, lead time.Duration }

func paces() (all []pace) {
	for _, check := range []time.Duration{0, 5 * time.Second, 10 * time.Second, 40 * time.Second} {
		for _, refresh := range []time.Duration{0, 8 * time.Second, 15 * time.Second, 70 * time.Second} {
			for _, lead := range []time.Duration{0, 3 * time.Second, 12 * time.Second} {
				all = append(all, pace{check, refresh, lead})
			}
		}
	}
	return all
}

func (p pace) String() string { return fmt.Sprintf("%v-%v-%v", p.check, p.refresh, p.lead) }

// race lets two processes call for a user whose access token is about to reach
// the hard margin, one some time before the other.
func (p pace) race(t *testing.T, a, b *custody.Keeper, who string, handed func(string, custody.Token)) {
	t.Helper()
	var wg sync.WaitGroup
	call := func(name string, k *custody.Keeper) {
		if token, err := k.Present(t.Context(), who); err == nil {
			handed(name, token)
		}
	}
	wg.Go(func() { call("the first process", b) })
	time.Sleep(p.lead)
	wg.Go(func() { call("the second process", a) })
	wg.Wait()
	time.Sleep(3 * time.Minute)
	call("the first process, later", b)
	call("the second process, later", a)
}

// A wrong account approves while it cannot be checked whose it is: whatever runs
// during the check, the other patient's tokens are not handed out under the id of
// the first, and the link is unchanged.
func TestAnotherPatientNeverComesInUnderTheOldID(t *testing.T) {
	t.Parallel()
	for _, p := range paces() {
		t.Run(p.String(), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				a, b := w.replica(t, s), w.replica(t, s)
				w.joins(t, a, user, "first")
				w.end("first", "API_SESSION_EXPIRED")
				time.Sleep(life)
				wantEnded(t, a, user, "session_expired")
				w.belongs("second", errDown)
				r := w.joins(t, a, user, "second") // nobody knows whose it is
				if r.State != tokenstore.StateRelinkRequired || r.PublicID != patient {
					t.Fatalf("the link is %s, of %q", r.State, r.PublicID)
				}
				_ = wantLater(t, a, user, custody.WaitVerify)
				_ = wantLater(t, b, user, custody.WaitVerify)

				synctest.Wait()
				time.Sleep(life - 31*time.Second)
				w.belongs("second", after(p.check, "patient-2"))
				w.disturb(slowly(true, p.refresh))
				p.race(t, a, b, user, func(who string, token custody.Token) {
					t.Errorf("%s has a token of %q", who, sessionOf(token))
				})
				for _, k := range []*custody.Keeper{a, b} {
					wantEnded(t, k, user, "session_expired")
				}
				if r := recordOf(t, s, user); r.PublicID != patient || r.Candidate != "" || r.Cause != "session_expired" {
					t.Errorf("the link is %s (%s), of %q, and %q waits", r.State, r.Cause, r.PublicID, r.Candidate)
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A first session that must not be used stays refused, whatever refresh of its
// pair is under way.
func TestRefusedSessionStaysRefused(t *testing.T) {
	t.Parallel()
	for _, p := range paces() {
		t.Run(p.String(), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				first := func(c *custody.Config) { c.VerifyFirst = true }
				a, b := w.replica(t, s, first), w.replica(t, s, first)
				w.belongs("first", errDown)
				w.joins(t, a, user, "first")
				_ = wantLater(t, b, user, custody.WaitVerify)

				synctest.Wait()
				time.Sleep(life - 31*time.Second)
				w.belongs("first", after(p.check, notThem()))
				w.disturb(slowly(true, p.refresh))
				p.race(t, a, b, user, func(who string, token custody.Token) {
					t.Errorf("%s has a token of %q", who, sessionOf(token))
				})
				for _, k := range []*custody.Keeper{a, b} {
					wantUnlinked(t, k, user)
				}
				if r := recordOf(t, s, user); custody.IsLink(r) || r.Pair+r.Candidate != "" || len(r.Sealed) > 0 {
					t.Errorf("the record is %s and holds %q, %q and %d bytes", r.State, r.Pair, r.Candidate, len(r.Sealed))
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A link whose patient was unknown turns out to be somebody who must not be linked,
// or another user's patient: neither later responses of the server nor a refresh
// under way change anything about it.
func TestDecisionIsNotUndoneByTheServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		whose any
		cause custody.Cause
	}{
		"wrong patient": {notThem(), custody.WrongPatient},
		"shared":        {"patient-9", custody.SharedRecord},
	} {
		for _, p := range paces() {
			t.Run(name+"-"+p.String(), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					a, b := w.replica(t, s), w.replica(t, s)
					w.belongs("another", "patient-9")
					w.joins(t, a, "user-9", "another")
					w.belongs("first", errDown)
					w.joins(t, a, user, "first")
					wantServed(t, a, user, "first")
					wantServed(t, b, user, "first")

					synctest.Wait()
					time.Sleep(life - 31*time.Second)
					w.belongs("first", after(p.check, c.whose))
					w.disturb(slowly(true, p.refresh))
					p.race(t, a, b, user, func(who string, token custody.Token) {
						// Nobody knows it at first; a token handed out after it was
						// written opens what must not be shown.
						if time.Now().After(decided(t, a)) {
							t.Errorf("%s is handed a token of %q, of a link that was decided against", who, sessionOf(token))
						}
					})
					for _, k := range []*custody.Keeper{a, b} {
						wantEnded(t, k, user, c.cause)
					}
					w.end("first", "API_SESSION_EXPIRED")
					time.Sleep(time.Hour)
					for _, k := range []*custody.Keeper{a, b} {
						wantEnded(t, k, user, c.cause)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// decided returns when the user's link was decided against; far ahead if it was not.
func decided(t *testing.T, k *custody.Keeper) time.Time {
	t.Helper()
	past, err := k.Past(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range past {
		if h.Kind == custody.RelinkRequired {
			return h.At
		}
	}
	return time.Now().Add(time.Hour)
}

// A switch to another patient that could not be checked at once is checked at a
// later call, by any process, refreshed for that if need be. Until then the link is
// the old patient's, and the caller gets an *UncheckedError.
func TestSwitchIsCheckedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wait time.Duration // until Verify works
		by   int           // the process that calls then
		then any
		want string // the session that is served in the end
		id   string
	}{
		"a moment later":                     {time.Second, 0, "patient-2", "second", "patient-2"},
		"by another process":                 {time.Second, 1, "patient-2", "second", "patient-2"},
		"when its access token has expired":  {2 * life, 0, "patient-2", "second", "patient-2"},
		"then, by another process":           {2 * life, 1, "patient-2", "second", "patient-2"},
		"a day later":                        {24 * time.Hour, 1, "patient-2", "second", "patient-2"},
		"and turns out to be the same":       {time.Second, 0, patient, "second", patient},
		"and must not be used":               {time.Second, 0, notThem(), "first", patient},
		"and must not be used, a life later": {life, 1, notThem(), "first", patient},
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				ks := []*custody.Keeper{w.replica(t, s), w.replica(t, s)}
				w.joins(t, ks[0], user, "first")
				w.belongs("second", errDown)
				r, err := ks[0].Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
				if _, ok := errors.AsType[*custody.UncheckedError](err); !ok || r.PublicID != patient || r.State != tokenstore.StateLinked {
					t.Fatalf("the link is %s, of %q: %v", r.State, r.PublicID, err)
				}
				for at := time.Duration(0); at < c.wait; at += 20 * time.Second {
					wantServed(t, ks[c.by], user, "first")
					time.Sleep(20 * time.Second)
				}
				w.belongs("second", c.then)
				for range 30 { // a call starts the check, after what it backs off
					if _, err := ks[c.by].Present(t.Context(), user); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Second)
				}
				wantServed(t, ks[c.by], user, c.want)
				wantServed(t, ks[1-c.by], user, c.want)
				if r := recordOf(t, s, user); r.PublicID != c.id || r.Candidate != "" {
					t.Errorf("the link is %q's, and %q waits", r.PublicID, r.Candidate)
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A slow check holds up nobody whose link works.
func TestCheckOfASwitchHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		k := w.replica(t, s)
		w.joins(t, k, user, "first")
		w.belongs("second", errDown)
		_, _ = k.Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
		w.belongs("second", after(50*time.Second, "patient-2"))
		for range 120 {
			began := time.Now()
			if _, err := k.Present(t.Context(), user); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Fatalf("a call took %v", took)
			}
			time.Sleep(time.Second)
		}
		wantServed(t, k, user, "second")
	})
}

// If a session ends while it waits for its check, no link is lost, and the end is
// reported.
func TestWaitingSessionThatEnds(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var said tells
		k := w.replica(t, s, said.config)
		w.joins(t, k, user, "first")
		w.belongs("second", errDown)
		_, _ = k.Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
		w.end("second", "API_SESSION_EXPIRED")
		for range 120 {
			wantServed(t, k, user, "first")
			time.Sleep(10 * time.Second)
		}
		if r := recordOf(t, s, user); r.Candidate != "" || said.count(custody.Abandoned) != 1 {
			t.Errorf("%q waits; events: %v", r.Candidate, said.counts())
		}
		w.wantNoneAgain(t)
	})
}

// A process checks a session in one flight and serves calls in another. Whichever has
// the lease, the other waits as for another process: the token that renews a session
// that waits is presented once.
func TestFlightsOfOneProcessPresentATokenOnce(t *testing.T) {
	t.Parallel()
	check := func(ctx context.Context, k *custody.Keeper) { _ = k.Check(ctx, user) }
	call := func(ctx context.Context, k *custody.Keeper) { _, _ = k.Present(ctx, user) }
	for name, flights := range map[string][]func(context.Context, *custody.Keeper){
		"a check, and a call": {check, call}, "a call, and a check": {call, check},
		"a check, and calls": {check, call, call}, "checks and calls": {check, call, check, call},
	} {
		for _, linked := range []bool{false, true} {
			for _, lead := range []time.Duration{0, time.Second, 4 * time.Second, 20 * time.Second} {
				t.Run(fmt.Sprintf("%s, linked %t, %v apart", name, linked, lead), func(t *testing.T) {
					stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
						k := w.replica(t, s, func(c *custody.Config) { c.VerifyFirst = true })
						if linked {
							w.joins(t, k, user, "first")
						}
						w.belongs("second", errDown)
						_, _ = k.Approve(t.Context(), w.visit(user, "second", custody.Terms{}))
						time.Sleep(2 * life) // every access token has expired
						w.disturb(slowly(true, 5*time.Second))
						var all sync.WaitGroup
						for _, fly := range flights {
							all.Go(func() { fly(t.Context(), k) })
							time.Sleep(lead)
						}
						all.Wait()
						w.belongs("second", patient)
						w.disturb(nil)
						time.Sleep(5 * time.Minute)
						_ = k.Check(t.Context(), user)
						wantServed(t, k, user, "second")
						w.wantNoneAgain(t)
					})
				})
			}
		}
	}
}

// phase is a state in which a link can be when an authorization of no use comes
// back.
type phase struct {
	name string
	make func(t *testing.T, w *town, k *custody.Keeper)
}

var phases = []phase{
	{"no link", func(*testing.T, *town, *custody.Keeper) {}},
	{"unlinked", func(t *testing.T, w *town, k *custody.Keeper) {
		w.joins(t, k, user, "first")
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}},
	{"patient not known", func(t *testing.T, w *town, k *custody.Keeper) {
		w.belongs("first", errDown)
		w.joins(t, k, user, "first")
		wantServed(t, k, user, "first")
	}},
	{"linked", func(t *testing.T, w *town, k *custody.Keeper) {
		w.joins(t, k, user, "first")
		wantServed(t, k, user, "first")
	}},
	{"uncertain", func(t *testing.T, w *town, k *custody.Keeper) {
		w.joins(t, k, user, "first")
		w.disturb(func(_ context.Context, _ question, serve func() reply) (reply, error) {
			serve()
			return reply{status: 502}, nil
		})
		wantServed(t, k, user, "first")
		time.Sleep(life * 86 / 100)
		wantServed(t, k, user, "first")
		synctest.Wait()
		w.disturb(nil)
	}},
	{"session ended", func(t *testing.T, w *town, k *custody.Keeper) {
		w.joins(t, k, user, "first")
		w.end("first", "API_SESSION_EXPIRED")
		time.Sleep(life)
		wantEnded(t, k, user, "session_expired")
	}},
	{"decided against", func(t *testing.T, w *town, k *custody.Keeper) {
		w.belongs("first", errDown)
		w.joins(t, k, user, "first")
		w.belongs("first", notThem())
		time.Sleep(time.Minute)
		_ = k.Check(t.Context(), user)
		wantEnded(t, k, user, custody.WrongPatient)
	}},
}

// uses are authorizations that must not change anything.
var uses = []struct {
	name string
	// known: only where the patient of the link is known.
	known bool
	whose any
	visit func(w *town, a *custody.Approval)
	want  func(error) bool
}{
	{"not a patient", false, notThem(), nil, isRefused},
	{"another patient", true, "patient-2", nil, func(err error) bool { return errors.Is(err, custody.ErrOtherPatient) }},
	{"shared", false, "patient-9", nil, func(err error) bool {
		_, ok := errors.AsType[*custody.SharedError](err)
		return ok || errors.Is(err, custody.ErrOtherPatient)
	}},
	{"shared, as a switch", false, "patient-9", func(_ *town, a *custody.Approval) { a.Terms.Switch = true }, func(err error) bool {
		_, ok := errors.AsType[*custody.SharedError](err)
		return ok
	}},
	{"a code that is refused", false, nil, exchange(reply{status: 400, body: `{"error":"invalid_grant"}`}), isExchange(false)},
	{"a code that is lost", false, nil, exchange(reply{status: 502}), isExchange(false)},
	{"a code in a response that cannot be read", false, nil, exchange(jsonBody(200, `{"data":{"access_token":"x"}}`)), isExchange(false)},
	{"a code that is refused with an unrecognized error", false, nil, exchange(reply{status: 403}), isExchange(false)},
	{"the application is refused", false, nil, exchange(refusal401()), isExchange(true)},
	{"a code that never left", false, nil, func(w *town, a *custody.Approval) {
		e := w.endpoint()
		e.HTTP = &http.Client{Transport: refusing{}}
		a.Exchange = func(ctx context.Context) tokenwire.Outcome {
			return e.Exchange(ctx, a.Session, "https://app.example/cb", "")
		}
	}, isExchange(true)},
	{"a pair of no use", false, nil, func(_ *town, a *custody.Approval) {
		a.Fits = func(tokenwire.Grant) error { return notThem() }
	}, isRefused},
}

func refusal401() reply { return refusal(401, "invalid_client") }

// refusing is a network in which nothing listens.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errDown }

func isRefused(err error) bool {
	_, ok := errors.AsType[*custody.RefusedError](err)
	return ok
}

func isExchange(repeatable bool) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*custody.ExchangeError](err)
		return ok && e.Repeatable == repeatable
	}
}

func exchange(r reply) func(*town, *custody.Approval) {
	return func(w *town, _ *custody.Approval) {
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			if !q.refresh {
				return r, nil
			}
			return serve(), nil
		})
	}
}

// essence is what makes a link, out of all that a record says.
func essence(r tokenstore.Record) map[string]any {
	state := r.State
	if state == "" || state == tokenstore.StatePending {
		state = tokenstore.StateUnlinked // without a pair, they are one
	}
	return map[string]any{
		"state": state, "cause": r.Cause, "public id": r.PublicID, "claim": r.Claim, "pair": r.Pair, "candidate": r.Candidate,
		"tried": r.Tried, "generation": r.Generation, "lease": r.Lease.Owner, "expires": r.ExpiresAt, "linked": r.LinkedAt,
	}
}

// An authorization of no use leaves the link unchanged, in every state of a link.
func TestAuthorizationOfNoUseLeavesTheLinkAsItWas(t *testing.T) {
	t.Parallel()
	for _, p := range phases {
		for _, u := range uses {
			if u.known && (p.name == "no link" || p.name == "unlinked" || p.name == "patient not known" || p.name == "decided against") {
				continue // it would be of use
			}
			t.Run(p.name+"/"+u.name, func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					k := w.replica(t, s)
					w.belongs("another", "patient-9")
					w.joins(t, k, "user-9", "another")
					p.make(t, w, k)
					before, _ := s.Load(t.Context(), user)
					token, had := k.Present(t.Context(), user)

					if u.whose != nil {
						w.belongs("second", u.whose)
					}
					a := w.visit(user, "second")
					a.Unlinks = custody.Show(before).Unlinks
					if u.visit != nil {
						u.visit(w, &a)
					}
					if _, err := k.Approve(t.Context(), a); !u.want(err) {
						t.Errorf("its caller got %v", err)
					}
					w.disturb(nil)
					synctest.Wait()
					now := recordOf(t, s, user)
					if diff := cmp.Diff(essence(before), essence(now)); diff != "" {
						t.Errorf("the link has changed:\n%s", diff)
					}
					again, has := k.Present(t.Context(), user)
					if fmt.Sprint(has) != fmt.Sprint(had) || again.Value != token.Value {
						t.Errorf("before: %q %v, now: %q %v", token.Value, had, again.Value, has)
					}
					if w.spent("second") > 1 {
						t.Error("the code was presented twice")
					}
				})
			})
		}
	}
}

// A refused switch leaves no trace in the record but a line of its history.
func TestRefusedSwitchLeavesALineOnly(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		k := w.replica(t, s)
		w.joins(t, k, user, "first")
		before := recordOf(t, s, user)
		w.belongs("second", notThem())
		_, err := k.Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
		if !isRefused(err) {
			t.Fatal(err)
		}
		now := recordOf(t, s, user)
		var was, is map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(before.Details, &was), json.Unmarshal(now.Details, &is)); err != nil {
			t.Fatal(err)
		}
		for _, m := range []map[string]json.RawMessage{was, is} {
			delete(m, "past")
			delete(m, "marks") // by which a repeated callback is recognized
		}
		if diff := cmp.Diff(was, is); diff != "" {
			t.Errorf("the details have changed:\n%s", diff)
		}
		before.Version, before.Details, before.Sealed = now.Version, now.Details, now.Sealed
		if diff := cmp.Diff(before, now); diff != "" {
			t.Errorf("the columns have changed:\n%s", diff)
		}
		past, err := k.Past(t.Context(), user)
		if err != nil || past[len(past)-1].Kind != custody.Refused {
			t.Errorf("%v, %v", past, err)
		}
	})
}

// Of two authorizations at the same time, Approve returns nil only for one that the
// record held.
func TestTwoAuthorizationsAtOnce(t *testing.T) {
	t.Parallel()
	delays := []time.Duration{0, 2 * time.Second, 5 * time.Second}
	for _, same := range []bool{false, true} {
		for _, linked := range []bool{false, true} {
			for _, exchangeA := range delays {
				for _, checkA := range delays {
					for _, checkB := range delays {
						name := fmt.Sprintf("same=%v linked=%v %v %v %v", same, linked, exchangeA, checkA, checkB)
						t.Run(name, func(t *testing.T) {
							stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
								twoAtOnce(t, w, s, same, linked, exchangeA, checkA, checkB)
							})
						})
					}
				}
			}
		}
	}
}

func twoAtOnce(t *testing.T, w *town, s *tokenstore.Memory, same, linked bool, exchangeA, checkA, checkB time.Duration) {
	ks := []*custody.Keeper{w.replica(t, s), w.replica(t, s)}
	ids := []string{"patient-a", "patient-b"}
	if same {
		ids[1] = ids[0]
	}
	terms := custody.Terms{}
	if linked {
		w.joins(t, ks[0], user, "before")
		terms.Switch = true
	}
	names := []string{"a", "b"}
	w.belongs("a", after(checkA, ids[0]))
	w.belongs("b", after(checkB, ids[1]))
	w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
		if q.session == "a" {
			time.Sleep(exchangeA)
		}
		return serve(), nil
	})
	rows, errs := make([]tokenstore.Record, 2), make([]error, 2)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * time.Second)
			rows[i], errs[i] = ks[i].Approve(t.Context(), w.visit(user, name, terms))
		})
	}
	wg.Wait()
	now := recordOf(t, s, user)
	told := 0
	for i, name := range names {
		switch {
		case errs[i] == nil && sessionOfPair(rows[i].Pair) != name:
			t.Errorf("%s got nil with the record of %q", name, rows[i].Pair)
		case errs[i] == nil && rows[i].PublicID != ids[i]:
			t.Errorf("%s is %s's, and got nil with the record of %q", name, ids[i], rows[i].PublicID)
		case errs[i] == nil:
			told++
		case !errors.Is(errs[i], custody.ErrOvertaken) && !errors.Is(errs[i], custody.ErrOtherPatient):
			t.Errorf("%s got %v", name, errs[i])
		}
	}
	if told == 0 {
		t.Errorf("nobody got the link: %v", errs)
	}
	last := sessionOfPair(now.Pair)
	if i := map[string]int{"a": 0, "b": 1}[last]; errs[i] != nil || now.PublicID != ids[i] || now.Candidate != "" {
		t.Errorf("the link is %q's, of %q, and %q waits: %v", now.PublicID, now.Pair, now.Candidate, errs)
	}
	wantServed(t, ks[0], user, last)
	wantServed(t, ks[1], user, last)
	w.wantNoneAgain(t)
}

// A process that is cut off from its store with the response to a code saves it when it
// is back, though the patient has approved again meanwhile, elsewhere. Where the server
// has ended the first session with the second, nothing happens to the link: the check of
// an authorization uses its token.
func TestPatientApprovesAgainMeanwhile(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprintf("the first session ends=%v", ends), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) { approvesAgain(t, w, s, ends) })
		})
	}
}

func approvesAgain(t *testing.T, w *town, s *tokenstore.Memory, ends bool) {
	var away atomic.Bool
	first := w.replica(t, &hooked{Memory: s, before: func(context.Context, string, string) error {
		if away.Load() {
			return errDown
		}
		return nil
	}})
	second := w.replica(t, s)
	w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
		away.Store(away.Load() || q.session == "a" && !q.refresh)
		return serve(), nil
	})
	if _, err := first.Approve(t.Context(), w.visit(user, "a")); err == nil {
		t.Fatal("an authorization that is not saved is a link")
	}
	w.joins(t, second, user, "b")
	if ends {
		w.end("a", "API_SESSION_INVALID")
		w.belongs("a", errors.New("API_SESSION_INVALID"))
	}
	time.Sleep(44 * time.Minute)
	wantServed(t, second, user, "b")
	away.Store(false)
	time.Sleep(time.Minute)
	want := map[bool]string{false: "a", true: "b"}[ends]
	for range 12 {
		_, _ = first.Token(t.Context(), user) // looks at what waits, in the background
		time.Sleep(life / 2)
	}
	for _, k := range []*custody.Keeper{first, second} {
		wantServed(t, k, user, want)
	}
	if r := recordOf(t, s, user); sessionOfPair(r.Pair) != want || r.Candidate != "" {
		t.Errorf("the link is that of %q, and %q waits", r.Pair, r.Candidate)
	}
	if posts := w.posts("a"); ends && posts != 1 {
		t.Errorf("the token of the session that has ended was presented %d times", posts)
	}
	w.wantNoneAgain(t)
}

// sessionOfPair returns the session of a pair as a record names it.
func sessionOfPair(pair string) string {
	for i := len(pair) - 1; i >= 0; i-- {
		if pair[i] == '/' {
			return pair[:i]
		}
	}
	return ""
}

// Two users of the host who approve with one patient's account at the same time do
// not both get the link, unless sharing was asked for; and a refusal leaves both
// able to try again.
func TestTwoUsersOfOnePatientAtOnce(t *testing.T) {
	for _, lead := range []time.Duration{0, 50 * time.Millisecond, time.Second, 3 * time.Second} {
		for _, share := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v share=%v", lead, share), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					ks := []*custody.Keeper{w.replica(t, s), w.replica(t, s)}
					users := []string{"user-a", "user-b"}
					for _, u := range users {
						w.belongs(u, after(2*time.Second, "patient-x"))
					}
					errs := make([]error, 2)
					var wg sync.WaitGroup
					for i, u := range users {
						wg.Go(func() {
							time.Sleep(time.Duration(i) * lead)
							_, errs[i] = ks[i].Approve(t.Context(), w.visit(u, u, custody.Terms{Share: share}))
						})
					}
					wg.Wait()
					for range 24 { // later calls settle what was left open
						for i, u := range users {
							_, _ = ks[i].Present(t.Context(), u)
						}
						time.Sleep(10 * time.Second)
					}
					working := 0
					for i, u := range users {
						if _, err := ks[i].Present(t.Context(), u); err == nil {
							working++
						} else if custody.IsLink(recordOf(t, s, u)) {
							t.Logf("%s: %v", u, err)
						}
					}
					if want := map[bool]int{false: 1, true: 2}[share]; working != want {
						t.Errorf("%d of them are linked, want %d: %v", working, want, errs)
					}
				})
			})
		}
	}
}
