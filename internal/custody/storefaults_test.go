// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"

	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// A lease that was written, and reported as failed, is given back by the process
// that wrote it, even when its caller has left and the write landed late: nobody
// else is shut out, and nothing was presented.
func TestLeaseThatNobodyHeardOfIsGivenBack(t *testing.T) {
	for _, what := range []fault{silent, late} {
		for _, saves := range [][]int{{1}, {1, 2}, {1, 2, 3}} {
			for _, leaves := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %v leaves=%v", what, saves, leaves), func(t *testing.T) {
					stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
						f := newFaulty(s)
						defer f.end()
						a, b := w.replica(t, f), w.replica(t, s)
						w.joins(t, a, user, "once")
						time.Sleep(life)
						f.nth(what, saves...)
						patience := time.Minute
						if leaves {
							patience = time.Millisecond
						}
						ctx, leave := context.WithTimeout(t.Context(), patience)
						defer leave()
						if _, err := a.Token(ctx, user); err == nil {
							w.wantNoneAgain(t)
							return // it found its lease at the next look
						}
						time.Sleep(5 * time.Second)
						began := time.Now()
						wantServed(t, b, user, "once")
						if took := time.Since(began); took > 20*time.Second {
							t.Errorf("another process was shut out for %v", took)
						}
						w.wantNoneAgain(t)
					})
				})
			}
		}
	}
}

// A row that somebody deletes is gone: each process drops its token, at the latest
// when the row can no longer be lagging, and presents nothing more. A new
// authorization works.
func TestDeletedRowIsGone(t *testing.T) {
	for _, refreshing := range []bool{false, true} {
		for _, saved := range []time.Duration{0, time.Minute} { // since the last save
			t.Run(fmt.Sprintf("refreshing=%v, %v", refreshing, saved), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					ks := []*custody.Keeper{w.replica(t, s), w.replica(t, s)}
					w.joins(t, ks[0], user, "once")
					for _, k := range ks {
						wantServed(t, k, user, "once")
					}
					var wg sync.WaitGroup
					if refreshing {
						time.Sleep(life)
						w.disturb(slowly(true, 10*time.Second))
						wg.Go(func() { _, _ = ks[0].Token(t.Context(), user) })
						time.Sleep(2 * time.Second)
					}
					time.Sleep(saved)
					if err := s.Delete(t.Context(), user, recordOf(t, s, user).Version); err != nil {
						t.Fatal(err)
					}
					wg.Wait()
					time.Sleep(11 * time.Second)
					before := w.posts("once")
					for range 20 {
						for _, k := range ks {
							wantUnlinked(t, k, user)
						}
						time.Sleep(time.Minute)
					}
					if n := w.posts("once"); n != before {
						t.Errorf("its refresh token was presented %d times more", n-before)
					}
					if r, err := s.Load(t.Context(), user); !errors.Is(err, tokenstore.ErrNotFound) {
						t.Errorf("the row is back: %s", r.State)
					}
					w.disturb(nil)
					w.joins(t, ks[1], user, "anew")
					for _, k := range ks {
						wantServed(t, k, user, "anew")
					}
				})
			})
		}
	}
}

