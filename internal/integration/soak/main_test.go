// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/google/go-cmp/cmp"
)

// The processes that a test starts are this program again.
func TestMain(m *testing.M) { cluster.TestMain(m, play) }

// The command, in short.
func TestSoak(t *testing.T) {
	var out bytes.Buffer
	s := settings{length: 15 * time.Second, links: 300, rate: 300, tokenLife: 4 * time.Second, seed: 1}
	f, err := run(t.Context(), &out, s, nil)
	t.Logf("%s%+v", &out, f)
	if errors.Is(err, services.ErrNotInstalled) && os.Getenv("PKB_REQUIRE_SERVICES") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !f.ok() {
		t.Errorf("links are lost, or something grows: %+v", f)
	}
	if f.Minutes < 0.16 || f.Refreshes < 2*s.links {
		t.Errorf("%+v: nothing was soaked", f)
	}
	if !strings.Contains(out.String(), "PostgreSQL is back") {
		t.Error("PostgreSQL was not restarted")
	}
	line, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(line, &keys); err != nil || len(keys) != 7 {
		t.Errorf("%s is not the line of JSON that is documented: %v", line, err)
	}
}

// A link that ends is the server's loss only if the server withheld the response
// that ended it: else a defect of ours would hide behind its faults.
func TestExcused(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault fault
		// invalidate: PKB ends the session as well.
		invalidate    bool
		ends, excused bool
	}{
		{name: "a response is withheld", fault: fault{withholds: true, do: always(pkbtest.DropAfter())}, ends: true, excused: true},
		{name: "a connection is cut before the work", fault: fault{do: always(pkbtest.Drop())}},
		{name: "PKB ends a session for a reason of its own", fault: fault{do: always(pkbtest.Drop())}, invalidate: true, ends: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := startServer(t.Context(), pkbtest.Config{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.close() }()
			store, uncertain := tokenstore.NewMemory(), make(chan struct{}, 8)
			open := func() *pkb.Client {
				client, err := pkb.New(pkb.Config{
					Environment: pkb.BaseURL(s.url), ClientID: s.pkb.ClientID(), RedirectURL: cluster.RedirectURL,
					Store: store, Now: s.pkb.Now,
					OnEvent: func(e observe.Event) {
						if e.Kind == observe.EventUncertain {
							uncertain <- struct{}{}
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				return client
			}
			first, second := open(), open()
			k := &soak{server: s, patients: []*pkbtest.Patient{s.pkb.AddPatient(pkbtest.Patient{})}, own: &cluster.Replica{Client: first}}
			if err := k.link(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			user := appUserID(0)

			test.fault.perMille = 1000
			s.faults = []fault{test.fault}
			s.misbehave(24 * time.Hour)
			s.pkb.Advance(9 * time.Minute) // of 10: a refresh is due, and nobody needs it yet
			for range 2 {                  // the first reads the record, the second sees that a refresh is due
				if _, err := first.Token(t.Context(), user); err != nil {
					t.Fatal(err)
				}
			}
			<-uncertain // the refresh in the background has met the fault
			if err := first.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.behave()
			if test.invalidate {
				s.pkb.InvalidateSessions(nil)
			}
			if s.excused(user, observe.CauseOutcomeUnknown) {
				t.Error("a link is excused that has not ended")
			}
			s.pkb.Advance(2 * time.Minute)
			_, err = second.Token(t.Context(), user)
			if got := errors.Is(err, pkb.ErrRelinkRequired); got != test.ends || !got && err != nil {
				t.Fatalf("the link has ended: %t, want %t (%v)", got, test.ends, err)
			}
			if got := s.excused(user, observe.CauseOutcomeUnknown); got != test.excused {
				t.Errorf("excused: %t, want %t", got, test.excused)
			}
			if s.doublePosts != 0 {
				t.Errorf("%d refresh tokens were presented twice, it says, after their response was sent", s.doublePosts)
			}
			// The patient approves again: the past excuses nothing.
			k.own.Client = second
			if err := k.link(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if s.excused(user, observe.CauseOutcomeUnknown) {
				t.Error("a new authorization is excused by what happened to the old one")
			}
		})
	}
}

// A refresh token that is presented twice, after its response was sent, is our fault.
func TestDoublePost(t *testing.T) {
	s, err := startServer(t.Context(), pkbtest.Config{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	e := &session{newest: "second"}
	s.sessions["user"] = e
	s.tokens["first"] = &token{session: e, spent: true}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"first"}, "client_id": {s.pkb.ClientID()}}
	resp, err := http.PostForm(s.url+"/apiToken.action", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if s.doublePosts != 1 || s.excused("user", observe.CauseOutcomeUnknown) {
		t.Errorf("doublePosts %d, excused %t: want 1, false", s.doublePosts, s.excused("user", observe.CauseOutcomeUnknown))
	}
}

// What grows is seen, and what only goes up and down is not.
func TestGrown(t *testing.T) {
	const steps = 40
	series := func(of func(i int) sample, clients func(i int) int) (readings []reading) {
		for i := range steps {
			quiet := sample{Goroutines: 10, Heap: 5 << 20, Sockets: 4}
			at := time.Duration(i) * time.Second
			r := reading{at: at, since: at, replicas: []sample{quiet, of(i)}, clients: clients(i)}
			if i >= steps/2 {
				r.part, r.since = secondHalf, at-steps/2*time.Second
			}
			readings = append(readings, r)
		}
		return readings
	}
	steady := func(int) int { return 8 }
	// busy is what callers who wait for the database hold.
	busy := func(part part, since time.Duration) reading {
		waiting := sample{Goroutines: 300, Heap: 5 << 20, Sockets: 40}
		return reading{part: part, since: since, replicas: []sample{{Goroutines: 10, Heap: 5 << 20, Sockets: 4}, waiting}, clients: 8}
	}
	calm := func(int) sample { return sample{Goroutines: 50, Heap: 5 << 20, Sockets: 9} }
	slow := series(calm, steady)
	for at := range time.Duration(3 * steps) {
		slow = append(slow, busy(restarting, at*time.Second))
	}
	for at := range time.Duration(steps) {
		slow = append(slow, busy(secondHalf, at*9*time.Second/steps)) // it has yet to settle
	}
	for _, test := range []struct {
		name string
		in   []reading
		want growth
	}{
		{"steady", series(func(i int) sample {
			return sample{Goroutines: 50 + i%3, Heap: 5<<20 + uint64(i%2)<<10, Sockets: 9 + i%2}
		}, steady), growth{}},
		{"getting warm", series(func(i int) sample {
			return sample{Goroutines: min(i, 10) * 10, Heap: uint64(min(i, 10)) << 20, Sockets: min(i, 10)}
		}, steady), growth{}},
		{"one goroutine a second", series(func(i int) sample { return sample{Goroutines: 50 + i, Heap: 5 << 20, Sockets: 4} }, steady), growth{Goroutines: 20}},
		{"half a MB a second", series(func(i int) sample { return sample{Goroutines: 10, Heap: uint64(i) << 19, Sockets: 4} }, steady), growth{HeapMB: 10}},
		{"sockets", series(func(i int) sample { return sample{Goroutines: 10, Heap: 5 << 20, Sockets: i} }, steady), growth{Conns: 20}},
		{"a restart that takes three times as long as the run", slow, growth{}},
		{"PostgreSQL's clients, away in the middle", series(func(int) sample { return sample{Goroutines: 10, Heap: 5 << 20, Sockets: 4} }, func(i int) int {
			if i > 18 && i < 22 {
				return -1
			}
			return i
		}), growth{Conns: 21}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, grown(test.in, steps*time.Second)); diff != "" {
				t.Errorf("the figures would hide a leak, or invent one (-want +got):\n%s", diff)
			}
		})
	}
}
