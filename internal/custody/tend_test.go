// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// inbox is a host that is told.
type inbox struct {
	mu      sync.Mutex
	notices []custody.Notice
	answer  func(context.Context, custody.Notice) error
	at      []time.Time
	under   int
	most    int // deliveries at the same time
}

func (b *inbox) notify(ctx context.Context, n custody.Notice) error {
	b.mu.Lock()
	b.notices = append(b.notices, n)
	b.at = append(b.at, time.Now())
	b.under++
	b.most = max(b.most, b.under)
	answer := b.answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.under--
		b.mu.Unlock()
	}()
	if answer != nil {
		return answer(ctx, n)
	}
	return nil
}

func (b *inbox) config(c *custody.Config) { c.Notify = b.notify }

// kinds are the notices so far, in order.
func (b *inbox) kinds() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.notices {
		s := n.Kind.String()
		if n.Cause != "" {
			s += " " + string(n.Cause)
		}
		all = append(all, s)
	}
	return all
}

func (b *inbox) count() int { return len(b.kinds()) }

// tending runs Tend until the test ends.
func tending(t *testing.T, k *custody.Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Tend(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Tend: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func once(t *testing.T, k *custody.Keeper) int {
	t.Helper()
	n, err := k.TendOnce(t.Context())
	if err != nil {
		t.Fatalf("TendOnce: %v", err)
	}
	return n
}

// everybody has a record of their own.
func everybody(c *custody.Config) {
	c.Verify = func(_ context.Context, c custody.Candidate) (string, error) { return "patient of " + c.User, nil }
}

func wantKinds(t *testing.T, b *inbox, want ...string) {
	t.Helper()
	if got := b.kinds(); !slices.Equal(got, want) {
		t.Fatalf("the host was told %q, want %q", got, want)
	}
}

// A link that is made, and one that ends, are told within seconds, by Tend.
func TestTheHostIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, b.config)
		tending(t, k)
		link(t, k, i)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantKinds(t, &b, "made")
		must(t, k.Lose(t.Context(), user, token(t, k), sessionExpired))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantKinds(t, &b, "made", "ended session_expired")
		if n := b.notices[1]; n.User != user || n.ID == "" || n.ID == b.notices[0].ID || time.Since(n.At) > time.Minute {
			t.Errorf("%+v", n)
		}
		if h := k.Health(); !h.Tending || h.Undelivered != 0 {
			t.Errorf("%+v", h)
		}
		if at := record(t, s).TendAt; time.Until(at) < 24*time.Hour {
			t.Errorf("a link for which nothing is due is looked at again at %v", at)
		}
	})
}

// What happened while nothing ran is told when something runs, after an unlink too.
func TestNoticesWaitForAProcess(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, b.config)
		link(t, k, i)
		must(t, k.Lose(t.Context(), user, token(t, k), frozen))
		must(t, k.Unlink(t.Context(), user))
		wantKinds(t, &b)
		later := keeper(t, s, newIssuer(), b.config)
		once(t, later)
		wantKinds(t, &b, "made", "ended frozen")
		// And the tombstone goes when it is old.
		time.Sleep(49 * time.Hour)
		once(t, later)
		if _, err := s.Load(t.Context(), user); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("the tombstone: %v", err)
		}
	})
}

// A host that wants no notices has none in its records.
func TestNoNoticesAreKeptForNobody(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		var b inbox
		once(t, keeper(t, s, i, b.config))
		wantKinds(t, &b)
	})
}

// Killed between delivering a notice and clearing it: it is delivered twice, and never
// not at all.
func TestKilledBetweenDeliveringAndClearing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		link(t, keeper(t, s, i, new(inbox).config), i)
		var b inbox
		var dead atomic.Bool
		dying := &hooked{Memory: s, before: func(ctx context.Context, op, _ string) error {
			if op == "save" && b.count() > 0 || dead.Load() {
				dead.Store(true)
				return errReadOnly // what it does from now on reaches nobody
			}
			return nil
		}}
		first := keeper(t, dying, i, b.config)
		_, _ = first.TendOnce(t.Context())
		wantKinds(t, &b, "made")
		time.Sleep(time.Minute)
		second := keeper(t, s, i, b.config)
		once(t, second)
		wantKinds(t, &b, "made", "made")
		if b.notices[0].ID != b.notices[1].ID {
			t.Errorf("the second delivery has another id: %q, %q", b.notices[0].ID, b.notices[1].ID)
		}
		once(t, second)
		wantKinds(t, &b, "made", "made")
	})
}

