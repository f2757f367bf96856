// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/record"
)

// heap is what is in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one only finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// peakPages measures the heap during a search of many pages, with a collector
// that leaves little garbage, and of one page that is kept whole.
func (b *bench) peakPages(ctx context.Context) (float64, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	page, err := pageTakes(b.page)
	if err != nil {
		return 0, err
	}
	peak := watch(heap())
	n := 0
	for o, err := range b.patient.Record().Observations(ctx, record.Laboratory) {
		if err != nil {
			return 0, err
		}
		if o.Reveal().ValueQuantity != nil {
			n++
		}
	}
	most := peak()
	if n != pages*perPage {
		return 0, fmt.Errorf("%d observations in %d pages", n, pages)
	}

	// The same search, kept whole: a measure that does not see this sees nothing.
	peak = watch(heap())
	var all []fhir.Resource[fhir.Observation]
	for o, err := range b.patient.Record().Observations(ctx, record.Laboratory) {
		if err != nil {
			return 0, err
		}
		all = append(all, o)
	}
	whole := peak()
	runtime.KeepAlive(all)
	if whole < pages*page/2 {
		return 0, errors.New("the measure of the heap does not see a search that is kept whole")
	}
	fmt.Printf("a page of %d kB takes %.1f MB; a search of %d pages at most %.1f MB, and kept whole %.1f MB (%.1f pages)\n",
		len(b.page)/1000, page/1e6, pages, most/1e6, whole/1e6, whole/page)
	return most / page, nil
}

// pageTakes measures the heap that a page takes with all that was read of it.
func pageTakes(page []byte) (float64, error) {
	before := heap()
	b, err := fhir.DecodeBundle(bytes.Clone(page))
	if err != nil {
		return 0, err
	}
	var all []fhir.Resource[fhir.Observation]
	for _, e := range b.Entries {
		o, err := fhir.As[fhir.Observation](e.Resource)
		if err != nil {
			return 0, err
		}
		all = append(all, o)
	}
	takes := heap() - before
	runtime.KeepAlive(all)
	return takes, nil
}

// watch samples the heap continuously, and returns a function for the most that it
// had beyond before.
func watch(before float64) (peak func() float64) {
	var stop atomic.Bool
	most := make(chan float64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		top := 0.0
		for !stop.Load() {
			metrics.Read(sample)
			top = max(top, float64(sample[0].Value.Uint64())-before)
			time.Sleep(200 * time.Microsecond)
		}
		most <- top
	}()
	return func() float64 {
		stop.Store(true)
		return <-most
	}
}
