// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

// sick makes the server refuse some sessions with a response of its own.
func sick(words reply, sessions ...string) func(context.Context, question, func() reply) (reply, error) {
	ill := map[string]bool{}
	for _, s := range sessions {
		ill[s] = true
	}
	return func(_ context.Context, q question, serve func() reply) (reply, error) {
		if q.refresh && ill[q.session] {
			return words, nil
		}
		return serve(), nil
	}
}

// joinAll links so many users, each with a session of its own name.
func (w *town) joinAll(t *testing.T, k *custody.Keeper, n int) (users []string) {
	t.Helper()
	for i := range n {
		u := fmt.Sprintf("user-%03d", i+100)
		w.joins(t, k, u, u)
		users = append(users, u)
	}
	return users
}

// Users call in any order, and some of their links are refused with an unrecognized
// error: that holds back no other link, and ends those, unless they are more than
// one of ten.
func TestSickLinksAmongMany(t *testing.T) {
	t.Parallel()
	said := []reply{{status: 400}, refusal(401, "unauthorized"), page(403, "blocked")}
	for _, words := range said[:atMost(len(said), 1)] { // a race is one whatever the words
		all := atMost(100, 40)
		for _, ill := range []int{1, 2, all / 12, all / 8} {
			t.Run(fmt.Sprintf("%d %q, %d of %d", words.status, words.body[:min(12, len(words.body))], ill, all), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					r := rand.New(rand.NewPCG(7, uint64(ill)))
					k := w.replica(t, s)
					users := w.joinAll(t, k, all)
					w.disturb(sick(words, users[:ill]...))
					dead := map[string]bool{}
					for _, u := range users[:ill] {
						dead[u] = true
					}
					order := append([]string(nil), users...)
					calls, failed := 0, 0
					var last error
					for range 120 * 12 {
						r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
						for _, u := range order[:all/8] { // each calls every 40 seconds or so
							_, err := k.Token(t.Context(), u)
							if dead[u] {
								continue
							}
							if calls++; err != nil {
								failed, last = failed+1, err
							}
						}
						time.Sleep(5 * time.Second)
					}
					ended := 0
					for _, u := range users[:ill] {
						if row, err := k.Look(t.Context(), u); err == nil && row.Cause == string(custody.RefusedUnclear) {
							ended++
						}
					}
					want := ill
					if ill == all/8 {
						want = 0 // so many at the same time may be the server
					}
					if failed > 0 || ended != want {
						t.Errorf("%d of %d calls of the others were refused, such as with: %v; %d of %d links have ended", failed, calls, last, ended, ill)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// Links that are refused again and again are no news of the server, however many
// there are: they do not open the breaker, and while it is open they hold back
// nobody but each other.
func TestLinksThatFailAgainAreNoNews(t *testing.T) {
	var b core.Breaker
	now := time.Duration(0)
	sick := []string{"a", "b", "c", "d", "e"}
	for range 50 {
		for _, link := range sick {
			next, _, ok := b.Reenter(link, now)
			if !ok {
				t.Fatalf("at %v %s may not ask", now, link)
			}
			b, _ = next.Leave(link, now, core.Left{Outcome: core.Unclear, Again: true})
		}
		if b.Open() {
			t.Fatal("they open it")
		}
	}
	for _, link := range sick { // the first one
		b, _ = b.Leave(link, now, core.Left{Outcome: core.Unclear})
	}
	if _, wait, ok := b.Enter("well", now); ok || wait > time.Second {
		t.Fatalf("three links that fail for the first time do not open it: %v", wait)
	}
	now += time.Second
	for range 50 {
		next, wait, ok := b.Reenter("a", now)
		if !ok {
			now += wait
			continue
		}
		if _, _, ok := next.Enter("well", now); !ok {
			t.Fatalf("at %v a link that is well waits for one that fails again", now)
		}
		b, _ = next.Leave("a", now, core.Left{Outcome: core.Unclear, Again: true})
		if _, wait, ok := b.Enter("well", now); !ok {
			t.Fatalf("at %v a link that is well waits %v", now, wait)
		}
	}
	next, _, _ := b.Enter("well", now)
	if next, _ = next.Leave("well", now, core.Left{Outcome: core.OK}); next.Open() {
		t.Error("a success leaves it open")
	}
}

// A job goes over all users, whose tokens have all expired: no refused link holds it
// back, whatever the response.
func TestJobOverAllUsers(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]reply{
		"nothing": {status: 400}, "a page": page(404, "not found"), "503 for this one": {status: 503}, "an empty success": {status: 200},
		"the application": refusal(401, "invalid_client"), "too many": with(reply{status: 429}, "Retry-After", "300"),
	} {
		for _, at := range []int{0, 38, 20}[:atMost(3, 2)] {
			t.Run(fmt.Sprintf("%s, at %d", name, at), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					k := w.replica(t, s)
					users := w.joinAll(t, k, 40)
					w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
						time.Sleep(300 * time.Millisecond)
						if q.refresh && q.session == users[at] {
							return words, nil
						}
						return serve(), nil
					})
					for night := range 2 {
						time.Sleep(24 * time.Hour)
						held := 0
						for i, u := range users {
							_, err := k.Token(t.Context(), u)
							if wait, ok := errors.AsType[*custody.WaitError](err); i != at && ok && wait.Reason == custody.WaitAppWide {
								// A refusal of everybody is believed for a second.
								held++
								time.Sleep(2 * time.Second)
								_, err = k.Token(t.Context(), u)
							}
							if i != at && err != nil {
								t.Errorf("night %d, the user at %d: %v", night, i, err)
							}
						}
						if held > 1 {
							t.Errorf("night %d: %d users had to come again", night, held)
						}
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// One sick link is asked for every second, the others three times a minute: whatever
// the response, no call of theirs is refused.
func TestSickLinkThatIsAskedForAllTheTime(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]reply{
		"unknown words": {status: 400}, "500 for this session": {status: 500}, "a page": page(200, "sign in"), "no response": {},
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				k := w.replica(t, s)
				users := w.joinAll(t, k, 21)
				w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
					if !q.refresh || q.session != users[0] {
						return serve(), nil
					}
					if words.status == 0 {
						return reply{}, errBroken
					}
					return words, nil
				})
				calls, failed := 0, 0
				for second := range atMost(2*60*60, 30*60) {
					_, _ = k.Token(t.Context(), users[0])
					calls++
					if _, err := k.Token(t.Context(), users[1+second%20]); err != nil {
						failed++
					}
					time.Sleep(time.Second)
				}
				if failed > 0 {
					t.Errorf("%d of %d calls were refused", failed, calls)
				}
				if n := w.posts(users[0]); n > 30 {
					t.Errorf("the sick one was presented %d times", n)
				}
			})
		})
	}
}

