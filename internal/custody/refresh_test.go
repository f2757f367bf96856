// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// S01: any number of callers at expiry, one POST, one token for all.
func TestCallersAtExpiryShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		time.Sleep(life)
		i.delay = 3 * time.Second

		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { wantToken(t, k, "access-2") })
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// S10: the same across replicas of one store, in place of a lock service.
func TestReplicasShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		link(t, keeper(t, store, i), i)
		time.Sleep(life)
		i.delay = 3 * time.Second

		var wg sync.WaitGroup
		for range 8 {
			k := keeper(t, store, i)
			for range 50 {
				wg.Go(func() { wantToken(t, k, "access-2") })
			}
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// S02: callers that give up end their own wait; the refresh is saved.
func TestCancelledCallersDoNotStopTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.delay = 5 * time.Second

		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := k.Token(ctx, user); !errors.Is(err, context.Canceled) {
					t.Errorf("Token: %v, want context.Canceled", err)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		time.Sleep(10 * time.Second)
		if got := record(t, store).Generation; got != 2 {
			t.Errorf("generation %d saved, want 2", got)
		}
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)
	})
}

// S03: a caller's deadline is kept to the instant.
func TestCallerDeadlineIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.delay = 5 * time.Second

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Token(ctx, user); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Token: %v, want context.DeadlineExceeded", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("the caller waited %v, want 1s", took)
		}
		time.Sleep(10 * time.Second)
	})
}

// S41: a refresh happens before the token at hand is over, not before three
// quarters of its life, and nobody waits for it.
func TestRefreshIsEarlyAndInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		i.delay = 2 * time.Second

		time.Sleep(life * 74 / 100)
		wantToken(t, k, "access-1")
		synctest.Wait()
		wantPosts(t, i, 0)

		time.Sleep(life * 12 / 100)
		began := time.Now()
		wantToken(t, k, "access-1")
		if took := time.Since(began); took != 0 {
			t.Errorf("a caller with a valid token waited %v", took)
		}
		time.Sleep(3 * time.Second)
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)
	})
}

// The server is down for minutes around the early refresh: nobody notices, and
// it is not asked by every caller.
func TestShortOutageIsInvisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		var down atomic.Bool
		down.Store(true)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if down.Load() {
				return tokenwire.Outcome{Class: tokenwire.NotSent, Err: errors.New("refused")}
			}
			return answer()
		}
		time.Sleep(life * 86 / 100)
		for range 30 {
			wantToken(t, k, "access-1")
			time.Sleep(time.Second)
		}
		if posts, _ := i.count(); posts > 12 {
			t.Errorf("%d attempts in 30 seconds of outage", posts)
		}
		down.Store(false)
		time.Sleep(25 * time.Second)
		_, _ = k.Token(t.Context(), user) // sets off the next attempt, if none is under way
		synctest.Wait()
		wantToken(t, k, "access-2")
	})
}

// S26: the save fails for a while after the token was spent: it is retried, and
// nobody sees the new token before it is saved.
func TestFailingSaveIsRetriedBeforeTheTokenIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			store.failSaves.Store(5) // after the intent was written
			return out
		}
		wantToken(t, k, "access-2")
		if r := record(t, store); r.Generation != 2 || r.State != tokenstore.StateLinked {
			t.Errorf("saved: generation %d, %s", r.Generation, r.State)
		}
		wantPosts(t, i, 1)
	})
}

// S26: a save that wrote and then said it failed is found to have written.
func TestSaveThatLiesAboutFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			store.lieOnSave.Store(true)
			return out
		}
		wantToken(t, k, "access-2")
		if r := record(t, store); r.Generation != 2 {
			t.Errorf("generation %d, want 2", r.Generation)
		}
		wantPosts(t, i, 1)
	})
}