// Somebody edits the columns of a link that a process has in memory. What is sealed
// decides: nothing of another patient's is shown, nothing is presented and nothing
// is written; and when the column is restored, so is the link.
func TestEditedRowIsDamage(t *testing.T) {
	for name, edit := range map[string]func(*tokenstore.Record){
		"another patient":   func(r *tokenstore.Record) { r.PublicID = "patient-2" },
		"no patient":        func(r *tokenstore.Record) { r.PublicID = "" },
		"another pair":      func(r *tokenstore.Record) { r.Pair = "once/7" },
		"another session":   func(r *tokenstore.Record) { r.Pair = "other/1" },
		"no pair":           func(r *tokenstore.Record) { r.Pair = "" },
		"a candidate":       func(r *tokenstore.Record) { r.Candidate = "other/1" },
		"the blob emptied":  func(r *tokenstore.Record) { r.Sealed = nil },
		"the blob cut":      func(r *tokenstore.Record) { r.Sealed = r.Sealed[:20] },
		"the details wiped": func(r *tokenstore.Record) { r.Details = nil },
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				k, fresh := w.replica(t, s), w.replica(t, s)
				w.joins(t, k, user, "once")
				wantServed(t, k, user, "once")
				was := recordOf(t, s, user)
				edited := was.Clone()
				edit(&edited)
				edited, err := s.Save(t.Context(), edited)
				if err != nil {
					t.Fatal(err)
				}
				for range 15 { // beyond the life of the token in memory
					for _, k := range []*custody.Keeper{k, fresh} {
						if token, err := k.Present(t.Context(), user); err == nil && sessionOf(token) != "once" {
							t.Errorf("a token of %q is shown", sessionOf(token))
						}
						if r, err := k.Look(t.Context(), user); err == nil {
							t.Errorf("operators are shown %s of %q", r.State, r.PublicID)
						}
					}
					time.Sleep(time.Minute)
				}
				for _, k := range []*custody.Keeper{k, fresh} {
					_, err := k.Present(t.Context(), user)
					if _, ok := errors.AsType[*custody.SealError](err); !ok {
						t.Errorf("its callers get %v", err)
					}
					// Nor can the other patient come in by it.
					w.belongs("wrong", "patient-2")
					_, err = k.Approve(t.Context(), w.visit(user, "wrong"))
					if err == nil {
						t.Error("another patient's authorization was let in")
					}
				}
				if now := recordOf(t, s, user); now.Version != edited.Version || w.posts("once") != 0 {
					t.Errorf("written: %v, presented %d times", now.Version != edited.Version, w.posts("once"))
				}
				was.Version = edited.Version
				if _, err := s.Save(t.Context(), was); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				wantServed(t, k, user, "once")
				wantServed(t, fresh, user, "once")
				w.wantNoneAgain(t)
			})
		})
	}
}

// Clear columns may take a link away, and never make one.
func TestColumnsMayOnlyTakeAway(t *testing.T) {
	for name, c := range map[string]struct {
		ended bool
		edit  func(*tokenstore.Record)
		want  func(*testing.T, *custody.Keeper)
	}{
		"unlinked": {false, func(r *tokenstore.Record) { r.State = tokenstore.StateUnlinked }, func(t *testing.T, k *custody.Keeper) {
			wantUnlinked(t, k, user)
		}},
		"relink required": {false, func(r *tokenstore.Record) { r.State, r.Cause = tokenstore.StateRelinkRequired, "session_expired" }, func(t *testing.T, k *custody.Keeper) {
			wantEnded(t, k, user, "session_expired")
		}},
		"linked again": {true, func(r *tokenstore.Record) { r.State, r.Cause = tokenstore.StateLinked, "" }, func(t *testing.T, k *custody.Keeper) {
			wantEnded(t, k, user, custody.WrongPatient)
		}},
		"another cause": {true, func(r *tokenstore.Record) { r.Cause = "session_expired" }, func(t *testing.T, k *custody.Keeper) {
			wantEnded(t, k, user, custody.WrongPatient)
		}},
		"uncertain": {true, func(r *tokenstore.Record) { r.State, r.Cause, r.Tried = tokenstore.StateUncertain, "", 1 }, func(t *testing.T, k *custody.Keeper) {
			wantEnded(t, k, user, custody.WrongPatient)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				k, fresh := w.replica(t, s), w.replica(t, s)
				if c.ended {
					w.belongs("once", errDown)
				}
				w.joins(t, k, user, "once")
				wantServed(t, k, user, "once")
				if c.ended {
					w.belongs("once", notThem())
					time.Sleep(time.Minute)
					_ = k.Check(t.Context(), user)
				}
				r := recordOf(t, s, user)
				c.edit(&r)
				if _, err := s.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				c.want(t, k)
				c.want(t, fresh)
				time.Sleep(2 * life)
				c.want(t, k)
				c.want(t, fresh)
				if n := w.posts("once"); n != 0 {
					t.Errorf("presented %d times", n)
				}
			})
		})
	}
}

// rolling is a store that loses its latest acknowledged writes when it fails over.
type rolling struct {
	*tokenstore.Memory
	mu   sync.Mutex
	past map[string][]tokenstore.Record
	away bool
}

func newRolling(s *tokenstore.Memory) *rolling {
	return &rolling{Memory: s, past: map[string][]tokenstore.Record{}}
}

func (r *rolling) is(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *rolling) isAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

func (r *rolling) Load(ctx context.Context, u string) (tokenstore.Record, error) {
	if r.isAway() {
		return tokenstore.Record{}, errBroken
	}
	return r.Memory.Load(ctx, u)
}

func (r *rolling) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return tokenstore.Record{}, errBroken
	}
	saved, err := r.Memory.Save(ctx, rec)
	if err == nil {
		r.past[rec.AppUserID] = append(r.past[rec.AppUserID], saved)
	}
	return saved, err
}

