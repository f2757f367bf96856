// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package explore runs the protocol of package core through every history that a
// small world has: two or three processes that are interleaved at each load, save,
// request and response, a strict server that ends a session when a refresh token
// is presented twice, and, within the budget of each setup, crashes, lost and late
// requests, saves of unknown outcome, suspended and partitioned processes, wrong
// clocks, unlinks, relinks, refusals, and stores that go back or lag.
//
// It is the shipped code that runs, not a model of it. In each world the
// invariants are checked; a violation is reported as the shortest history that leads
// to it.
package explore

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// Options limits an exploration.
type Options struct {
	// For bounds the time; 0 means until all is explored.
	For time.Duration
	// Only is the name of the one setup to run; "" means all.
	Only string
	// Limit bounds the worlds of each setup; 0 means no bound.
	Limit int
	// Workers is how many setups are explored at a time; 0 means two.
	Workers int
	// First ends a setup at its first violation.
	First bool
	// Progress is called with each setup that has ended; it may be nil.
	Progress func(Setup)
}

// Violation is an invariant that does not hold, and the history that leads there.
type Violation struct {
	Rule  Rule
	Setup string
	Story []string
}

// Setup is the result of one setup.
type Setup struct {
	Name     string
	States   int
	Ends     int  // worlds in which nothing happens any more
	Complete bool // all worlds were seen
	Took     time.Duration
}

// Report is the result of an exploration.
type Report struct {
	States     int
	Violations []Violation
	Setups     []Setup
	// Rows has, for each row of core.Table, how often it was met.
	Rows []int
}

// RowsReached returns how many rows of the table were met.
func (r *Report) RowsReached() (n int) {
	for _, met := range r.Rows {
		if met > 0 {
			n++
		}
	}
	return n
}

// Unreached returns the rows of the table that were not met.
func (r *Report) Unreached() (rows []core.Rule) {
	for i, met := range r.Rows {
		if met == 0 {
			rows = append(rows, core.Table[i])
		}
	}
	return rows
}

// Names returns the names of all setups.
func Names() (names []string) {
	for _, c := range setups() {
		names = append(names, c.name)
	}
	return names
}

// Run explores. Small setups run first; those that have not ended share the rest of
// the time.
func Run(ctx context.Context, o Options) Report {
	start := time.Now() //nolint:forbidigo // how long it takes is no part of what is explored
	var all []*search
	for _, c := range setups() {
		if o.Only == "" || o.Only == c.name {
			all = append(all, newSearch(c))
		}
	}
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memory))
	r := runner{o: o, workers: max(o.Workers, 1), start: start}
	if o.Workers == 0 {
		r.workers = 2
	}
	left := r.round(ctx, all, firstShare)
	r.round(ctx, left, 1)
	report := Report{Rows: make([]int, len(core.Table))}
	for _, s := range all {
		report.States += s.states
		report.Setups = append(report.Setups, Setup{Name: s.c.name, States: s.states, Ends: s.ends, Complete: s.done, Took: s.took})
		for i, met := range s.c.rows {
			report.Rows[i] += met
		}
		for rule := range Rule(len(ruleNames)) {
			if v, ok := s.bad[rule]; ok {
				report.Violations = append(report.Violations, v)
			}
		}
	}
	return report
}

// firstShare is the part of the time in which every setup has a turn, so that the
// small ones end.
const firstShare = 0.4

// The garbage collector runs late: most worlds are not kept, and looking for the
// others costs more than the memory, of which this much is available.
const (
	garbage = 300
	memory  = 4 << 30
)

type runner struct {
	o       Options
	workers int
	start   time.Time
	mu      sync.Mutex
}

// round gives each search an equal share of a part of the time that is left, and
// returns those that have not ended.
func (r *runner) round(ctx context.Context, all []*search, part float64) (left []*search) {
	var group sync.WaitGroup
	waiting := len(all)
	for range r.workers {
		group.Go(func() {
			for {
				r.mu.Lock()
				if waiting == 0 {
					r.mu.Unlock()
					return
				}
				s := all[len(all)-waiting]
				share := r.share(ctx, waiting, part)
				waiting--
				r.mu.Unlock()
				r.turn(ctx, s, share, part == 1)
				if s.seen != nil {
					r.mu.Lock()
					left = append(left, s)
					r.mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return left
}

// share returns how long the next of the waiting searches may take; 0 means no
// bound.
func (r *runner) share(ctx context.Context, waiting int, part float64) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	end := r.start.Add(time.Duration(float64(deadline.Sub(r.start)) * part))
	remaining := time.Until(end) //nolint:forbidigo // as above
	return max(remaining*time.Duration(r.workers)/time.Duration(waiting), time.Millisecond)
}

func (r *runner) turn(ctx context.Context, s *search, share time.Duration, last bool) {
	if share > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	start := time.Now() //nolint:forbidigo // as above
	s.run(ctx, r.o.Limit, r.o.First)
	s.took += time.Since(start) //nolint:forbidigo // as above
	if s.done || last || r.o.Limit > 0 && s.states >= r.o.Limit || r.o.First && len(s.bad) > 0 {
		s.drop()
		if r.o.Progress != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.o.Progress(Setup{Name: s.c.name, States: s.states, Ends: s.ends, Complete: s.done, Took: s.took})
		}
	}
}
