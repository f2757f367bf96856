// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/tokenstore"
)

// rows is how many records all processes write to.
const rows = 100

func row(i int) string { return fmt.Sprintf("row-%03d", i) }

// order is what a process is to do.
type order struct {
	Database, DSN string
	Workers       int
	// Increments is how many each worker makes.
	Increments int
}

// report is what a process did.
type report struct{ Acknowledged int }

// storm lets processes increment the same records, and returns how many
// acknowledged increments are not there.
func storm(ctx context.Context, d database, dsn string, s size) (lost int, err error) {
	db := d.open(dsn, nil)
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := d.store(ctx, db)
	if err != nil {
		return 0, err
	}
	for i := range rows {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: row(i)}); err != nil {
			return 0, err
		}
	}
	all := make([]*cluster.Process, s.processes)
	for i := range all {
		if all[i], err = cluster.Start(ctx, "increment", order{d.name, dsn, s.workers, s.increments}); err != nil {
			return 0, err
		}
		defer all[i].Kill()
	}
	acknowledged := 0
	for _, p := range all {
		var r report
		if err := p.Receive(&r); err != nil {
			return 0, err
		}
		if err := p.Wait(); err != nil {
			return 0, err
		}
		acknowledged += r.Acknowledged
	}
	if want := s.processes * s.workers * s.increments; acknowledged != want {
		return 0, fmt.Errorf("%d increments were acknowledged, want %d", acknowledged, want)
	}
	there := 0
	for i := range rows {
		r, err := store.Load(ctx, row(i))
		if err != nil {
			return 0, err
		}
		there += int(r.Generation)
	}
	return acknowledged - there, nil
}

// increment is one of the processes.
func increment() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	for _, d := range databases {
		if d.name != o.Database {
			continue
		}
		db := d.open(o.DSN, nil)
		db.SetMaxOpenConns(8)
		store, err := d.store(context.Background(), db)
		if err != nil {
			return err
		}
		var acknowledged atomic.Int64
		errs := make([]error, o.Workers)
		var workers sync.WaitGroup
		for w := range o.Workers {
			workers.Go(func() {
				for range o.Increments {
					if errs[w] = cluster.Increment(context.Background(), store, row(rand.IntN(rows))); errs[w] != nil {
						return
					}
					acknowledged.Add(1)
				}
			})
		}
		workers.Wait()
		if err := errors.Join(append(errs, db.Close())...); err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(report{int(acknowledged.Load())})
	}
	return fmt.Errorf("no database is called %q", o.Database)
}
