// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
	"github.com/betawerk/pkb-go/internal/integration/services"
)

// pooled is what became of the ways to send statements through a pooler.
type pooled struct {
	OK      int `json:"modes_ok"`
	Refused int `json:"modes_refused"`
	// Silent counts those that Migrate accepts, and that then fail, or that it refuses
	// without a reason.
	Silent int `json:"silent"`
}

func (p pooled) ok() bool { return p.Silent == 0 }

// poolers are the ways in which PgBouncer hands out a connection to whoever is next.
var poolers = []string{"transaction", "statement"}

// onPgBouncer tries each way that pgx and lib/pq send statements, through a PgBouncer
// of each kind.
func onPgBouncer(ctx context.Context, out io.Writer, s size) (p pooled, err error) {
	server, err := services.StartPostgres(ctx)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	var under sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	places := make(chan struct{}, 2) // most of the time goes by in the servers
	for _, pooler := range poolers {
		for i, way := range trial.PostgresWays {
			places <- struct{}{}
			under.Go(func() {
				row := trial.Row{Driver: way.Driver, Setting: way.Setting, Engine: pooler}
				dsn, err := server.Database(ctx, fmt.Sprintf("%s_%d", pooler, i))
				if err == nil {
					err = way.Behind(ctx, dsn, pooler, &row, s.crowd)
				}
				<-places
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				p.count(out, row)
			})
		}
	}
	under.Wait()
	return p, errors.Join(errs...)
}

func (p *pooled) count(out io.Writer, row trial.Row) {
	switch {
	case row.Fault != "":
		p.Silent++
		fmt.Fprintf(out, "  %s, %s, by %s: %s\n", row.Driver, row.Setting, row.Engine, row.Fault)
	case row.Refused != "":
		p.Refused++
	default:
		p.OK++
	}
}
