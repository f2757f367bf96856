// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// shiftWall returns t with its wall clock moved by d, in whole seconds, and its
// monotonic reading as it is.
func shiftWall(t time.Time, d time.Duration) time.Time {
	type layout struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}
	l := (*layout)(unsafe.Pointer(&t))
	if l.wall&(1<<63) == 0 {
		panic("no monotonic reading")
	}
	l.wall += uint64(d/time.Second) << 30
	return t
}

// real is an instant with a monotonic reading: those of a bubble have none.
var real = time.Now()

// machine is a system clock whose wall clock moves on its own: it is set, or
// continues while the system is suspended, and the monotonic one stands still.
type machine struct {
	began time.Time // by the bubble
	start time.Time // the same, with a monotonic reading
	mu    sync.Mutex
	ahead time.Duration
}

func newMachine(ahead time.Duration) *machine {
	m := &machine{began: time.Now(), ahead: ahead}
	whole := real.Add(-time.Duration(real.Nanosecond()))
	m.start = shiftWall(whole, time.Duration(m.began.Unix()-whole.Unix())*time.Second).Add(time.Duration(m.began.Nanosecond()))
	return m
}

func (m *machine) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return shiftWall(m.start.Add(time.Since(m.began)), m.ahead)
}

func (m *machine) step(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += d
}

func (m *machine) config(c *custody.Config) { c.Now = m.now }

// The clock of these tests behaves as they assume.
func TestMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234 * time.Millisecond)
		m := newMachine(0)
		before := m.now()
		if !before.Round(0).Equal(time.Now()) {
			t.Errorf("%v, want %v", before, time.Now())
		}
		m.step(-time.Hour)
		time.Sleep(time.Second)
		after := m.now()
		if after.Sub(before) != time.Second || after.Round(0).Sub(before.Round(0)) != time.Second-time.Hour {
			t.Errorf("from %v to %v", before, after)
		}
	})
}

// The hot path reads the clock in ticks: a token serves to within a tick of its
// margin, and never beyond. The ticks end by themselves, with Close and without: a
// bubble, like a process, may end while they run.
func TestHotPathInTicks(t *testing.T) {
	for _, closes := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed=%v", closes), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i, func(c *custody.Config) { c.Ticks = true })
				if !closes {
					k = custody.New(k.Config) // it is never closed
				}
				link(t, k, i)
				began, refreshed := time.Now(), time.Time{}
				wantToken(t, k, "access-1")
				i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
					return tokenwire.Outcome{Class: tokenwire.NotSent} // no early refresh
				}
				const tick = 20 * time.Millisecond
				for k.Hot(user) != nil {
					if age := time.Since(began); age > life-30*time.Second+tick {
						t.Fatalf("served when it is %v old", age)
					}
					time.Sleep(7 * time.Millisecond)
				}
				if age := time.Since(began); age < life-30*time.Second {
					t.Errorf("no longer served when it is %v old", age)
				}
				synctest.Wait()
				i.mu.Lock()
				i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					refreshed = time.Now()
					return answer()
				}
				i.mu.Unlock()
				time.Sleep(time.Minute)
				wantToken(t, k, "access-2")
				if refreshed.IsZero() {
					t.Error("it was not refreshed")
				}
				for range 100 { // read seldom, and often
					time.Sleep(3 * time.Second)
					for range 10 {
						token(t, k)
						time.Sleep(tick / 2)
					}
				}
				if closes {
					must(t, k.Close(t.Context()))
				}
			})
		})
	}
}

// The wall clock steps back by an hour. No token serves longer for it, and the
// record is looked at again after a second all the same: another process may have
// unlinked.
func TestWallClockStepsBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		m := newMachine(0)
		a, b := keeper(t, s, i, m.config), keeper(t, s, i, m.config)
		first := link(t, a, i)
		began := time.Now()
		wantToken(t, a, first)
		m.step(-time.Hour)
		time.Sleep(life - 40*time.Second)
		wantToken(t, a, first)
		time.Sleep(20 * time.Second)
		if got := token(t, a); got.Value == first {
			t.Errorf("%v after it was issued, %q is handed out", time.Since(began), got.Value)
		}
		must(t, b.Unlink(t.Context(), user))
		m.step(-time.Hour)
		time.Sleep(time.Second)
		if got, err := a.Present(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("a second after the unlink in another process, Present = %q, %v", got.Value, err)
		}
	})
}

// The system is suspended for an hour: the wall clock continues, and the monotonic
// one stands still. What expired meanwhile is not handed out.
func TestSuspend(t *testing.T) {
	for _, ticks := range []bool{false, true} {
		t.Run(fmt.Sprintf("ticks=%v", ticks), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				m := newMachine(0)
				k := keeper(t, s, i, m.config, func(c *custody.Config) { c.Ticks = ticks })
				link(t, k, i)
				if _, err := k.Replace(t.Context(), user, token(t, k)); err != nil {
					t.Fatal(err) // now its times have a monotonic reading
				}
				wantToken(t, k, "access-2")
				m.step(time.Hour)
				time.Sleep(21 * time.Millisecond)
				got := token(t, k)
				if left := got.ExpiresAt.Round(0).Sub(m.now().Round(0)); got.Value != "access-3" || left < 30*time.Second {
					t.Errorf("handed out %q, with %v left by the wall clock", got.Value, left)
				}
				wantPosts(t, i, 2)
			})
		})
	}
}

