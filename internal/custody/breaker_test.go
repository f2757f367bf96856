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

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// many links n users, whose tokens have all expired, and returns their ids.
func many(t *testing.T, k *custody.Keeper, i *issuer, n int) []string {
	t.Helper()
	var users []string
	for j := range n {
		u := fmt.Sprintf("user-%d", j)
		users = append(users, u)
		if _, err := approveAs(t, k, i, u, "mark", custody.Terms{Share: true}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(life)
	return users
}

// trouble makes each later POST end with out, or as it does; nil ends the trouble.
func trouble(i *issuer, out *tokenwire.Outcome) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.disturb = nil
	if out != nil {
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome { return *out }
	}
}

// atOnce asks for the tokens of all users at the same time, and returns the results.
func atOnce(t *testing.T, k *custody.Keeper, users []string) map[string]error {
	t.Helper()
	told := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, u := range users {
		wg.Go(func() {
			_, err := k.Token(t.Context(), u)
			mu.Lock()
			defer mu.Unlock()
			told[u] = err
		})
	}
	wg.Wait()
	return told
}

// wantHeldBack checks that nobody gets a token, because the application is refused,
// and returns the last RetryAfter.
func wantHeldBack(t *testing.T, k *custody.Keeper, users []string, status int) time.Duration {
	t.Helper()
	var wait *custody.WaitError
	for _, u := range users {
		if _, err := k.Token(t.Context(), u); !errors.As(err, &wait) || wait.Reason != custody.WaitAppWide || wait.Status != status {
			t.Fatalf("%s: %v", u, err)
		}
	}
	return wait.RetryAfter
}

// S37, S48: two links are refused for the application: the requests of all links
// stop, for as long as the server asks. One alone stops only its own for so long,
// and the others for a moment, until the next one finds out. Then one at a time
// finds out whether the trouble has ended.
func TestBreakerKeepsEverybodyAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		k := keeper(t, tokenstore.NewMemory(), i)
		users := many(t, k, i, 50)
		trouble(i, &tokenwire.Outcome{Class: tokenwire.AppWide, Status: 429, RetryAfter: 20 * time.Second})

		if wait := wantHeldBack(t, k, users, 429); wait > 2*time.Second {
			t.Errorf("RetryAfter is %v after the refusal of one link", wait)
		}
		wantPosts(t, i, 1)
		time.Sleep(2 * time.Second)
		wantHeldBack(t, k, users, 429)
		wantPosts(t, i, 2) // a second link was refused too
		var wait time.Duration
		for range 15 {
			time.Sleep(time.Second)
			wait = wantHeldBack(t, k, users, 429)
		}
		wantPosts(t, i, 2)
		if wait < time.Second || wait > 6*time.Second {
			t.Errorf("RetryAfter is %v, five seconds before the end", wait)
		}
		if held := k.Health().HeldBack; held == nil || held.Status != 429 {
			t.Errorf("Health is %v", held)
		}

		// The trouble continues: one probe after each back-off. A probe of a link
		// that was refused before holds no other back: then there are two.
		trouble(i, &tokenwire.Outcome{Class: tokenwire.AppWide, Status: 401, Code: "invalid_client"})
		time.Sleep(6 * time.Second)
		i.slow(time.Second)
		atOnce(t, k, users)
		if posts, reuses := i.count(); posts < 3 || posts > 4 || reuses != 0 {
			t.Errorf("%d POSTs and %d reused tokens, want one probe more", posts, reuses)
		}

		// The trouble ends: the first success lets everybody in.
		trouble(i, nil)
		time.Sleep(2 * time.Minute)
		if _, err := k.Token(t.Context(), users[0]); err != nil {
			t.Fatal(err)
		}
		for u, err := range atOnce(t, k, users) {
			if err != nil {
				t.Errorf("%s, after the trouble: %v", u, err)
			}
		}
		if held := k.Health().HeldBack; held != nil {
			t.Errorf("Health is %v", held)
		}
	})
}

// Many requests that were under way when the trouble began are one trouble: the
// pause after them is as short as after one.
func TestBreakerCountsATroubleOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		k := keeper(t, tokenstore.NewMemory(), i)
		users := many(t, k, i, 17)
		trouble(i, &tokenwire.Outcome{Class: tokenwire.AppWide, Status: 503})
		i.slow(time.Second)
		atOnce(t, k, users[1:])
		wantPosts(t, i, 16) // they were under way
		var wait *custody.WaitError
		if _, err := k.Token(t.Context(), users[0]); !errors.As(err, &wait) || wait.RetryAfter > 2*time.Second {
			t.Errorf("Token: %v, to wait %v", err, wait.RetryAfter)
		}
	})
}

