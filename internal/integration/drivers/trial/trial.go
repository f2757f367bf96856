// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package trial tries sqlstore with one driver, setting and engine.
package trial

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// Row is one combination, and what became of it.
type Row struct {
	Driver, Setting, Engine string
	Refused                 string // why Migrate refuses it
	Fault                   string // what is wrong though it does not
}

// patience is for a slow disk, on which SQLite's writers wait for each other.
const patience = 30 * time.Second

// Try fills in what becomes of a store in db, in which a crowd writes and reads for so
// long.
func (r *Row) Try(ctx context.Context, db *sql.DB, dialect sqlstore.Dialect, long time.Duration) error {
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect, Timeout: patience})
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		r.Refused = withoutCode.ReplaceAllString(err.Error(), "")
		if !errors.Is(err, sqlstore.ErrSettings) && !errors.Is(err, sqlstore.ErrReadOnly) {
			r.Fault = "refused without a reason: " + r.Refused
		}
		return nil
	}
	if r.Fault, err = contract(ctx, store); err != nil || r.Fault != "" {
		return err
	}
	r.Fault = crowd(ctx, store, long)
	return nil
}

// withoutCode: which code a server sends first is up to chance.
var withoutCode = regexp.MustCompile(` \([0-9A-Z]{1,5}\)$`)

func contract(ctx context.Context, s tokenstore.Store) (string, error) {
	results, err := storetest.Check(ctx, func() (tokenstore.Store, error) { return s, nil })
	if err != nil {
		return "", err
	}
	for _, c := range results {
		if len(c.Problems) > 0 {
			return c.Name + ": " + c.Problems[0], nil
		}
	}
	return "", nil
}

// goroutines is how many the crowd has, more than a pooler has connections.
const goroutines = 16

// crowd returns what went wrong when each of many has a record of its own: nothing
// of the others may ever be seen.
func crowd(ctx context.Context, s tokenstore.Store, long time.Duration) (fault string) {
	var all sync.WaitGroup
	var mu sync.Mutex
	until := time.Now().Add(long)
	for i := range goroutines {
		all.Go(func() {
			if err := life(ctx, s, fmt.Sprintf("crowd-%d", i), until); err != nil {
				mu.Lock()
				defer mu.Unlock()
				fault = err.Error()
			}
		})
	}
	all.Wait()
	return fault
}

// life creates, changes, reads and deletes a record.
func life(ctx context.Context, s tokenstore.Store, id string, until time.Time) error {
	for n := 0; time.Now().Before(until); n++ {
		r := tokenstore.Record{AppUserID: id, State: tokenstore.StateLinked, Environment: "sandbox", ClientID: id, PublicID: id}
		for range 3 {
			r.Lease.Owner = id // records with a lease may be sent together
			next, err := s.Save(ctx, r)
			if err != nil {
				return err
			}
			if r, err = s.Load(ctx, id); err != nil {
				return err
			}
			if r.Version != next.Version || r.PublicID != id || r.ClientID != id || r.Lease.Owner != id {
				return fmt.Errorf("a read returned version %d of %q, and version %d of %q was written", r.Version, r.ClientID, next.Version, id)
			}
		}
		if err := s.Delete(ctx, id, r.Version); err != nil {
			return err
		}
	}
	return nil
}