// S12: suspended between the lease and the POST: the holder gives the lease back and
// starts again, or gives up with the store's error if that repeats.
func TestSuspendBeforeThePost(t *testing.T) {
	for name, tc := range map[string]struct{ suspends, posts int }{"once": {1, 1}, "each time": {1 << 30, 0}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				m := newMachine(0)
				store := &hooked{Memory: s}
				k := keeper(t, store, i, m.config)
				link(t, k, i)
				was := token(t, k)
				var slept []string // the leases under which nothing may be sent
				store.after = func(op, _ string) {
					if r := record(t, s); op == "save" && r.Lease.Owner != "" && len(slept) < tc.suspends {
						slept = append(slept, r.Lease.Owner)
						m.step(8 * time.Second)
					}
				}
				i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
					if r := record(t, s); r.Lease.Owner == slept[0] {
						t.Error("sent under a lease that may have been taken over")
					}
					return answer()
				}
				got, err := k.Replace(t.Context(), user, was)
				if tc.posts == 1 && (err != nil || got.Value != "access-2") {
					t.Errorf("Replace = %q, %v", got.Value, err)
				}
				if tc.posts == 0 {
					wantStoreError(t, err, "save")
					if len(slept) != 2 {
						t.Errorf("it tried %d times", len(slept))
					}
				}
				wantPosts(t, i, tc.posts)
				if r := record(t, s); r.Lease.Owner != "" || r.Tried != 0 {
					t.Errorf("left: lease %+v, tried %d", r.Lease, r.Tried)
				}
			})
		})
	}
}

// S12, S15: the patience with another's lease is measured: no jump of the wall clock
// makes it shorter or longer.
func TestPatienceIsNotCutShort(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, 48 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				m := newMachine(0)
				k := keeper(t, s, i, m.config)
				link(t, k, i)
				time.Sleep(life)
				r := record(t, s)
				r.Lease = tokenstore.Lease{Owner: "dead", TTL: 15 * time.Second, TakenAt: time.Now().Add(step)}
				if _, err := s.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				time.AfterFunc(30*time.Second, func() { m.step(step) })
				wantToken(t, k, "access-2")
				if took := time.Since(began); took < 75*time.Second || took > 77*time.Second {
					t.Errorf("the lease was respected for %v", took)
				}
			})
		})
	}
}

// S23: nor the wait before a token is presented again whose outcome is unknown, or
// that was refused with an unrecognized error.
func TestBackOffIsNotCutShort(t *testing.T) {
	for name, tc := range map[string]struct {
		out    tokenwire.Outcome
		reason string
		wait   time.Duration
		posts  int
	}{
		"unknown outcome": {tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503}, custody.WaitUncertain, 15 * time.Second, 2},
		"unknown words":   {tokenwire.Outcome{Class: tokenwire.Unclear, Status: 400}, custody.WaitUnclear, 30 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				m := newMachine(0)
				k := keeper(t, s, i, m.config)
				link(t, k, i)
				time.Sleep(life)
				trouble(i, &tc.out)
				wantWait(t, k, tc.reason)
				wantPosts(t, i, tc.posts)
				trouble(i, nil)
				m.step(time.Hour)
				for range int(tc.wait/time.Second) - 2 {
					time.Sleep(time.Second)
					wantWait(t, k, tc.reason)
				}
				wantPosts(t, i, tc.posts)
				time.Sleep(3 * time.Second)
				wantToken(t, k, "access-2")
			})
		})
	}
}

// Clocks that differ by minutes or hours cost refreshes, and never a token that is
// presented twice.
func TestClocksThatDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{2 * time.Minute, 170 * time.Second, time.Hour, -time.Hour, 26 * time.Hour, -26 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				wrong := newMachine(ahead)
				right, other := keeper(t, s, i), keeper(t, s, i, wrong.config)
				link(t, right, i)
				i.slow(3 * time.Second)
				for range 200 {
					var wg sync.WaitGroup
					for _, k := range []*custody.Keeper{right, other} {
						wg.Go(func() {
							if _, err := k.Token(t.Context(), user); err != nil {
								t.Errorf("Token: %v", err)
							}
						})
					}
					wg.Wait()
					time.Sleep(10 * time.Second)
				}
				// And one looks while the other one presents the token.
				time.Sleep(life)
				var wg sync.WaitGroup
				wg.Go(func() { token(t, right) })
				time.Sleep(time.Second)
				other.Forget(user)
				token(t, other)
				wg.Wait()
				posts, reuses := i.count()
				t.Logf("%d POSTs in %d lives of a token", posts, 200*10*time.Second/life)
				if reuses != 0 || posts > 2*200 {
					t.Errorf("%d POSTs and %d reused tokens", posts, reuses)
				}
			})
		})
	}
}

// A token that a server rejects is replaced once a minute, by whichever clock is
// behind.
func TestReplacedOnceAMinute(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		m := newMachine(0)
		k := keeper(t, s, i, m.config)
		link(t, k, i)
		replace := func() (err error) {
			_, err = k.Replace(t.Context(), user, token(t, k))
			return err
		}
		must(t, replace())
		for range 59 {
			if err := replace(); !errors.Is(err, custody.ErrReplaced) {
				t.Fatalf("Replace: %v, want that it was replaced a moment ago", err)
			}
			time.Sleep(time.Second)
		}
		wantPosts(t, i, 1)
		time.Sleep(time.Second)
		must(t, replace())
		wantPosts(t, i, 2)
	})
}
