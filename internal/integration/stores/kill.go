// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
)

// killed lets workers write to a server of its own, kills it in the middle,
// starts it again, and returns how many acknowledged writes are not there.
func killed(ctx context.Context, out io.Writer, d database) (lost int, err error) {
	server, err := d.private(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	db := d.open(server.DSN(), nil)
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := d.store(ctx, db)
	if err != nil {
		return 0, err
	}
	increments, err := cluster.NewIncrements(ctx, store, 20)
	if err != nil {
		return 0, err
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if increments.Add(ctx, store) != nil {
					time.Sleep(10 * time.Millisecond) // the server is away
				}
			}
		})
	}
	const enough = 500 // there is something to lose
	increments.Await(enough)
	server.Kill()
	if err = server.Start(ctx); err == nil {
		increments.Await(enough) // it takes writes again
	}
	close(stop)
	workers.Wait()
	if err != nil {
		return 0, err
	}
	return increments.Lost(ctx, store, out)
}