// Where nobody else is served there is no evidence: no link ends, the host gets an
// event, the token is presented ever less often, and the link works as soon as the
// server accepts it.
func TestUnknownWordsWithoutAWitness(t *testing.T) {
	t.Parallel()
	for _, links := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d links", links), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				var said tells
				k := w.replica(t, s, said.config)
				users := w.joinAll(t, k, links)
				w.disturb(sick(reply{status: 400}, users...))
				time.Sleep(life)
				for range 24 * 60 {
					for _, u := range users {
						if _, err := k.Token(t.Context(), u); isLost(err) {
							t.Fatalf("a link has ended: %v", err)
						}
					}
					time.Sleep(time.Minute)
				}
				for _, u := range users {
					if wait := wantLater(t, k, u, custody.WaitUnclear); wait.RetryAfter <= 0 || wait.RetryAfter > 15*time.Minute {
						t.Errorf("RetryAfter is %v", wait.RetryAfter)
					}
					if n := w.posts(u); n < 90 || n > 110 {
						t.Errorf("presented %d times in a day", n)
					}
				}
				if said.count(custody.AppTrouble) == 0 || said.count(custody.RelinkRequired) != 0 {
					t.Errorf("events: %v", said.counts())
				}
				w.disturb(nil)
				time.Sleep(16 * time.Minute)
				for _, u := range users {
					wantServed(t, k, u, u)
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A new authorization helps at once: the old session's refusals do not carry over.
func TestUnknownWordsAndANewAuthorization(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		k := w.replica(t, s)
		w.joins(t, k, user, "once")
		w.disturb(sick(reply{status: 400}, "once"))
		time.Sleep(life)
		for range 30 {
			_, _ = k.Token(t.Context(), user)
			time.Sleep(time.Minute)
		}
		w.joins(t, k, user, "anew")
		wantServed(t, k, user, "anew")
		time.Sleep(life)
		wantServed(t, k, user, "anew")
		if r := recordOf(t, s, user); custody.Show(r).Refusals != 0 || r.State != tokenstore.StateLinked {
			t.Errorf("%s, refused %d times", r.State, custody.Show(r).Refusals)
		}
	})
}

