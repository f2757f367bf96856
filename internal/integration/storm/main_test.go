// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The processes that a test starts are this program again.
func TestMain(m *testing.M) { cluster.TestMain(m, call) }

// S10: however many ask, in however many processes, PKB is asked once.
func TestStorm(t *testing.T) {
	services.PostgresDSN(t) // skips the test where there is none
	f, err := storm(t.Context(), 3, 500, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.Posts != 1 || f.Errors != 0 || f.Callers != 1500 {
		t.Errorf("%+v, want one POST and no error", f)
	}
}