// A store that goes back is restored with the notices that it owed, as they were: a
// host that has had one of them, and may get it again, recognizes it.
func TestRestoredNoticesAreTheSame(t *testing.T) {
	for lost := 1; lost <= 3; lost++ {
		t.Run(fmt.Sprintf("%d lost", lost), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				store := newRolling(s)
				k := w.replica(t, store, new(inbox).config)
				w.joins(t, k, user, "once")
				time.Sleep(time.Second)
				must(t, k.Lose(t.Context(), user, wantServed(t, k, user, "once"), sessionExpired))
				want := custody.Owed(record(t, s))
				store.failover(t, user, 10*time.Second, lost)
				if len(custody.Owed(record(t, s))) >= len(want) {
					t.Fatal("the store has lost no notice")
				}
				time.Sleep(20 * time.Second)
				_, _ = k.Present(t.Context(), user)
				got := custody.Owed(record(t, s)) // and maybe, after them, that it works again
				if diff := cmp.Diff(want, got[:min(len(want), len(got))]); diff != "" {
					t.Errorf("the notices (-before +restored):\n%s", diff)
				}
			})
		})
	}
}

// What one flight has saved, the others of its process know, also those that began
// before: the store goes back before the save is acknowledged, and a look that waited
// for the store restores the link as it was, and makes no second one.
func TestFlightsOfOneProcessKnowWhatEachHasSaved(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var lost, admitted tokenstore.Record
		looking := make(chan struct{})
		slow := &hooked{Memory: s}
		slow.after = func(op, _ string) {
			r, err := s.Load(t.Context(), user)
			switch {
			case op != "save" || err != nil || admitted.Version != 0:
			case r.State != tokenstore.StateLinked:
				lost = r
			default:
				admitted = r
				close(looking)
				time.Sleep(300 * time.Millisecond) // until it is acknowledged
			}
		}
		slow.before = func(_ context.Context, op, _ string) error {
			if op == "load" && admitted.Version != 0 {
				time.Sleep(400 * time.Millisecond)
			}
			return nil
		}
		k := w.replica(t, slow, new(inbox).config)
		var all sync.WaitGroup
		all.Go(func() { w.joins(t, k, user, "once") })
		<-looking
		all.Go(func() { _ = k.Check(t.Context(), user) })
		time.Sleep(200 * time.Millisecond)
		lost.Version = admitted.Version // as of a standby that lacks the last write
		if _, err := s.Save(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		time.Sleep(time.Minute)
		_ = k.Check(t.Context(), user)
		if diff := cmp.Diff(custody.Owed(admitted), custody.Owed(record(t, s))); diff != "" {
			t.Errorf("the notices (-before +after):\n%s", diff)
		}
		wantServed(t, k, user, "once")
	})
}

// A process that was suspended between claiming a notice and delivering it delivers
// nothing: another may be at it by now.
func TestSuspendedBetweenClaimingAndDelivering(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		link(t, keeper(t, s, i, b.config), i)
		slow := &flaky{Memory: s}
		slow.sleepAfterSave.Store(int64(9 * time.Second))
		k := keeper(t, slow, i, b.config)
		once(t, k)
		wantKinds(t, &b)
		slow.sleepAfterSave.Store(0)
		time.Sleep(2 * time.Minute)
		once(t, k)
		wantKinds(t, &b, "made")
	})
}

// Replicas deliver each notice once, and never two of them at the same time.
func TestReplicasShareTheNotices(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		b := inbox{answer: func(ctx context.Context, _ custody.Notice) error {
			select {
			case <-time.After(20 * time.Second):
			case <-ctx.Done():
			}
			return nil
		}}
		first := keeper(t, s, i, b.config)
		for range 4 {
			tending(t, keeper(t, s, i, b.config))
		}
		link(t, first, i)
		time.Sleep(10 * time.Minute)
		wantKinds(t, &b, "made")
		if b.most != 1 {
			t.Errorf("%d at a time", b.most)
		}
	})
}

// A host that fails for a week is asked with longer and longer waits, and told in the
// end. Nothing comes before what is older.
func TestHostThatFailsForAWeek(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var well atomic.Bool
		b := inbox{answer: func(context.Context, custody.Notice) error {
			if well.Load() {
				return nil
			}
			return errors.New("the queue is full")
		}}
		k := keeper(t, s, i, b.config)
		tending(t, k)
		link(t, k, i)
		must(t, k.Lose(t.Context(), user, token(t, k), frozen))
		days := atMost(7, 2)
		time.Sleep(time.Duration(days) * 24 * time.Hour)
		n := b.count()
		if n < 14*days || n > 28*days {
			t.Errorf("asked %d times in %d days", n, days)
		}
		if slices.Contains(b.kinds(), "ended frozen") {
			t.Error("the end was told before the beginning")
		}
		if h := k.Health(); h.Undelivered != 1 {
			t.Errorf("%d undelivered", h.Undelivered)
		}
		well.Store(true)
		time.Sleep(2 * time.Hour)
		if got := b.kinds()[n:]; !slices.Equal(got, []string{"made", "ended frozen"}) {
			t.Errorf("and then told %q", got)
		}
		if h := k.Health(); h.Undelivered != 0 {
			t.Errorf("%d undelivered", h.Undelivered)
		}
	})
}