// S13, S26: a store that cannot be written to fails before a refresh token is
// spent.
func TestReadOnlyStoreSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		store.failSaves.Store(1 << 30)
		_, err := k.Token(t.Context(), user)
		var failed *custody.StoreError
		if !errors.As(err, &failed) || !errors.Is(err, errReadOnly) {
			t.Fatalf("Token: %v, want a store error", err)
		}
		wantPosts(t, i, 0)
		store.failSaves.Store(0)
		wantToken(t, k, "access-2")
	})
}

// S19: somebody else writes to the row while the refresh is under way: neither
// write is lost.
func TestUnrelatedWriteDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if err := keeper(t, store, i).Reserve(t.Context(), user, "another tab", time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			return out
		}
		wantToken(t, k, "access-2")
		if err := k.Reserve(t.Context(), user, "another tab", time.Now().Add(time.Hour)); !errors.Is(err, custody.ErrUsed) {
			t.Errorf("Reserve: %v: the other write was lost", err)
		}
		wantPosts(t, i, 1)
	})
}

// S45: unlinked while the refresh is under way: it stays unlinked.
func TestUnlinkDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if err := keeper(t, store, i).Unlink(t.Context(), user); err != nil {
				t.Error(err)
			}
			return out
		}
		if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
			t.Errorf("Token: %v, want no link", err)
		}
		if r := record(t, store); r.State != tokenstore.StateUnlinked || len(r.Sealed) != 0 || r.PublicID != "" {
			t.Errorf("the tombstone holds state %s, %d sealed bytes, public id %q", r.State, len(r.Sealed), r.PublicID)
		}
	})
}

// S12: a holder that slept through its lease does not post; the one who took
// over does.
func TestHolderThatSleptDoesNotPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		first, second := keeper(t, store, i), keeper(t, store, i)
		link(t, first, i)
		time.Sleep(life)

		// The first replica stops for minutes, right after its lease is
		// written.
		store.sleepAfterSave.Store(int64(5 * time.Minute))
		var wg sync.WaitGroup
		wg.Go(func() { wantWait(t, first, custody.WaitTooLong) })
		time.Sleep(time.Second)
		store.sleepAfterSave.Store(0)
		time.Sleep(3 * time.Minute)
		wantToken(t, second, "access-2")
		wg.Wait()
		wantToken(t, first, "access-2")
		wantPosts(t, i, 1)
	})
}

// S35: rejected, but a peer has rotated meanwhile: adopt its pair.
func TestRejectionAfterAPeerRotatedIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			// An approval anew replaces the pair while we post the old token.
			i.mu.Lock()
			i.disturb = nil
			i.mu.Unlock()
			link(t, keeper(t, store, i), i)
			return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: "invalid_grant"}
		}
		wantToken(t, k, "access-2")
	})
}

// S39, S40: a rejection has its cause, deletes nothing, and is not asked about
// again.
func TestRejectionEndsTheLinkWithItsCause(t *testing.T) {
	for code, cause := range map[string]custody.Cause{
		"invalid_grant":         custody.GrantRejected,
		"API_SESSION_EXPIRED":   custody.SessionExpired,
		"API_SESSION_INVALID":   custody.SessionInvalid,
		"ACCESS_FROZEN_OUTWARD": custody.Frozen,
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, store := newIssuer(), tokenstore.NewMemory()
				k := keeper(t, store, i)
				link(t, k, i)
				time.Sleep(life)
				i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
					return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: code}
				}
				wantLost(t, k, cause)
				wantLost(t, keeper(t, store, i), cause)
				wantPosts(t, i, 1) // a dead link is not asked about again
				if r := record(t, store); len(r.Sealed) == 0 {
					t.Error("an error deleted the tokens")
				}
			})
		})
	}
}

// S37: trouble of the application is nobody's link's.
func TestAppWideTroubleTouchesNoLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.AppWide, Status: 401, Code: "invalid_client"}
		}
		wantWait(t, k, custody.WaitAppWide)
		if r := record(t, store); r.State != tokenstore.StateLinked || r.Intent.Attempt != 0 || r.Lease.Owner != "" {
			t.Errorf("left behind: %s, intent %+v, lease %+v", r.State, r.Intent, r.Lease)
		}
		i.disturb = nil
		time.Sleep(2 * time.Second)
		wantToken(t, k, "access-2")
	})
}

