// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// growth is how much more is held at the end than at the beginning.
type growth struct {
	Goroutines int     `json:"goroutines_growth"`
	HeapMB     float64 `json:"heap_growth_mb"`
	Conns      int     `json:"conns_growth"`
}

// reading is what was held at one moment.
type reading struct {
	at       time.Duration // since the faults began
	part     part
	since    time.Duration // the beginning of its part
	replicas []sample
	// clients is PostgreSQL's count, -1 while it is away.
	clients int
}

// part is a part of a run.
type part int

// The parts of a run. The restart takes as long as it takes, longer on a busy machine,
// and belongs to neither half.
const (
	firstHalf part = iota
	restarting
	secondHalf
)

// grown compares the end of the second half with the end of the first. The beginning
// of each, as long, is for everything to get warm, and to settle after the restart.
func grown(readings []reading, length time.Duration) (g growth) {
	var before, after []reading
	for _, r := range readings {
		switch settled := r.since >= length/4; {
		case settled && r.part == firstHalf:
			before = append(before, r)
		case settled && r.part == secondHalf:
			after = append(after, r)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		return g
	}
	heap := math.Inf(-1)
	g.Goroutines, g.Conns = math.MinInt, math.MinInt
	for i := range before[0].replicas {
		goroutines := func(r reading) int { return r.replicas[i].Goroutines }
		sockets := func(r reading) int { return r.replicas[i].Sockets }
		bytes := func(r reading) uint64 { return r.replicas[i].Heap }
		g.Goroutines = max(g.Goroutines, median(after, goroutines)-median(before, goroutines))
		g.Conns = max(g.Conns, median(after, sockets)-median(before, sockets))
		heap = max(heap, (float64(median(after, bytes))-float64(median(before, bytes)))/(1<<20))
	}
	g.HeapMB = math.Round(heap*100) / 100
	here := func(r reading) bool { return r.clients >= 0 }
	clients := func(r reading) int { return r.clients }
	before, after = filter(before, here), filter(after, here)
	if len(before) > 0 && len(after) > 0 {
		g.Conns = max(g.Conns, median(after, clients)-median(before, clients))
	}
	return g
}

func filter(all []reading, keep func(reading) bool) (kept []reading) {
	for _, r := range all {
		if keep(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// median returns the middle of what of returns for the readings, of which there
// is one at least.
func median[T cmp.Ordered](readings []reading, of func(reading) T) T {
	values := make([]T, len(readings))
	for i, r := range readings {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
