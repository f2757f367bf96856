// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/tokenstore"
)

// forgetful acknowledges a write now and then that it does not do.
type forgetful struct {
	*tokenstore.Memory
	saves, every int
}

func (f *forgetful) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if f.saves++; f.saves%f.every == 0 {
		r.Version++
		return r, nil
	}
	return f.Memory.Save(ctx, r)
}

// A write that was acknowledged and is not there is counted, and printed with the one
// that was acknowledged on the same number.
func TestLostIncrements(t *testing.T) {
	for every, want := range map[int]int{1000: 0, 100: 2} {
		store := &forgetful{Memory: tokenstore.NewMemory(), every: every}
		i, err := NewIncrements(t.Context(), store, 3)
		if err != nil {
			t.Fatal(err)
		}
		for range 250 {
			if err := i.Add(t.Context(), store); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		lost, err := i.Lost(t.Context(), store, &out)
		if err != nil || lost != want || strings.Count(out.String(), "; and ") != want {
			t.Errorf("%d lost, want %d, %v:\n%s", lost, want, err, &out)
		}
	}
}
