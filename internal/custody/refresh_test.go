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

// S01: any number of callers at expiry, one POST, one token for all.
func TestCallersAtExpiryShareOneRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		time.Sleep(life)
		i.slow(3 * time.Second)

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
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		link(t, keeper(t, store, i), i)
		time.Sleep(life)
		i.slow(3 * time.Second)

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
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.slow(5 * time.Second)

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
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.slow(5 * time.Second)

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

// S41: a refresh happens before the current token expires, not before three quarters
// of its life, and nobody waits for it.
func TestRefreshIsEarlyAndInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		i.slow(2 * time.Second)

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

// The server is down for minutes around the early refresh: no caller is affected,
// and not every caller asks the server.
func TestShortOutageIsInvisible(t *testing.T) {
	t.Parallel()
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

// S26: the save fails for a while after the token was spent. Callers get the store's
// error at once; the save is retried, nobody sees the new token before it is saved,
// and nothing is sent for it twice.
func TestFailingSaveIsRetriedBeforeTheTokenIsShown(t *testing.T) {
	t.Parallel()
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
		began := time.Now()
		for {
			got, err := k.Token(t.Context(), user)
			if err == nil {
				if r := record(t, store); got.Value != "access-2" || r.Generation != 2 || r.State != tokenstore.StateLinked {
					t.Errorf("shown: %q, saved: generation %d, %s", got.Value, r.Generation, r.State)
				}
				break
			}
			wantStoreError(t, err, "save")
			if !errors.Is(err, errReadOnly) || time.Since(began) > 5*time.Second {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		wantPosts(t, i, 1)
	})
}

// S26: a save that wrote and then reported a failure is found to have written.
func TestSaveThatLiesAboutFailing(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// S19: another program writes to the row while the refresh is under way: neither
// write is lost.
func TestUnrelatedWriteDuringRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			spend(t, keeper(t, store, i), "another tab")
			return out
		}
		wantToken(t, k, "access-2")
		wantUsed(t, k, i, "another tab")
		wantPosts(t, i, 1)
	})
}

// spend spends the code of an authorization of user's for nothing: the response is
// lost, and only a mark is left.
func spend(t testing.TB, k *custody.Keeper, session string) {
	t.Helper()
	_, err := k.Approve(t.Context(), custody.Approval{User: user, Session: session, Exchange: func(context.Context) tokenwire.Outcome {
		return tokenwire.Outcome{Class: tokenwire.Ambiguous}
	}})
	var failed *custody.ExchangeError
	if !errors.As(err, &failed) || failed.Repeatable {
		t.Errorf("Approve: %v, want that the code is spent", err)
	}
}

// wantUsed checks that the mark of an authorization is in the record.
func wantUsed(t testing.TB, k *custody.Keeper, i *issuer, session string) {
	t.Helper()
	if _, err := k.Approve(t.Context(), approval(i, user, session)); !errors.Is(err, custody.ErrUsed) {
		t.Errorf("Approve: %v: what the authorization wrote is lost", err)
	}
}

// S45: unlinked while the refresh is under way: it stays unlinked.
func TestUnlinkDuringRefresh(t *testing.T) {
	t.Parallel()
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

// S12: a holder that slept through its lease does not post; the new holder does, and
// the old one adopts its pair.
func TestHolderThatSleptDoesNotPost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		// The first replica stops for minutes, right after its lease is written, so
		// that its time-outs do not run either.
		first := keeper(t, store, i, func(c *custody.Config) { c.StoreTimeout = time.Hour })
		second := keeper(t, store.Memory, i)
		link(t, second, i)
		time.Sleep(life)
		store.sleepAfterSave.Store(int64(5 * time.Minute))
		var wg sync.WaitGroup
		wg.Go(func() { wantToken(t, first, "access-2") })
		time.Sleep(time.Second)
		store.sleepAfterSave.Store(0)
		began := time.Now()
		wantToken(t, second, "access-2")
		if took := time.Since(began); took < 75*time.Second || took > 77*time.Second {
			t.Errorf("the lease was taken over after %v, want its life and a minute", took)
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// S35: rejected, but a peer has rotated meanwhile: adopt its pair.
func TestRejectionAfterAPeerRotatedIsAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			// A new authorization replaces the pair while the old token is being
			// posted.
			i.mu.Lock()
			i.disturb = nil
			i.mu.Unlock()
			link(t, keeper(t, store, i), i)
			return rejected("invalid_grant")
		}
		wantToken(t, k, "access-2")
	})
}

