// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// The command, in short: what the engines keep is kept, and what a failover loses is
// restored by whoever knows it, and told where nobody does. The ways through PgBouncer
// are rows of package drivers, whose test tries them. All of it mostly waits, so it
// waits at the same time, on however few processors.
func TestNothingIsLost(t *testing.T) {
	clusters := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.name == "pgbouncer" })
	results, errs, outs := make([]figures, len(clusters)), make([]error, len(clusters)), make([]bytes.Buffer, len(clusters))
	var under sync.WaitGroup
	for i, one := range clusters {
		under.Go(func() {
			errs[i] = one.run(t.Context(), &outs[i], size{patients: 24, phase: 3 * time.Second}, &results[i])
		})
	}
	under.Wait()
	for i, one := range clusters {
		t.Run(one.name, func(t *testing.T) {
			f, err := results[i], errs[i]
			if errors.Is(err, services.ErrNotInstalled) && os.Getenv("PKB_REQUIRE_SERVICES") != "1" {
				t.Skipf("%v; to run this test: %s", err, install)
			}
			t.Logf("%s%+v", &outs[i], f)
			if err != nil {
				t.Fatal(err)
			}
			if !f.ok() {
				t.Errorf("something is lost that need not be: %+v", f)
			}
			if one.name == "pg_async" && (f.Async.Written == 0 || f.Async.Told == 0 || f.Async.UsableAfter == 0) {
				t.Errorf("%+v: the failover has lost nothing", f.Async)
			}
		})
	}
}

// What is wrong makes the command fail, and is counted as what it is.
func TestJudged(t *testing.T) {
	for i, f := range []figures{
		{Galera: counts{LostUpdates: 1}}, {Sync: counts{AuthorizationsLost: 1}}, {Etcd: counts{PresentedSpent: 1}}, {Galera: counts{LinksLost: 1}},
		{Async: forgotten{Stuck: 1}}, {Async: forgotten{PresentedSpent: 1}}, {Async: forgotten{Unexplained: 1}}, {PgBouncer: pooled{Silent: 1}},
	} {
		if f.ok() {
			t.Errorf("figures %d pass: %+v", i, f)
		}
	}
	if f := (figures{Async: forgotten{UsableAfter: 15, Written: 1, Told: 1, PresentedUnknown: 1}, PgBouncer: pooled{OK: 1, Refused: 1}}); !f.ok() {
		t.Errorf("what nobody can help fails the command: %+v", f)
	}
	var p pooled
	for _, row := range []trial.Row{{}, {Refused: "why"}, {Refused: "why", Fault: "it does not say so"}} {
		p.count(new(bytes.Buffer), row)
	}
	if got := fmt.Sprint(p); got != "{1 1 1}" {
		t.Errorf("works, refused and silent are counted as %s", got)
	}
}
