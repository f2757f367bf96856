// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Increments are what writers add to the same records of a store, with what each of
// them was told: so a write that was acknowledged and is not there is found.
type Increments struct {
	mu                    sync.Mutex
	more                  *sync.Cond // acknowledged grows
	acknowledged, unknown []int      // of each record
	total                 int
}

// NewIncrements makes so many records.
func NewIncrements(ctx context.Context, store tokenstore.Store, records int) (*Increments, error) {
	i := &Increments{acknowledged: make([]int, records), unknown: make([]int, records)}
	i.more = sync.NewCond(&i.mu)
	for n := range records {
		if _, err := store.Save(ctx, tokenstore.Record{AppUserID: CounterID(n)}); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// CounterID is the AppUserID of a record that is incremented.
func CounterID(n int) string { return fmt.Sprintf("counter-%03d", n) }

// Add adds one to a record, through any store that has it.
func (i *Increments) Add(ctx context.Context, store tokenstore.Store) error {
	n := rand.IntN(len(i.acknowledged))
	err := Increment(ctx, store, CounterID(n))
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.unknown[n]++
		return err
	}
	i.acknowledged[n]++
	i.total++
	i.more.Broadcast()
	return nil
}

// Await waits until so many more were acknowledged.
func (i *Increments) Await(n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for until := i.total + n; i.total < until; {
		i.more.Wait()
	}
}

// Lost returns how many of those that were acknowledged are not there, when all
// writers have ended.
func (i *Increments) Lost(ctx context.Context, store tokenstore.Store) (lost int, err error) {
	for n, acknowledged := range i.acknowledged {
		r, err := store.Load(ctx, CounterID(n))
		if err != nil {
			return 0, err
		}
		if there := int(r.Generation); there < acknowledged {
			lost += acknowledged - there
		} else if there > acknowledged+i.unknown[n] {
			return 0, fmt.Errorf("%d writes are there, and %d were made", there, acknowledged+i.unknown[n])
		}
	}
	return lost, nil
}

// Increment adds one to a record, however often somebody is faster.
func Increment(ctx context.Context, s tokenstore.Store, id string) error {
	for {
		r, err := s.Load(ctx, id)
		if err != nil {
			return err
		}
		r.Generation++
		if _, err = s.Save(ctx, r); !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}
