// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestQuickstart(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), nil, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		`authorize URL|/apiAuthorize\.action\?client_id=quickstart&`,
		`Code received: true`,
		`Tokens saved`,
		`Public id [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}, NHS number 999\d{7}, name Ada Example`,
		`refreshed`,
		`kept: nobody had to approve`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the transcript lacks %q:\n%s", want, &out)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-env", "moon"}, {"-env", "sandbox"}, {"-env", "sandbox", "-client-id", "x", "-redirect", "https://app.example/cb"}, {"-nonsense"},
	} {
		var out strings.Builder
		if err := run(t.Context(), args, &out); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