// The verdict after unrecognized errors is provisional: the token is presented once
// more every six hours, and a server that accepts it restores the link, in any
// process.
func TestUnknownWordsAreAskedAboutAgain(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				k := w.replica(t, s)
				users := w.joinAll(t, k, atMost(20, 12))
				w.disturb(sick(reply{status: 400}, users[0]))
				calls := func(k *custody.Keeper, hours int, every time.Duration) {
					for range time.Duration(hours) * time.Hour / every {
						for _, u := range users {
							_, _ = k.Token(t.Context(), u)
						}
						time.Sleep(every)
					}
				}
				calls(k, 2, time.Minute)
				wantEnded(t, k, users[0], custody.RefusedUnclear)
				before := w.posts(users[0])
				if restarted {
					k = w.replica(t, s)
				}
				calls(k, 24, time.Duration(atMost(5, 10))*time.Minute)
				if n := w.posts(users[0]) - before; n < 3 || n > 4 {
					t.Errorf("presented %d times in a day", n)
				}
				w.disturb(nil)
				calls(k, 7, time.Duration(atMost(5, 10))*time.Minute)
				wantServed(t, k, users[0], users[0])
				if r := recordOf(t, s, users[0]); r.State != tokenstore.StateLinked || r.Cause != "" || custody.Show(r).Refusals != 0 {
					t.Errorf("%s (%s), refused %d times", r.State, r.Cause, custody.Show(r).Refusals)
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// Refusals are counted in the record: six of them may be six processes', none of
// which has seen more than one or two.
func TestUnknownWordsAreCountedAcrossProcesses(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var ks []*custody.Keeper
		for range 6 {
			ks = append(ks, w.replica(t, s))
		}
		users := w.joinAll(t, ks[0], 60)
		w.disturb(sick(reply{status: 400}, users[0]))
		began := time.Now()
		for minute := 0; ; minute++ {
			for i, u := range users[1:] {
				if _, err := ks[(i+minute)%6].Present(t.Context(), u); err != nil {
					t.Fatalf("another link: %v", err)
				}
			}
			if _, err := ks[minute%6].Present(t.Context(), users[0]); isLost(err) {
				break
			}
			if minute > 24*60 {
				t.Fatal("a day later it still has not ended")
			}
			time.Sleep(time.Minute)
		}
		if took := time.Since(began); took < life+15*time.Minute {
			t.Errorf("it ended after %v", took)
		}
		wantEnded(t, ks[0], users[0], custody.RefusedUnclear)
	})
}

// A server that refuses another link, too, and accepts it a moment later, proves
// little about the one that it always refuses: that one does not end for it, and
// ends when the other one is well for an hour.
func TestUnknownWordsOfAServerThatFlaps(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		k := w.replica(t, s)
		users := w.joinAll(t, k, 2)
		flaps := true
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			if q.refresh && (q.session == users[0] || flaps && q.nth%2 == 1) {
				return reply{status: 400}, nil
			}
			return serve(), nil
		})
		calls := func(hours int) {
			for range hours * 60 * 3 {
				for _, u := range users {
					_, _ = k.Token(t.Context(), u)
				}
				time.Sleep(20 * time.Second)
			}
		}
		calls(6)
		_ = wantLater(t, k, users[0], custody.WaitUnclear)
		flaps = false
		calls(4)
		wantEnded(t, k, users[0], custody.RefusedUnclear)
		wantServed(t, k, users[1], users[1])
	})
}

