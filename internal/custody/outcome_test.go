// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// wrapped lets the server accept the token, and puts the response into an unreadable
// wrapper; the first time only.
func wrapped() func(context.Context, question, func() reply) (reply, error) {
	return func(_ context.Context, q question, serve func() reply) (reply, error) {
		r := serve()
		if q.refresh && q.nth == 1 {
			r.body = `{"data":` + r.body + `}`
		}
		return r, nil
	}
}

// A complete response that cannot be read may hold the only successor: it is kept,
// the access token is used until it expires, and the refresh token is never
// presented again, by any process, restarted or not.
func TestUnreadResponseEndsPresenting(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		var said tells
		a, b := w.replica(t, s, said.config), w.replica(t, s, said.config)
		w.joins(t, a, user, "once")
		w.disturb(wrapped())
		for range 27 {
			wantServed(t, a, user, "once")
			wantServed(t, b, user, "once")
			time.Sleep(20 * time.Second)
		}
		if n := w.posts("once"); n != 1 {
			t.Errorf("presented %d times before the access token expired, want once", n)
		}
		if r, err := a.Look(t.Context(), user); err != nil || !r.Unread || r.State != tokenstore.StateUncertain {
			t.Errorf("operators see %s, unread: %v, %v", r.State, r.Unread, err)
		}
		time.Sleep(time.Minute)
		for day := range 30 {
			wantEnded(t, a, user, custody.ResponseUnreadable)
			wantEnded(t, b, user, custody.ResponseUnreadable)
			if day%10 == 0 {
				a = w.replica(t, s)
			}
			time.Sleep(24 * time.Hour)
		}
		if n := w.posts("once"); n != 1 || !w.alive("once") {
			t.Errorf("presented %d times; the session of the kept response works: %v", n, w.alive("once"))
		}
		if said.count(custody.Unreadable) != 1 || said.count(custody.RelinkRequired) > 1 {
			t.Errorf("events: %v", said.counts())
		}
	})
}

// A response that a later version can read, or a host after a repair, brings the
// link back without asking the server: before the link has ended for it and after.
func TestUnreadResponseIsReadLater(t *testing.T) {
	for _, ended := range []bool{false, true} {
		for _, other := range []bool{false, true} {
			t.Run(fmt.Sprintf("ended=%v other=%v", ended, other), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					a := w.replica(t, s)
					w.joins(t, a, user, "once")
					wantServed(t, a, user, "once")
					w.disturb(wrapped())
					time.Sleep(life * 86 / 100)
					wantServed(t, a, user, "once")
					synctest.Wait()
					if ended {
						time.Sleep(life)
						wantEnded(t, a, user, custody.ResponseUnreadable)
					}
					unwrap(t, s, user)
					k := a
					if other {
						k = w.replica(t, s)
					}
					time.Sleep(life)
					token, err := k.Present(t.Context(), user)
					if err != nil || token.Pair.Seq < 2 {
						t.Fatalf("a token of %v, %v", token.Pair, err)
					}
					if r := recordOf(t, s, user); r.State != tokenstore.StateLinked || custody.Show(r).Unread {
						t.Errorf("the link is %s, unread: %v", r.State, custody.Show(r).Unread)
					}
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// unwrap makes the response that a record keeps unread readable, as a version would
// that knows the wrapper.
func unwrap(t *testing.T, s tokenstore.Store, who string) {
	t.Helper()
	ring := &seal.Ring{}
	if err := ring.Add("k1", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	r := recordOf(t, s, who)
	at := seal.Place{Environment: r.Environment, ClientID: r.ClientID, AppUserID: r.AppUserID, Pair: r.Pair, Candidate: r.Candidate}
	plain, err := ring.Open(at, r.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	var body []byte
	var outer struct{ Data json.RawMessage }
	if err := errors.Join(json.Unmarshal(plain, &all), json.Unmarshal(all["unread"], &body), json.Unmarshal(body, &outer)); err != nil {
		t.Fatal(err)
	}
	all["unread"], _ = json.Marshal([]byte(outer.Data))
	plain, _ = json.Marshal(all)
	if r.Sealed, r.KeyID, err = ring.Seal(at, plain); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// After an operator gives such a response up, the token is presented once more: if
// the server had not accepted it the link lives on, and if it had, the cause is the
// unknown outcome.
func TestUnreadResponseIsDiscarded(t *testing.T) {
	for _, took := range []bool{false, true} {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("took=%v ended=%v", took, ended), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					a, b := w.replica(t, s), w.replica(t, s)
					w.joins(t, a, user, "once")
					wantServed(t, a, user, "once")
					w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
						if q.refresh && q.nth == 1 {
							if took {
								serve()
							}
							return text(200, `opaque="`+q.session+`"`), nil
						}
						return serve(), nil
					})
					time.Sleep(life * 86 / 100)
					wantServed(t, a, user, "once")
					synctest.Wait()
					if ended {
						time.Sleep(life)
						wantEnded(t, a, user, custody.ResponseUnreadable)
					}
					if err := b.Discard(t.Context(), user); err != nil {
						t.Fatal(err)
					}
					if err := b.Discard(t.Context(), user); !errors.Is(err, custody.ErrNoLink) {
						t.Errorf("a second time: %v", err)
					}
					if !ended {
						wantServed(t, a, user, "once") // nothing is presented before the access token expires
						synctest.Wait()
						if n := w.posts("once"); n != 1 {
							t.Errorf("presented %d times", n)
						}
					}
					time.Sleep(life)
					for range 20 {
						_, _ = a.Present(t.Context(), user)
						time.Sleep(10 * time.Second)
					}
					if took {
						wantEnded(t, a, user, custody.OutcomeUnknown)
						wantEnded(t, b, user, custody.OutcomeUnknown)
						return
					}
					wantServed(t, a, user, "once")
					wantServed(t, b, user, "once")
					w.wantNoneAgain(t)
				})
			})
		}
	}
}

