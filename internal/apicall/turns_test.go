// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// After a crowd nothing is left of it: a user without calls costs nothing.
func TestTurnsForgetWhoIsNotThere(t *testing.T) {
	const most = 3
	q := Turns{Most: most}
	var inside [5]atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 50 {
				user := rand.N(len(inside))
				ctx, cancel := context.WithCancel(t.Context())
				if rand.N(3) == 0 {
					cancel() // some leave while they wait
				}
				turn, err := q.Enter(ctx, fmt.Sprint(user))
				if err == nil {
					if n := inside[user].Add(1); n > most {
						t.Errorf("%d at once, and %d are the most", n, most)
					}
					inside[user].Add(-1)
					turn.Leave()
					turn.Leave() // more than once is once
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := len(q.lines); n != 0 {
		t.Errorf("%d users are kept for whom nothing is under way", n)
	}
}

func BenchmarkTurns(b *testing.B) {
	q := Turns{Most: 4}
	b.ReportAllocs()
	for b.Loop() {
		turn, err := q.Enter(b.Context(), "app-user-1")
		if err != nil {
			b.Fatal(err)
		}
		turn.Leave()
	}
}