// S39, S40: a rejection has its cause, deletes nothing, and is not repeated.
func TestRejectionEndsTheLinkWithItsCause(t *testing.T) {
	for code, cause := range map[string]custody.Cause{
		"invalid_grant":         grantRejected,
		"API_SESSION_EXPIRED":   sessionExpired,
		"API_SESSION_INVALID":   sessionInvalid,
		"ACCESS_FROZEN_OUTWARD": frozen,
	} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, store := newIssuer(), tokenstore.NewMemory()
				k := keeper(t, store, i)
				link(t, k, i)
				time.Sleep(life)
				i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
					return rejected(code)
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

// S37: trouble of the application is no link's.
func TestAppWideTroubleTouchesNoLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.AppWide, Status: 401, Code: "invalid_client"}
		}
		wantWait(t, k, custody.WaitAppWide)
		if r := record(t, store); r.State != tokenstore.StateLinked || r.Tried != 0 || r.Lease.Owner != "" {
			t.Errorf("left behind: %s, tried %d, lease %+v", r.State, r.Tried, r.Lease)
		}
		i.disturb = nil
		time.Sleep(2 * time.Second)
		wantToken(t, k, "access-2")
	})
}

// S21, S22: a response that was lost. The current token serves on; when it has
// expired the refresh is repeated once, and the server's verdict is final.
func TestLostAnswerIsNotRepeatedWhileTheTokenServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		wantToken(t, k, link(t, k, i))
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if n == 1 { // committed, and the response cut off
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
	t.Parallel()
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
		if r := record(t, store); r.State != tokenstore.StateLinked || r.Tried != 0 {
			t.Errorf("left behind: %s, tried %d", r.State, r.Tried)
		}
	})
}

// S38: the server responds 503 for a day and commits nothing. Nothing is lost, and
// it is asked ever more slowly.
func TestLongOutageLosesNothing(t *testing.T) {
	t.Parallel()
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

// S21, S22: two responses in a row are lost, and the server had committed: its
// response to the third attempt is final.
func TestLostAnswersEndWithTheServersWord(t *testing.T) {
	t.Parallel()
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

// S15, S25: a process died after writing its intent. Another one watches the lease
// for its life and a minute, and then judges by the intent.
func TestCrashAfterIntent(t *testing.T) {
	for _, committed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			i, store := newIssuer(), tokenstore.NewMemory()
			other := keeper(t, store, i)
			link(t, other, i)
			time.Sleep(life)
			// The process dies in its POST: it never writes again.
			broken := &mortal{Memory: store}
			i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
				if n > 1 {
					return answer()
				}
				if committed {
					answer()
				}
				broken.dead.Store(true)
				return tokenwire.Outcome{Class: tokenwire.Ambiguous}
			}
			if _, err := keeper(t, broken, i).Token(t.Context(), user); err == nil {
				t.Fatal("the dead process got a token")
			}
			began := time.Now()
			if committed {
				wantLost(t, other, custody.OutcomeUnknown)
			} else {
				wantToken(t, other, "access-2")
			}
			if took := time.Since(began); took < 75*time.Second || took > 77*time.Second {
				t.Errorf("the lease was respected for %v", took)
			}
			if posts, _ := i.count(); posts != 2 {
				t.Errorf("%d POSTs, want 2", posts)
			}
		})
	}
}

// S31: a response without a refresh token is the session's last: it serves until it
// expires, nothing is sent any more, and the link has its end.
func TestFinalToken(t *testing.T) {
	t.Parallel()
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

// S31: an API rejects the last token of a session once before it expires: there is
// no other, and the link is not given up for it.
func TestFinalTokenRejectedEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		i.final = true
		link(t, k, i)
		first := token(t, k)
		_, err := k.Replace(t.Context(), user, first)
		var wait *custody.WaitError
		if !errors.As(err, &wait) || wait.Reason != custody.WaitRejected {
			t.Errorf("Replace: %v", err)
		}
		wantToken(t, k, first.Value)
		wantPosts(t, i, 0)
	})
}

