// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// CheckSpread checks stores that several nodes of one cluster, or several processes,
// share: what is written through one is read through the others at once, of writes
// through all of them none is lost, and a write whose outcome is unknown is reported
// as such. open returns the store of a node, numbered from 0, for one check; use Run as
// well.
//
// cut ends a node, as a crash or a cut cable does, or moves the primary, and returns
// what brings it back. Every node is cut in turn while writes go on through all of
// them. The others must accept writes within half a minute, and so must the node once
// it is back. The most is learnt from killing processes (SIGKILL), and from stopping
// them (SIGSTOP, and SIGCONT to bring them back). With a nil cut that check is skipped,
// and what a failover loses is not seen.
func CheckSpread(
	t *testing.T, nodes int, open func(t *testing.T, node int) tokenstore.Store, cut func(node int) (restore func() error, err error),
) {
	t.Helper()
	if nodes < 2 {
		t.Fatalf("storetest: %d nodes: there is nothing to check with less than 2", nodes)
	}
	for _, c := range spreadChecks {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			stores := make([]tokenstore.Store, nodes)
			for node := range stores {
				stores[node] = open(t, node)
			}
			problems, skipped := c.spread(t.Context(), stores, cut, patience)
			for _, problem := range problems {
				t.Errorf("%s\nwhy it matters: %s", problem, c.why)
			}
			if skipped != "" {
				t.Skip(skipped)
			}
		})
	}
}

// patience is how long a cluster may take to accept writes after a node was cut.
const patience = 30 * time.Second

type spreadCheck struct {
	name, why string
	test      func(*spread)
}

// spread runs one check on the stores of several nodes.
type spread struct {
	*probe
	stores   []tokenstore.Store
	cut      func(node int) (restore func() error, err error)
	patience time.Duration
}

// spread returns what is wrong with stores, or what is not checked.
func (c spreadCheck) spread(
	ctx context.Context, stores []tokenstore.Store, cut func(int) (func() error, error), patience time.Duration,
) (problems []string, skipped string) {
	return check{c.name, c.why, func(p *probe) { c.test(&spread{p, stores, cut, patience}) }}.run(ctx, stores[0])
}

// sound reports whether nothing was found yet, so that it is worth going on.
func (s *spread) sound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.problems) == 0 && s.ctx.Err() == nil
}

// all calls f for each node at the same time.
func (s *spread) all(f func(node int, store tokenstore.Store)) {
	var nodes sync.WaitGroup
	for node, store := range s.stores {
		nodes.Go(func() { f(node, store) })
	}
	nodes.Wait()
}