// Host code that panics, ends its goroutine or hangs has not accepted the notice, and
// stops nothing else.
func TestHostCodeThatIsToldBadly(t *testing.T) {
	for name, bad := range map[string]func(context.Context, custody.Notice) error{
		"panics": func(context.Context, custody.Notice) error { panic("secret") },
		"ends":   func(context.Context, custody.Notice) error { runtime.Goexit(); return nil },
		"hangs":  func(ctx context.Context, _ custody.Notice) error { <-ctx.Done(); return ctx.Err() },
		"deaf":   func(context.Context, custody.Notice) error { time.Sleep(5 * time.Minute); return nil },
		"hollow": func(context.Context, custody.Notice) error { return errHollow },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				b := inbox{}
				b.answer = func(ctx context.Context, n custody.Notice) error {
					if b.count() == 1 {
						return bad(ctx, n)
					}
					return nil
				}
				k := keeper(t, s, i, b.config)
				tending(t, k)
				link(t, k, i)
				time.Sleep(10 * time.Minute)
				wantKinds(t, &b, "made", "made")
				token(t, k)
			})
		})
	}
}

// A link is refreshed that nobody has used for long, once, whoever tends it.
func TestKeepWarm(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		warm := func(c *custody.Config) { c.KeepWarm = 2 * time.Hour }
		first := keeper(t, s, i, warm)
		link(t, first, i)
		for range 3 {
			tending(t, keeper(t, s, i, warm))
		}
		time.Sleep(2*time.Hour - 5*time.Minute)
		wantPosts(t, i, 0)
		time.Sleep(18*time.Hour + 10*time.Minute)
		if posts, reuses := i.count(); posts < 9 || posts > 10 || reuses != 0 {
			t.Errorf("%d refreshes in ten times KeepWarm, %d reused", posts, reuses)
		}
	})
}

// Refreshes leave TendAt as it is, so that they touch no index.
func TestRefreshesLeaveTendAt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i, func(c *custody.Config) {
			c.KeepWarm, c.SessionLife, c.Warnings = 24*time.Hour, 90*24*time.Hour, [2]time.Duration{14 * 24 * time.Hour, 48 * time.Hour}
		})
		link(t, k, i)
		was := record(t, s).TendAt
		if d := time.Until(was); d != 24*time.Hour {
			t.Fatalf("due in %v", d)
		}
		for range 20 {
			time.Sleep(life)
			token(t, k)
			if at := record(t, s).TendAt; !at.Equal(was) {
				t.Fatalf("a refresh has moved it to %v", at)
			}
		}
		wantPosts(t, i, 20)
	})
}

// Two warnings before the end, once each, though nobody calls; and then the end.
func TestWarningsBeforeTheEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		ends := func(c *custody.Config) {
			c.SessionLife, c.Warnings = 72*time.Hour, [2]time.Duration{36 * time.Hour, 6 * time.Hour}
		}
		k := keeper(t, s, i, b.config, ends)
		link(t, k, i)
		linkedAt := time.Now()
		for range 2 {
			tending(t, keeper(t, s, i, b.config, ends))
		}
		time.Sleep(35 * time.Hour)
		wantKinds(t, &b, "made")
		time.Sleep(2 * time.Hour)
		wantKinds(t, &b, "made", "ends soon")
		time.Sleep(28 * time.Hour)
		wantKinds(t, &b, "made", "ends soon")
		time.Sleep(2 * time.Hour)
		wantKinds(t, &b, "made", "ends soon", "ends soon")
		if n := b.notices[2]; !n.Last || n.EndsAt.Sub(linkedAt).Round(time.Hour) != 72*time.Hour || b.notices[1].Last {
			t.Errorf("%+v", n)
		}
		i.mu.Lock()
		i.dead[1] = true
		i.mu.Unlock()
		time.Sleep(10 * time.Hour)
		wantKinds(t, &b, "made", "ends soon", "ends soon", "ended session_invalid")
		if posts, reuses := i.count(); posts != 1 || reuses != 0 {
			t.Errorf("%d refreshes, %d reused: one is asked to see that it has ended", posts, reuses)
		}
	})
}

