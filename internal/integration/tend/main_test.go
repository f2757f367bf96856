// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The processes that a test starts are this program again.
func TestMain(m *testing.M) { cluster.TestMain(m, replica) }

// Three processes tend what is due of some thousand links, each its part; a host that
// fails, and a process that dies, lose no notice. So few refreshes take too little of
// the processor to be compared: their statements are. Callers come at the pace of Tend,
// since a store may send together what comes at once.
func TestTend(t *testing.T) {
	services.PostgresDSN(t) // skips the test where there is none
	var out strings.Builder
	f, err := tend(t.Context(), &out, size{links: 2000, due: 150, replicas: 3, window: time.Minute, pace: time.Second / 10, seed: 1})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !f.ok(f.StatementsRatio) || f.Due != 150 || f.Again == 0 {
		t.Errorf("%+v\n%s", f, &out)
	}
}
