// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// size is how much is done.
type size struct {
	patients int
	// phase is how long each part of a storm lasts: before a failure, during it, and
	// after it.
	phase time.Duration
	// crowd is for how long each way through a pooler is tried.
	crowd time.Duration
}

// tokenLife is so short that each link is refreshed many times.
const tokenLife = 4 * time.Second

// world is a PKB, and an app of several replicas over one store.
type world struct {
	out    io.Writer
	pkb    *pkbtest.Server
	keys   *keys.Keyring
	tokens *tokens
	judge  *judge
	people []*person

	mu       sync.Mutex
	replicas []*replica
}

func newWorld(out io.Writer, patients int) (*world, error) {
	w := &world{
		out: out, tokens: newTokens(), judge: newJudge(out),
		pkb: pkbtest.New(pkbtest.Config{TokenLife: tokenLife, SessionLife: 365 * 24 * time.Hour, KeepRequests: 1}),
	}
	var err error
	if w.keys, err = cluster.NewKeyring(); err != nil {
		return nil, err
	}
	for i := range patients {
		w.people = append(w.people, &person{w: w, user: fmt.Sprintf("app-user-%d", i), patient: w.pkb.AddPatient(pkbtest.Patient{})})
	}
	return w, nil
}

// replica is one process's client, of the store as that process reaches it.
type replica struct {
	client *pkb.Client
	store  tokenstore.Store
	// cut ends what the store is reached through.
	cut  func() error
	rest context.CancelFunc // ends Tend

	mu   sync.Mutex
	dead bool
}

// errDead is what a dead process's requests get: nobody reads it.
var errDead = errors.New("the process is dead")

// join starts a replica.
func (w *world) join(store tokenstore.Store, cut func() error) (*replica, error) {
	r := &replica{store: store, cut: cut}
	var err error
	r.client, err = pkb.New(pkb.Config{
		Environment: pkb.BaseURL(w.pkb.URL()), ClientID: w.pkb.ClientID(), RedirectURL: cluster.RedirectURL,
		Store: store, Keys: w.keys, HTTPClient: &http.Client{Transport: w.tokens.through(r, w.pkb.Transport())},
	})
	if err != nil {
		return nil, errors.Join(err, cut())
	}
	ctx, rest := context.WithCancel(context.Background())
	r.rest = rest
	go func() { _ = r.client.Tend(ctx) }() // it ends with ctx
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replicas = append(w.replicas, r)
	return r, nil
}

// joinDatabase starts a replica with a pool of its own, which makes the table if there
// is none.
func (w *world) joinDatabase(ctx context.Context, driver, dsn string, dialect sqlstore.Dialect) error {
	r, err := w.openDatabase(driver, dsn, dialect)
	if err != nil {
		return err
	}
	return r.store.(*sqlstore.Store).Migrate(ctx)
}

// openDatabase is joinDatabase for a database that may be away.
func (w *world) openDatabase(driver, dsn string, dialect sqlstore.Dialect) (*replica, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8) // a host's pool is bounded
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return w.join(store, db.Close)
}

// alive reports whether the replica's process runs.
func (r *replica) alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.dead
}

// kill ends a replica as SIGKILL does: nothing of it reaches the store or PKB any
// more, what was on the way to it is lost, and nobody calls it.
func (w *world) kill(r *replica) error {
	r.mu.Lock()
	r.dead = true
	r.mu.Unlock()
	w.mu.Lock()
	w.replicas = slices.DeleteFunc(w.replicas, func(other *replica) bool { return other == r })
	w.mu.Unlock()
	r.rest()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	err := r.cut()
	_ = r.client.Close(gone) // it does not end in order
	return err
}

// all are the replicas that run.
func (w *world) all() []*replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.replicas)
}

// any is where a host's load balancer sends a call.
func (w *world) any() *replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replicas[rand.IntN(len(w.replicas))]
}

// close ends all replicas in order.
func (w *world) close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, r := range w.all() {
		r.rest()
		errs = append(errs, r.client.Close(ctx), r.cut())
	}
	return errors.Join(errs...)
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// each calls f for everything, at the same time.
func each[T any](all []T, f func(T)) {
	var under sync.WaitGroup
	for _, one := range all {
		under.Go(func() { f(one) })
	}
	under.Wait()
}