// A rejection whose save wrote and reported a failure is an event like any other.
func TestRejectionThatIsWrittenByALyingSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		store := &flaky{Memory: tokenstore.NewMemory()}
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			store.lieOnSave.Store(true)
			return rejected("invalid_grant")
		}
		wantLost(t, k, grantRejected)
		if got := k.Stats(); got.Lost[grantRejected] != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// S01: an API rejects a token before it expires: one refresh, for all callers.
func TestReplaceRejectedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		first := token(t, k)
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

// A link that is lost while its token is in memory is lost for the next caller too,
// whether the loss came from a rejected token or from an early refresh. What else
// the process remembers of it is forgotten a few minutes later.
func TestTokenOfALostLinkLeavesMemory(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, k *custody.Keeper, first custody.Token){
		"rejected token": func(t *testing.T, k *custody.Keeper, first custody.Token) {
			var lost *custody.LostError
			if _, err := k.Replace(t.Context(), user, first); !errors.As(err, &lost) {
				t.Fatalf("Replace: %v, want relink required", err)
			}
		},
		"early refresh": func(t *testing.T, k *custody.Keeper, first custody.Token) {
			time.Sleep(life * 9 / 10)
			wantToken(t, k, first.Value) // and a refresh, in the background
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, store := newIssuer(), tokenstore.NewMemory()
				k := keeper(t, store, i)
				link(t, k, i)
				first := token(t, k)
				i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome { return rejected("invalid_grant") }
				lose(t, k, first)
				if k.Hot(user) != nil {
					t.Error("the token is still in memory")
				}
				wantLost(t, k, grantRejected)
				wantPosts(t, i, 1)
				time.Sleep(6 * time.Minute)
				if _, err := approveAs(t, k, i, "user-2", "session", custody.Terms{Share: true}); err != nil {
					t.Fatal(err)
				}
				if n := k.Known(); n != 1 {
					t.Errorf("memory holds something of %d users, want one: the second", n)
				}
			})
		})
	}
}

// S28: closing waits for a refresh under way, and starts no new one.
func TestCloseWaitsForTheSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.slow(5 * time.Second)
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

// S04, S18: the process has an old pair in memory, and a peer has rotated: the pair
// in the store is adopted, and nothing is sent.
func TestPeersPairIsAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k, peer := keeper(t, store, i), keeper(t, store, i)
		link(t, k, i)
		first := token(t, k)
		if _, err := peer.Replace(t.Context(), user, first); err != nil {
			t.Fatal(err)
		}
		// Whether it is due, or an API has rejected the old one.
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
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		k := keeper(t, tokenstore.NewMemory(), i)
		users := many(t, k, i, 100)
		i.slow(15 * time.Second)
		slow := make(chan error, 1)
		go func() {
			_, err := k.Token(t.Context(), users[0])
			slow <- err
		}()
		synctest.Wait()
		i.slow(0)
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

// S25: the process dies at each step of the protocol. Another one continues, and the
// record ends usable, or lost with its cause; the server never sees a token twice
// unless the first response was lost.
func TestCrashAtEachStep(t *testing.T) {
	for name, tc := range map[string]struct {
		// dieAtSave is the save, counted from the refresh's first, at which the
		// store is gone for the dying process; with dieAfter this save still gets
		// through. dieInPost is before or after the server commits.
		dieAtSave int64
		dieAfter  bool
		dieInPost string
		lost      bool
	}{
		"before the intent":                     {dieAtSave: 1},
		"after the intent":                      {dieAtSave: 1, dieAfter: true, dieInPost: "before"},
		"after sending, before the commit":      {dieInPost: "before"},
		"after the commit, before the response": {dieInPost: "after", lost: true},
		"after the response, before the save":   {dieAtSave: 2, lost: true},
		"after the save":                        {dieAtSave: 2, dieAfter: true},
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

// mortal is the store of a process that dies: afterwards it does nothing any more,
// and returns the one error that ends every retry.
type mortal struct {
	*tokenstore.Memory
	dieAtSave int64
	dieAfter  bool
	saves     atomic.Int64
	dead      atomic.Bool
}

func (m *mortal) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	if m.dead.Load() {
		return tokenstore.Record{}, tokenstore.ErrClosed
	}
	return m.Memory.Load(ctx, id)
}

func (m *mortal) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if m.dead.Load() {
		return tokenstore.Record{}, tokenstore.ErrClosed
	}
	if m.saves.Add(1) != m.dieAtSave {
		return m.Memory.Save(ctx, r)
	}
	m.dead.Store(true)
	if m.dieAfter {
		_, _ = m.Memory.Save(ctx, r)
	}
	return tokenstore.Record{}, tokenstore.ErrClosed
}

