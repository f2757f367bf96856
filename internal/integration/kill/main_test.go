// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The processes that a test starts are this program again.
func TestMain(m *testing.M) { cluster.TestMain(m, play) }

// S25: whatever moment a process dies at, the link is usable or its cause is named,
// and the host is told at least once. The clocks of those who take over go fast, so
// that they watch for their 75 seconds in eight; how long they watch by a clock like
// ours is tested in internal/custody.
func TestKill(t *testing.T) {
	services.PostgresDSN(t) // skips the test where there is none
	const rounds = 2
	f, err := run(t.Context(), rounds, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kills != 2*rounds*len(refreshSteps) || f.Usable+f.Named != f.Kills || !f.ok() {
		t.Errorf("%+v", f)
	}
	if f.Named < 2*rounds*3 { // the three steps between PKB's commit and the save
		t.Errorf("%+v: a killed process has not lost its response", f)
	}
	if f.NoticeKills != rounds*len(noticeSteps) || f.ImportKills != rounds*len(importSteps) || f.Notices != f.Kills+f.NoticeKills+f.ImportKills+f.Named {
		t.Errorf("%+v", f)
	}
	if f.Again < 2*rounds { // the two steps between the host's commit and the save
		t.Errorf("%+v: a killed process has not died with a notice", f)
	}
}
