// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"sync"
	"sync/atomic"
	"time"
)

// clock tells the time to within a tick, for a fraction of what time.Now costs.
// It ticks while somebody looks at it, and stops by itself soon after.
type clock struct {
	now func() time.Time
	// nanos is the Unix time of the last tick, 0 while it stands still.
	nanos  atomic.Int64
	looked atomic.Bool
	mu     sync.Mutex
}

const (
	// tick is how far behind a reading may be; the hard margin of a token is a
	// thousand times that.
	tick = 20 * time.Millisecond
	// idleTicks is after how many ticks without a look the clock stops.
	idleTicks = 50
)

// read returns the Unix time in nanoseconds.
func (c *clock) read() int64 {
	if n := c.nanos.Load(); n != 0 {
		if !c.looked.Load() { // most of the time it is set: no cache line moves
			c.looked.Store(true)
		}
		return n
	}
	return c.start()
}

func (c *clock) start() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.now().UnixNano()
	if c.nanos.Load() == 0 {
		c.looked.Store(true)
		c.nanos.Store(n)
		go c.run()
	}
	return n
}

func (c *clock) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 1; ; n++ {
		<-t.C
		c.nanos.Store(c.now().UnixNano())
		if n%idleTicks == 0 && !c.looked.Swap(false) {
			c.nanos.Store(0)
			return
		}
	}
}