// S38: an outage of hours makes few links uncertain, and loses none.
func TestBreakerSparesLinksInAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		k := keeper(t, tokenstore.NewMemory(), i)
		users := many(t, k, i, atMost(50, 20))
		trouble(i, &tokenwire.Outcome{Class: tokenwire.Ambiguous, Status: 503})
		for range 4 * 60 {
			for _, u := range users {
				if _, err := k.Token(t.Context(), u); err == nil {
					t.Fatal("a token in the outage")
				}
			}
			time.Sleep(time.Minute)
		}
		if posts, _ := i.count(); posts > 4*60+10 {
			t.Errorf("%d POSTs in four hours, for one probe a minute", posts)
		}
		uncertain := 0
		for _, u := range users {
			r, err := k.Look(t.Context(), u)
			if err != nil || r.State == tokenstore.StateRelinkRequired {
				t.Fatalf("%s, %v", r.State, err)
			}
			if r.State == tokenstore.StateUncertain {
				uncertain++
			}
		}
		t.Logf("%d of %d links were made uncertain", uncertain, len(users))
		trouble(i, nil)
		time.Sleep(15 * time.Minute)
		for _, u := range users {
			if _, err := k.Token(t.Context(), u); err != nil {
				t.Errorf("after the outage: %v", err)
			}
		}
		if got := k.Stats(); got.Events[custody.Refreshed] != uint64(len(users)) || len(got.Lost) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// S08, and the memory of cold users: unknown users leave nothing behind, and a
// refresh is still one.
func TestIdleEntriesAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		for j := range atMost(20_000, 4000) {
			if _, err := k.Token(t.Context(), fmt.Sprintf("stranger-%d", j)); !errors.Is(err, custody.ErrNoLink) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := k.Known(); n != 0 {
			t.Errorf("%d strangers are remembered", n)
		}
		wantToken(t, k, link(t, k, i))
		time.Sleep(life)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { wantToken(t, k, "access-2") })
		}
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// Losses are counted by cause.
func TestStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k := keeper(t, store, i)
		link(t, k, i)
		first := token(t, k)
		for range 2 {
			if err := k.Lose(t.Context(), user, first, sessionExpired); err != nil {
				t.Fatal(err)
			}
		}
		if got := k.Stats(); got.Lost[sessionExpired] != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// S11: the POST takes longer than the life of the lease: it is renewed, and
// nobody else takes it.
func TestLeaseIsRenewedDuringASlowPost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, store := newIssuer(), tokenstore.NewMemory()
		k, other := keeper(t, store, i), keeper(t, store, i)
		link(t, k, i)
		time.Sleep(life)
		i.slow(19 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { wantToken(t, k, "access-2") })
		time.Sleep(time.Second)
		taken := record(t, store).Lease
		time.Sleep(16 * time.Second)
		renewed := record(t, store).Lease
		if renewed.Owner != taken.Owner || renewed.Beat != taken.Beat+4 || !renewed.TakenAt.Equal(taken.TakenAt) {
			t.Errorf("lease %+v became %+v, want four beats more", taken, renewed)
		}
		wantToken(t, other, "access-2")
		wg.Wait()
		wantPosts(t, i, 1)
	})
}

// breaker drives a core.Breaker as a process does.
type breaker struct {
	t *testing.T
	core.Breaker
	now time.Duration
}

func (b *breaker) enter(link string) (time.Duration, bool) {
	next, wait, ok := b.Enter(link, b.now)
	b.Breaker = next
	return wait, ok
}

func (b *breaker) leave(link string, l core.Left) (suspicious bool) {
	b.Breaker, suspicious = b.Leave(link, b.now, l)
	return suspicious
}

// ask presents a token of link, with an outcome.
func (b *breaker) ask(link string, o core.Outcome) {
	b.t.Helper()
	if wait, ok := b.enter(link); !ok {
		b.t.Fatalf("at %v: %s may not ask for %v", b.now, link, wait)
	}
	b.leave(link, core.Left{Outcome: o, Untried: true})
}

// waits checks how long link may not ask.
func (b *breaker) waits(link string, want time.Duration) {
	b.t.Helper()
	if wait, ok := b.enter(link); ok || wait != want {
		b.t.Fatalf("at %v: %s may ask: %v, after %v; want it to wait %v", b.now, link, ok, wait, want)
	}
}

// S37, S38: three different links that fail in a row open the breaker, however
// they fail; one link, whatever is wrong with it, never does.
func TestBreakerCountsLinks(t *testing.T) {
	for _, o := range []core.Outcome{core.Lost, core.Unsent, core.Unclear} {
		t.Run(o.String(), func(t *testing.T) {
			b := &breaker{t: t}
			for range 100 {
				b.ask("sick", o)
				b.ask("sick too", o)
			}
			b.ask("well", core.OK)
			b.ask("sick", o)
			b.ask("sick too", o)
			if b.Open() {
				t.Fatal("two links opened it")
			}
			b.ask("a third", o)
			b.waits("anybody", time.Second)
		})
	}
	for _, o := range []core.Outcome{core.OK, core.Rejected, core.Unread, core.Misfit} {
		t.Run(o.String()+" closes it", func(t *testing.T) {
			b := &breaker{t: t}
			for _, link := range []string{"a", "b", "c"} {
				b.ask(link, core.Lost)
			}
			b.now += time.Second
			b.ask("d", o)
			if b.Open() {
				t.Error("it is open")
			}
			b.ask("a", core.Lost) // and it counts from the start
			b.ask("b", core.Lost)
			if b.Open() {
				t.Error("two links opened it")
			}
		})
	}
}

