// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Benchmark measures the stores that open returns: reading, writing, and the
// round trips of a whole refresh (a read and two writes), the last also with
// many users at once.
func Benchmark(b *testing.B, open func(b *testing.B) tokenstore.Store) {
	b.Helper()
	record := func(b *testing.B, s tokenstore.Store, id string) tokenstore.Record {
		b.Helper()
		r := full(id)
		r.Generation, r.Sealed = 1, make([]byte, 2<<10)
		if old, err := s.Load(b.Context(), id); err == nil {
			r.Version = old.Version
		}
		saved, err := s.Save(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		return saved
	}
	cycle := func(b *testing.B, s tokenstore.Store, id string) {
		r, err := s.Load(b.Context(), id)
		for i := 0; i < 2 && err == nil; i++ {
			r.Generation++
			r, err = s.Save(b.Context(), r)
		}
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("Load", func(b *testing.B) {
		s := open(b)
		record(b, s, "storetest-load")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Load(b.Context(), "storetest-load"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Save", func(b *testing.B) {
		s := open(b)
		r := record(b, s, "storetest-save")
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if r, err = s.Save(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Refresh", func(b *testing.B) {
		s := open(b)
		record(b, s, "storetest-refresh")
		b.ReportAllocs()
		for b.Loop() {
			cycle(b, s, "storetest-refresh")
		}
	})
	b.Run("RefreshParallel", func(b *testing.B) {
		s := open(b)
		var users atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			id := fmt.Sprint("storetest-parallel-", users.Add(1))
			record(b, s, id)
			for pb.Next() {
				cycle(b, s, id)
			}
		})
	})
}