// spreadChecks are the contract across nodes. Names are stable.
var spreadChecks = []spreadCheck{
	{
		"every node reads what was written", "a replica that reads an outdated record through its node sends a spent refresh token",
		func(s *spread) {
			for round := range 10 {
				r := tokenstore.Record{AppUserID: s.id(fmt.Sprint("read", round)), PublicID: s.id(fmt.Sprint("patient", round))}
				for step := range 3 * len(s.stores) {
					var err error
					r.Generation++
					r, err = s.stores[step%len(s.stores)].Save(s.ctx, r)
					s.must(fmt.Sprintf("saving through node %d what was saved through another", step%len(s.stores)), err)
					s.all(func(node int, store tokenstore.Store) {
						got, err := store.Load(s.ctx, r.AppUserID)
						if err != nil || got.Version != r.Version || got.Generation != r.Generation {
							s.errorf("node %d loads generation %d after %d was acknowledged through node %d (%v)",
								node, got.Generation, r.Generation, step%len(s.stores), err)
						}
						finder, ok := store.(tokenstore.Finder)
						if !ok {
							return
						}
						if found, err := finder.FindPublicID(s.ctx, r.PublicID, 2); err != nil || len(found) != 1 || found[0].Version != r.Version {
							s.errorf("node %d finds %d records, or an outdated one, by a public id that was acknowledged through node %d (%v)",
								node, len(found), step%len(s.stores), err)
						}
					})
				}
				s.must("deleting what was saved through another node", s.stores[round%len(s.stores)].Delete(s.ctx, r.AppUserID, r.Version))
				if !s.sound() {
					return
				}
				s.all(func(node int, store tokenstore.Store) {
					if _, err := store.Load(s.ctx, r.AppUserID); !errors.Is(err, tokenstore.ErrNotFound) {
						s.errorf("node %d, Load after a Delete that was acknowledged through node %d: got error %v, want ErrNotFound", node, round%len(s.stores), err)
					}
				})
			}
		},
	},
	{
		"no update is lost between nodes", "of two replicas that refresh at once through two nodes, one must learn that it was late",
		func(s *spread) {
			l := newLedger(s)
			s.all(func(node int, store tokenstore.Store) {
				var writers sync.WaitGroup
				for range 4 {
					writers.Go(func() {
						for done := 0; done < 10 && s.sound(); {
							if l.write(s.ctx, node, store, 0) == nil {
								done++
							}
						}
					})
				}
				writers.Wait()
			})
			l.audit()
		},
	},
	{
		"one creator on all nodes", "two callbacks at once, through two nodes, would both make the link",
		func(s *spread) {
			for round := range 10 {
				id := s.id(fmt.Sprint("create", round))
				var mu sync.Mutex
				made := 0
				s.all(func(node int, store tokenstore.Store) {
					_, err := store.Save(s.ctx, tokenstore.Record{AppUserID: id, Cause: fmt.Sprint(node)})
					switch {
					case err == nil:
						mu.Lock()
						made++
						mu.Unlock()
					case !errors.Is(err, tokenstore.ErrConflict):
						s.errorf("creating at once through node %d: %v, want ErrConflict or success", node, err)
					}
				})
				if made != 1 {
					s.errorf("Save succeeded through %d of %d nodes for one new record", made, len(s.stores))
				}
			}
		},
	},
	{
		"no version is used twice by any node", "a process that slept through an unlink and a new link would write the old patient's tokens over the new one's",
		func(s *spread) {
			var old []tokenstore.Record
			seen := map[uint64]bool{}
			for round := range 4 * len(s.stores) {
				r, err := s.stores[round%len(s.stores)].Save(s.ctx, full(s.id("again")))
				s.must("creating a record", err)
				for step := range 2 {
					if seen[r.Version] {
						s.errorf("version %d was given out twice", r.Version)
					}
					seen[r.Version] = true
					old = append(old, r)
					r, err = s.stores[(round+step)%len(s.stores)].Save(s.ctx, r)
					s.must("saving", err)
				}
				for i, o := range old {
					if _, err := s.stores[i%len(s.stores)].Save(s.ctx, o); !errors.Is(err, tokenstore.ErrConflict) {
						s.errorf("node %d, Save on a version that another node gave out and that is no more: got error %v, want ErrConflict", i%len(s.stores), err)
						return
					}
				}
				seen[r.Version] = true
				s.must("deleting", s.stores[(round+1)%len(s.stores)].Delete(s.ctx, r.AppUserID, r.Version))
			}
		},
	},
	{
		"a caller that gives up does not know", "a write that was done and is called a conflict is a lease that nobody holds; one that was not done and is called a success is a token that is lost",
		func(s *spread) {
			l := newLedger(s)
			s.must("saving", l.write(s.ctx, 0, s.stores[0], 0))
			began := time.Now()
			s.must("saving", l.write(s.ctx, 0, s.stores[0], 0))
			usual := max(time.Since(began), 100*time.Microsecond)
			s.all(func(node int, store tokenstore.Store) {
				for i := 0; i < 40 && s.sound(); i++ {
					_ = l.write(s.ctx, node, store, 1+rand.N(usual+usual/2)) // the ledger has the outcome
					if i%4 == 3 {
						_ = l.write(s.ctx, node, store, 0)
					}
				}
			})
			l.audit()
		},
	},
	{
		"the death of a node", "what a failover loses are the successors of refresh tokens that were spent, and what it reports wrongly is decided wrongly",
		func(s *spread) {
			if s.cut == nil {
				s.skipped = "there is no function that cuts a node; without it, what a failover loses is not seen"
				return
			}
			for node := range s.stores {
				if s.cutWhileWriting(node); !s.sound() {
					return
				}
			}
		},
	},
}

// cutWhileWriting cuts a node in the middle of writes through all nodes, and brings it
// back.
func (s *spread) cutWhileWriting(node int) {
	l := newLedger(s)
	l.calm = true
	ctx, stop := context.WithCancel(s.ctx)
	var writers sync.WaitGroup
	defer func() {
		stop()
		writers.Wait()
		l.audit()
	}()
	for at, store := range s.stores {
		for range 4 {
			writers.Go(func() {
				for ctx.Err() == nil {
					call, cancel := context.WithTimeout(ctx, s.patience)
					_ = l.write(call, at, store, 0) // the ledger has the outcome
					cancel()
					wait(ctx, 2*time.Millisecond)
				}
			})
		}
	}
	others := make([]int, 0, len(s.stores))
	for at := range s.stores {
		if at != node {
			others = append(others, at)
		}
	}
	l.waitFor("before a node was cut", append(others, node), 10)
	restore, err := s.cut(node)
	s.must(fmt.Sprintf("cutting node %d", node), err)
	l.waitFor(fmt.Sprintf("after node %d was cut", node), others, 10)
	s.must(fmt.Sprintf("bringing node %d back", node), restore())
	l.waitFor(fmt.Sprintf("after node %d was brought back", node), append(others, node), 10)
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