// The outcome of a refresh that was lost is asked for again, though nobody calls.
func TestUncertainRefreshIsAskedAbout(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, b.config)
		link(t, k, i)
		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if n == 1 {
				answer()
			}
			if n <= 2 {
				return tokenwire.Outcome{Class: tokenwire.Ambiguous, Err: errReadOnly}
			}
			return answer()
		}
		time.Sleep(life)
		wantWait(t, k, custody.WaitUncertain)
		tending(t, keeper(t, s, i, b.config))
		time.Sleep(time.Hour)
		wantKinds(t, &b, "made", "ended outcome_unknown")
	})
}

// An authorization that could not be checked is checked by a sweep, and given up after
// a week.
func TestCandidatesAreCheckedAndGivenUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		who := whose{}
		k := keeper(t, s, i, b.config, who.config, func(c *custody.Config) { c.VerifyFirst = true })
		who.set("access-1", errReadOnly)
		_ = approve(t, k, i, "session-1")
		tending(t, k)
		time.Sleep(30 * time.Second)
		who.set("access-1", patient)
		time.Sleep(3 * time.Minute)
		wantKinds(t, &b, "made")

		i.disturb = func(n int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			out := answer()
			who.set(out.Grant.AccessToken, errReadOnly)
			return out
		}
		who.set("access-2", errReadOnly)
		_ = approve(t, k, i, "session-2")
		time.Sleep(6 * 24 * time.Hour)
		wantKinds(t, &b, "made")
		time.Sleep(2 * 24 * time.Hour)
		wantKinds(t, &b, "made", "dropped abandoned")
		if r := record(t, s); r.State != tokenstore.StateLinked || r.Candidate != "" {
			t.Errorf("%v %q", r.State, r.Candidate)
		}
		if _, reuses := i.count(); reuses != 0 {
			t.Errorf("%d reused", reuses)
		}
	})
}

// Records are sealed anew with a key that was promoted, within a week or so.
func TestSweepsReseal(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		link(t, keeper(t, s, i), i)
		two := func(c *custody.Config) {
			ring := &seal.Ring{}
			must(t, ring.Add("k2", slices.Repeat([]byte{2}, seal.KeySize)))
			must(t, ring.Add("k1", make([]byte, seal.KeySize)))
			c.Ring = ring
		}
		k := keeper(t, s, i, two)
		tending(t, k)
		time.Sleep(9 * 24 * time.Hour)
		if id := record(t, s).KeyID; id != k.Ring.KeyID() {
			t.Errorf("sealed with %q", id)
		}
	})
}

// While the breaker is open no sweep presents anything; afterwards all links are
// warmed, within the budget.
func TestOutageOfTheEndpoint(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var down atomic.Bool
		i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
			if down.Load() {
				return tokenwire.Outcome{Class: tokenwire.AppWide, Status: 503}
			}
			return answer()
		}
		const links = 50
		k := keeper(t, s, i, everybody, func(c *custody.Config) { c.KeepWarm, c.TendRate = 24*time.Hour, 1 })
		for n := range links {
			_, err := approveAs(t, k, i, fmt.Sprint("user-", n), fmt.Sprint("session-", n))
			must(t, err)
		}
		down.Store(true)
		time.Sleep(24 * time.Hour)
		tending(t, k)
		time.Sleep(2 * time.Hour)
		during, _ := i.count()
		if during > 130 { // the breaker asks about once a minute
			t.Errorf("%d requests in an outage of two hours, for %d links", during, links)
		}
		down.Store(false)
		time.Sleep(2 * time.Hour)
		posts, reuses := i.count()
		if posts-during < links || posts-during > links+5 || reuses != 0 {
			t.Errorf("%d requests afterwards for %d links, %d reused", posts-during, links, reuses)
		}
	})
}

// One query a batch, and none for what is not due.
func TestOneQueryABatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, b.config, everybody)
		const links = 700
		for n := range links {
			_, err := approveAs(t, k, i, fmt.Sprint("user-", n), fmt.Sprint("session-", n))
			must(t, err)
		}
		c := &asking{Memory: s}
		sweeper := keeper(t, c, i, b.config)
		if n := once(t, sweeper); n != links {
			t.Errorf("looked at %d", n)
		}
		if n := c.queries.Load(); n != 4 { // three batches, and one that finds nothing
			t.Errorf("%d queries", n)
		}
		if b.count() != links {
			t.Errorf("%d notices", b.count())
		}
		if n := once(t, sweeper); n != 0 {
			t.Errorf("looked at %d again", n)
		}
	})
}

