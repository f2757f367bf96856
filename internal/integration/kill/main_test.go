// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The processes that a test starts are this program again.
func TestMain(m *testing.M) {
	if cluster.Role() == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, play())
	os.Exit(1)
}

// S25: whatever moment a process dies at, the link is usable or its cause is
// named.
func TestKill(t *testing.T) {
	services.PostgresDSN(t) // skips the test where there is none
	f, err := run(t.Context(), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f.Kills != 2*2*len(steps) || f.Usable+f.Named != f.Kills || f.Unexplained != 0 || f.DoublePosts != 0 {
		t.Errorf("%+v", f)
	}
	if f.Named < 2*2*3 { // the three steps between PKB's commit and the save
		t.Errorf("%+v: a killed process has not lost its response", f)
	}
}
