// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// killed lets workers write to a server of its own, kills it in the middle,
// starts it again, and returns how many acknowledged writes are not there.
func killed(ctx context.Context, d database) (lost int, err error) {
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
	const records = 20
	for i := range records {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: row(i)}); err != nil {
			return 0, err
		}
	}
	var mu sync.Mutex
	var acknowledged, unknown [records]int
	total := 0
	enough := make(chan struct{}) // closed when there is something to lose
	const enoughWrites = 500
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
				i := rand.IntN(records)
				err := incrementOne(ctx, store, row(i))
				mu.Lock()
				if err != nil {
					unknown[i]++
				} else {
					acknowledged[i]++
					if total++; total == enoughWrites || total == 2*enoughWrites {
						enough <- struct{}{}
					}
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(10 * time.Millisecond) // the server is away
				}
			}
		})
	}
	<-enough
	server.Kill()
	if err = server.Start(ctx); err == nil {
		<-enough // it takes writes again
	}
	close(stop)
	workers.Wait()
	if err != nil {
		return 0, err
	}
	for i := range records {
		r, err := store.Load(ctx, row(i))
		if err != nil {
			return 0, err
		}
		if there := int(r.Generation); there < acknowledged[i] {
			lost += acknowledged[i] - there
		} else if there > acknowledged[i]+unknown[i] {
			return 0, fmt.Errorf("%d writes are there, and %d were made", there, acknowledged[i]+unknown[i])
		}
	}
	return lost, nil
}