// S21, S22: an answer that was lost. The token at hand goes on serving; when it
// is over the refresh is repeated once, and the server's verdict is final.
func TestLostAnswerIsNotRepeatedWhileTheTokenServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if n == 1 { // committed, and the answer cut off
				return tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 504}
			}
			return out
		}
		time.Sleep(life * 86 / 100)
		wantToken(t, k, "access-1")
		synctest.Wait()
		if got := record(t, store).State; got != tokenstore.StateUncertain {
			t.Fatalf("state %s, want uncertain", got)
		}
		for range 30 {
			wantToken(t, k, "access-1")
			wantToken(t, keeper(t, store, i), "access-1")
			time.Sleep(time.Second)
		}
		wantPosts(t, i, 1)

		time.Sleep(life)
		wantLost(t, k, custody.OutcomeUnknown)
		if posts, reuses := i.count(); posts != 2 || reuses != 1 {
			t.Errorf("%d POSTs, %d reuses: want the one repetition", posts, reuses)
		}
	})
}

// S21, S22: the same, and the server had not committed: the repetition saves the
// link.
func TestLostRequestIsRepeatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if n == 1 {
				return tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503}
			}
			return answer()
		}
		wantToken(t, k, "access-2")
		wantPosts(t, i, 2)
		if r := record(t, store); r.State != tokenstore.StateLinked || r.Intent.Attempt != 0 {
			t.Errorf("left behind: %s, intent %+v", r.State, r.Intent)
		}
	})
}

// S38: the server answers 503 for a day and commits nothing. Nothing is lost,
// and it is asked ever more slowly.
func TestLongOutageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503}
		}
		time.Sleep(life)
		for range 24 * 60 {
			wantWait(t, k, custody.WaitUncertain)
			time.Sleep(time.Minute)
		}
		if posts, _ := i.count(); posts > 110 {
			t.Errorf("%d POSTs in a day of outage", posts)
		}
		i.disturb = nil
		time.Sleep(15 * time.Minute)
		wantToken(t, k, "access-2")
	})
}

// S21, S22: two answers in a row are lost, and the server had committed: what it
// says at the third attempt is final.
func TestLostAnswersEndWithTheServersWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if n <= 2 {
				return tokenwire.Outcome{Class: tokenwire.Ambiguous}
			}
			return out
		}
		wantWait(t, k, custody.WaitUncertain)
		time.Sleep(time.Minute)
		wantLost(t, k, custody.OutcomeUnknown)
	})
}

// S15, S25: a process died after writing its intent. Another waits out the lease
// and judges by the intent.
func TestCrashAfterIntent(t *testing.T) {
	for _, committed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			i, store := newIssuer(), tokenstore.NewMemory()
			dead := keeper(t, store, i, func(c *custody.Config) { c.FlightTimeout, c.SaveTimeout = time.Second, time.Second })
			link(t, dead, i)
			time.Sleep(life)
			// The process dies in its POST: it never gets to write again.
			broken := &flaky{Memory: store}
			dead = keeper(t, broken, i)
			i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				if n > 1 {
					return answer()
				}
				if committed {
					answer()
				}
				broken.failSaves.Store(1 << 30)
				return tokenwire.Outcome{Class: tokenwire.Ambiguous}
			}
			if _, err := dead.Token(t.Context(), user); err == nil {
				t.Fatal("the dead process got a token")
			}
			other := keeper(t, store, i)
			if committed {
				wantLost(t, other, custody.OutcomeUnknown)
			} else {
				wantToken(t, other, "access-2")
			}
			if posts, _ := i.count(); posts != 2 {
				t.Errorf("%d POSTs, want 2", posts)
			}
		})
	}
}

