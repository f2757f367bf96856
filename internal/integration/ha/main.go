// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command ha runs an app of several replicas on databases as hosts run them for high
// availability, while nodes of them die: a Galera cluster, a PostgreSQL with a
// synchronous and with an asynchronous standby, PgBouncer, and an etcd:
//
//	go run ./internal/integration/ha
//
// It starts all of them on this machine, in directories of its own, and needs their
// programs: apt-get install mariadb-server galera-4 rsync postgresql pgbouncer
// etcd-server. It takes five minutes, ends with one line of JSON, and with status 1 if
// anything was lost that the engine keeps, or that some process knew.
//
// Patients approve, call with tokens that live for four seconds, approve again and
// unlink, each through whichever replica a load balancer may choose, and with a second
// tab. Meanwhile writers increment records by compare-and-swap.
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

	"github.com/betawerk/pkb-go/internal/integration/services"
)

// figures are the line of JSON.
type figures struct {
	Galera    counts    `json:"galera"`
	Sync      counts    `json:"pg_sync"`
	Async     forgotten `json:"pg_async"`
	PgBouncer pooled    `json:"pgbouncer"`
	Etcd      counts    `json:"etcd"`
}

// ok reports whether nothing was lost that need not be.
func (f figures) ok() bool {
	return f.Galera.ok() && f.Sync.ok() && f.Async.ok() && f.PgBouncer.ok() && f.Etcd.ok()
}

// scenario is one kind of database.
type scenario struct {
	name string
	run  func(ctx context.Context, out io.Writer, s size, f *figures) error
}

var scenarios = []scenario{
	{"galera", func(ctx context.Context, out io.Writer, s size, f *figures) (err error) {
		f.Galera, err = onGalera(ctx, out, s)
		return err
	}},
	{"pg_sync", func(ctx context.Context, out io.Writer, s size, f *figures) (err error) {
		f.Sync, err = onSynchronousStandby(ctx, out, s)
		return err
	}},
	{"pg_async", func(ctx context.Context, out io.Writer, s size, f *figures) (err error) {
		f.Async, err = onAsynchronousStandby(ctx, out, s)
		return err
	}},
	{"pgbouncer", func(ctx context.Context, out io.Writer, s size, f *figures) (err error) {
		f.PgBouncer, err = onPgBouncer(ctx, out, s)
		return err
	}},
	{"etcd", func(ctx context.Context, out io.Writer, s size, f *figures) (err error) {
		f.Etcd, err = onEtcd(ctx, out, s)
		return err
	}},
}

func main() {
	log.SetFlags(0)
	s := size{crowd: time.Second}
	flag.IntVar(&s.patients, "patients", 60, "how many use each app")
	flag.DurationVar(&s.phase, "phase", 10*time.Second, "how long it goes on before each failure and during it, and half as long as after it")
	only := flag.String("only", "", "one of galera, pg_sync, pg_async, pgbouncer and etcd; empty means all")
	flag.Parse()
	f, err := run(context.Background(), os.Stdout, s, *only)
	if errors.Is(err, services.ErrNotInstalled) {
		err = fmt.Errorf("%w; get it with: %s", err, install)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
	if !f.ok() {
		os.Exit(1)
	}
}

// install is how to get what is needed.
const install = "apt-get install mariadb-server galera-4 rsync postgresql pgbouncer etcd-server"

// run runs all scenarios, or one.
func run(ctx context.Context, out io.Writer, s size, only string) (f figures, err error) {
	for _, one := range scenarios {
		if only != "" && only != one.name {
			continue
		}
		if err := one.run(ctx, out, s, &f); err != nil {
			return f, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return f, nil
}
