// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"sync"
	"sync/atomic"
	"time"
)

// A duration is measured by one system clock, and twice where it matters: by the
// wall clock, which can be set, and by the monotonic one, which may stand still
// while the system is suspended.

// most is the time from a to b, by whichever of the two clocks reports more.
func most(a, b time.Time) time.Duration { return max(b.Sub(a), b.Round(0).Sub(a.Round(0)), 0) }

// least is the same by whichever reports less.
func least(a, b time.Time) time.Duration {
	return max(min(b.Sub(a), b.Round(0).Sub(a.Round(0))), 0)
}

// clock never goes backwards: it follows the wall clock, and where that steps back,
// the monotonic one. For reading tokens it returns the time to within a tick, at a
// fraction of the cost.
type clock struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
	e    int64
	// ticked is the time of the last tick, 0 while it stands still.
	ticked atomic.Int64
	looked atomic.Bool
	idle   int
	timer  *time.Timer
	closed bool
}

const (
	// tick is how far behind a reading may be; the margin of a token is a thousand
	// times that.
	tick = 20 * time.Millisecond
	// idleTicks is after how many unread ticks the clock stops.
	idleTicks = 50
)

func (c *clock) exact() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step()
}

// step is exact; c.mu is held.
func (c *clock) step() int64 {
	n := c.now()
	if c.last.IsZero() {
		c.e = n.UnixNano()
	} else {
		c.e = max(n.UnixNano(), c.e+max(int64(n.Sub(c.last)), 0))
	}
	c.last = n
	return c.e
}

// read returns the time of the last tick. The clock ticks while it is read, and
// stops soon after: with timers and no goroutine, so that a process, or a test in a
// bubble, may end while it ticks.
func (c *clock) read() int64 {
	if n := c.ticked.Load(); n != 0 {
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
	n := c.step()
	if c.ticked.Load() == 0 && !c.closed {
		c.looked.Store(true)
		c.ticked.Store(n)
		c.idle = 0
		c.timer = time.AfterFunc(tick, c.beat)
	}
	return n
}

func (c *clock) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle++; c.idle%idleTicks == 0 && !c.looked.Swap(false) || c.closed {
		c.ticked.Store(0)
		return
	}
	c.ticked.Store(c.step())
	c.timer.Reset(tick)
}

func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil && c.timer.Stop() {
		c.ticked.Store(0)
	}
}
