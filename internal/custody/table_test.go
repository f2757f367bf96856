// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"fmt"
	"sync"
	"testing"
)

// However the table grows and shrinks, a user has one entry.
func TestTable(t *testing.T) {
	t.Parallel()
	table := newTable()
	const n = 10_000
	name := func(i int) string { return fmt.Sprintf("user-%d", i) }
	entries := make([]*entry, n)
	for i := range n {
		e, grown := table.add(name(i))
		if grown != i+1 || e.user != name(i) {
			t.Fatalf("add %d = %q, %d", i, e.user, grown)
		}
		entries[i] = e
	}
	for i := range n {
		if got := table.find(name(i)); got != entries[i] {
			t.Fatalf("find %d found another entry, or none", i)
		}
		if got, grown := table.add(name(i)); got != entries[i] || grown != 0 {
			t.Fatalf("add %d made a second entry", i)
		}
	}
	for i := 10; i < n; i++ {
		table.remove(entries[i])
		table.remove(entries[i]) // a second time changes nothing
	}
	table.fit()
	if got := len(*table.buckets.Load()); got != minBuckets {
		t.Errorf("%d buckets for 10 entries", got)
	}
	seen := map[string]int{}
	for e := range table.all() {
		seen[e.user]++
	}
	for i := range n {
		want := map[bool]int{true: 1}[i < 10]
		if found := table.find(name(i)) != nil; found != (want == 1) || seen[name(i)] != want {
			t.Fatalf("user %d: found %v, yielded %d times", i, found, seen[name(i)])
		}
	}
	if table.size() != 10 {
		t.Errorf("size = %d, want 10", table.size())
	}
}

// Readers of a table that is resized find an entry or nothing, never another user's,
// and end.
func TestTableReadersBesideWriters(t *testing.T) {
	table := newTable()
	stay, _ := table.add("stays")
	var writers, readers sync.WaitGroup
	over := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := range 2000 {
				e, _ := table.add(fmt.Sprintf("user-%d-%d", w, i))
				if i%3 == 0 {
					table.remove(e)
				}
				if i%100 == 0 {
					table.fit()
				}
			}
		})
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if e := table.find("stays"); e != nil && e != stay {
					t.Error("found another user's entry")
					return
				}
				if i%100 == 0 {
					if e, grown := table.add("stays"); e != stay || grown != 0 {
						t.Error("made a second entry")
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(over)
	readers.Wait()
}
