// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

// table finds the entry of a user. Finding takes no lock; adding and removing take
// one, once for each user and not for each token.
//
// Entries are the links of their buckets' chains, so that one costs a pointer in a
// bucket and a pointer to the next. While the table is resized, a reader may be led
// onto another chain and miss an entry: find is the fast path, and get and add look
// again under the lock.
type table struct {
	seed    maphash.Seed
	buckets atomic.Pointer[[]atomic.Pointer[entry]] // the length is a power of two
	mu      sync.Mutex
	count   int
}

const minBuckets = 64

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	t.buckets.Store(new(make([]atomic.Pointer[entry], minBuckets)))
	return t
}

// hash has 32 bits: a table for a thousand million users has no more buckets.
func (t *table) hash(user string) uint32 { return uint32(maphash.String(t.seed, user)) } //nolint:gosec // so many bits are enough

func bucket(all []atomic.Pointer[entry], hash uint32) *atomic.Pointer[entry] {
	return &all[int(hash)&(len(all)-1)] // a table is never empty
}

// find compares hashes first: a user's name is elsewhere in memory than the entry.
func (t *table) find(user string) *entry {
	h := t.hash(user)
	e := bucket(*t.buckets.Load(), h).Load()
	for e != nil && (e.hash != h || e.user != user) {
		e = e.next.Load()
	}
	return e
}

// get is find under the lock: it misses no entry.
func (t *table) get(user string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(user)
}

// add returns the entry of user, and the number of entries if it is a new one.
func (t *table) add(user string) (e *entry, grownTo int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.find(user); e != nil {
		return e, 0
	}
	if t.count >= len(*t.buckets.Load()) {
		t.resize(2 * t.count)
	}
	e = &entry{user: user, hash: t.hash(user)}
	b := bucket(*t.buckets.Load(), e.hash)
	e.next.Store(b.Load())
	b.Store(e)
	t.count++
	return e, t.count
}

func (t *table) remove(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for at := bucket(*t.buckets.Load(), e.hash); at.Load() != nil; at = &at.Load().next {
		if at.Load() == e {
			at.Store(e.next.Load()) // a reader at e continues from there
			t.count--
			return
		}
	}
}

func (t *table) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buckets.Store(new(make([]atomic.Pointer[entry], minBuckets)))
	t.count = 0
}

// fit frees the room that many removed entries have left.
func (t *table) fit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count < len(*t.buckets.Load())/8 {
		t.resize(t.count)
	}
}

// resize moves all entries into at least so many buckets; t.mu is held. Each chain
// is moved from its head, so that a moved entry never leads back to one that is not
// moved yet.
func (t *table) resize(buckets int) {
	n := minBuckets
	for n < buckets {
		n *= 2
	}
	next := make([]atomic.Pointer[entry], n)
	for i := range *t.buckets.Load() {
		e := (*t.buckets.Load())[i].Load()
		for e != nil {
			rest := e.next.Load()
			b := bucket(next, e.hash)
			e.next.Store(b.Load())
			b.Store(e)
			e = rest
		}
	}
	t.buckets.Store(&next)
}

// all yields the entries, without a lock: an entry that is added, removed or moved
// meanwhile may be yielded or not.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i := range *t.buckets.Load() {
			for e := (*t.buckets.Load())[i].Load(); e != nil; e = e.next.Load() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func (t *table) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