// Neither a new authorization nor an unlink is held up by such a response, and a 401
// does not lift it.
func TestUnreadResponseHoldsNothingElseUp(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		a := w.replica(t, s)
		w.joins(t, a, user, "once")
		wantServed(t, a, user, "once")
		w.disturb(wrapped())
		time.Sleep(life * 86 / 100)
		token := wantServed(t, a, user, "once")
		synctest.Wait()
		_, err := a.Replace(t.Context(), user, token)
		if wait, ok := errors.AsType[*custody.WaitError](err); !ok || wait.Reason != custody.WaitUnread {
			t.Errorf("another token after a 401: %v", err)
		}
		if n := w.posts("once"); n != 1 {
			t.Errorf("presented %d times", n)
		}
		w.joins(t, a, user, "anew")
		wantServed(t, a, user, "anew")
		if r := recordOf(t, s, user); custody.Show(r).Unread {
			t.Error("the response of the earlier session is still kept")
		}
		if err := a.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		wantUnlinked(t, a, user)
		w.wantNoneAgain(t)
	})
}

// The same for a session that waits to be checked: its response is kept, and the
// link in use continues.
func TestUnreadResponseOfAWaitingSession(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		a := w.replica(t, s)
		w.joins(t, a, user, "first")
		w.belongs("second", errDown)
		_, _ = a.Approve(t.Context(), w.visit(user, "second", custody.Terms{Switch: true}))
		w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
			r := serve()
			if q.session == "second" {
				r.body = `{"data":` + r.body + `}`
			}
			return r, nil
		})
		for range 100 {
			wantServed(t, a, user, "first")
			time.Sleep(time.Minute)
		}
		if n := w.posts("second"); n != 1 {
			t.Errorf("the waiting session's token was presented %d times", n)
		}
		w.joins(t, a, user, "third", custody.Terms{Switch: true})
		wantServed(t, a, user, "third")
		w.wantNoneAgain(t)
	})
}

// lostOnce lets the server accept the token of a session's first refresh, and loses
// the response.
func lostOnce(_ context.Context, q question, serve func() reply) (reply, error) {
	r := serve()
	if q.refresh && q.nth == 1 {
		return reply{status: 502}, nil
	}
	return r, nil
}

