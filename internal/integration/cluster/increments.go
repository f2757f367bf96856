// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Increments are what writers add to the same records of a store, with what each of
// them was told: so a write that was acknowledged and is not there is found.
type Increments struct {
	mu           sync.Mutex
	more         *sync.Cond // acknowledged grows
	acknowledged [][]write  // of each record
	unknown      []int      // of each record
	total        int
}

// write is one that a store has acknowledged: what the record then was, and the version
// that it took the place of.
type write struct {
	generation, version, of uint64
	at                      time.Time
}

func (w write) String() string {
	return fmt.Sprintf("%d in place of version %d, as version %d, at %s", w.generation, w.of, w.version, w.at.Format("15:04:05.000"))
}

// NewIncrements makes so many records.
func NewIncrements(ctx context.Context, store tokenstore.Store, records int) (*Increments, error) {
	i := &Increments{acknowledged: make([][]write, records), unknown: make([]int, records)}
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
	done, err := increment(ctx, store, CounterID(n))
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.unknown[n]++
		return err
	}
	i.acknowledged[n] = append(i.acknowledged[n], done)
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
// writers have ended, and prints which.
func (i *Increments) Lost(ctx context.Context, store tokenstore.Store, out io.Writer) (lost int, err error) {
	for n, acknowledged := range i.acknowledged {
		r, err := store.Load(ctx, CounterID(n))
		if err != nil {
			return 0, err
		}
		if there := int(r.Generation); there < len(acknowledged) { //nolint:gosec // it is small
			lost += len(acknowledged) - there
			fmt.Fprintf(out, "  %s: %d of %d, at version %d\n", CounterID(n), there, len(acknowledged), r.Version)
			printLost(out, acknowledged, r.Generation)
			if again, err := store.Load(ctx, CounterID(n)); err == nil && again.Version != r.Version {
				fmt.Fprintf(out, "    read again, it has %d, at version %d: the first read was a stale one\n", again.Generation, again.Version)
			}
		} else if there > len(acknowledged)+i.unknown[n] {
			return 0, fmt.Errorf("%d writes are there, and %d were made", there, len(acknowledged)+i.unknown[n])
		}
	}
	return lost, nil
}

// printLost prints the writes that were acknowledged on the same number, and those
// beyond the last that is there.
func printLost(out io.Writer, acknowledged []write, there uint64) {
	first := map[uint64]write{}
	for _, w := range acknowledged {
		if other, twice := first[w.generation]; twice {
			fmt.Fprintf(out, "    %v; and %v\n", other, w)
		}
		first[w.generation] = w
		if w.generation > there {
			fmt.Fprintf(out, "    %v\n", w)
		}
	}
}

// Increment adds one to a record, however often somebody is faster.
func Increment(ctx context.Context, s tokenstore.Store, id string) error {
	_, err := increment(ctx, s, id)
	return err
}

func increment(ctx context.Context, s tokenstore.Store, id string) (write, error) {
	for {
		r, err := s.Load(ctx, id)
		if err != nil {
			return write{}, err
		}
		r.Generation++
		r.Lease.Owner = [...]string{"", "increment"}[r.Generation%2] // a store may send leases together
		saved, err := s.Save(ctx, r)
		if !errors.Is(err, tokenstore.ErrConflict) {
			return write{saved.Generation, saved.Version, r.Version, time.Now()}, err
		}
	}
}