// S31: an answer without refresh token is the session's last: it serves to its
// end, nothing is sent any more, and the link says when it ends.
func TestFinalToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.final = true
		wantToken(t, k, "access-2")
		if r := record(t, store); !r.EndsAt.Equal(r.ExpiresAt) || r.EndsAt.IsZero() {
			t.Errorf("EndsAt %v, ExpiresAt %v", r.EndsAt, r.ExpiresAt)
		}
		time.Sleep(life - 31*time.Second)
		wantToken(t, k, "access-2")
		time.Sleep(2 * time.Second)
		wantLost(t, k, custody.FinalTokenExpired)
		wantPosts(t, i, 1)
	})
}

// S31: the last token of a session is rejected once before its time: there is no
// other, and the link is not given up for it.
func TestFinalTokenRejectedEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		i.final = true
		first := link(t, k, i)
		_, err := k.Replace(t.Context(), user, first)
		var wait *custody.WaitError
		if !errors.As(err, &wait) || wait.Reason != custody.WaitRejected {
			t.Errorf("Replace: %v", err)
		}
		wantToken(t, k, first)
		wantPosts(t, i, 0)
	})
}

// A rejection whose record was written by a save that said it failed is told
// like any other.
func TestRejectionThatIsWrittenByALyingSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			store.lieOnSave.Store(true)
			return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: "invalid_grant"}
		}
		wantLost(t, k, custody.GrantRejected)
		if got := k.Stats(); got.Lost[custody.GrantRejected] != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// S01: a server rejects a token before its time: one refresh, whoever asks.
func TestReplaceRejectedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		first := link(t, k, i)
		wantToken(t, k, first)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got, err := k.Replace(t.Context(), user, first); err != nil || got.Value != "access-2" {
					t.Errorf("Replace = %q, %v", got.Value, err)
				}
			})
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// A link that is lost while its token is in memory is lost for the next caller
// too, whether the loss came from a rejected token or from an early refresh.
func TestTokenOfALostLinkLeavesMemory(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, k *custody.Keeper, first string){
		"rejected token": func(t *testing.T, k *custody.Keeper, first string) {
			var lost *custody.LostError
			if _, err := k.Replace(t.Context(), user, first); !errors.As(err, &lost) {
				t.Fatalf("Replace: %v, want relink required", err)
			}
		},
		"early refresh": func(t *testing.T, k *custody.Keeper, first string) {
			time.Sleep(life * 9 / 10)
			wantToken(t, k, first) // and a refresh, in the background
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, store := newIssuer(), tokenstore.NewMemory()
				k := keeper(t, store, i)
				first := link(t, k, i)
				wantToken(t, k, first)
				i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
					return tokenwire.Outcome{Class: tokenwire.Rejected, Status: 400, Code: "invalid_grant"}
				}
				lose(t, k, first)
				wantLost(t, k, custody.GrantRejected)
				wantPosts(t, i, 1)
				if n := k.Known(); n != 0 {
					t.Errorf("memory holds something of %d users, want none", n)
				}
			})
		})
	}
}

// S28: closing waits for a refresh under way, and starts no new one.
func TestCloseWaitsForTheSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.delay = 5 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = k.Token(ctx, user)
		if err := k.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := record(t, store).Generation; got != 2 {
			t.Errorf("generation %d after Close, want 2", got)
		}
		time.Sleep(life)
		if _, err := k.Token(t.Context(), user); !errors.Is(err, custody.ErrClosed) {
			t.Errorf("Token after Close: %v", err)
		}
	})
}

// S04, S18: the process has an old pair in memory, and a peer has rotated: the
// pair in the store is adopted, and nothing is sent.
func TestPeersPairIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k, peer := keeper(t, store, i), keeper(t, store, i)
		first := link(t, k, i)
		wantToken(t, k, first)
		if _, err := peer.Replace(t.Context(), user, first); err != nil {
			t.Fatal(err)
		}
		// Whether it is time, or the server has rejected the old one.
		if got, err := k.Replace(t.Context(), user, first); err != nil || got.Value != "access-2" {
			t.Errorf("Replace = %q, %v", got.Value, err)
		}
		time.Sleep(life - 20*time.Second)
		wantToken(t, peer, "access-3")
		wantToken(t, k, "access-3")
		wantPosts(t, i, 2)
	})
}