// failover takes the store away; it comes back without the last so many writes of a
// row.
func (r *rolling) failover(t *testing.T, who string, away time.Duration, lost int) {
	t.Helper()
	r.is(true)
	time.Sleep(away)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = false
	now, err := r.Memory.Load(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	all := r.past[who]
	if lost >= len(all) {
		if err := r.Delete(t.Context(), who, now.Version); err != nil {
			t.Fatal(err)
		}
		return
	}
	old := all[len(all)-1-lost]
	old.Version = now.Version
	if _, err := r.Memory.Save(t.Context(), old); err != nil {
		t.Fatal(err)
	}
}

// losses are what happened to a link just before its latest writes were lost.
var losses = []struct {
	name   string
	writes []int // so many of the latest are lost
	do     func(t *testing.T, w *town, k *custody.Keeper)
	want   func(*testing.T, *custody.Keeper)
}{
	{"a refresh", []int{1, 2}, func(t *testing.T, w *town, k *custody.Keeper) {
		time.Sleep(life)
		wantServed(t, k, user, "once")
	}, func(t *testing.T, k *custody.Keeper) {
		if token := wantServed(t, k, user, "once"); token.Pair.Seq < 2 {
			t.Errorf("a token of %v", token.Pair)
		}
	}},
	{"two refreshes", []int{1, 2, 3, 4}, func(t *testing.T, w *town, k *custody.Keeper) {
		time.Sleep(life)
		first := wantServed(t, k, user, "once")
		time.Sleep(time.Second)
		if _, err := k.Replace(t.Context(), user, first); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, k *custody.Keeper) {
		if token := wantServed(t, k, user, "once"); token.Pair.Seq < 3 {
			t.Errorf("a token of %v", token.Pair)
		}
	}},
	{"a new authorization", []int{1, 2, 3}, func(t *testing.T, w *town, k *custody.Keeper) {
		w.joins(t, k, user, "anew")
	}, func(t *testing.T, k *custody.Keeper) { wantServed(t, k, user, "anew") }},
	{"a switch", []int{1, 2, 3, 4}, func(t *testing.T, w *town, k *custody.Keeper) {
		w.belongs("anew", "patient-2")
		w.joins(t, k, user, "anew", custody.Terms{Switch: true})
	}, func(t *testing.T, k *custody.Keeper) {
		wantServed(t, k, user, "anew")
		if r, err := k.Look(t.Context(), user); err != nil || r.PublicID != "patient-2" {
			t.Errorf("the link is %q's, %v", r.PublicID, err)
		}
	}},
	{"an unlink", []int{1}, func(t *testing.T, w *town, k *custody.Keeper) {
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, k *custody.Keeper) { wantUnlinked(t, k, user) }},
	{"an unlink after a refresh", []int{1, 2, 3}, func(t *testing.T, w *town, k *custody.Keeper) {
		time.Sleep(life)
		wantServed(t, k, user, "once")
		if err := k.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, k *custody.Keeper) { wantUnlinked(t, k, user) }},
}

// The store fails over and has lost its latest acknowledged writes. The process that
// made them restores the row, whether it is asked about this link or not; the others
// present nothing until then; and what was true before is true again, in every
// process.
func TestStoreThatLosesItsLatestWrites(t *testing.T) {
	t.Parallel()
	for _, l := range losses {
		for _, lost := range l.writes {
			for _, asked := range []bool{true, false} {
				for _, first := range []string{"the others", "the one that wrote"} {
					name := fmt.Sprintf("%s, %d lost, asked=%v, first %s", l.name, lost, asked, first)
					t.Run(name, func(t *testing.T) {
						stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
							store := newRolling(s)
							var said tells
							a, b, c := w.replica(t, store, said.config), w.replica(t, store), w.replica(t, store)
							w.joins(t, a, user, "once")
							w.joins(t, a, "user-2", "another")
							for _, k := range []*custody.Keeper{a, b} {
								wantServed(t, k, user, "once")
							}
							l.do(t, w, a)
							calls := func() {
								if asked {
									_, _ = a.Present(t.Context(), user)
								} else {
									_, _ = a.Present(t.Context(), "user-2")
								}
							}
							others := func() {
								_, _ = b.Present(t.Context(), user)
								_, _ = c.Present(t.Context(), user)
							}
							var wg sync.WaitGroup
							over := make(chan struct{})
							var every atomic.Int64
							every.Store(int64(time.Second))
							defer wg.Wait()
							defer close(over)
							for i, f := range []func(){calls, others} {
								wg.Go(func() {
									if (i == 0) == (first == "the others") {
										time.Sleep(100 * time.Millisecond)
									}
									for {
										select {
										case <-over:
											return
										case <-time.After(time.Duration(every.Load())):
											f()
										}
									}
								})
							}
							time.Sleep(3 * time.Second)
							store.failover(t, user, 10*time.Second, lost)
							time.Sleep(40 * time.Second)
							for _, k := range []*custody.Keeper{a, b, c} {
								l.want(t, k)
							}
							every.Store(int64(30 * time.Second))
							time.Sleep(2 * life)
							for _, k := range []*custody.Keeper{a, b, c} {
								l.want(t, k)
							}
							w.wantNoneAgain(t)
						})
					})
				}
			}
		}
	}
}

