// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// Ours loses nothing to races or failing saves; and the simulation sees a race
// where there is one.
func TestSimulate(t *testing.T) {
	var table strings.Builder
	f := simulate(t, &table, 5_000, 1)
	if f.LostRace != 0 || f.LostSave != 0 || f.Unnamed != 0 || f.Refreshes < 5_000 || f.PostsPerExpiry > 1.05 {
		t.Errorf("%+v\n%s", f, table.String())
	}
	peer := run(t, designs[1], 1000, 1)
	if peer.lost[byRace] == 0 {
		t.Errorf("a design that must lose links to races has lost none: %+v", peer)
	}
}
