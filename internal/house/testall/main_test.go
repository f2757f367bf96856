// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// What fails is named once and with what it printed, and what is skipped with how
// to get it; of the rest there is a line for each package.
func TestSummary(t *testing.T) {
	var printed strings.Builder
	for _, e := range []string{
		`"Action":"run","Package":"m/a","Test":"TestGood"`,
		`"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:3: chatter\n"`,
		`"Action":"pass","Package":"m/a","Test":"TestGood"`,
		`"Action":"output","Package":"m/a","Test":"TestServer","Output":"    services.go:9: PostgreSQL does not answer; to run this test: docker run postgres\n"`,
		`"Action":"output","Package":"m/a","Test":"TestServer","Output":"--- SKIP: TestServer (0.00s)\n"`,
		`"Action":"skip","Package":"m/a","Test":"TestServer"`,
		`"Action":"output","Package":"m/a","Output":"PASS\n"`,
		`"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"`,
		`"Action":"pass","Package":"m/a"`,
		`"Action":"output","Package":"m/b","Test":"TestBad/one","Output":"    b_test.go:5: got 1, want 2\n"`,
		`"Action":"fail","Package":"m/b","Test":"TestBad/one"`,
		`"Action":"fail","Package":"m/b","Test":"TestBad"`,
		`"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t0.1s\n"`,
		`"Action":"fail","Package":"m/b"`,
		`"Action":"build-output","ImportPath":"m/c [m/c.test]","Output":"c.go:1:1: undefined: x\n"`,
		`"Action":"build-fail","ImportPath":"m/c [m/c.test]"`,
		`"Action":"output","Package":"m/c","Output":"FAIL\tm/c [build failed]\n"`,
		`"Action":"fail","Package":"m/c","FailedBuild":"m/c [m/c.test]"`,
		`"Action":"skip","Package":"m/empty"`,
	} {
		fmt.Fprintf(&printed, "{%s}\n", e)
	}
	var out bytes.Buffer
	r := results{out: &out, skipped: make(map[string]int)}
	if err := r.read(strings.NewReader(printed.String())); err != nil {
		t.Fatal(err)
	}
	r.module("m", &exec.ExitError{}) // go test says so by its exit code
	r.module("n", errors.New("no such directory"))
	r.summary([]string{"inner"}, 90*time.Second)
	for _, want := range []string{
		"ok  \tm/a", "got 1, want 2", "FAIL\tm/b", "undefined: x",
		"Failed:\n  m/b TestBad/one\n  m/c\n  n: no such directory\n",
		"Skipped:\n  1: PostgreSQL does not answer; to run this test: docker run postgres\n",
		"  inner\n", "1m30s", "\n1 passed, 3 failed, 1 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not print %q:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "chatter") {
		t.Errorf("it prints what tests print that pass:\n%s", &out)
	}
}

// Each package is tested once: without the race detector if it is named, and with it
// if not.
func TestSplit(t *testing.T) {
	t.Chdir("../../..")
	rest, single, err := split(t.Context(), ".", []string{"fhir", "internal/house", "internal/integration/mutate"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"./fhir", "./internal/house"}; !slices.Equal(single, want) {
		t.Errorf("alone are %q, want %q", single, want)
	}
	for _, dir := range []string{"./pkb", "./internal/house/testall", "./tokenstore/sqlstore"} {
		if !slices.Contains(rest, dir) {
			t.Errorf("%s is in none of the two", dir)
		}
	}
	if slices.Contains(rest, "./fhir") {
		t.Error("./fhir is in both")
	}
	if rest, single, err := split(t.Context(), "pkb/pkbotel", []string{"fhir"}); err != nil || len(single) > 0 || !slices.Equal(rest, []string{"./..."}) {
		t.Errorf("of a module with none of them: %q, %q, %v", rest, single, err)
	}
}
