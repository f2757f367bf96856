// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// faulty is one process's connection to a store that others share. Its faults are
// that process's only.
type faulty struct {
	*tokenstore.Memory

	mu    sync.Mutex
	saves int
	// fault decides the outcome of the nth save, counted from 1.
	fault func(n int, r tokenstore.Record) fault
	// blind is how many of the next loads find nothing.
	blind int
	// away: every call fails.
	away bool
	// slow is how long a save takes.
	slow time.Duration
	// crashed is closed when the process has crashed: from then on it reaches
	// nobody. over is closed when the test ends.
	crashed, over chan struct{}
	// loads and finds count the calls of the store.
	loads, finds int
}

// fault is the outcome of a save.
type fault int

const (
	well   fault = iota
	silent       // done, and reported as failed
	undone       // not done, and reported as failed
	late         // reported as failed, and done a second later
	crash        // done, and the process crashes before it learns of it
	before       // the process crashes before it is done
)

var errBroken = errors.New("the connection broke")

func newFaulty(s *tokenstore.Memory) *faulty {
	return &faulty{Memory: s, crashed: make(chan struct{}), over: make(chan struct{})}
}

// end releases the calls that hang.
func (f *faulty) end() { close(f.over) }

// set changes the faults.
func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// dies ends the process, as far as others can tell.
func (f *faulty) dies() error {
	f.kill()
	return f.hang()
}

// kill does so from outside.
func (f *faulty) kill() {
	f.set(func(f *faulty) {
		select {
		case <-f.crashed:
		default:
			close(f.crashed)
		}
	})
}

func (f *faulty) hang() error {
	<-f.over
	return tokenstore.ErrClosed
}

// dead reports whether the process has crashed.
func (f *faulty) dead() bool {
	select {
	case <-f.crashed:
		return true
	default:
		return false
	}
}

func (f *faulty) Load(ctx context.Context, u string) (tokenstore.Record, error) {
	if f.dead() {
		return tokenstore.Record{}, f.hang()
	}
	f.mu.Lock()
	f.loads++
	away, blind := f.away, f.blind > 0
	if blind {
		f.blind--
	}
	f.mu.Unlock()
	switch {
	case away:
		return tokenstore.Record{}, errBroken
	case blind:
		return tokenstore.Record{}, tokenstore.ErrNotFound
	}
	return f.Memory.Load(ctx, u)
}

func (f *faulty) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.dead() {
		return tokenstore.Record{}, f.hang()
	}
	f.mu.Lock()
	f.saves++
	what := well
	if f.fault != nil {
		what = f.fault(f.saves, r)
	}
	away, slow := f.away, f.slow
	f.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	if away {
		return tokenstore.Record{}, errBroken
	}
	switch what {
	case undone:
		return tokenstore.Record{}, errBroken
	case before:
		return tokenstore.Record{}, f.dies()
	case late:
		go func() {
			time.Sleep(time.Second)
			_, _ = f.Memory.Save(context.WithoutCancel(ctx), r)
		}()
		return tokenstore.Record{}, errBroken
	}
	saved, err := f.Memory.Save(ctx, r)
	switch {
	case err == nil && what == silent:
		return tokenstore.Record{}, errBroken
	case what == crash:
		return tokenstore.Record{}, f.dies()
	}
	return saved, err
}

func (f *faulty) FindPublicID(ctx context.Context, id string, n int) ([]tokenstore.Record, error) {
	if f.dead() {
		return nil, f.hang()
	}
	f.mu.Lock()
	f.finds++
	away := f.away
	f.mu.Unlock()
	if away {
		return nil, errBroken
	}
	return f.Memory.FindPublicID(ctx, id, n)
}

// nth sets the faults of some saves, counted from the next one.
func (f *faulty) nth(what fault, saves ...int) {
	f.set(func(f *faulty) {
		from := f.saves
		f.fault = func(n int, _ tokenstore.Record) fault {
			for _, s := range saves {
				if n == from+s {
					return what
				}
			}
			return well
		}
	})
}

