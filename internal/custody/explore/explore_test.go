// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// An explorer that finds nothing must be able to find something: with a lease that
// nobody waits for, a token is presented twice.
func TestViolationsAreTold(t *testing.T) {
	hasty := policy
	hasty.Patience = -hasty.TTL
	c := &setup{name: "hasty", policy: hasty, begin: linked("p1"), programs: [3]program{call(1), call(1)}, rows: make([]int, len(core.Table))}
	s := newSearch(c)
	s.run(t.Context(), 0, true)
	v, ok := s.bad[Again]
	if !ok || len(s.bad) != 1 {
		t.Fatalf("violations: %v", s.bad)
	}
	story := strings.Join(v.Story, "\n")
	for _, line := range []string{
		"user 1: linked, active s1/1", "A begins a call", "the access token of the active pair expires", "A loads the record",
		"A saves Acquire [user 1: linked, active s1/1 tried 1", "A sends its request",
	} {
		if !strings.Contains(story, line) {
			t.Errorf("the story lacks %q:\n%s", line, story)
		}
	}
	if again := newSearch(c); true {
		again.run(t.Context(), 0, true)
		if told := strings.Join(again.bad[Again].Story, "\n"); told != story {
			t.Errorf("the second run:\n%s\nand first:\n%s", told, story)
		}
	}
}

// Every move has a sentence.
func TestMovesAreSaid(t *testing.T) {
	for v := verb(1); v <= staysCandidate; v++ {
		if said := (move{who: 1, verb: v, event: core.Admit, arg: 1}).String(); said == "" || strings.ContainsAny(said, "{}") {
			t.Errorf("move %d: %q", v, said)
		}
	}
	for r := Again; int(r) < len(ruleNames); r++ {
		if r.String() == "" {
			t.Errorf("rule %d has no name", r)
		}
	}
}

func TestSetupsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range Names() {
		if name == "" || seen[name] {
			t.Errorf("%q", name)
		}
		seen[name] = true
	}
	if r := Run(t.Context(), Options{Only: "two users, one patient"}); len(r.Setups) != 1 || !r.Setups[0].Complete || r.States < 1000 {
		t.Errorf("%+v", r.Setups)
	}
}

// TestStoreCalls counts the round trips of the common operations.
func TestStoreCalls(t *testing.T) {
	for _, of := range []struct {
		name string
		c    setup
		want string
		ends core.Result
	}{
		{"refresh", setup{begin: linked("p1"), programs: [3]program{call(1)}}, "Load Save Save", core.Token},
		{"first authorization", setup{programs: [3]program{approve("s1", plain)}}, "Load Save Save Save Find Save", core.LinkMade},
		{"relink, same patient", setup{begin: linked("p1"), programs: [3]program{approve("s2", plain)}}, "Load Save Save Save", core.LinkMade},
		{"call with a token that serves", setup{begin: linked("p1"), programs: [3]program{call(1)}}, "Load", core.Token},
	} {
		c := &of.c
		c.policy, c.rows = policy, make([]int, len(core.Table))
		var end core.Result
		c.results = func(_ int, e core.Effect) { end = e.Result }
		w := c.start()
		w.activeOver = of.name == "refresh"
		var calls []string
		for end == 0 {
			switch k := w.proc[0].e.Kind; {
			case !w.proc[0].flying:
			case k == core.Load:
				calls = append(calls, "Load")
			case k == core.Save:
				calls = append(calls, "Save")
			case k == core.Find:
				calls = append(calls, "Find")
			}
			var next *world
			c.process(&w, 0, func(n *world, _ move) {
				if next == nil {
					next = n
				}
			})
			w = *next
		}
		if got := strings.Join(calls, " "); got != of.want || end != of.ends {
			t.Errorf("%s: %s, and result %d; want %s, and %d", of.name, got, end, of.want, of.ends)
		}
	}
}
