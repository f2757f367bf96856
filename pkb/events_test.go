// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// diary is a Config.OnEvent that writes everything down. Events are delivered in
// order, on a goroutine of their own: whoever reads them is in a bubble, and lets
// it come to rest first.
type diary struct {
	mu     sync.Mutex
	events []observe.Event
}

func (d *diary) note(e observe.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// all returns the events so far.
func (d *diary) all() []observe.Event {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

// kinds returns the kinds of the events so far.
func (d *diary) kinds() (got []observe.EventKind) {
	for _, e := range d.all() {
		got = append(got, e.Kind)
	}
	return got
}

// tear returns the events so far, and forgets them.
func (d *diary) tear() []observe.Event {
	events := d.all()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = d.events[len(events):]
	return events
}

// What an operator hears of a link's life, in order.
func TestEventsOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.OnEvent = d.note })
		r.link(t, user, r.patient)
		r.pkb.Advance(11 * time.Minute)
		token(t.Context(), t, r.Client, user)

		pending, query := r.approve(t, user, r.pkb.AddPatient(pkbtest.Patient{}))
		if _, err := r.Complete(t.Context(), user, pending, query); !errors.Is(err, pkb.ErrWrongPatient) {
			t.Fatal(err)
		}
		// The answer is lost before the server has done anything, and comes at
		// the repetition.
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Drop())
		token(t.Context(), t, r.Client, user)
		// And lost after it: the link ends, and the cause is named.
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.DropAfter())
		if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrRelinkRequired) {
			t.Fatal(err)
		}
		if err := r.Unlink(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		want := []observe.EventKind{
			observe.EventApproved, observe.EventExchanged, observe.EventLinked, observe.EventRefreshed,
			observe.EventApproved, observe.EventExchanged, observe.EventWrongPatient, observe.EventUncertain, observe.EventRecovered, observe.EventRefreshed,
			observe.EventUncertain, observe.EventRelinkRequired, observe.EventUnlinked,
		}
		if diff := cmp.Diff(want, d.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		events := d.all()
		lost := events[len(events)-2]
		if lost.Cause != observe.CauseOutcomeUnknown || lost.AppUserID != user {
			t.Errorf("lost: %v of %q", lost, lost.AppUserID)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", lost, lost, lost, lost); strings.Contains(s, user) {
			t.Errorf("an event prints the user: %s", s)
		}
		stats := r.Stats()
		wantStats := observe.Stats{Refreshes: 2, Uncertain: 2, Lost: map[observe.Cause]uint64{observe.CauseOutcomeUnknown: 1}}
		if diff := cmp.Diff(wantStats, stats); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
		if got := stats.LostPerMillion(observe.CauseOutcomeUnknown); got != 500_000 {
			t.Errorf("%v lost per million", got)
		}
	})
}

// A session whose length is known is reported once before its end, by whichever
// replica refreshes then.
func TestEndOfSessionIsForecast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		r := newRig(t, func(server *pkbtest.Config, c *pkb.Config) {
			server.SessionLife, c.SessionLife, c.FirstWarning, c.LastWarning, c.OnEvent = 2*time.Hour, 2*time.Hour, time.Hour, time.Hour, d.note
		})
		link := r.link(t, user, r.patient)
		if want := link.LinkedAt.Add(2 * time.Hour); !link.EndsAt.Equal(want) {
			t.Errorf("EndsAt %v, want %v", link.EndsAt, want)
		}
		other := r.replica(t)
		var told []time.Duration
		for range 11 {
			r.pkb.Advance(10 * time.Minute)
			for _, c := range []*pkb.Client{r.Client, other} {
				token(t.Context(), t, c, user)
			}
			for _, e := range d.tear() {
				if e.Kind == observe.EventEndsSoon {
					told = append(told, r.pkb.Now().Sub(link.LinkedAt))
				}
			}
		}
		if len(told) != 1 || told[0] < time.Hour || told[0] > 80*time.Minute {
			t.Errorf("told after %v", told)
		}
	})
}