// Replicas share the refreshes that are due: each uses all of its budget, and none
// looks at what the others do. A refresh takes a load, the lease and the answer.
func TestReplicasShareTheRefreshes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		const replicas = 3
		links := atMost(900, 300)
		warm := func(c *custody.Config) { c.KeepWarm = 24 * time.Hour }
		first := keeper(t, s, i, everybody, warm)
		for n := range links {
			_, err := approveAs(t, first, i, fmt.Sprint("user-", n), fmt.Sprint("session-", n))
			must(t, err)
		}
		time.Sleep(25 * time.Hour)
		c := &asking{Memory: s}
		var stops []func()
		for range replicas {
			stops = append(stops, tending(t, keeper(t, c, i, everybody, warm)))
		}
		time.Sleep(time.Duration(links) / 10 / replicas * time.Second * 11 / 10)
		for _, stop := range stops {
			stop()
		}
		wantPosts(t, i, links)
		if n := int(c.saves.Load()); n < 2*links || n > 2*links+links/50 {
			t.Errorf("%d saves for %d refreshes", n, links)
		}
		if more := int(c.loads.Load()) - links + int(c.queries.Load()); more > links/5 {
			t.Errorf("%d queries and loads in vain for %d refreshes", more, links)
		}
	})
}

// What callers have refreshed meanwhile holds up nothing that they have not.
func TestRefreshesThatAreNotNeeded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		slow := func(c *custody.Config) { c.KeepWarm, c.TendRate = 24*time.Hour, 0.1 }
		k := keeper(t, s, i, everybody, slow)
		const links, idle = 100, 10
		for n := range links {
			_, err := approveAs(t, k, i, fmt.Sprint("user-", n), fmt.Sprint("session-", n))
			must(t, err)
		}
		time.Sleep(25 * time.Hour)
		listing := struct {
			tokenstore.Store
			tokenstore.Lister
		}{s, s}
		tending(t, keeper(t, listing, i, everybody, slow))
		synctest.Wait() // it has listed all
		for n := range links - idle {
			_, err := k.Token(t.Context(), fmt.Sprint("user-", n))
			must(t, err)
		}
		time.Sleep((idle + 2) * 10 * time.Second)
		if posts, reuses := i.count(); posts != links || reuses != 0 {
			t.Errorf("%d of %d links are refreshed after the time that %d take, %d reused", posts, links, idle, reuses)
		}
	})
}

// While many links wait for their refresh, the host is told of what happens within
// seconds.
func TestNoticesDoNotWaitForRefreshes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, everybody, b.config, func(c *custody.Config) { c.KeepWarm, c.TendRate = 24*time.Hour, 1 })
		const links = 100
		for n := range links {
			_, err := approveAs(t, k, i, fmt.Sprint("idle-", n), fmt.Sprint("session-", n))
			must(t, err)
		}
		once(t, k)
		time.Sleep(25 * time.Hour)
		tending(t, k)
		time.Sleep(10 * time.Second)
		told := b.count()
		link(t, k, i)
		time.Sleep(2 * time.Second)
		if n := b.count() - told; n != 1 {
			t.Errorf("%d notices in two seconds, want 1", n)
		}
		if posts, _ := i.count(); posts > 15 {
			t.Errorf("%d refreshes in 12 seconds, want at most one a second", posts)
		}
		time.Sleep(links * time.Second)
		wantPosts(t, i, links)
	})
}

// asking counts what is asked of a store.
type asking struct {
	*tokenstore.Memory
	queries, loads, saves atomic.Int64
}

func (c *asking) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	c.queries.Add(1)
	return c.Memory.Due(ctx, before, limit)
}

func (c *asking) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	c.loads.Add(1)
	return c.Memory.Load(ctx, user)
}

func (c *asking) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	c.saves.Add(1)
	return c.Memory.Save(ctx, r)
}

// A store that can only list is swept all the same; one that cannot list either is
// refused.
func TestStoresWithoutDue(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		link(t, keeper(t, s, i, b.config), i)
		listing := struct {
			tokenstore.Store
			tokenstore.Lister
		}{s, s}
		once(t, keeper(t, listing, i, b.config))
		wantKinds(t, &b, "made")
		none := keeper(t, struct{ tokenstore.Store }{s}, i, b.config)
		if err := none.Tend(t.Context()); !errors.Is(err, custody.ErrCannotTend) {
			t.Errorf("Tend: %v", err)
		}
	})
}