// A callback that is received twice at the same time, by one process or by two, is
// one authorization: its code is presented once, and both get the link.
func TestCallbackTwiceAtOnceIsOneAuthorization(t *testing.T) {
	t.Parallel()
	for _, processes := range []int{1, 2} {
		for _, exchange := range []time.Duration{0, 2 * time.Second, 40 * time.Second, 170 * time.Second} {
			for _, check := range []time.Duration{0, 5 * time.Second, 40 * time.Second} {
				t.Run(fmt.Sprintf("%d processes, %v, %v", processes, exchange, check), func(t *testing.T) {
					stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
						ks := []*custody.Keeper{w.replica(t, s)}
						ks = append(ks, ks[0], ks[0])
						if processes == 2 {
							ks[1], ks[2] = w.replica(t, s), w.replica(t, s)
						}
						w.disturb(slowly(false, exchange))
						w.belongs("once", after(check, patient))
						rows, errs := make([]tokenstore.Record, 3), make([]error, 3)
						var wg sync.WaitGroup
						for i, k := range ks {
							wg.Go(func() {
								time.Sleep(time.Duration(i) * 100 * time.Millisecond)
								rows[i], errs[i] = k.Approve(t.Context(), w.visit(user, "once"))
							})
						}
						wg.Wait()
						for i, err := range errs {
							if err != nil || sessionOfPair(rows[i].Pair+rows[i].Candidate) != "once" {
								t.Errorf("visit %d: %q, %v", i+1, rows[i].Pair, err)
							}
						}
						if n := w.spent("once"); n != 1 {
							t.Errorf("the code was presented %d times", n)
						}
						time.Sleep(2 * time.Minute)
						for _, k := range ks {
							wantServed(t, k, user, "once")
						}
						if r := recordOf(t, s, user); r.PublicID != patient || r.Candidate != "" {
							t.Errorf("the link is %q's, and %q waits", r.PublicID, r.Candidate)
						}
					})
				})
			}
		}
	}
}

// A process that looked at the record long ago waits for the other visit all the
// same.
func TestSecondVisitWaitsHoweverLongAgoTheLastLookWas(t *testing.T) {
	for _, ago := range []time.Duration{4 * time.Minute, time.Hour} {
		t.Run(ago.String(), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				a, b := w.replica(t, s), w.replica(t, s)
				w.joins(t, a, user, "before")
				w.disturb(func(context.Context, question, func() reply) (reply, error) { return reply{status: 503}, nil })
				time.Sleep(life)
				for _, k := range []*custody.Keeper{a, b} { // what is uncertain is remembered
					_ = wantLater(t, k, user, custody.WaitUncertain)
				}
				time.Sleep(ago)
				w.disturb(slowly(false, 20*time.Second))
				var wg sync.WaitGroup
				for i, k := range []*custody.Keeper{a, a, b} {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * time.Second)
						if r, err := k.Approve(t.Context(), w.visit(user, "once")); err != nil || sessionOfPair(r.Pair) != "once" {
							t.Errorf("visit %d: %q, %v", i+1, r.Pair, err)
						}
					})
				}
				wg.Wait()
				if n := w.spent("once"); n != 1 {
					t.Errorf("the code was presented %d times", n)
				}
			})
		})
	}
}

// The same callback is received again later, as with the browser's Back.
func TestCallbackAgainLater(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		a, b := w.replica(t, s), w.replica(t, s)
		again := func(session, want string) {
			t.Helper()
			for _, k := range []*custody.Keeper{a, b} {
				r, err := k.Approve(t.Context(), w.visit(user, session, custody.Terms{Switch: true}))
				if want == "" && !errors.Is(err, custody.ErrUsed) {
					t.Errorf("%s: %v, want that it was used", session, err)
				}
				if want != "" && (err != nil || sessionOfPair(r.Pair) != want) {
					t.Errorf("%s: %q, %v", session, r.Pair, err)
				}
			}
			if n := w.spent(session); n != 1 {
				t.Errorf("the code of %s was presented %d times", session, n)
			}
		}
		w.joins(t, a, user, "first")
		again("first", "first")
		time.Sleep(3 * time.Hour)
		wantServed(t, a, user, "first") // by now of another pair
		again("first", "first")

		w.belongs("second", errDown)
		for range 2 { // nil would mean that the session is the link's
			r, err := b.Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
			if _, ok := errors.AsType[*custody.UncheckedError](err); !ok || sessionOfPair(r.Pair) != "first" {
				t.Errorf("it waits: %q, %v", r.Pair, err)
			}
		}
		w.belongs("second", "patient-2")
		time.Sleep(time.Minute)
		if err := a.Check(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		again("second", "second")
		again("first", "") // it is no longer the link

		w.belongs("third", notThem())
		if _, err := a.Approve(t.Context(), w.visit(user, "third")); !isRefused(err) {
			t.Fatal(err)
		}
		again("third", "")
		wantServed(t, b, user, "second")
	})
}

// A visitor who leaves changes nothing for one who returns.
func TestCallbackGoesOnWithoutItsVisitor(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		a, b := w.replica(t, s), w.replica(t, s)
		w.disturb(slowly(false, 8*time.Second))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		if _, err := a.Approve(ctx, w.visit(user, "once")); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if _, err := b.Approve(t.Context(), w.visit(user, "once")); err != nil {
			t.Error(err)
		}
		wantServed(t, a, user, "once")
		if n := w.spent("once"); n != 1 {
			t.Errorf("the code was presented %d times", n)
		}
	})
}

