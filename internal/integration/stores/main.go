// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// result is what was found out about one store.
type result struct {
	Checks int `json:"checks"`
	Failed int `json:"failed"`
	// CycleRatio is the throughput of a refresh's trips, as a part of that of
	// the same statements without us.
	CycleRatio float64 `json:"cycle_ratio"`
	RoundTrips int     `json:"round_trips"`
	// Complete is RoundTrips of a first authorization, Cold those of the first
	// token that a process reads.
	Complete int `json:"first_complete"`
	Cold     int `json:"cold_token"`
	// Lost counts updates that were acknowledged and are not there.
	Lost int `json:"lost_updates"`
	// KillLost is Lost when the server was killed in the middle; absent if it
	// was not.
	KillLost *int `json:"kill_lost,omitempty"`

	cycles float64 // a second
}

func (r result) ok() bool {
	return r.Failed == 0 && r.Lost == 0 && r.RoundTrips == 3 && r.Complete <= 6 && r.Cold == 1 && (r.KillLost == nil || *r.KillLost == 0)
}

// figures are the line of JSON.
type figures struct {
	Memory    result  `json:"memory"`
	SQLite    result  `json:"sqlite"`
	Postgres  result  `json:"postgres"`
	MariaDB   result  `json:"mariadb"`
	SealRatio float64 `json:"seal_ratio"`
	// refreshes is nil if no server of our own can be started.
	*refreshes
}

// size is how much is done.
type size struct {
	processes, workers, increments, links int
	measure                               time.Duration
	kill                                  bool
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		if err := increment(); err != nil {
			log.Fatal(err)
		}
		return
	}
	s := size{processes: 8, workers: 64, increments: 10, links: 5000, measure: 2 * time.Second}
	flag.BoolVar(&s.kill, "kill", false, "also kill database servers, of our own, while they are written to")
	flag.Parse()
	f, err := try(context.Background(), os.Stdout, s)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		log.Fatal(err)
	}
	if !f.Memory.ok() || !f.SQLite.ok() || !f.Postgres.ok() || !f.MariaDB.ok() || !f.refreshes.ok() {
		os.Exit(1)
	}
}

// try finds out about all stores, and prints the table.
func try(ctx context.Context, out io.Writer, s size) (f figures, err error) {
	fmt.Fprintf(out, "%-12s %8s %8s %14s %10s %12s %10s %10s %13s %16s\n",
		"store", "checks", "failed", "cycles/s", "ratio", "round trips", "complete", "cold", "lost updates", "lost when killed")
	for _, one := range []struct {
		name string
		into *result
		run  func() (result, error)
	}{
		{"memory", &f.Memory, func() (result, error) { return tryMemory(ctx, out, s) }},
		{"SQLite", &f.SQLite, func() (result, error) { return tryDatabase(ctx, out, sqliteDatabase, s) }},
		{"PostgreSQL", &f.Postgres, func() (result, error) { return tryDatabase(ctx, out, postgresDatabase, s) }},
		{"MariaDB", &f.MariaDB, func() (result, error) { return tryDatabase(ctx, out, mariaDatabase, s) }},
	} {
		if *one.into, err = one.run(); err != nil {
			return f, fmt.Errorf("%s: %w", one.name, err)
		}
		r, killed := one.into, "-"
		if r.KillLost != nil {
			killed = fmt.Sprint(*r.KillLost)
		}
		fmt.Fprintf(out, "%-12s %8d %8d %14.0f %10.2f %12d %10d %10d %13d %16s\n",
			one.name, r.Checks, r.Failed, r.cycles, r.CycleRatio, r.RoundTrips, r.Complete, r.Cold, r.Lost, killed)
	}
	f.SealRatio, err = sealRatio(s.measure)
	if err != nil {
		return f, err
	}
	fmt.Fprintf(out, "\nsealing and opening a record: %.2f times what the cipher alone takes\n", f.SealRatio)
	f.refreshes, err = tryRefreshes(ctx, out, s)
	if errors.Is(err, services.ErrNotInstalled) {
		fmt.Fprintln(out, err) // so nothing is measured
		err = nil
	}
	return f, err
}

// contract runs the contract, and prints what is wrong.
func contract(ctx context.Context, out io.Writer, open func() (tokenstore.Store, error)) (r result, err error) {
	results, err := storetest.Check(ctx, open)
	if err != nil {
		return r, err
	}
	r.Checks = len(results)
	for _, c := range results {
		if c.Skipped != "" {
			fmt.Fprintf(out, "%s: skipped: %s\n", c.Name, c.Skipped)
		}
		if len(c.Problems) == 0 {
			continue
		}
		r.Failed++
		for _, problem := range c.Problems {
			fmt.Fprintf(out, "%s: %s\n  why it matters: %s\n", c.Name, problem, c.Why)
		}
	}
	return r, nil
}

func tryMemory(ctx context.Context, out io.Writer, s size) (result, error) {
	r, err := contract(ctx, out, func() (tokenstore.Store, error) { return tokenstore.NewMemory(), nil })
	if err != nil {
		return r, err
	}
	store := tokenstore.NewMemory()
	bare := &bareMemory{}
	if r.cycles, r.CycleRatio, err = compare(s.measure,
		func() error { return cycle(ctx, store) },
		func() error { return bare.cycle() }); err != nil {
		return r, err
	}
	counted := &countedStore{Memory: tokenstore.NewMemory()}
	return r, r.count(ctx, counted, func() int { return int(counted.calls.Load()) })
}

func tryDatabase(ctx context.Context, out io.Writer, d database, s size) (r result, err error) {
	dsn, drop, err := d.scratch(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	db := d.open(dsn, nil)
	defer func() { err = errors.Join(err, db.Close()) }()
	if r, err = contract(ctx, out, func() (tokenstore.Store, error) { return d.store(ctx, db) }); err != nil {
		return r, err
	}
	store, err := d.store(ctx, db)
	if err != nil {
		return r, err
	}
	bare, err := newBare(ctx, d, db)
	if err != nil {
		return r, err
	}
	if r.cycles, r.CycleRatio, err = compare(s.measure,
		func() error { return cycle(ctx, store) },
		func() error { return bare.cycle(ctx) }); err != nil {
		return r, err
	}
	if err = d.count(ctx, dsn, &r); err != nil {
		return r, err
	}
	if r.Lost, err = storm(ctx, d, dsn, s); err != nil {
		return r, err
	}
	if s.kill && d.private != nil {
		switch lost, err := killed(ctx, out, d); {
		case errors.Is(err, services.ErrNotInstalled):
			fmt.Fprintln(out, err) // so it is not killed
		case err != nil:
			return r, err
		default:
			r.KillLost = &lost
		}
	}
	return r, nil
}