// A store whose list does not go on in the order of ids is an error: a sweep over it
// would miss links, or never end.
func TestSweepOfAListThatDoesNotGoOn(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		link(t, keeper(t, s, i), i)
		k := keeper(t, struct {
			tokenstore.Store
			firstPage
		}{s, firstPage{s}}, i, func(c *custody.Config) { c.KeepWarm = time.Hour })
		_, err := k.TendOnce(t.Context())
		if store, ok := errors.AsType[*custody.StoreError](err); !ok || store.Op != "list" {
			t.Errorf("%v, want a *StoreError of the list", err)
		}
		token(t, k)
	})
}

// firstPage returns the first page, whatever it is asked for.
type firstPage struct{ of tokenstore.Lister }

func (f firstPage) List(ctx context.Context, _ string, limit int) ([]tokenstore.Record, error) {
	return f.of.List(ctx, "", limit)
}

// Rows that are not ours, do not open, or were written by a later version are left
// alone, and hold up no other.
func TestRowsThatASweepCannotDo(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		k := keeper(t, s, i, b.config)
		for n := range 400 {
			r := tokenstore.Record{AppUserID: fmt.Sprint("a", n), Environment: "test", ClientID: "client", State: tokenstore.StateLinked, Pair: "x/1", TendAt: time.Unix(1, 0), Details: []byte(`{"v":1}`)}
			if n%2 == 0 {
				r.Environment = "other"
			}
			_, err := s.Save(t.Context(), r)
			must(t, err)
		}
		link(t, k, i)
		before, err := s.List(t.Context(), "", 400)
		must(t, err)
		once(t, k)
		wantKinds(t, &b, "made")
		after, err := s.List(t.Context(), "", 400)
		must(t, err)
		for n := range before {
			if before[n].Version != after[n].Version {
				t.Errorf("%s was written", before[n].AppUserID)
			}
		}
	})
}

// What a later version has written of a record is still there after a sweep.
func TestSweepsKeepWhatALaterVersionWrote(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		link(t, keeper(t, s, i, b.config), i)
		later(t, s)
		once(t, keeper(t, s, i, b.config))
		wantKinds(t, &b, "made")
		wantTomorrow(t, s, true)
	})
}

// A replica whose clock is an hour off delivers no notice twice, and refreshes
// nothing that is not idle for as long.
func TestClockAnHourOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				var b inbox
				warm := func(c *custody.Config) { c.KeepWarm = 4 * time.Hour }
				wrong := func(c *custody.Config) { c.Now = func() time.Time { return time.Now().Add(off) } }
				k := keeper(t, s, i, b.config, warm)
				link(t, k, i) // before a process whose clock is fast can find it unchecked for long, and old
				tending(t, k)
				tending(t, keeper(t, s, i, b.config, warm, wrong))
				time.Sleep(2*time.Hour + 50*time.Minute)
				wantPosts(t, i, 0)
				time.Sleep(17*time.Hour + 20*time.Minute)
				wantKinds(t, &b, "made")
				if posts, reuses := i.count(); posts < 4 || posts > 7 || reuses != 0 {
					t.Errorf("%d refreshes in five times KeepWarm, %d reused", posts, reuses)
				}
				if b.most != 1 {
					t.Errorf("%d deliveries at a time", b.most)
				}
			})
		})
	}
}

// The kinds of notices are part of what a record keeps.
func TestNoticeKindsStay(t *testing.T) {
	for kind, want := range map[core.NoticeKind]uint8{core.Made: 1, core.Ended: 2, core.EndsSoon: 3, core.Dropped: 4} {
		if uint8(kind) != want {
			t.Errorf("%v is %d", kind, kind)
		}
	}
}

// A notice that one process could not deliver is undelivered there for as long as it
// is owed, though others try by now, and no longer: an alert on it would never end.
func TestDeliveredByAnotherProcess(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var well atomic.Bool
		down := inbox{answer: func(context.Context, custody.Notice) error { return errors.New("down here") }}
		other := inbox{answer: func(context.Context, custody.Notice) error {
			if well.Load() {
				return nil
			}
			return errors.New("down there")
		}}
		first, second := keeper(t, undue{s, nil}, i, down.config), keeper(t, s, i, other.config)
		tending(t, first)
		synctest.Wait()
		link(t, first, i)
		time.Sleep(30 * time.Second)
		for range 5 {
			time.Sleep(time.Hour)
			once(t, second)
			if h := first.Health(); h.Undelivered != 1 {
				t.Fatalf("%d undelivered, while another process tries", h.Undelivered)
			}
		}
		well.Store(true)
		time.Sleep(time.Hour)
		once(t, second)
		time.Sleep(2 * time.Hour)
		if h := first.Health(); h.Undelivered != 0 {
			t.Errorf("%d undelivered, and another process has delivered it", h.Undelivered)
		}
		if n, m := down.count(), other.count(); n != 1 || m != 6 {
			t.Errorf("the host was asked %d and %d times", n, m)
		}
	})
}

