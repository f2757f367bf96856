// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/explore"
)

// The beginning of every history of the protocol, for five seconds. CI continues for
// a minute, and requires a million worlds and every row of the table: see
// internal/integration/explore.
func TestProtocolIsExplored(t *testing.T) {
	seconds, least := 5, 10_000
	if raced {
		seconds, least = 2, 1000 // it has no goroutines that could race
	}
	r := explore.Run(t.Context(), explore.Options{For: time.Duration(seconds) * time.Second})
	for _, v := range r.Violations {
		t.Errorf("%s, in %q:\n\t%s", v.Rule, v.Setup, strings.Join(v.Story, "\n\t"))
	}
	if r.States < least {
		t.Errorf("only %d worlds", r.States)
	}
	t.Logf("%d worlds, %d of %d rows of the table met", r.States, r.RowsReached(), len(r.Rows))
}
