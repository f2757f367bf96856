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

// S11: a POST of three minutes keeps its lease by beats, one at a time and at a
// quarter of its life: others wait, and none presents the token. The lease's other
// columns stay unchanged.
func TestLongPostKeepsItsLease(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var under, most atomic.Int64
		store := &hooked{Memory: s, before: func(_ context.Context, op, _ string) error {
			if op == "save" {
				most.Store(max(most.Load(), under.Add(1)))
				time.Sleep(100 * time.Millisecond)
				under.Add(-1)
			}
			return nil
		}}
		k, other := keeper(t, store, i), keeper(t, s, i)
		link(t, other, i)
		time.Sleep(life)
		i.slow(179 * time.Second)
		began := time.Now()
		var wg sync.WaitGroup
		for _, k := range []*custody.Keeper{k, other} {
			wg.Go(func() { wantToken(t, k, "access-2") })
			time.Sleep(time.Second)
		}
		taken := record(t, s)
		for time.Since(began) < 175*time.Second {
			before := record(t, s).Lease
			time.Sleep(4 * time.Second)
			after := record(t, s).Lease
			if after.Owner != taken.Lease.Owner || after.Beat <= before.Beat || after.Beat > before.Beat+2 || !after.TakenAt.Equal(taken.Lease.TakenAt) {
				t.Fatalf("after %v: lease %+v became %+v", time.Since(began), before, after)
			}
		}
		if r := record(t, s); r.Tried != 1 || r.State != tokenstore.StateUncertain || r.Pair != taken.Pair {
			t.Errorf("tried %d, %s, %s", r.Tried, r.State, r.Pair)
		}
		wg.Wait()
		if n := most.Load(); n != 1 {
			t.Errorf("%d saves of one flight at once", n)
		}
		wantPosts(t, i, 1)
	})
}

// S26: saves that take as long as the time between two beats, or longer, do not
// starve the response: no beat begins while it is saved, and one that is under way
// causes one conflict.
func TestSlowSavesDoNotStarveTheResponse(t *testing.T) {
	for _, slow := range []time.Duration{time.Second, 3750 * time.Millisecond, 4 * time.Second, 5 * time.Second, 6 * time.Second, 7 * time.Second} {
		t.Run(slow.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				store := &hooked{Memory: s, before: func(ctx context.Context, op, _ string) error {
					if op == "save" {
						time.Sleep(slow)
					}
					return nil
				}}
				k := keeper(t, store, i)
				link(t, keeper(t, s, i), i)
				for n, post := range []time.Duration{0, 2 * time.Second, 5 * time.Second, 9 * time.Second, 25 * time.Second, time.Minute} {
					time.Sleep(life)
					i.slow(post)
					within(t, "Token", slow+post+2*slow+2*time.Second, func() { token(t, k) })
					wantPosts(t, i, n+1)
				}
				if r := record(t, s); r.Lease.Owner != "" || r.Tried != 0 || r.Generation != 7 {
					t.Errorf("left: lease %+v, tried %d, generation %d", r.Lease, r.Tried, r.Generation)
				}
			})
		})
	}
}

// S12: nothing is sent under a lease whose write began more than half its life ago:
// others may be about to take it. The lease is given back and written again; when
// that is as slow again, callers get the store's error, and nothing was sent.
func TestLapsedLeaseSendsNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		slow  time.Duration
		times int64
		posts int
	}{
		"in time":        {7400 * time.Millisecond, 1 << 30, 1},
		"too late, once": {8 * time.Second, 1, 1},
		"too late":       {8 * time.Second, 1 << 30, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				var left atomic.Int64
				var began time.Time // the latest write of a lease
				store := &hooked{Memory: s}
				store.before = func(_ context.Context, op, _ string) error {
					if op == "save" {
						began = time.Now()
						if left.Add(-1) >= 0 {
							time.Sleep(tc.slow)
						}
					}
					return nil
				}
				k := keeper(t, store, i)
				link(t, k, i)
				time.Sleep(life)
				left.Store(tc.times)
				i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if age := time.Since(began); tc.times > 1 && age > 7500*time.Millisecond {
						t.Errorf("sent %v after the write of its lease began", age)
					}
					return answer()
				}
				got, err := k.Token(t.Context(), user)
				if tc.posts == 1 && (err != nil || got.Value != "access-2") {
					t.Errorf("Token = %q, %v", got.Value, err)
				}
				if tc.posts == 0 {
					wantStoreError(t, err, "save")
				}
				wantPosts(t, i, tc.posts)
				if r := record(t, s); r.Lease.Owner != "" || r.Tried != 0 || r.State != tokenstore.StateLinked {
					t.Errorf("left: lease %+v, tried %d, %s", r.Lease, r.Tried, r.State)
				}
				left.Store(0)
				wantToken(t, k, "access-2")
			})
		})
	}
}

