// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// memory is what a process remembers of a user between flights.
type memory struct {
	sight core.Sight
	// lookedAt is when the record was last loaded.
	lookedAt time.Time
	// kept returns the row that was last acknowledged, for keptFor from keptAt on. It
	// is a function so that no printer that follows pointers finds the tokens in it.
	kept   func() row
	keptAt time.Time
	// newest is the furthest pair whose token this process had.
	newest core.PairID
	// leases are those that this process's flights wanted, by owner, and that may be in
	// the record.
	leases map[string]claim
	// seeking means that a goroutine looks for them from time to time.
	seeking bool
	// failures counts the checks that failed in a row, up to tiredUntil.
	failures   int
	tiredUntil int64
	// replacedAt is when a rejected token was last replaced.
	replacedAt time.Time
	// usedAt is when remember was last called.
	usedAt int64
}

// claim is a lease that a flight of this process wanted. over means that the flight
// has ended; sent, that a token may have been presented.
type claim struct{ over, sent bool }

// remembersFor is how long an entry without a token is kept for its memory.
const remembersFor = 12 * time.Hour

// forgettable reports whether nothing in m is needed.
func (m *memory) forgettable(now int64) bool {
	return m == nil || now-m.usedAt > int64(remembersFor)
}

// remember returns the memory of an entry; e.mu is held.
func (k *Keeper) remember(e *entry) *memory {
	if e.memory == nil {
		e.memory = &memory{leases: map[string]claim{}}
	}
	e.memory.usedAt = k.clock.exact()
	return e.memory
}

// unsent reports whether there may be a lease in the record under which nothing was
// presented.
func (m *memory) unsent() bool {
	for _, c := range m.leases {
		if c.over && !c.sent {
			return true
		}
	}
	return false
}

// seek looks for a lease whose save was reported as failed, until others may take it
// anyway: it may land late, and only this process knows that nothing is sent under
// it. A look gives it back.
func (k *Keeper) seek(e *entry, after time.Duration) {
	time.AfterFunc(after, func() {
		e.mu.Lock()
		m := e.memory
		over := m == nil || !m.unsent() || after > patience
		if m != nil && over {
			m.seeking = false
		}
		e.mu.Unlock()
		if over {
			return
		}
		if _, err := k.checkLater(e.user); err == nil {
			k.seek(e, 2*after)
		}
	})
}

// keep records a row that the store has acknowledged.
func (k *Keeper) keep(e *entry, r *row) {
	now := k.now()
	e.mu.Lock()
	m := k.remember(e)
	m.kept, m.keptAt = func() row { return *r }, now
	e.mu.Unlock()
	k.kept.add(k, e, now)
}

// row returns the row that was last acknowledged, if that was lately; e.mu is held.
func (m *memory) row(now time.Time) row {
	if m.kept == nil || most(m.keptAt, now) > keptFor {
		return row{}
	}
	return m.kept()
}

// keptRows forgets rows after keptFor.
type keptRows struct {
	mu    sync.Mutex
	queue []keptRow
}

type keptRow struct {
	e  *entry
	at time.Time
}

func (q *keptRows) add(k *Keeper, e *entry, now time.Time) {
	q.mu.Lock()
	q.queue = append(q.queue, keptRow{e, now})
	var over []*entry
	for len(q.queue) > 0 && most(q.queue[0].at, now) > keptFor {
		over = append(over, q.queue[0].e)
		q.queue[0] = keptRow{}
		q.queue = q.queue[1:]
	}
	q.mu.Unlock()
	for _, e := range over {
		k.release(e, now)
	}
}

func (q *keptRows) recent(now time.Time) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []*entry
	for _, r := range q.queue {
		if most(r.at, now) <= keptFor {
			all = append(all, r.e)
		}
	}
	return all
}

// release forgets an entry's kept row, and its memory if nothing else is in it.
func (k *Keeper) release(e *entry, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.memory
	if m == nil || m.kept != nil && most(m.keptAt, now) <= keptFor {
		return
	}
	m.kept = nil
	k.settle(e)
}

// settle drops a memory and an entry that hold nothing; e.mu is held.
func (k *Keeper) settle(e *entry) {
	if m := e.memory; m != nil && e.idle() && m.kept == nil && m.sight.Quiet() && m.failures == 0 && len(m.leases) == 0 && m.replacedAt.IsZero() {
		if l := e.live.Load(); l == nil || m.newest == l.Pair {
			e.memory = nil
		}
	}
	if e.idle() && e.live.Load() == nil && e.memory == nil {
		k.drop(e) // no link, or no token: it costs no memory
	}
}
