// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import "sync"

// Stats are counts since the keeper was made, of what this process did.
type Stats struct {
	// Refreshes were answered with a pair, which was saved.
	Refreshes uint64
	// Uncertain are those whose outcome was unknown.
	Uncertain uint64
	// SaveRetries are the saves of a new pair that had to be repeated.
	SaveRetries uint64
	// Lost are the links that ended, by cause.
	Lost map[Cause]uint64
}

type counts struct {
	mu sync.Mutex
	Stats
}

func (c *counts) add(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.Stats)
}

func (c *counts) lost(cause Cause) {
	c.add(func(s *Stats) {
		if s.Lost == nil {
			s.Lost = map[Cause]uint64{}
		}
		s.Lost[cause]++
	})
}

// Stats returns the counts so far.
func (k *Keeper) Stats() Stats {
	k.counts.mu.Lock()
	defer k.counts.mu.Unlock()
	s := k.counts.Stats
	s.Lost = make(map[Cause]uint64, len(k.counts.Lost))
	for cause, n := range k.counts.Lost {
		s.Lost[cause] = n
	}
	return s
}