// The process of the first visit crashes, at each of its saves: the second visit
// gets the link, or an error that the patient must start again, in bounded time;
// nobody presents the code again; and a new authorization works.
func TestFirstVisitCrashes(t *testing.T) {
	for n, step := range []string{"reserve", "settle", "claim", "admit"} {
		for _, what := range []fault{before, crash} {
			t.Run(fmt.Sprintf("%s-%d", step, what), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					f := newFaulty(s)
					defer f.end()
					a, b := w.replica(t, f), w.replica(t, s)
					f.nth(what, n+1)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if r, err := a.Approve(ctx, w.visit(user, "once")); err == nil {
						t.Fatalf("the process that crashed returned %q", r.Pair)
					}
					began := time.Now()
					r, err := b.Approve(t.Context(), w.visit(user, "once"))
					took := time.Since(began)
					stalled := errors.Is(err, custody.ErrStalled)
					if took > visitLimit || err != nil && !stalled {
						t.Errorf("after %v: %v", took, err)
					}
					if spent := w.spent("once"); spent > 1 {
						t.Errorf("the code was presented %d times", spent)
					}
					if err == nil && sessionOfPair(r.Pair+r.Candidate) != "once" {
						t.Errorf("it got nil, with %q", r.Pair)
					}
					if want := n == 0 && what == crash || n == 1 && what == before; stalled != want {
						t.Errorf("stalled: %v, want %v", stalled, want)
					}
					if !stalled {
						_ = b.Check(t.Context(), user)
						wantServed(t, b, user, "once")
					}
					w.joins(t, b, user, "anew")
					wantServed(t, b, user, "anew")
				})
			})
		}
	}
}

// visitLimit is how long a visit may wait for another one.
const visitLimit = 3*time.Minute + 10*time.Second

// A save of an authorization is done, or not, and reported as failed: Approve
// returns soon, the code is presented once, and the link is made, at the latest when
// the same callback is repeated.
func TestAuthorizationWhoseSavesAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	for _, linked := range []bool{false, true} {
		for _, what := range []fault{silent, undone, late} {
			for _, saves := range [][]int{{1}, {2}, {3}, {4}, {5}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {1, 2, 3, 4, 5}, {2, 4, 6}, {1, 3, 5, 7}} {
				t.Run(fmt.Sprintf("linked=%v %d %v", linked, what, saves), func(t *testing.T) {
					stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
						f := newFaulty(s)
						defer f.end()
						var said tells
						a, b := w.replica(t, f, said.config), w.replica(t, s)
						if linked {
							w.joins(t, a, user, "before")
						}
						f.nth(what, saves...)
						began := time.Now()
						visit := w.visit(user, "once", custody.Terms{Switch: true})
						_, err := a.Approve(t.Context(), visit)
						if took := time.Since(began); took > 15*time.Second {
							t.Errorf("its caller waited %v", took)
						}
						if _, store := errors.AsType[*custody.StoreError](err); err != nil && !store {
							t.Errorf("its caller got %v", err)
						}
						time.Sleep(time.Minute)
						for _, k := range []*custody.Keeper{a, b} {
							if r, err := k.Approve(t.Context(), visit); err != nil || sessionOfPair(r.Pair) != "once" {
								t.Errorf("the same callback again: %q, %v", r.Pair, err)
							}
							wantServed(t, k, user, "once")
						}
						synctest.Wait()
						if n := w.spent("once"); n != 1 {
							t.Errorf("the code was presented %d times", n)
						}
						want := 1
						if linked {
							want = 2
						}
						if n := said.count(custody.Linked); n > want {
							t.Errorf("%d events that it is linked", n)
						}
						synctest.Wait()
						if h := a.Health(); h.Unsaved != 0 || h.Busy != 0 {
							t.Errorf("%+v", h)
						}
					})
				})
			}
		}
	}
}

// The same for a refresh: no token is presented twice, callers get a result soon,
// and the response is in the record in the end.
func TestRefreshWhoseSavesAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	for _, what := range []fault{silent, undone, late} {
		for _, saves := range [][]int{{1}, {2}, {3}, {1, 2}, {2, 3}, {1, 3}, {1, 2, 3}, {2, 3, 4, 5, 6}} {
			for _, post := range []time.Duration{0, 20 * time.Second} { // with and without beats
				t.Run(fmt.Sprintf("%d %v %v", what, saves, post), func(t *testing.T) {
					stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
						f := newFaulty(s)
						defer f.end()
						a, b := w.replica(t, f), w.replica(t, s)
						w.joins(t, a, user, "once")
						time.Sleep(life)
						w.disturb(slowly(true, post))
						f.nth(what, saves...)
						began := time.Now()
						_, err := a.Token(t.Context(), user)
						if took := time.Since(began); took > post+15*time.Second {
							t.Errorf("its caller waited %v", took)
						}
						if _, store := errors.AsType[*custody.StoreError](err); err != nil && !store {
							t.Errorf("its caller got %v", err)
						}
						wantServed(t, b, user, "once") // another process is not shut out for long
						if took := time.Since(began); took > post+30*time.Second {
							t.Errorf("another process waited until %v", took)
						}
						time.Sleep(time.Minute)
						wantServed(t, a, user, "once")
						if r := recordOf(t, s, user); r.State != tokenstore.StateLinked || r.Lease.Owner != "" {
							t.Errorf("the link is %s, and %q holds a lease", r.State, r.Lease.Owner)
						}
						synctest.Wait()
						if h := a.Health(); h.Unsaved != 0 || h.Busy != 0 {
							t.Errorf("%+v", h)
						}
						w.wantNoneAgain(t)
						if !w.alive("once") {
							t.Error("the session has ended")
						}
					})
				})
			}
		}
	}
}

