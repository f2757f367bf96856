// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// atMost returns how many of something a simulation has: fewer where time is short.
func atMost(all, short int) int {
	if testing.Short() || raced {
		return short
	}
	return all
}

// crowd is the results of callers of many links.
type crowd struct {
	mu            sync.Mutex
	calls, failed int
	ended         map[string]error
	last          error
	since         map[string]time.Time // the latest token of a user, or the first call
	longest       time.Duration        // that a user was without one
	whose         string
}

func newCrowd() *crowd { return &crowd{ended: map[string]error{}, since: map[string]time.Time{}} }

// heard records the result of a call.
func (c *crowd) heard(who string, began time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.since[who].IsZero() {
		c.since[who] = began
	}
	if err == nil {
		c.since[who] = time.Now()
		return
	}
	c.failed, c.last = c.failed+1, err
	if isLost(err) {
		c.ended[who] = err
	}
	if without := time.Since(c.since[who]); without > c.longest {
		c.longest, c.whose = without, who
	}
}

// joinEach links so many users, each with a session of its name, some time apart.
func joinEach(t *testing.T, w *town, k *custody.Keeper, n int, apart ...time.Duration) []string {
	t.Helper()
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("user-%04d", i)
		w.joins(t, k, users[i], users[i])
		for _, d := range apart {
			time.Sleep(d)
		}
	}
	return users
}

// call lets users call until a time, each every two minutes or so.
func (c *crowd) call(wg *sync.WaitGroup, k *custody.Keeper, users []string, every time.Duration, until time.Time) {
	for i, u := range users {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			time.Sleep(time.Duration(r.Int64N(int64(every))))
			for time.Now().Before(until) {
				began := time.Now()
				_, err := k.Token(context.Background(), u)
				c.heard(u, began, err)
				time.Sleep(every*3/4 + time.Duration(r.Int64N(int64(every/2))))
			}
		})
	}
}

// allServed checks that every link works, or does within a while.
func allServed(t *testing.T, w *town, k *custody.Keeper, users []string, within time.Duration) {
	t.Helper()
	began := time.Now()
	left := users
	for len(left) > 0 && time.Since(began) < within {
		var again []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, u := range left {
			wg.Go(func() {
				if _, err := k.Token(t.Context(), u); err != nil {
					mu.Lock()
					again = append(again, u)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		left = again
		time.Sleep(30 * time.Second)
	}
	if len(left) > 0 {
		_, err := k.Token(t.Context(), left[0])
		t.Errorf("%v later %d of %d links do not work: %v", within, len(left), len(users), err)
	}
	w.wantNoneAgain(t)
}

// Half of all links are refused with an unrecognized error for two hours, as by a
// server of which one of two nodes is broken. The server is at fault: nobody's link
// ends, none of the other half is without a token for long, and all work soon after the
// repair.
func TestHalfOfAllLinksAreRefusedForHours(t *testing.T) {
	t.Parallel()
	type half struct {
		words reply
		links int
	}
	all := []half{
		{reply{status: 400}, atMost(1000, 60)},
		{reply{status: 503}, atMost(100, 40)},
		{reply{status: 429}, atMost(100, 40)},
		{refusal(401, "invalid_client"), atMost(100, 40)},
	}
	for _, c := range all[:atMost(len(all), 2)] { // a race is one whatever the words
		t.Run(fmt.Sprintf("%d, %d links", c.words.status, c.links), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) { halfRefused(t, w, s, c.words, c.links) })
		})
	}
}

// A quarter of all links is refused with an unrecognized error for three hours, and
// the users are spread over so many processes that each sees two or three of the
// refused links be refused. Nobody's link ends: the records tell each process of the
// others.
func TestRefusedLinksAreSpreadOverManyProcesses(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		const processes, links = 12, 50
		var said tells
		var all []*custody.Keeper
		for range processes {
			all = append(all, w.replica(t, s, said.config))
		}
		users := joinEach(t, w, all[0], links, life/links)
		refused := map[string]bool{}
		for i, u := range users {
			refused[u] = i%4 == 0
		}
		broken := time.Now().Add(20 * time.Minute)
		repaired := broken.Add(3 * time.Hour)
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			if now := time.Now(); q.refresh && refused[q.session] && now.After(broken) && now.Before(repaired) {
				return reply{status: 400}, nil
			}
			return serve(), nil
		})
		var wg sync.WaitGroup
		for i, u := range users {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(7, uint64(i)))
				for time.Now().Before(repaired) {
					time.Sleep(time.Minute + time.Duration(r.Int64N(int64(6*time.Minute))))
					_, _ = all[r.IntN(processes)].Token(context.Background(), u)
				}
			})
		}
		wg.Wait()
		if n := said.count(custody.RelinkRequired); n > 0 {
			t.Errorf("%d of %d refused links have ended", n, links/4)
		}
		allServed(t, w, all[0], users, time.Hour)
	})
}

