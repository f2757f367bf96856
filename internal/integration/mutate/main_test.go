// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

// Some of the mutations, one for each way of being caught; the command tries all.
func TestMutate(t *testing.T) {
	var list strings.Builder
	f, err := mutate(t.Context(), &list, regexp.MustCompile(`^(pkb\.Link |conceal\.Printing |custody\.secrets |a response's request|fhir\.Resource\.\w+ in clear|conceal\.Printing\.(Value|MarshalJSON) )`), 2)
	if err != nil {
		t.Fatal(err)
	}
	if f.Mutations != 24 || f.Caught != 24 {
		t.Errorf("%+v\n%s", f, &list)
	}
	for _, test := range []string{"TestTypesPrintWhatTheyAreMeantTo", "TestNothingOfTokensIsPrinted", "TestCanariesDoNotGetOut", "TestEverySink"} {
		if !strings.Contains(list.String(), test) {
			t.Errorf("%s has caught nothing:\n%s", test, &list)
		}
	}
}

// A mutation with which the tests' process ends is caught, and one that does not compile
// shows nothing.
func TestFailedTest(t *testing.T) {
	for printed, want := range map[string]string{
		"--- FAIL: TestEverySink (0.01s)\n    a_test.go:1: panic: of the host's\nFAIL\n":                          "TestEverySink",
		"panic: nil pointer [recovered]\n\ngoroutine 7 [running]:\nFAIL\tgithub.com/betawerk/pkb-go/pkb\t0.1s\n":  "the end of the test's process",
		"# github.com/betawerk/pkb-go/pkb\npkb/errors.go:1:1: declared and not used: err\nFAIL\t[build failed]\n": "",
	} {
		if got := failedTest([]byte(printed)); got != want {
			t.Errorf("%q is found to be %q, want %q", printed, got, want)
		}
	}
}

// A mutation that does not exist must not count as caught, and a list that went
// empty must not pass.
func TestMutationsAreFound(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := mutations(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 200 {
		t.Errorf("only %d mutations", len(all))
	}
	for _, m := range all {
		if len(m.files) == 0 && m.chosen == "" {
			t.Errorf("%s changes nothing", m.name)
		}
	}
	if _, err := mutate(t.Context(), &strings.Builder{}, regexp.MustCompile("^nothing is called this$"), 1); err == nil {
		t.Error("no mutation at all is no error")
	}
}