// While the outcome of a presentation is unknown, a 401 from an API is no reason to
// present the token again: there is something left to lose.
func TestRejectionIsNoReasonToPresentAgain(t *testing.T) {
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprintf("other=%v", other), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				a, b := w.replica(t, s), w.replica(t, s)
				w.joins(t, a, user, "once")
				wantServed(t, a, user, "once")
				w.disturb(lostOnce)
				time.Sleep(life * 86 / 100) // an early refresh, whose response is lost
				token := wantServed(t, a, user, "once")
				synctest.Wait()
				k := a
				if other {
					k = b
					wantServed(t, b, user, "once")
				}
				for range 5 {
					_, err := k.Replace(t.Context(), user, token)
					if wait, ok := errors.AsType[*custody.WaitError](err); !ok || wait.Reason != custody.WaitUncertain {
						t.Errorf("another token after a 401: %v", err)
					}
					time.Sleep(5 * time.Second)
				}
				if n := w.posts("once"); n != 1 || !w.alive("once") {
					t.Errorf("presented %d times; the session works: %v", n, w.alive("once"))
				}
				wantServed(t, k, user, "once") // one address may have rejected it
			})
		})
	}
}

// A 401 refreshes once, and at most once a minute; a refresh without a result is not
// counted.
func TestRejectedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		f := newFaulty(s)
		defer f.end()
		k := w.replica(t, f)
		w.joins(t, k, user, "once")
		first := wantServed(t, k, user, "once")
		f.nth(undone, 1, 2) // the store refuses the lease
		_, err := k.Replace(t.Context(), user, first)
		if _, ok := errors.AsType[*custody.StoreError](err); !ok {
			t.Errorf("without a store that takes the lease: %v", err)
		}
		time.Sleep(time.Second)
		second, err := k.Replace(t.Context(), user, first)
		if err != nil || second.Value == first.Value {
			t.Fatalf("a second later, when the store is well: %v", err)
		}
		if again, err := k.Replace(t.Context(), user, first); err != nil || again.Value != second.Value {
			t.Errorf("who comes with the first one gets %q, %v", again.Value, err)
		}
		for range 5 {
			if _, err := k.Replace(t.Context(), user, second); !errors.Is(err, custody.ErrReplaced) {
				t.Errorf("a server that rejects every token gets another one: %v", err)
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(11 * time.Second)
		if third, err := k.Replace(t.Context(), user, second); err != nil || third.Pair.Seq != 3 {
			t.Errorf("a minute later: %v, %v", third.Pair, err)
		}
		if n := w.posts("once"); n != 2 {
			t.Errorf("presented %d times, want twice", n)
		}
		w.wantNoneAgain(t)
	})
}

// Many callers meet the same 401 at once, in two processes: one refresh.
func TestManyRejectionsAreOneRefresh(t *testing.T) {
	t.Parallel()
	stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
		ks := []*custody.Keeper{w.replica(t, s), w.replica(t, s)}
		w.joins(t, ks[0], user, "once")
		first := wantServed(t, ks[0], user, "once")
		w.disturb(slowly(true, 3*time.Second))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if token, err := ks[i%2].Replace(t.Context(), user, first); err != nil || token.Pair.Seq != 2 {
					t.Errorf("%v, %v", token.Pair, err)
				}
			})
		}
		wg.Wait()
		if n := w.posts("once"); n != 1 {
			t.Errorf("presented %d times", n)
		}
	})
}

// The response to a refresh takes long: the time-out of a host's own client is no
// reason to give a session up.
func TestSlowResponseIsWaitedFor(t *testing.T) {
	for _, took := range []time.Duration{6 * time.Second, 25 * time.Second, 90 * time.Second, 170 * time.Second} {
		t.Run(took.String(), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				a, b := w.replica(t, s, func(c *custody.Config) {
					e := w.endpoint()
					e.HTTP.Timeout = 5 * time.Second
					c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome { return e.Refresh(ctx, token, "") }
				}), w.replica(t, s)
				w.joins(t, a, user, "once")
				time.Sleep(life)
				w.disturb(slowly(true, took))
				ctx, leave := context.WithTimeout(t.Context(), 5*time.Second)
				defer leave()
				began := time.Now()
				if _, err := a.Token(ctx, user); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5100*time.Millisecond {
					t.Errorf("a caller with 5 seconds got %v after %v", err, time.Since(began))
				}
				wantServed(t, b, user, "once") // it watches, and takes nothing
				wantServed(t, a, user, "once")
				if n := w.posts("once"); n != 1 || time.Since(began) > took+5*time.Second {
					t.Errorf("presented %d times, in %v", n, time.Since(began))
				}
			})
		})
	}
}