func halfRefused(t *testing.T, w *town, s *tokenstore.Memory, words reply, links int) {
	var said tells
	k := w.replica(t, s, said.config)
	users := joinEach(t, w, k, links, life/time.Duration(links))
	half := map[string]bool{}
	for i, u := range users {
		half[u] = i%2 == 0
	}
	broken := time.Now().Add(20 * time.Minute)
	repaired := broken.Add(2 * time.Hour)
	w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
		if now := time.Now(); q.refresh && half[q.session] && now.After(broken) && now.Before(repaired) {
			return words, nil
		}
		return serve(), nil
	})
	sound, broke := newCrowd(), newCrowd()
	var wg sync.WaitGroup
	for i, c := range []*crowd{broke, sound} {
		var mine []string
		for j := i; j < len(users); j += 2 {
			mine = append(mine, users[j])
		}
		c.call(&wg, k, mine, 2*time.Minute, repaired)
	}
	wg.Wait()
	t.Logf("of the calls of the half that is refused %d of %d failed, of the others' %d of %d (%v), nobody of them without a token for more than %v",
		broke.failed, broke.calls, sound.failed, sound.calls, sound.last, sound.longest)
	if n := len(broke.ended) + len(sound.ended); n > 0 || said.count(custody.RelinkRequired) > 0 {
		t.Errorf("%d links have ended", n)
	}
	// Before it is known which links are refused, each may be the one that finds out
	// whether the server is well, and the others wait for it.
	if sound.failed > sound.calls/25 || sound.longest > 20*time.Minute {
		t.Errorf("%d of %d calls of the others failed, and %s was without a token for %v", sound.failed, sound.calls, sound.whose, sound.longest)
	}
	allServed(t, w, k, users, 20*time.Minute)
}

// Each second request is refused with an unrecognized error, at random, for eight
// hours: nobody's link ends.
func TestEachSecondRequestIsRefused(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var said tells
		k := w.replica(t, s, said.config)
		users := joinEach(t, w, k, atMost(200, 16))
		var mu sync.Mutex
		r := rand.New(rand.NewPCG(7, 8))
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			mu.Lock()
			no := q.refresh && r.IntN(2) == 0
			mu.Unlock()
			if no {
				return reply{status: 403}, nil
			}
			return serve(), nil
		})
		c := newCrowd()
		var wg sync.WaitGroup
		c.call(&wg, k, users, 2*time.Minute, time.Now().Add(8*time.Hour))
		wg.Wait()
		t.Logf("%d links: %d of %d calls failed, nobody was without a token for more than %v", len(users), c.failed, c.calls, c.longest)
		if len(c.ended) > 0 || said.count(custody.RelinkRequired) > 0 {
			t.Errorf("%d of %d links have ended", len(c.ended), len(users))
		}
		w.disturb(nil)
		allServed(t, w, k, users, 20*time.Minute)
	})
}

// Saves take long, up to longer than a lease lasts: up to a few seconds every caller
// gets a token in bounded time; beyond that callers get the store's error. No link
// is lost by it, and all work when the store recovers.
func TestStoreWhoseSavesTakeLong(t *testing.T) {
	t.Parallel()
	const tenth = 100 * time.Millisecond
	for _, c := range []struct {
		from, to time.Duration
		post     time.Duration
		timeout  time.Duration // of a save
		lands    bool          // a save that is not waited for is done all the same
		bound    time.Duration // on how long a user is without a token
	}{
		{from: tenth, to: tenth, bound: 10 * time.Second},
		{from: 5 * tenth, to: 5 * tenth, post: 10 * time.Second, bound: 10 * time.Second},
		{from: 2 * time.Second, to: 2 * time.Second, post: 10 * time.Second, bound: 30 * time.Second},
		{from: 4 * time.Second, to: 6 * time.Second, post: 20 * time.Second, bound: time.Minute},
		{from: 6 * time.Second, to: 6 * time.Second, post: 20 * time.Second, bound: time.Minute},
		{from: tenth, to: 9 * time.Second, post: 2 * time.Second, bound: 10 * time.Minute},
		{from: 9 * time.Second, to: 9 * time.Second, post: time.Second},
		{from: tenth, to: 20 * time.Second, post: 2 * time.Second, timeout: 30 * time.Second, bound: 20 * time.Minute},
		{from: tenth, to: 20 * time.Second, post: 2 * time.Second, lands: true, bound: 20 * time.Minute},
		{from: 20 * time.Second, to: 20 * time.Second, post: time.Second, timeout: 30 * time.Second},
	} {
		t.Run(fmt.Sprintf("%v to %v, %v, lands=%v", c.from, c.to, c.post, c.lands), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				slow := &crawling{Memory: s, r: rand.New(rand.NewPCG(7, uint64(c.to))), lands: c.lands}
				patient := func(k *custody.Config) { k.StoreTimeout = c.timeout }
				ks := []*custody.Keeper{w.replica(t, slow, patient), w.replica(t, slow, patient)}
				users := joinEach(t, w, ks[0], atMost(10, 3))
				w.disturb(slowly(true, c.post))
				slow.set(c.from, c.to)
				long := time.Duration(atMost(180, 60)) * time.Minute
				if c.bound == 0 {
					long = 30 * time.Minute
				}
				met := newCrowd()
				var wg sync.WaitGroup
				for _, k := range ks {
					met.call(&wg, k, users, time.Minute, time.Now().Add(long))
				}
				wg.Wait()
				t.Logf("%d of %d calls failed; nobody was without a token for more than %v", met.failed, met.calls, met.longest)
				if len(met.ended) > 0 {
					t.Errorf("links have ended: %v", met.ended)
				}
				if c.bound > 0 && met.longest > c.bound {
					t.Errorf("%s was without a token for %v, want %v at most: %v", met.whose, met.longest, c.bound, met.last)
				}
				slow.set(0, 0)
				time.Sleep(2 * time.Minute)
				for _, k := range ks {
					allServed(t, w, k, users, 20*time.Minute)
				}
			})
		})
	}
}

