// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/statements"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// order is what a process is to do next, with a client of its own.
type order struct {
	Setup cluster.Setup
	// Tend means that Tend runs until the process is told to stop; otherwise it asks
	// for the tokens of Users, one each Pause.
	Tend     bool
	Users    []string
	Pause    time.Duration
	KeepWarm time.Duration
	Host     hostPlan
}

// message is what a process is told.
type message struct {
	Order *order
	// Clock is how far its clock is ahead from now on; Tend begins anew.
	Clock *time.Duration
	Stop  bool
}

// report is what an order took.
type report struct {
	Statements int64
	CPU        time.Duration
	// Batches is how often the store was asked what is due, BatchStatements, with how
	// many statements, Due, with which, and Rows, how many records it returned.
	Batches, BatchStatements, Rows int64
	Due                            []string
	Errors                         int
	Example                        string
}

// What PKB has told the host about sessions, and when it wants to be warned: those
// links are warned that were made three days before the others.
const (
	sessionLife  = 30 * 24 * time.Hour
	earlier      = 3 * 24 * time.Hour
	firstWarning = sessionLife - earlier
	keepWarm     = 24 * time.Hour
	atOnce       = 8 // links at a time, as Tend does
)

// configure sets what all clients here have in common.
func configure(cfg *pkb.Config) {
	cfg.SessionLife, cfg.FirstWarning = sessionLife, firstWarning
}

// replica is one of the processes.
func replica() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var m message
		if err := in.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Order == nil {
			continue // it was only started
		}
		r, err := m.Order.carryOut(in)
		if err != nil {
			return err
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func (o *order) carryOut(in *json.Decoder) (r report, err error) {
	var clock atomic.Int64
	clock.Store(int64(o.Setup.Clock))
	all, batches := &statements.Counter{}, &batches{}
	pool := statements.Open(&stdlib.Driver{}, o.Setup.DSN, all)
	host, err := o.Host.open(o.Setup)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, host.inbox.Close()) }()
	client, err := o.Setup.OpenWith(pool, func(cfg *pkb.Config) {
		configure(cfg)
		batches.Store = cfg.Store.(*sqlstore.Store)
		cfg.Store, cfg.KeepWarm, cfg.Notify = batches, o.KeepWarm, host.notify
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	})
	if err != nil {
		return r, err
	}
	before := cpu()
	if o.Tend {
		err = tendUntilTold(client.Client, in, &clock)
	} else {
		r.Errors, r.Example = tokens(client.Client, o.Users, o.Pause)
	}
	if closing := client.Close(); err == nil {
		err = closing
	}
	r.CPU, r.Statements = cpu()-before, all.Executed.Load()
	r.Batches, r.BatchStatements, r.Rows, r.Due = batches.calls.Load(), batches.sent.Executed.Load(), batches.rows.Load(), batches.sent.Texts()
	return r, err
}

// tendUntilTold runs Tend, and begins it anew whenever the clock is set.
func tendUntilTold(client *pkb.Client, in *json.Decoder, clock *atomic.Int64) error {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- client.Tend(ctx) }()
		var m message
		err := in.Decode(&m)
		cancel()
		if err := errors.Join(err, <-ended); err != nil || m.Stop {
			return err
		}
		clock.Store(int64(*m.Clock))
	}
}

// tokens asks for the token of each user. At the pace of Tend, or the processor would
// do the same work in less time, as it does when it is busy.
func tokens(client *pkb.Client, users []string, pause time.Duration) (failed int, example string) {
	queue := make(chan string)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for user := range queue {
				if _, err := client.Token(context.Background(), user); err != nil {
					mu.Lock()
					failed, example = failed+1, err.Error()
					mu.Unlock()
				}
			}
		})
	}
	ticks := time.NewTicker(pause)
	defer ticks.Stop()
	for _, user := range users {
		queue <- user
		<-ticks.C
	}
	close(queue)
	workers.Wait()
	return failed, example
}

// cpu is the time of processors that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no reason to fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// batches counts the batches that are asked for.
type batches struct {
	*sqlstore.Store
	calls, rows atomic.Int64
	sent        statements.Counter
}

// Due implements tokenstore.Scheduler.
func (b *batches) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	b.calls.Add(1)
	due, err := b.Store.Due(statements.With(ctx, &b.sent), before, limit)
	b.rows.Add(int64(len(due)))
	return due, err
}
