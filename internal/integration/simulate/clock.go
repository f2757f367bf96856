// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"time"
	"unsafe"
)

// clock is that of a process. Its wall clock can be wrong and can jump; its
// monotonic one, which is another reading of the same [time.Time], stands still
// while the machine is suspended.
type clock struct {
	mu    sync.Mutex
	began time.Time
	off   time.Duration // of the wall clock
	stood time.Duration // of the monotonic one, before stops
	stops []stop        // the latest ones
}

// stop is a time in which a process does nothing, suspended with its machine or
// not.
type stop struct {
	from, to  time.Time
	suspended bool
}

// keptStops is how many of the latest stops are remembered.
const keptStops = 8

func newClock(off time.Duration) *clock {
	return &clock{began: time.Now(), off: off}
}

// now is what time.Now returns in the process.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := time.Now()
	monotonic := is.Sub(c.began) - c.stood
	for _, s := range c.stops {
		if s.suspended {
			monotonic -= min(is.Sub(s.from), s.to.Sub(s.from))
		}
	}
	return instant(is.Add(c.off), monotonic)
}

// offset is how far the wall clock is ahead.
func (c *clock) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off
}

// jump sets the wall clock, to another time that is wrong.
func (c *clock) jump(off time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
}

// halt stops the process for a while, unless it stands still.
func (c *clock) halt(length time.Duration, suspended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := time.Now()
	if n := len(c.stops); n > 0 && c.stops[n-1].to.After(is) {
		return
	}
	if len(c.stops) == keptStops {
		if s := c.stops[0]; s.suspended {
			c.stood += s.to.Sub(s.from)
		}
		c.stops = append([]stop(nil), c.stops[1:]...)
	}
	c.stops = append(c.stops, stop{is, is.Add(length), suspended})
}

// halted is how much longer the process stands still.
func (c *clock) halted() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.stops); n > 0 {
		return max(time.Until(c.stops[n-1].to), 0)
	}
	return 0
}

// haltedSince reports whether the process stood still after t, and until when.
func (c *clock) haltedSince(t time.Time) (until time.Time, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.stops)
	if n == 0 || !c.stops[n-1].to.After(t) {
		return time.Time{}, false
	}
	return c.stops[n-1].to, true
}

// instant returns an instant as time.Now does, with both readings. Package time
// makes none with readings that differ, so this writes them where they are kept:
// a flag, the seconds since 1885 and the nanoseconds of the wall clock in one
// word, and the monotonic clock in the next.
func instant(wall time.Time, monotonic time.Duration) (t time.Time) {
	of := (*struct {
		wall      uint64
		monotonic int64
	})(unsafe.Pointer(&t)) //nolint:gosec // there is no other way, and TestInstant finds out if this one ends
	const flag, year1885 = 1 << 63, -2682288000
	of.wall = flag | uint64(wall.Unix()-year1885)<<30 | uint64(wall.Nanosecond())
	of.monotonic = int64(monotonic) + 1 // as zero is none
	return t
}
