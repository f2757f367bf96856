// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"fmt"
	"testing"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// hot returns a keeper with n users whose tokens are in memory.
func hot(b *testing.B, n int) (*custody.Keeper, []string) {
	b.Helper()
	i := newIssuer()
	k := keeper(b, tokenstore.NewMemory(), i, func(c *custody.Config) { c.Ring, c.Ticks = nil, true })
	users := make([]string, n)
	for j := range users {
		users[j] = fmt.Sprintf("app-user-%08d", j)
		if _, err := approveAs(b, k, i, users[j], "mark", custody.Terms{Share: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := k.Token(b.Context(), users[j]); err != nil {
			b.Fatal(err)
		}
	}
	return k, users
}

// Reading a valid token.
func BenchmarkToken(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		k, users := hot(b, n)
		b.Run(fmt.Sprintf("users=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			ctx, j := b.Context(), 0
			for b.Loop() {
				if j++; j == n {
					j = 0
				}
				if _, err := k.Token(ctx, users[j]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("users=%d/parallel", n), func(b *testing.B) {
			ctx := b.Context()
			b.RunParallel(func(pb *testing.PB) {
				j := 0
				for pb.Next() {
					if j++; j == n {
						j = 0
					}
					if _, err := k.Token(ctx, users[j]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