// An unlink ends what was authorized before it, at any point of the authorization,
// and in any process. An authorization that was begun after it works.
func TestUnlinkEndsWhatWasAuthorizedBefore(t *testing.T) {
	for _, linked := range []bool{false, true} {
		for _, at := range []time.Duration{0, time.Second, 5 * time.Second, 9 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprintf("linked=%v at %v", linked, at), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					a, b := w.replica(t, s), w.replica(t, s)
					if linked {
						w.joins(t, a, user, "before")
						wantServed(t, a, user, "before")
					}
					visit := w.visit(user, "once", custody.Terms{Switch: true})
					if r, err := s.Load(t.Context(), user); err == nil {
						visit.Unlinks = custody.Show(r).Unlinks
					}
					w.disturb(slowly(false, 4*time.Second))
					w.belongs("once", after(4*time.Second, patient))
					var wg sync.WaitGroup
					wg.Go(func() {
						time.Sleep(at) // before the callback; in the exchange; in the check; after it
						if err := b.Unlink(t.Context(), user); err != nil && !errors.Is(err, custody.ErrNoLink) {
							t.Error(err)
						}
					})
					if at == 0 {
						wg.Wait()
					}
					_, err := a.Approve(t.Context(), visit)
					if at < 9*time.Second && !errors.Is(err, custody.ErrNoLink) {
						t.Errorf("its caller got %v", err)
					}
					wg.Wait()
					time.Sleep(2 * time.Second)
					for _, k := range []*custody.Keeper{a, b} {
						wantUnlinked(t, k, user)
						if _, err := k.Approve(t.Context(), visit); err == nil {
							t.Error("the same callback brought the link back")
						}
						wantUnlinked(t, k, user)
					}
					if r := recordOf(t, s, user); r.State != tokenstore.StateUnlinked || len(r.Sealed) > 0 || r.PublicID+r.Claim != "" {
						t.Errorf("the record is %s, of %q, with %d sealed bytes", r.State, r.PublicID+r.Claim, len(r.Sealed))
					}
					if at == 0 && w.spent("once") != 0 {
						t.Error("the code was presented all the same")
					}
					anew := w.visit(user, "anew")
					anew.Unlinks = custody.Show(recordOf(t, s, user)).Unlinks
					if _, err := a.Approve(t.Context(), anew); err != nil {
						t.Errorf("a new authorization: %v", err)
					}
					wantServed(t, b, user, "anew")
				})
			})
		}
	}
}

// An unlink during a refresh, of a link or of a session that waits.
func TestUnlinkDuringARefreshOfAnySession(t *testing.T) {
	for _, waits := range []bool{false, true} {
		for _, other := range []bool{false, true} {
			t.Run(fmt.Sprintf("waits=%v other=%v", waits, other), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					first := func(c *custody.Config) { c.VerifyFirst = waits }
					a, b := w.replica(t, s, first), w.replica(t, s, first)
					if waits {
						w.belongs("once", errDown)
					}
					w.joins(t, a, user, "once")
					time.Sleep(life)
					w.disturb(slowly(true, 10*time.Second))
					w.belongs("once", nil)
					var wg sync.WaitGroup
					wg.Go(func() {
						if token, err := a.Token(t.Context(), user); err == nil {
							t.Errorf("a token of %q", sessionOf(token))
						}
					})
					time.Sleep(5 * time.Second)
					k := a
					if other {
						k = b
					}
					if err := k.Unlink(t.Context(), user); err != nil {
						t.Error(err)
					}
					wg.Wait()
					time.Sleep(time.Minute)
					wantUnlinked(t, a, user)
					wantUnlinked(t, b, user)
					if r := recordOf(t, s, user); r.State != tokenstore.StateUnlinked || len(r.Sealed) > 0 {
						t.Errorf("the record is %s with %d sealed bytes", r.State, len(r.Sealed))
					}
				})
			})
		}
	}
}
