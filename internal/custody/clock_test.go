// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"testing"
	"testing/synctest"
	"time"
)

// The clock in ticks is never more than a tick behind while it is read, and stops
// when it is not: a bubble would not end otherwise.
func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &clock{now: time.Now}
		for range 2 {
			for range 300 {
				if late := time.Now().UnixNano() - c.read(); late < 0 || late > int64(tick) {
					t.Fatalf("late by %v", time.Duration(late))
				}
				time.Sleep(7 * time.Millisecond)
			}
			time.Sleep(3 * idleTicks * tick)
			synctest.Wait()
			if c.ticked.Load() != 0 {
				t.Fatal("it still ticks")
			}
		}
	})
}
