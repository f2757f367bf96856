// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The page of the docs says what is so.
func TestPage(t *testing.T) {
	t.Parallel()
	_, _ = services.PostgresDSN(t), services.MariaDBDSN(t) // or the test ends here
	rows, err := tryAll(t.Context(), 200*time.Millisecond) // the command takes longer
	if errors.Is(err, services.ErrNotInstalled) && os.Getenv("PKB_REQUIRE_SERVICES") != "1" {
		t.Skipf("%v; to run this test: apt-get install pgbouncer", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../../tokenstore/sqlstore/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page(rows)); diff != "" {
		t.Errorf("drivers.md is not what was found (-page +found); write it anew with -write, if that is right:\n%s", diff)
	}
	for _, r := range rows {
		if r.Fault != "" {
			t.Errorf("%s, %s, %s: %s", r.Driver, r.Setting, r.Engine, r.Fault)
		}
	}
}