// S05: one user's slow refresh delays nobody else.
func TestSlowRefreshDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuers{}
		k := newKeeperOfMany(t, i)
		users := many(t, k, i, 100)
		i.mu.Lock()
		i.delay = 15 * time.Second
		i.mu.Unlock()
		slow := make(chan error, 1)
		go func() {
			_, err := k.Token(t.Context(), users[0])
			slow <- err
		}()
		synctest.Wait()
		i.mu.Lock()
		i.delay = 0
		i.mu.Unlock()
		began := time.Now()
		for _, u := range users[1:] {
			if _, err := k.Token(t.Context(), u); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the others waited %v", took)
		}
		if err := <-slow; err != nil {
			t.Error(err)
		}
	})
}

// S25: the process dies at each step of the protocol. Another one goes on, and
// the record ends usable, or lost with its cause; the server never sees a token
// twice unless the first answer was lost.
func TestCrashAtEachStep(t *testing.T) {
	for name, tc := range map[string]struct {
		// dieAtSave is the save, counted from the refresh's first, at which the
		// store is gone for the dying process; dieAfter says that this save
		// still gets through. dieInPost is before or after the server commits.
		dieAtSave int64
		dieAfter  bool
		dieInPost string
		lost      bool
	}{
		"before the intent":                   {dieAtSave: 1},
		"after the intent":                    {dieAtSave: 1, dieAfter: true, dieInPost: "before"},
		"after sending, before the commit":    {dieInPost: "before"},
		"after the commit, before the answer": {dieInPost: "after", lost: true},
		"after the answer, before the save":   {dieAtSave: 2, lost: true},
		"after the save":                      {dieAtSave: 2, dieAfter: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, store := newIssuer(), tokenstore.NewMemory()
				link(t, keeper(t, store, i), i)
				time.Sleep(life)
				mortal := &mortal{Memory: store, dieAtSave: tc.dieAtSave, dieAfter: tc.dieAfter}
				dying := keeper(t, mortal, i, func(c *custody.Config) {
					post := c.Refresh
					c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome {
						if tc.dieInPost == "after" {
							post(ctx, token)
						}
						if tc.dieInPost != "" || mortal.dead.Load() {
							mortal.dead.Store(true)
							return tokenwire.Outcome{Class: tokenwire.Ambiguous}
						}
						return post(ctx, token)
					}
				})
				patience, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := dying.Token(patience, user); err == nil {
					t.Fatal("the dead process got a token")
				}

				other := keeper(t, store, i)
				_, err := other.Token(t.Context(), user)
				var gone *custody.LostError
				switch {
				case tc.lost && (!errors.As(err, &gone) || gone.Cause != custody.OutcomeUnknown):
					t.Errorf("Token: %v, want the link lost with its cause", err)
				case !tc.lost && err != nil:
					t.Errorf("Token: %v, want a token", err)
				}
				if _, reuses := i.count(); reuses > 0 != tc.lost {
					t.Errorf("%d tokens came twice", reuses)
				}
			})
		})
	}
}

// mortal is the store of a process that dies: what touches it afterwards ends
// there, as everything in a dead process does.
type mortal struct {
	*tokenstore.Memory
	dieAtSave int64
	dieAfter  bool
	saves     atomic.Int64
	dead      atomic.Bool
}

func (m *mortal) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	if m.dead.Load() {
		runtime.Goexit()
	}
	return m.Memory.Load(ctx, id)
}

func (m *mortal) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if m.dead.Load() {
		runtime.Goexit()
	}
	if m.saves.Add(1) != m.dieAtSave {
		return m.Memory.Save(ctx, r)
	}
	m.dead.Store(true)
	if m.dieAfter {
		_, _ = m.Memory.Save(ctx, r)
	}
	runtime.Goexit()
	return tokenstore.Record{}, nil
}