// So it does with the very first authorization of a user, whose code is spent.
func TestFirstAuthorizationThatTheStoreLoses(t *testing.T) {
	t.Parallel()
	for lost := 1; lost <= 3; lost++ {
		t.Run(fmt.Sprintf("%d lost", lost), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				store := newRolling(s)
				var b inbox
				k := w.replica(t, store, b.config)
				tending(t, k)
				w.joins(t, k, user, "once")
				store.failover(t, user, 10*time.Second, lost)
				time.Sleep(time.Minute)
				wantServed(t, k, user, "once")
				wantServed(t, w.replica(t, store), user, "once")
				w.wantNoneAgain(t)
				time.Sleep(time.Minute)
				b.mu.Lock()
				defer b.mu.Unlock()
				if len(b.notices) == 0 || b.notices[0].Kind != custody.NoticeMade {
					t.Errorf("the host was told %+v, want that the link was made", b.notices)
				}
			})
		})
	}
}

// Where nobody has the newer facts, the link is not lost in silence either: a
// process that has seen a newer token presents no older one and reports why; a new
// authorization works.
func TestStoreThatWasRestoredBeyondWhatAnybodyKeeps(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		store := newRolling(s)
		var said tells
		k := w.replica(t, store, said.config)
		w.joins(t, k, user, "once")
		wantServed(t, k, user, "once")
		time.Sleep(life)
		wantServed(t, k, user, "once")
		time.Sleep(6 * time.Minute) // it remembers the row no longer, and the token
		store.failover(t, user, 10*time.Second, 2)
		time.Sleep(life)
		_, _ = k.Present(t.Context(), user)
		time.Sleep(20 * time.Second)
		for range 5 {
			_ = wantLater(t, k, user, custody.WaitRolledBack)
			time.Sleep(10 * time.Minute)
		}
		if n := w.posts("once"); n != 1 || said.count(custody.StoreRolledBack) == 0 {
			t.Errorf("presented %d times; events: %v", n, said.counts())
		}
		w.joins(t, k, user, "anew")
		wantServed(t, k, user, "anew")
		w.wantNoneAgain(t)
	})
}

// What one process was told in the end, all say: one that has seen a newer token does
// not ask the patient to wait for what no longer exists.
func TestLinkOfARestoredStoreEndsForEveryProcess(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		store := newRolling(s)
		k := w.replica(t, store)
		w.joins(t, k, user, "once")
		time.Sleep(life)
		wantServed(t, k, user, "once")
		time.Sleep(6 * time.Minute) // it remembers the row no longer, and the token
		store.failover(t, user, 0, 2)
		time.Sleep(life)
		_ = wantLater(t, k, user, custody.WaitRolledBack)
		wantEnded(t, w.replica(t, store), user, "session_invalid") // it has seen nothing
		wantEnded(t, k, user, "session_invalid")
		w.joins(t, k, user, "anew")
		wantServed(t, k, user, "anew")
	})
}

// A process that begins while the store is away does not know for how long it was:
// it presents nothing at once, as processes do that have seen the store go.
func TestProcessThatBeginsInAnOutageIsWary(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		store := newRolling(s)
		w.joins(t, w.replica(t, store), user, "once")
		time.Sleep(life)
		k := w.replica(t, store)
		store.is(true)
		if _, err := k.Present(t.Context(), user); err == nil {
			t.Fatal("served without a store")
		}
		store.is(false)
		_ = wantLater(t, k, user, custody.WaitWary)
		time.Sleep(20 * time.Second)
		wantServed(t, k, user, "once")
	})
}

