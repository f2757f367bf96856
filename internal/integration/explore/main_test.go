// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody/explore"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	f, ok := run(t.Context(), &out, explore.Options{Only: "two users, one patient"})
	if !ok || f.Violations != 0 || f.States < 1000 || f.Rows < 40 || f.RowsReached == 0 {
		t.Errorf("%+v, %t\n%s", f, ok, &out)
	}
	if !strings.Contains(out.String(), "complete") {
		t.Errorf("nothing is said of the setup:\n%s", &out)
	}
	if f, ok := run(t.Context(), &out, explore.Options{Limit: 1}); ok {
		t.Errorf("a run that meets hardly any row is well: %+v", f)
	}
}

// Some of the mutations, one for each way of being caught; the command tries all.
func TestMutations(t *testing.T) {
	var out strings.Builder
	c, err := mutations(t.Context(), &out, regexp.MustCompile("^(nobody claims a patient|one failure opens the breaker|a code is believed without JSON)$"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mutations != 3 || c.Caught != 3 {
		t.Errorf("%+v\n%s", c, &out)
	}
	for _, by := range []string{"I10 two users have one patient", "TestBreaker", "TestEveryReading"} {
		if !strings.Contains(out.String(), by) {
			t.Errorf("%s has caught nothing:\n%s", by, &out)
		}
	}
}

// A text that is not there any more must not pass for a mutation that is caught.
func TestMutationsFit(t *testing.T) {
	root, err := findRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := fits(root, all); err != nil {
		t.Error(err)
	}
	if len(all) < 30 {
		t.Errorf("only %d mutations", len(all))
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.name] || len(m.edits) == 0 || (m.setup == "") == (m.test == "") {
			t.Errorf("%+v", m)
		}
		seen[m.name] = true
		for _, name := range explore.Names() {
			if name == m.setup {
				m.setup = ""
			}
		}
		if m.setup != "" {
			t.Errorf("%s: there is no setup %q", m.name, m.setup)
		}
	}
	if err := fits(root, []mutation{{name: "x", edits: []edit{{file: rows, before: "nothing has this text"}}}}); err == nil {
		t.Error("a text that is not there fits")
	}
	if _, err := mutations(t.Context(), &strings.Builder{}, regexp.MustCompile("^nothing is called this$"), 1); err == nil {
		t.Error("no mutation at all is no error")
	}
}