// S26: a database that is away for an hour loses no link: the response waits in
// memory, callers get the store's error, at once if it is known already, nothing is
// sent again, and the store is not asked in a tight loop.
func TestAnswerOutlivesALongStoreOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), &flaky{Memory: tokenstore.NewMemory()}
		var asked atomic.Int64
		counted := &hooked{Memory: store.Memory, before: func(ctx context.Context, op, _ string) error {
			asked.Add(1)
			if op == "save" && store.failSaves.Load() > 0 {
				return errReadOnly
			}
			return nil
		}}
		k := keeper(t, counted, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if n == 1 {
				store.failSaves.Store(1)
			}
			return answer()
		}
		_, err := k.Token(t.Context(), user)
		wantStoreError(t, err, "save")
		start := time.Now()
		for range 100 {
			_, err := k.Token(t.Context(), user)
			wantStoreError(t, err, "save")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("later callers waited %v", took)
		}
		if n := k.Health().Unsaved; n != 1 {
			t.Errorf("Health counts %d responses that are not saved, want 1", n)
		}
		asked.Store(0)
		time.Sleep(time.Hour)
		if n := asked.Load(); n > 1500 {
			t.Errorf("the store was asked %d times in an hour", n)
		}
		store.failSaves.Store(0)
		time.Sleep(30 * time.Second)
		if r := record(t, store); r.Generation != 2 || r.State != tokenstore.StateLinked {
			t.Errorf("generation %d, %s: the response is not in the store", r.Generation, r.State)
		}
		wantToken(t, k, "access-3") // what was saved has expired by now
		wantPosts(t, i, 2)
		if n := k.Stats().Events[custody.SaveFailed]; n != 1 {
			t.Errorf("SaveFailed %d times, want once", n)
		}
		if n := k.Health().Unsaved; n != 0 {
			t.Errorf("Health counts %d responses that are not saved, want none", n)
		}
	})
}

// S11, S26: a process that cannot reach the database, for longer than its lease, may
// have received the response: nobody presents its token meanwhile. Its own callers
// get the store's error.
func TestPartitionedHolderIsWaitedFor(t *testing.T) {
	t.Parallel()
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
		_, err := holder.Token(t.Context(), user)
		wantStoreError(t, err, "save")
		time.Sleep(time.Second)
		go func() {
			time.Sleep(55 * time.Second)
			cut.failSaves.Store(0)
		}()
		wantToken(t, other, "access-2")
		time.Sleep(time.Second)
		wantToken(t, holder, "access-2")
		wantPosts(t, i, 1)
	})
}

// A process that sleeps after receiving a response does not take its token for a new
// one when it wakes.
func TestTokenAgesWhileItsProcessSleeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		asked := time.Now()
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			time.Sleep(170 * time.Second)
			return out
		}
		token, err := k.Token(t.Context(), user)
		if err != nil || !token.ExpiresAt.Equal(asked.Add(life)) {
			t.Errorf("Token = until %v, %v, want until %v", token.ExpiresAt, err, asked.Add(life))
		}
	})
}

// A token that has expired by the time it is saved is used once all the same:
// otherwise a clock that is hours ahead would buy one token after the other. The
// next caller gets another one.
func TestTokenThatIsOverWhenItIsSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i, func(c *custody.Config) { c.PostTimeout = time.Hour })
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			if n == 1 {
				time.Sleep(life)
			}
			return out
		}
		wantToken(t, k, "access-2")
		wantPosts(t, i, 1)
		if k.Hot(user) != nil {
			t.Error("a token that has expired is read from memory")
		}
		wantToken(t, k, "access-3")
		wantPosts(t, i, 2)
	})
}

// A closed store accepts nothing any more: the flight ends.
func TestClosedStoreEndsTheSave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			_ = store.Close()
			return answer()
		}
		var failed *custody.StoreError
		if _, err := k.Token(t.Context(), user); !errors.As(err, &failed) || !errors.Is(err, tokenstore.ErrClosed) {
			t.Errorf("Token: %v, want a store error", err)
		}
		if n := k.Stats().Events[custody.SaveFailed]; n != 1 {
			t.Errorf("SaveFailed %d times, want once", n)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