// undue is a store that does not return what is due.
type undue struct {
	*tokenstore.Memory
	err error
}

func (u undue) Due(context.Context, time.Time, int) ([]tokenstore.Record, error) { return nil, u.err }

// Processes that look whether a notice is still owed do not try to deliver it more
// often.
func TestUndeliveredWhereOthersTry(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		b := inbox{answer: func(context.Context, custody.Notice) error { return errors.New("down") }}
		first := keeper(t, s, i, b.config)
		link(t, first, i)
		for _, k := range []*custody.Keeper{first, keeper(t, s, i, b.config), keeper(t, s, i, b.config)} {
			tending(t, k)
		}
		days := atMost(7, 2)
		time.Sleep(time.Duration(days) * 24 * time.Hour)
		if n := b.count(); n < 14*days || n > 28*days {
			t.Errorf("asked %d times in %d days", n, days)
		}
	})
}

// Whoever measures is told of each delivery and of each sweep, with what failed.
func TestTendingIsMeasured(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var told []string
		var sweeps []custody.Sweep
		b := inbox{}
		b.answer = func(context.Context, custody.Notice) error {
			if b.count() == 1 {
				panic("secret")
			}
			return nil
		}
		broken := &hooked{Memory: s}
		k := keeper(t, broken, i, b.config, func(c *custody.Config) {
			c.OnNotice = func(n custody.Notice, accepted bool) { told = append(told, fmt.Sprint(n.Kind, " ", accepted)) }
			c.OnSweep = func(s custody.Sweep) { sweeps = append(sweeps, s) }
		})
		link(t, k, i)
		once(t, k)
		time.Sleep(2 * time.Minute)
		once(t, k)
		synctest.Wait()
		if want := []string{"made false", "made true"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if want := []custody.Sweep{{Links: 1, Undelivered: 1}, {Links: 1}}; !slices.Equal(sweeps, want) {
			t.Errorf("sweeps %+v, want %+v", sweeps, want)
		}

		stop := tending(t, k)
		must(t, k.Lose(t.Context(), user, token(t, k), frozen))
		time.Sleep(time.Minute)
		stop()
		synctest.Wait()
		n, links := len(sweeps), 0
		for _, s := range sweeps[2:] {
			links += s.Links
		}
		if n < 6 || n > 16 || links < 1 || links > 2 {
			t.Errorf("%d links in %d sweeps of a minute, want one, or that twice", links, n-2)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = k.TendOnce(ctx)
		must(t, k.Close(t.Context()))
		_, _ = k.TendOnce(t.Context())
		synctest.Wait()
		if len(sweeps) != n {
			t.Error("what ended with its context, or with the keeper, was told as a sweep")
		}
	})
}

// A store that fails shows in the sweeps.
func TestSweepsOfAStoreThatFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var sweeps []custody.Sweep
		k := keeper(t, undue{s, errReadOnly}, i, func(c *custody.Config) { c.OnSweep = func(s custody.Sweep) { sweeps = append(sweeps, s) } })
		_, err := k.TendOnce(t.Context())
		synctest.Wait()
		var store *custody.StoreError
		if !errors.As(err, &store) || len(sweeps) != 1 || !errors.As(sweeps[0].Err, &store) {
			t.Errorf("%v, %+v", err, sweeps)
		}
	})
}

// Telemetry that panics or hangs keeps no notice from the host, and no sweep from its
// work.
func TestTelemetryThatPanics(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(until <-chan struct{}){
		"panics": func(<-chan struct{}) { panic("secret") },
		"ends":   func(<-chan struct{}) { runtime.Goexit() },
		"hangs":  func(until <-chan struct{}) { <-until },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				until := make(chan struct{})
				defer close(until)
				var b inbox
				k := keeper(t, s, i, b.config, func(c *custody.Config) {
					c.OnNotice, c.OnSweep = func(custody.Notice, bool) { bad(until) }, func(custody.Sweep) { bad(until) }
				})
				tending(t, k)
				link(t, k, i)
				time.Sleep(5 * time.Minute)
				must(t, k.Lose(t.Context(), user, token(t, k), frozen))
				time.Sleep(2 * time.Hour)
				wantKinds(t, &b, "made", "ended frozen")
				if h := k.Health(); h.Abandoned != 0 {
					t.Errorf("%d calls hold up what matters", h.Abandoned)
				}
			})
		})
	}
}

