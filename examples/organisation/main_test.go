// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestTheWholeJourneyInTenLines(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 10 {
		t.Errorf("%d lines, want 10:\n%s", len(lines), &out)
	}
	const id = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	for _, want := range []string{`: found, registered: true`, `app_user_id: linked`, `Purview.* is ` + id, `It is the right patient`, `details of Ada Example`, `10\. At PKB, ` + id + ` is now a patient of the organisation, in \[diabetes\]`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the transcript lacks %q:\n%s", want, &out)
		}
	}
	ids := regexp.MustCompile(id).FindAllString(out.String(), -1)
	for _, found := range ids {
		if found != ids[0] {
			t.Errorf("the ids differ: %v", ids)
		}
	}
}