var errReadOnly = errors.New("read-only")

// flaky is a store with faults.
type flaky struct {
	*tokenstore.Memory
	failSaves      atomic.Int64
	lieOnSave      atomic.Bool
	sleepAfterSave atomic.Int64
}

func (f *flaky) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.failSaves.Add(-1) >= 0 {
		return tokenstore.Record{}, errReadOnly
	}
	saved, err := f.Memory.Save(ctx, r)
	if f.lieOnSave.CompareAndSwap(true, false) {
		return tokenstore.Record{}, errReadOnly
	}
	time.Sleep(time.Duration(f.sleepAfterSave.Load()))
	return saved, err
}

// S26: a database that is away for an hour costs no link: the answer waits in
// memory, callers are told what is wrong, and nothing is sent again.
func TestAnswerOutlivesALongStoreOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), &flaky{Memory: tokenstore.NewMemory()}
		var mu sync.Mutex
		failed := 0
		k := keeper(t, store, i, func(c *custody.Config) {
			c.OnEvent = func(e custody.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == custody.SaveFailed {
					failed++
				}
			}
		})
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if n == 1 {
				store.failSaves.Store(1 << 30)
			}
			return answer()
		}
		wantWait(t, k, custody.WaitSave)
		start := time.Now()
		for range 100 {
			wantWait(t, k, custody.WaitSave)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("callers who know already waited %v", took)
		}
		time.Sleep(time.Hour)
		store.failSaves.Store(0)
		time.Sleep(15 * time.Second)
		if r := record(t, store); r.Generation != 2 || r.State != tokenstore.StateLinked {
			t.Errorf("generation %d, %s: the answer is not in the store", r.Generation, r.State)
		}
		wantToken(t, k, "access-3") // what was saved is over by now
		wantPosts(t, i, 2)
		mu.Lock()
		defer mu.Unlock()
		if failed != 1 {
			t.Errorf("told %d times that a save fails, want once", failed)
		}
	})
}

// S11, S26: a process that cannot reach the database, for longer than its
// lease, may have the answer in hand: nobody presents its token meanwhile.
func TestPartitionedHolderIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		cut := &flaky{Memory: store}
		holder, other := keeper(t, cut, i), keeper(t, store, i)
		link(t, other, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			cut.failSaves.Store(1 << 30)
			return answer()
		}
		got := make(chan error, 1)
		go func() {
			_, err := holder.Token(t.Context(), user)
			got <- err
		}()
		time.Sleep(time.Second)
		go func() {
			time.Sleep(55 * time.Second)
			cut.failSaves.Store(0)
		}()
		wantToken(t, other, "access-2")
		if err := <-got; err != nil {
			t.Error(err)
		}
		wantPosts(t, i, 1)
	})
}

// A process that sleeps with an answer in hand does not take its token for a
// new one when it wakes.
func TestTokenAgesWhileItsProcessSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		asked := time.Now()
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			time.Sleep(5 * time.Minute)
			return out
		}
		token, err := k.Token(t.Context(), user)
		if err != nil || !token.ExpiresAt.Equal(asked.Add(life)) {
			t.Errorf("Token = until %v, %v, want until %v", token.ExpiresAt, err, asked.Add(life))
		}
	})
}

// A token whose save took longer than its life is not handed out.
func TestTokenThatIsOverWhenItIsSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i, func(c *custody.Config) { c.FlightTimeout = time.Hour })
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if n == 1 {
				time.Sleep(life)
			}
			return out
		}
		wantToken(t, k, "access-3")
		wantPosts(t, i, 2)
	})
}

// A closed store takes nothing any more: the flight ends.
func TestClosedStoreEndsTheSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			_ = store.Close()
			return answer()
		}
		wantWait(t, k, custody.WaitSave)
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
