// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
)

// counts are what a store that keeps its promise never loses.
type counts struct {
	// LostUpdates counts increments that were acknowledged and are not there.
	LostUpdates int `json:"lost_updates"`
	// AuthorizationsLost counts patients who approved, whose code was exchanged, and who
	// were told that they are not linked, at once or later.
	AuthorizationsLost int `json:"authorizations_lost"`
	// PresentedSpent counts refresh tokens that were presented again.
	PresentedSpent int `json:"presented_spent"`
	// LinksLost counts links that ended, or that do not work in the end.
	LinksLost int `json:"links_lost"`
}

func (c counts) ok() bool { return c == counts{} }

// judge hears what callers are told.
type judge struct {
	out io.Writer

	mu sync.Mutex
	counts
	calls int
	// told counts what callers were told other than yes, by the code of its advice.
	told map[string]int
	// unusable is the longest time that one patient's calls did not succeed, whichever
	// replica they went to.
	unusable time.Duration
}

func newJudge(out io.Writer) *judge { return &judge{out: out, told: map[string]int{}} }

// hears notes what a caller was told.
func (j *judge) hears(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	if err != nil {
		j.told[advice.For(err).Code]++
	}
}

// waited notes for how long a patient's calls did not succeed.
func (j *judge) waited(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unusable = max(j.unusable, d)
}

// authorizationLost and linkLost note what must not happen.
func (j *judge) authorizationLost(p *person, what string, err error) {
	j.lost(&j.AuthorizationsLost, p, "the authorization is lost: "+what, err)
}

func (j *judge) linkLost(p *person, what string, err error) {
	j.lost(&j.LinksLost, p, "the link is lost: "+what, err)
}

func (j *judge) lost(count *int, p *person, what string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*count++
	fmt.Fprintf(j.out, "  %s: %s: %v\n", p.user, what, err)
}

// says prints what the failure cost.
func (j *judge) says(w *world, what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var told []string
	for _, code := range slices.Sorted(maps.Keys(j.told)) {
		told = append(told, fmt.Sprintf("%s %d", code, j.told[code]))
	}
	fmt.Fprintf(j.out, "%-10s %6d calls, %5d refreshes, nobody waited longer than %4.1f s; told otherwise: %s\n",
		what, j.calls, w.pkb.Refreshes(), j.unusable.Seconds(), strings.Join(told, ", "))
}

// storm lets patients live and writers write while something happens, and counts what
// is lost.
func (w *world) storm(ctx context.Context, what string, happens func(context.Context) error) (counts, error) {
	increments, err := cluster.NewIncrements(ctx, w.any().store, 20)
	if err != nil {
		return counts{}, err
	}
	enough := make(chan struct{})
	var under sync.WaitGroup
	for _, r := range w.all() {
		for range 2 {
			under.Go(func() { write(ctx, increments, r, enough) })
		}
	}
	for _, p := range w.people {
		under.Go(func() { p.live(ctx, enough) })
		under.Go(func() { p.otherTab(ctx, enough) })
	}
	err = happens(ctx)
	close(enough)
	under.Wait()
	if err != nil {
		return counts{}, err
	}
	each(w.people, func(p *person) { p.audit(ctx) })
	j := w.judge
	if j.LostUpdates, err = increments.Lost(ctx, w.any().store, j.out); err != nil {
		return counts{}, err
	}
	j.PresentedSpent = w.pkb.ReusedRefreshTokens()
	j.says(w, what)
	return j.counts, nil
}

// killed is what happens when a server of several is killed, stays away, and comes back.
func (j *judge) killed(server *services.Server, phase, away time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		pass(ctx, phase)
		server.Kill()
		pass(ctx, away)
		began := time.Now()
		err := server.Start(ctx)
		fmt.Fprintf(j.out, "killed for %v, and took %.1f s to come back\n", away, time.Since(began).Seconds())
		pass(ctx, 2*phase)
		return err
	}
}

// write increments through one replica until it is enough.
func write(ctx context.Context, increments *cluster.Increments, r *replica, enough <-chan struct{}) {
	for {
		select {
		case <-enough:
			return
		case <-time.After(5 * time.Millisecond):
			_ = increments.Add(ctx, r.store) // increments has the outcome
		}
	}
}

// longest is how long a link may be told to try later after the last failure: a lease
// is watched for 75 seconds, and the rest is for a busy machine.
const longest = 2 * time.Minute

// audit calls for a patient who is linked through every replica, until each knows that
// the link works, or that it does not.
func (p *person) audit(ctx context.Context) {
	if linked, _ := p.state(); !linked {
		return
	}
	for _, r := range p.w.all() {
		if err := p.settles(ctx, r, longest); err != nil {
			p.w.judge.linkLost(p, "in the end", err)
		}
	}
}

// settles calls until the result is one that waiting does not change.
func (p *person) settles(ctx context.Context, r *replica, patience time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if err = p.call(ctx, r); err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		pass(ctx, 300*time.Millisecond)
	}
}

// final reports whether an error is one that waiting does not change.
func final(err error) bool {
	return errors.Is(err, pkb.ErrRelinkRequired) || errors.Is(err, pkb.ErrNotLinked)
}