// A link that was refused a few times and then accepted counts anew.
func TestRefusalsThatStop(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		k := w.replica(t, s)
		users := w.joinAll(t, k, atMost(20, 8))
		var bad atomic.Int32
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			if q.refresh && q.session == users[0] {
				if bad.Add(1)%5 != 0 { // four refusals, a success, four refusals
					return reply{status: 400}, nil
				}
			}
			return serve(), nil
		})
		for range 12 * 60 {
			for _, u := range users {
				if _, err := k.Token(t.Context(), u); isLost(err) {
					t.Fatalf("%s has ended: %v", u, err)
				}
			}
			time.Sleep(time.Minute)
		}
		if n := bad.Load(); n < 50 {
			t.Errorf("refused and taken only %d times", n)
		}
		w.wantNoneAgain(t)
	})
}

// The application is refused for everybody: no link ends, one link at a time asks,
// and all work within minutes of the repair.
func TestApplicationIsRefusedForEverybody(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]reply{
		"invalid_client": refusal(401, "invalid_client"), "429": {status: 429}, "429 for a minute": with(reply{status: 429}, "Retry-After", "60"),
		"unknown words": {status: 403}, "503": {status: 503}, "a page": page(200, "maintenance"),
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				var said tells
				k := w.replica(t, s, said.config)
				users := w.joinAll(t, k, atMost(20, 8))
				time.Sleep(life)
				var posts atomic.Int32
				w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
					if q.refresh {
						posts.Add(1)
						return words, nil
					}
					return serve(), nil
				})
				for range 2 * 60 {
					for _, u := range users {
						if _, err := k.Token(t.Context(), u); err == nil || isLost(err) {
							t.Fatalf("in the trouble: %v", err)
						}
					}
					time.Sleep(time.Minute)
				}
				if n := int(posts.Load()); n > 2*60+2*len(users) {
					t.Errorf("%d POSTs in 2 hours", n)
				}
				w.disturb(nil)
				for range 20 {
					for _, u := range users {
						_, _ = k.Token(t.Context(), u)
					}
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				for _, u := range users {
					wantServed(t, k, u, u)
				}
				if said.count(custody.RelinkRequired) != 0 {
					t.Errorf("events: %v", said.counts())
				}
				w.wantNoneAgain(t)
			})
		})
	}
}

// A code of an ended session in a response where none is believed causes one more
// look, and ends no link.
func TestCodeWhereNoneIsBelieved(t *testing.T) {
	for name, words := range map[string]reply{
		"503": refusal(503, "API_SESSION_EXPIRED"), "502, a page": page(502, "API_SESSION_EXPIRED"), "404, a page": page(404, "API_SESSION_EXPIRED"),
		"200, a page": page(200, "API_SESSION_EXPIRED"), "500, invalid_grant": refusal(500, "invalid_grant"), "503, invalid_grant": refusal(503, "invalid_grant"),
	} {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, early=%v", name, early), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					k := w.replica(t, s)
					w.joins(t, k, user, "once")
					wantServed(t, k, user, "once")
					w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
						if q.refresh && q.nth == 1 {
							return words, nil
						}
						return serve(), nil
					})
					if early {
						time.Sleep(life * 86 / 100)
					} else {
						time.Sleep(life)
					}
					for range 20 {
						if _, err := k.Present(t.Context(), user); isLost(err) {
							t.Fatal(err)
						}
						time.Sleep(30 * time.Second)
					}
					if token := wantServed(t, k, user, "once"); token.Pair.Seq < 2 {
						t.Errorf("a token of %v", token.Pair)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}