// A save that was done and is not acknowledged, as by a primary that has lost its
// standby: the token is used, and the row counts as unsaved and is written again
// until a save is acknowledged.
func TestSaveThatCanBeReadBackIsNotASave(t *testing.T) {
	for _, what := range []string{"refresh", "authorization"} {
		t.Run(what, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				f := newFaulty(s)
				defer f.end()
				var said tells
				k := w.replica(t, f, said.config)
				acknowledged := uint64(0)
				cut := func() {
					f.set(func(f *faulty) { f.fault = func(int, tokenstore.Record) fault { return silent } })
				}
				if what == "refresh" {
					w.joins(t, k, user, "once")
					time.Sleep(life)
				}
				w.disturb(func(_ context.Context, _ question, serve func() reply) (reply, error) {
					cut()
					return serve(), nil
				})
				began := time.Now()
				if what == "refresh" {
					if token, err := k.Token(t.Context(), user); err != nil || token.Pair.Seq != 2 || time.Since(began) > time.Second {
						t.Errorf("a token of %v after %v, %v", token.Pair, time.Since(began), err)
					}
				} else {
					ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
					defer leave()
					if _, err := k.Approve(ctx, w.visit(user, "once")); err == nil {
						t.Error("its caller got a token as saved")
					}
				}
				time.Sleep(time.Minute)
				if h := k.Health(); h.Unsaved != 1 {
					t.Errorf("a minute later, still nothing is acknowledged: %+v", h)
				}
				before := recordOf(t, s, user).Version
				f.set(func(f *faulty) {
					f.fault = func(_ int, r tokenstore.Record) fault {
						acknowledged = r.Version
						return well
					}
				})
				w.disturb(nil)
				time.Sleep(30 * time.Second)
				if h := k.Health(); h.Unsaved != 0 || acknowledged < before {
					t.Errorf("%+v; the last save was on version %d, want at least %d", h, acknowledged, before)
				}
				wantServed(t, k, user, "once")
				if said.count(custody.SaveRetried) == 0 {
					t.Errorf("events: %v", said.counts())
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A row that is absent right after this process has saved it is lag: nobody gets
// ErrNoLink, and nothing is thrown away.
func TestAbsentAfterASaveIsLag(t *testing.T) {
	for _, op := range operations {
		if op.name == "Discard" || op.name == "Look" || op.name == "Past" || op.name == "Reseal" || op.name == "Purge" {
			continue // they return what the store returns
		}
		for _, loads := range []int{1, 2, 5} {
			t.Run(fmt.Sprintf("%s %d", op.name, loads), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					f := newFaulty(s)
					defer f.end()
					k := w.replica(t, f)
					w.joins(t, k, user, "once")
					token := wantServed(t, k, user, "once")
					time.Sleep(2 * time.Second)
					if _, err := k.Replace(t.Context(), user, token); err != nil { // a save
						t.Fatal(err)
					}
					k.Forget(user)
					f.set(func(f *faulty) { f.blind = loads })
					err := op.do(t.Context(), w, k, token)
					switch {
					case op.name == "Unlink":
						f.set(func(f *faulty) { f.blind = 0 })
						time.Sleep(2 * time.Second)
						wantUnlinked(t, k, user)
						return
					case err != nil:
						t.Errorf("told %v", err)
					}
					time.Sleep(time.Minute)
					if _, err := k.Present(t.Context(), user); err != nil {
						t.Errorf("afterwards: %v", err)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// The same within an authorization and within a refresh, where another write made
// the process look again.
func TestAbsentAfterAConflictIsLag(t *testing.T) {
	for _, refresh := range []bool{false, true} {
		for n := 1; n <= 4; n++ {
			t.Run(fmt.Sprintf("refresh=%v %d", refresh, n), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					f := newFaulty(s)
					defer f.end()
					k := w.replica(t, f)
					if refresh {
						w.joins(t, k, user, "once")
						wantServed(t, k, user, "once")
						time.Sleep(life)
					}
					from := 0
					f.set(func(f *faulty) {
						from = f.saves
						f.fault = func(i int, _ tokenstore.Record) fault {
							if r, err := s.Load(t.Context(), user); i == from+n && err == nil {
								_, _ = s.Save(t.Context(), r) // another program's
								if f.blind = 2; refresh && n == 1 {
									f.blind = 1 // it has saved nothing for ten minutes
								}
							}
							return well
						}
					})
					if refresh {
						wantServed(t, k, user, "once")
					} else {
						w.joins(t, k, user, "once")
					}
					wantServed(t, k, user, "once")
					if spent := w.spent("once"); spent != 1 {
						t.Errorf("the code was presented %d times", spent)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}