// A response that never arrives leaves the outcome open, and its link to the next
// caller; with a server that had accepted the token, the cause is the true one.
func TestResponseThatNeverComes(t *testing.T) {
	for _, took := range []bool{false, true} {
		t.Run(fmt.Sprintf("took=%v", took), func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				k := w.replica(t, s)
				w.joins(t, k, user, "once")
				time.Sleep(life)
				w.disturb(func(ctx context.Context, q question, serve func() reply) (reply, error) {
					if q.refresh && q.nth == 1 {
						if took {
							serve()
						}
						<-ctx.Done()
						return reply{}, ctx.Err()
					}
					return serve(), nil
				})
				_, err := k.Token(t.Context(), user)
				if took {
					wantEnded(t, k, user, custody.OutcomeUnknown)
					return
				}
				if err != nil {
					t.Error(err)
				}
				wantServed(t, k, user, "once")
				w.wantNoneAgain(t)
			})
		})
	}
}

// The server accepts the token, and a proxy replaces the response with a refusal of
// its own. When the token is presented again, the session ends: the cause for
// operators is the unknown outcome, and not that the server had ended the session.
func TestRefusalOnTheWayBackIsNamedForWhatItWas(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		for name, r := range map[string]reply{
			"a firewall's page": page(403, "blocked"), "a redirect": {status: 302, header: map[string]string{"Location": "/login"}}, "nothing": {status: 400},
		} {
			t.Run(fmt.Sprintf("%s, alone=%v", name, alone), func(t *testing.T) {
				stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
					k := w.replica(t, s)
					w.joins(t, k, user, "once")
					w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
						was := serve()
						if q.session == "once" && q.nth == 1 {
							return r, nil
						}
						return was, nil
					})
					if !alone {
						w.joins(t, k, "user-2", "other")
					}
					for range 80 {
						_, _ = k.Present(t.Context(), user)
						if !alone {
							_, _ = k.Present(t.Context(), "user-2")
						}
						time.Sleep(30 * time.Second)
					}
					wantEnded(t, k, user, custody.OutcomeUnknown)
				})
			})
		}
	}
}

// A host's transport repeats requests by itself: a second presentation ends the
// session. That cause has a name, and is never reported as the server ending the
// session on its own.
func TestTransportThatRepeatsIsNamed(t *testing.T) {
	for _, first := range []string{"lost", "taken"} {
		t.Run(first, func(t *testing.T) {
			stage(t, func(t *testing.T, w *town, s *tokenstore.Memory) {
				var said tells
				rt := &repeating{town: w}
				k := w.replica(t, s, said.config, func(c *custody.Config) {
					e := w.endpoint()
					e.HTTP.Transport = rt
					c.Refresh = func(ctx context.Context, token string) tokenwire.Outcome { return e.Refresh(ctx, token, "") }
				})
				w.joins(t, k, user, "once")
				w.disturb(func(_ context.Context, q question, serve func() reply) (reply, error) {
					if q.nth == 1 && first == "lost" {
						return reply{status: 503}, nil
					}
					r := serve()
					if q.nth == 1 {
						return reply{status: 503}, nil
					}
					return r, nil
				})
				time.Sleep(life)
				for range 20 {
					_, _ = k.Present(t.Context(), user)
					time.Sleep(time.Minute)
				}
				if said.count(custody.TransportRepeats) == 0 {
					t.Errorf("events: %v", said.counts())
				}
				if first == "lost" {
					wantServed(t, k, user, "once")
					return
				}
				wantEnded(t, k, user, custody.OutcomeUnknown)
			})
		})
	}
}