// S48: while it is open, one link at a time asks; each failed probe doubles the
// wait, from a second to a minute. A request that was sent before it opened is no
// more trouble.
func TestBreakerProbes(t *testing.T) {
	b := &breaker{t: t}
	for _, link := range []string{"a", "b", "c", "late"} {
		if _, ok := b.enter(link); !ok {
			t.Fatalf("%s may not ask", link)
		}
	}
	for _, link := range []string{"a", "b", "c", "late"} {
		b.leave(link, core.Left{Outcome: core.Lost})
	}
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		off := time.Duration(seconds) * time.Second
		b.waits("d", off)
		b.now += off
		if _, ok := b.enter("d"); !ok {
			t.Fatalf("after %v there is no probe", off)
		}
		b.waits("e", time.Second) // a probe is under way
		b.leave("d", core.Left{Outcome: core.Lost})
	}
	b.now += time.Minute
	if _, ok := b.enter("d"); !ok {
		t.Fatal("there is no probe")
	}
	b.Breaker = b.Withdraw("d") // it presented nothing
	b.ask("e", core.OK)
	if b.Open() {
		t.Error("a success leaves it open")
	}
}

// S37: a refusal of the application stops everybody at once: for a moment, until a
// second link is refused too; then for as long as the server asks. The link that was
// refused first waits for that long in any case.
func TestBreakerOfARefusedApplication(t *testing.T) {
	b := &breaker{t: t}
	b.enter("a")
	b.leave("a", core.Left{Outcome: core.AppWide, RetryAfter: 40 * time.Second})
	b.waits("a", 40*time.Second)
	b.waits("b", time.Second)
	b.now += time.Second
	b.enter("b")
	b.leave("b", core.Left{Outcome: core.AppWide, RetryAfter: 5 * time.Second})
	b.waits("a", 39*time.Second)
	b.waits("c", 39*time.Second)
	b.now += 39 * time.Second
	b.ask("c", core.OK)
	if b.Open() {
		t.Error("it is open")
	}

	// The other one is served: only the one link was refused.
	b.enter("a")
	b.leave("a", core.Left{Outcome: core.AppWide, RetryAfter: time.Hour})
	b.now += time.Second
	b.ask("b", core.OK)
	if b.Open() {
		t.Error("one link keeps it open")
	}
}

// S49: five different links whose tokens were never presented before are rejected in
// a row: the store may hold old tokens, and one token a minute finds out, for half
// an hour.
func TestBreakerSuspectsTheStore(t *testing.T) {
	b := &breaker{t: t}
	reject := func(link string, untried bool) bool {
		t.Helper()
		if wait, ok := b.enter(link); !ok {
			t.Fatalf("%s may not ask for %v", link, wait)
		}
		return b.leave(link, core.Left{Outcome: core.Rejected, Untried: untried})
	}
	for n := range 4 {
		for range 3 { // the same link again is no news
			if reject(fmt.Sprint(n), true) {
				t.Fatalf("%d links are suspicious", n+1)
			}
		}
	}
	if reject("explained", false) || b.Open() {
		t.Fatal("a rejection that is explained counts")
	}
	if !reject("5", true) {
		t.Fatal("five links are not suspicious")
	}
	for n := range 29 {
		b.waits("next", time.Minute)
		b.now += time.Minute
		if reject(fmt.Sprint("next ", n), true) {
			t.Fatal("suspicious a second time")
		}
	}
	b.now += time.Minute
	reject("the last", true)
	if b.Open() {
		t.Error("it is open after half an hour")
	}
	for n := range 5 {
		reject(fmt.Sprint(n), true)
	}
	b.now += time.Minute
	b.ask("well", core.OK)
	if b.Open() {
		t.Error("an accepted token leaves it open")
	}
}

// A refusal with an unrecognized error ends a link only while the server serves
// nearly everybody else; one of the application, while the application is served, is
// about the link.
func TestEvidence(t *testing.T) {
	for _, tc := range []struct {
		sick, well int
		few        bool
	}{{1, 0, true}, {2, 0, true}, {3, 29, false}, {3, 30, true}, {500, 500, false}} {
		if got := (core.Evidence{Sick: tc.sick, Well: tc.well}).Few(); got != tc.few {
			t.Errorf("%d sick, %d well: few is %v", tc.sick, tc.well, got)
		}
	}
	if got := (core.Evidence{AppWide: true, Witnessed: true}).Meaning(core.AppWide); got != core.Unclear {
		t.Errorf("the application is refused for one link, and served for another: %v", got)
	}
	for _, e := range []core.Evidence{{}, {AppWide: true}, {Witnessed: true}} {
		if got := e.Meaning(core.AppWide); got != core.AppWide {
			t.Errorf("%+v: %v", e, got)
		}
	}
}