// S20, S35: a successor is accepted from any process: the one whose lease was taken
// over returns with the response, and it is the only pair there is. The beats of the
// new holder do not keep it from being saved.
func TestSuccessorOfALostLeaseIsSaved(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		cut := &flaky{Memory: s}
		holder, other := keeper(t, cut, i), keeper(t, s, i)
		link(t, other, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			switch n {
			case 1:
				cut.failSaves.Store(1 << 30)
			case 2: // the session has ended, and the response is on its way back
				cut.failSaves.Store(0)
				time.Sleep(30 * time.Second)
			}
			return out
		}
		_, err := holder.Token(t.Context(), user)
		wantStoreError(t, err, "save")
		if got, err := other.Token(t.Context(), user); err != nil || got.Value != "access-2" {
			t.Errorf("Token = %q, %v, want what the holder saved meanwhile", got.Value, err)
		}
		wantPair(t, s, "access-2", "refresh-2")
		if r := record(t, s); r.State != tokenstore.StateLinked || r.Lease.Owner != "" {
			t.Errorf("%s, lease %+v", r.State, r.Lease)
		}
	})
}

// S45: what a check finds out late is seen at once in this process: the token of the
// session that it replaces, or ends, leaves memory.
func TestLateVerdictIsSeenAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		first, second any
		want          func(t *testing.T, k *custody.Keeper)
	}{
		"a switch":         {patient, "patient-2", func(t *testing.T, k *custody.Keeper) { wantToken(t, k, "access-2") }},
		"the wrong person": {errNoAnswer, nil, func(t *testing.T, k *custody.Keeper) { wantLost(t, k, custody.WrongPatient) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				w := whose{"access-1": tc.first, "access-2": errNoAnswer}
				k := keeper(t, s, i, w.config)
				link(t, k, i)
				if tc.second != nil {
					wantUnchecked(t, approve(t, k, i, "second", custody.Terms{Switch: true}))
					w.set("access-2", tc.second)
				} else {
					w.set("access-1", &custody.RefusedError{})
				}
				time.Sleep(time.Second)
				if got := k.Hot(user); got != nil {
					t.Fatalf("%q is in memory", got.Value)
				}
				wantToken(t, k, "access-1")
				err := k.Check(t.Context(), user)
				if lost := (*custody.LostError)(nil); err != nil && !errors.As(err, &lost) {
					t.Fatal(err)
				}
				if got := k.Hot(user); got != nil && got.Value == "access-1" {
					t.Error("the old token is in memory")
				}
				tc.want(t, k)
			})
		})
	}
}

// doubtful is a store that once writes a lease and does not say so until it is let go.
type doubtful struct {
	*tokenstore.Memory
	landed, release chan struct{}
	once            sync.Once
}

func (d *doubtful) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	saved, err := d.Memory.Save(ctx, r)
	if err == nil && r.Lease.Owner != "" {
		first := false
		d.once.Do(func() { first = true })
		if first {
			close(d.landed)
			<-d.release
			return tokenstore.Record{}, errBroken
		}
	}
	return saved, err
}

// A process takes the lease of one that stands still with its request, and is not told
// that it has it. The first one goes on, and saves what it gets. The second presents
// nothing that is spent by then: it has the new token.
func TestLeaseInDoubtWhileItsPairIsReplaced(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		first, second := newRude(s), &doubtful{Memory: s, landed: make(chan struct{}), release: make(chan struct{})}
		a, b := w.replica(t, first), w.replica(t, second)
		w.joins(t, a, user, "once")
		time.Sleep(life)
		goOn := make(chan struct{})
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			if q.nth == 1 {
				<-goOn // it stands still, with the token in its hand
			}
			return serve(), nil
		})
		var served sync.WaitGroup
		served.Go(func() { _, _ = a.Token(t.Context(), user) })
		time.Sleep(time.Second)
		first.feels(always(hangs, "load", "save"))              // no beat leaves it either
		served.Go(func() { _, _ = b.Token(t.Context(), user) }) // it may be told of the save that failed
		<-second.landed
		first.feels(nil)
		close(goOn)
		synctest.Wait()
		for row, err := s.Load(t.Context(), user); row.Generation < 2; row, err = s.Load(t.Context(), user) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // until the successor is in the row
		}
		close(second.release)
		served.Wait()
		time.Sleep(time.Second) // its flight goes on without its caller
		wantServed(t, b, user, "once")
		if n := w.posts("once"); n != 1 {
			t.Errorf("%d refreshes, want the first one's only", n)
		}
		if row, err := s.Load(t.Context(), user); err != nil || row.Lease.Owner != "" {
			t.Errorf("the lease is still there: %+v, %v", row.Lease, err)
		}
		w.wantNoneAgain(t)
		time.Sleep(life)
		wantServed(t, b, user, "once")
	})
}