// Without knowing the length, the session's last token tells.
func TestLastTokenTellsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		r := newRig(t, func(server *pkbtest.Config, c *pkb.Config) {
			server.SessionLife, c.OnEvent = 15*time.Minute, d.note
		})
		if link := r.link(t, user, r.patient); !link.EndsAt.IsZero() {
			t.Errorf("EndsAt %v", link.EndsAt)
		}
		r.pkb.Advance(10 * time.Minute)
		token(t.Context(), t, r.Client, user)
		link, err := r.Link(t.Context(), user)
		if err != nil || !link.EndsAt.Equal(link.ExpiresAt) {
			t.Errorf("EndsAt %v, ExpiresAt %v, %v", link.EndsAt, link.ExpiresAt, err)
		}
		if diff := cmp.Diff([]observe.EventKind{observe.EventApproved, observe.EventExchanged, observe.EventLinked, observe.EventRefreshed, observe.EventEndsSoon}, d.kinds()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// S34: a refresh with another scope is told; one that does not name it is as
// before.
func TestScopeChangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.OnEvent = d.note })
		r.link(t, user, r.patient)
		for _, scope := range []string{`"scope":"PATIENT"`, `"other":"x"`, `"scope":"CLINICIAN"`} {
			r.pkb.Advance(11 * time.Minute)
			r.pkb.Next(pkbtest.Token, pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
				return []byte(strings.Replace(string(body), `"scope":"PATIENT"`, scope, 1))
			}))
			d.tear()
			token(t.Context(), t, r.Client, user)
			told := slices.Contains(d.kinds(), observe.EventScopeChanged)
			if want := strings.Contains(scope, "CLINICIAN"); told != want {
				t.Errorf("%s: told %t, want %t", scope, told, want)
			}
		}
	})
}

// S21, S23: a server that forgives an immediate repeat gets one; PKB does not.
func TestRefreshReuseWindow(t *testing.T) {
	for name, tc := range map[string]struct {
		window time.Duration
		posts  int
		state  tokenstore.State
	}{
		"strict":    {0, 1, tokenstore.StateUncertain},
		"forgiving": {10 * time.Second, 2, tokenstore.StateLinked},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.RefreshReuseWindow = tc.window })
				r.link(t, user, r.patient)
				token(t.Context(), t, r.Client, user)
				r.pkb.Advance(8*time.Minute + 45*time.Second) // early: the token still serves
				r.pkb.Next(pkbtest.Token, pkbtest.Respond(503, "", ""))
				token(t.Context(), t, r.Client, user)
				time.Sleep(20 * time.Second)
				if n := r.pkb.Refreshes(); n != tc.posts {
					t.Errorf("%d POSTs, want %d", n, tc.posts)
				}
				if link, err := r.Link(t.Context(), user); err != nil || link.State != tc.state {
					t.Errorf("%s, %v, want %s", link.State, err, tc.state)
				}
			})
		})
	}
}

// Stats counts the links that ended.
func ExampleClient_Stats() {
	ctx := context.Background()
	server := pkbtest.New(pkbtest.Config{})
	patient := server.AddPatient(pkbtest.Patient{})
	client, err := demoClient(server, pkb.Config{
		OnEvent: func(e observe.Event) {
			if e.Kind == observe.EventRelinkRequired {
				fmt.Println("ask the user to approve again:", e.Cause)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	demoLink(ctx, server, patient, client)
	server.EndSessions(patient)
	_, _ = client.ForUser("app-user-1").Self(ctx)
	_ = client.Close(ctx) // OnEvent has its own goroutine; Close waits for it

	stats := client.Stats()
	fmt.Println(stats.Lost[observe.CauseSessionExpired], stats.Refreshes, stats.LostPerMillion(observe.CauseSessionExpired))
	// Output:
	// ask the user to approve again: session_expired
	// 1 0 0
}