// A process to which the host gave no Notify, such as an operator's command, delivers
// nothing, claims nothing and delays nothing, and what it finds out itself is kept for
// the process that delivers, if the link has had notices.
func TestNoticesWaitForAProcessThatDelivers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		b := inbox{answer: func(context.Context, custody.Notice) error { return errors.New("full") }}
		teller, mute := keeper(t, s, i, b.config), keeper(t, s, i)
		link(t, teller, i)
		once(t, teller) // refused, and due again in a minute
		time.Sleep(2 * time.Minute)
		before := record(t, s)
		if n := once(t, mute); n != 0 {
			t.Errorf("it looked at %d", n)
		}
		if after := record(t, s); after.Version != before.Version || !after.TendAt.Equal(before.TendAt) {
			t.Errorf("the record was written, and is due at %v, and not at %v", after.TendAt, before.TendAt)
		}
		must(t, mute.Lose(t.Context(), user, token(t, mute), sessionExpired))
		if at := record(t, s).TendAt; at.After(time.Now()) {
			t.Errorf("the notices are due %v from now", time.Until(at))
		}
		owed := custody.Owed(record(t, s))
		if len(owed) != 2 || owed[0].Tries != 1 || owed[1].Kind != custody.NoticeEnded || owed[1].Cause != "session_expired" || owed[1].User != user {
			t.Errorf("the record owes %+v", owed)
		}
		b.answer = nil
		once(t, teller)
		wantKinds(t, &b, "made", "made", "ended session_expired")
	})
}

// What a sweep without Notify finds out is due at once for one that delivers.
func TestASweepThatDeliversNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		warm := func(c *custody.Config) { c.KeepWarm = 2 * time.Hour }
		teller, mute := keeper(t, s, i, b.config, warm), keeper(t, s, i, warm)
		link(t, teller, i)
		once(t, teller)
		time.Sleep(3 * time.Hour)
		i.dead[1] = true
		once(t, mute)
		if r := record(t, s); r.State != tokenstore.StateRelinkRequired || r.TendAt.After(time.Now()) || len(custody.Owed(r)) != 1 {
			t.Errorf("%s, due at %v, owing %v", r.State, r.TendAt, custody.Owed(r))
		}
		once(t, mute)
		wantKinds(t, &b, "made")
		once(t, teller)
		wantKinds(t, &b, "made", "ended session_invalid")
	})
}

// However many notices wait for a process that delivers them, a sweep without Notify
// does what is due behind them.
func TestASweepBehindManyNotices(t *testing.T) {
	t.Parallel()
	for _, many := range []int{400, 6000} {
		t.Run(fmt.Sprint(many), func(t *testing.T) { testSweepBehind(t, many) })
	}
}

func testSweepBehind(t *testing.T, many int) {
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		warm := func(c *custody.Config) { c.KeepWarm = 2 * time.Hour }
		teller, mute := keeper(t, s, i, b.config, warm), keeper(t, s, i, warm)
		link(t, teller, i)
		owing := record(t, s)
		once(t, teller)
		for n := range many {
			owing.AppUserID, owing.Version = fmt.Sprintf("owing-%d", n), 0
			if _, err := s.Save(t.Context(), owing.Clone()); err != nil {
				t.Fatal(err)
			}
		}
		linked := record(t, s).RefreshedAt
		time.Sleep(3 * time.Hour)
		if n := once(t, mute); n != 1 || !record(t, s).RefreshedAt.After(linked) {
			t.Errorf("looked at %d, and the link was last refreshed at %v", n, record(t, s).RefreshedAt)
		}
		wantKinds(t, &b, "made")
	})
}

// A notice that is put off keeps no sweep from what else is due.
func TestASweepBesideANoticeThatIsPutOff(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		b := inbox{answer: func(context.Context, custody.Notice) error { return errors.New("full") }}
		warm := func(c *custody.Config) { c.KeepWarm = 2 * time.Hour }
		teller, mute := keeper(t, s, i, b.config, warm), keeper(t, s, i, warm)
		link(t, teller, i)
		linked := record(t, s).RefreshedAt
		for next := record(t, s).TendAt; next.Before(linked.Add(2 * time.Hour)); next = record(t, s).TendAt {
			time.Sleep(time.Until(next) + time.Second)
			once(t, teller)
		}
		told := b.count()
		time.Sleep(time.Until(record(t, s).TendAt) + time.Second)
		if n := once(t, mute); n != 1 || !record(t, s).RefreshedAt.After(linked) {
			t.Errorf("looked at %d, and the link is as it was refreshed at %v", n, record(t, s).RefreshedAt)
		}
		if owed := custody.Owed(record(t, s)); len(owed) != 1 || owed[0].Tries != told || b.count() != told {
			t.Errorf("told %d times, then %d; owing %+v", told, b.count(), owed)
		}
	})
}