// crawling is a store whose saves take a while.
type crawling struct {
	*tokenstore.Memory
	mu       sync.Mutex
	from, to time.Duration
	r        *rand.Rand
	lands    bool
}

func (c *crawling) set(from, to time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.to = from, to
}

func (c *crawling) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	c.mu.Lock()
	wait := c.from + time.Duration(c.r.Int64N(int64(c.to-c.from)+1))
	c.mu.Unlock()
	time.Sleep(wait)
	if c.lands {
		ctx = context.WithoutCancel(ctx)
	}
	return c.Memory.Save(ctx, r)
}

// A thousand processes work on one store one after the other, ten at a time, and
// each lives for 40 seconds: less than what it takes to watch another one's lease.
// They end properly, with Close. No link ends, and nobody is without a token for
// long.
func TestProcessesThatLiveForSeconds(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		users := joinEach(t, w, w.replica(t, s), 20)
		w.disturb(slowly(true, 1500*time.Millisecond))
		c := newCrowd()
		var wg sync.WaitGroup
		for i := range atMost(1000, 150) {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 4 * time.Second)
				k := w.replica(t, s)
				var calls sync.WaitGroup
				c.call(&calls, k, users, 6*time.Second, time.Now().Add(40*time.Second))
				time.Sleep(40 * time.Second)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				if err := k.Close(ctx); err != nil {
					t.Errorf("Close: %v", err)
				}
				calls.Wait()
			})
		}
		wg.Wait()
		t.Logf("%d calls, %d failed; %s was without a token for %v", c.calls, c.failed, c.whose, c.longest)
		if len(c.ended) > 0 || c.longest > 30*time.Second {
			t.Errorf("ended: %v; %s was without a token for %v: %v", c.ended, c.whose, c.longest, c.last)
		}
		allServed(t, w, w.replica(t, s), users, time.Minute)
	})
}

// A thousand processes are started one after the other, live for 40 seconds, and
// crash: three of them when they have just taken a lease. None can watch it for long
// enough. No link ends for it; the orphaned ones are taken over by a process that
// finds their lease a day old, and the others are served all the time.
func TestProcessesThatCrashWithALease(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		n := atMost(1000, 200)
		apart := 30 * time.Hour / time.Duration(n)
		users := joinEach(t, w, w.replica(t, s), 10)
		w.disturb(slowly(true, 500*time.Millisecond))
		orphaned, served := newCrowd(), newCrowd()
		hit := map[string]bool{}
		for i := range n {
			began := time.Now()
			f := newFaulty(s)
			k := w.replica(t, f)
			f.fault = func(_ int, r tokenstore.Record) fault {
				if r.Lease.Owner != "" && i >= n/50 && i%7 == 0 && len(hit) < 3 && !hit[r.AppUserID] {
					hit[r.AppUserID] = true
					return crash
				}
				return well
			}
			for j, u := range users {
				c := served
				if f.mu.Lock(); hit[u] {
					c = orphaned
				}
				f.mu.Unlock()
				if c == orphaned && i%16 != 5*j%16 { // watching costs much
					continue
				}
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				called := time.Now()
				_, err := k.Token(ctx, u)
				cancel()
				if f.dead() {
					break // a caller of a crashed process asks another one
				}
				c.heard(u, called, err)
			}
			time.Sleep(40*time.Second - time.Since(began)) // what it starts early ends
			f.kill()
			f.end()
			time.Sleep(apart - time.Since(began))
		}
		t.Logf("%d links were orphaned: without a token for %v at most; the %d others: %v", len(hit), orphaned.longest, len(users)-len(hit), served.longest)
		if len(hit) != 3 || orphaned.longest < time.Hour {
			t.Errorf("%v orphaned for %v: the simulation does not do what it says", hit, orphaned.longest)
		}
		if len(orphaned.ended)+len(served.ended) > 0 || orphaned.longest > 27*time.Hour || served.longest > 2*apart+time.Minute {
			t.Errorf("ended: %v %v; without a token: %v, the others %v (%v)", orphaned.ended, served.ended, orphaned.longest, served.longest, served.last)
		}
		allServed(t, w, w.replica(t, s), users, 5*time.Minute)
	})
}
