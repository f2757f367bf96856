// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// cluster is a database of several nodes, in memory. It is right unless one of its
// faults is set.
type cluster struct {
	mu      sync.Mutex
	records map[string]tokenstore.Record
	version uint64
	undo    []func()     // the latest writes, for a failover that loses them
	down    map[int]bool // nodes that were cut
	calls   int          // of Save

	// follow makes all nodes but the first read what was there before the last write.
	follow bool
	before map[string]*tokenstore.Record
	// lose is how many acknowledged writes a cut loses.
	lose int
	// definite makes a node that is cut do the write that it was about to do, and any
	// node a write whose caller gives up, and report a conflict for them.
	definite bool
	// halves lets a live node fail every seventh write, and do every second of those.
	halves bool
	// absent is what a node that was cut returns.
	absent error
	// own gives each node versions of its own, and racy lets it compare first and
	// write a moment later.
	own, racy bool
	// stuck: when a node is cut, no other accepts writes.
	stuck bool
}

func newCluster() *cluster {
	return &cluster{records: map[string]tokenstore.Record{}, down: map[int]bool{}, before: map[string]*tokenstore.Record{}, absent: tokenstore.ErrUnavailable}
}

// nodeOf is a node of a cluster.
type nodeOf struct {
	*cluster
	node int
	// counted is the node's own version, if the cluster has no common one.
	counted uint64
	// spent: it has done what it was about to do when it was cut.
	spent bool
}

func (c *cluster) nodes(n int) (stores []tokenstore.Store) {
	for node := range n {
		stores = append(stores, &nodeOf{cluster: c, node: node})
	}
	return stores
}

func (c *cluster) cut(node int) (func() error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[node] = true
	for range min(c.lose, len(c.undo)) {
		c.undo[len(c.undo)-1]()
		c.undo = c.undo[:len(c.undo)-1]
	}
	return func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.down, node)
		return nil
	}, nil
}

// reachable returns why a call of this node fails. The caller holds mu.
func (n *nodeOf) reachable(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case n.down[n.node]:
		return n.absent
	case n.stuck && len(n.down) > 0:
		return tokenstore.ErrUnavailable
	}
	return nil
}

func (n *nodeOf) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.reachable(ctx); err != nil && (!n.definite || n.spent) {
		return tokenstore.Record{}, err
	}
	r, ok := n.records[id]
	if n.follow && n.node > 0 {
		if old, written := n.before[id]; written {
			ok = old != nil
			if ok {
				r = *old
			}
		}
	}
	if !ok {
		return tokenstore.Record{}, tokenstore.ErrNotFound
	}
	return r.Clone(), nil
}

func (n *nodeOf) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.definite {
		n.mu.Unlock()
		time.Sleep(200 * time.Microsecond) // the way to the node
		n.mu.Lock()
	}
	err := n.reachable(ctx)
	if n.definite && err != nil {
		if saved, _ := n.write(r); saved.Version != 0 {
			n.spent = n.spent || ctx.Err() == nil
			return tokenstore.Record{}, tokenstore.ErrConflict
		}
		return tokenstore.Record{}, err
	}
	if err != nil {
		return tokenstore.Record{}, err
	}
	if n.calls++; n.halves && n.calls%7 == 0 {
		if n.calls%2 == 0 {
			_, _ = n.write(r)
		}
		return tokenstore.Record{}, tokenstore.ErrUnavailable
	}
	return n.write(r)
}

// write compares and swaps. The caller holds mu.
func (n *nodeOf) write(r tokenstore.Record) (tokenstore.Record, error) {
	old, exists := n.records[r.AppUserID]
	if old.Version != r.Version {
		return tokenstore.Record{}, tokenstore.ErrConflict
	}
	if n.racy {
		n.mu.Unlock()
		time.Sleep(100 * time.Microsecond)
		n.mu.Lock()
	}
	n.before[r.AppUserID] = nil
	n.undo = append(n.undo, func() { delete(n.records, r.AppUserID) })
	if exists {
		n.before[r.AppUserID] = &old
		n.undo[len(n.undo)-1] = func() { n.records[r.AppUserID] = old }
	}
	r = r.Clone()
	if n.version++; n.own {
		n.counted++
		r.Version = n.counted
	} else {
		r.Version = n.version
	}
	n.records[r.AppUserID] = r
	return r.Clone(), nil
}

func (n *nodeOf) Delete(ctx context.Context, id string, version uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.reachable(ctx); err != nil {
		return err
	}
	old, ok := n.records[id]
	switch {
	case !ok:
		return tokenstore.ErrNotFound
	case old.Version != version:
		return tokenstore.ErrConflict
	}
	delete(n.records, id)
	n.before[id] = &old
	n.undo = append(n.undo, func() { n.records[id] = old })
	return nil
}

// Nodes that share what they store pass, and so do those of which one after the other
// dies.
func TestCheckSpread(t *testing.T) {
	c := newCluster()
	stores := c.nodes(3)
	CheckSpread(t, len(stores), func(_ *testing.T, node int) tokenstore.Store { return stores[node] }, c.cut)
	shared := tokenstore.NewMemory() // has a Finder
	CheckSpread(t, 2, func(*testing.T, int) tokenstore.Store { return shared }, func(int) (func() error, error) {
		return func() error { return nil }, nil
	})
}

// A write that was done and reported as unknown, or not done and reported so, is no
// fault.
func TestUnknownOutcomesAreNoFault(t *testing.T) {
	c := newCluster()
	c.halves = true
	for _, check := range spreadChecks {
		if check.name == "the death of a node" {
			if problems, _ := check.spread(t.Context(), c.nodes(3), c.cut, patience); len(problems) > 0 {
				t.Errorf("%q", problems)
			}
			return
		}
	}
	t.Error("there is no such check")
}

// The suite can fail: each way of being broken between nodes is caught by the check
// that is there for it.
func TestBrokenClustersAreCaught(t *testing.T) {
	const (
		reads, updates, creators = "every node reads what was written", "no update is lost between nodes", "one creator on all nodes"
		versions, givesUp, death = "no version is used twice by any node", "a caller that gives up does not know", "the death of a node"
	)
	for name, tc := range map[string]struct {
		by   []string
		make func(*cluster)
	}{
		"reads from followers":                    {[]string{reads, updates}, func(c *cluster) { c.follow = true }},
		"loses acknowledged writes in a failover": {[]string{death}, func(c *cluster) { c.lose = 3 }},
		"an unknown outcome taken for a conflict": {[]string{givesUp, death}, func(c *cluster) { c.definite = true }},
		"versions of each node's own":             {[]string{versions}, func(c *cluster) { c.own = true }},
		"compares, then writes":                   {[]string{updates, creators}, func(c *cluster) { c.racy = true }},
		"no quorum without a node":                {[]string{death}, func(c *cluster) { c.stuck = true }},
		"a dead node has no records":              {[]string{death}, func(c *cluster) { c.absent = tokenstore.ErrNotFound }},
		"a dead node calls the operator":          {[]string{death}, func(c *cluster) { c.absent = errors.New("connection refused") }},
	} {
		for _, by := range tc.by {
			t.Run(name+", by "+by, func(t *testing.T) {
				i := slices.IndexFunc(spreadChecks, func(c spreadCheck) bool { return c.name == by })
				c := newCluster()
				tc.make(c)
				problems, skipped := spreadChecks[i].spread(t.Context(), c.nodes(3), c.cut, 200*time.Millisecond)
				if len(problems) == 0 || skipped != "" {
					t.Errorf("not caught by %q (%s)", by, skipped)
				}
				if len(problems) > 20 {
					t.Errorf("%d lines for one fault", len(problems))
				}
			})
		}
	}
}

// A node that does not come back, and a call that hangs, are told.
func TestDeathWithoutReturn(t *testing.T) {
	check := spreadChecks[slices.IndexFunc(spreadChecks, func(c spreadCheck) bool { return c.name == "the death of a node" })]
	for name, tc := range map[string]struct {
		cut  func(*cluster) func(int) (func() error, error)
		want string
	}{
		"it stays away": {func(c *cluster) func(int) (func() error, error) {
			return func(node int) (func() error, error) { _, err := c.cut(node); return func() error { return nil }, err }
		}, "after node 0 was brought back, node 0 did not accept 10 writes"},
		"it cannot be cut": {func(*cluster) func(int) (func() error, error) {
			return func(int) (func() error, error) { return nil, errors.New("no such node") }
		}, "cutting node 0: no such node"},
		"it cannot be brought back": {func(c *cluster) func(int) (func() error, error) {
			return func(node int) (func() error, error) {
				_, err := c.cut(node)
				return func() error { return fmt.Errorf("broken") }, err
			}
		}, "bringing node 0 back: broken"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			problems, _ := check.spread(t.Context(), c.nodes(3), tc.cut(c), 100*time.Millisecond)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tc.want) }) {
				t.Errorf("%q, want %q", problems, tc.want)
			}
		})
	}
}

// Without a function that cuts, the check is skipped, with the consequence.
func TestDeathIsSkippedWithoutCut(t *testing.T) {
	skips := 0
	for _, check := range spreadChecks {
		problems, skipped := check.spread(t.Context(), newCluster().nodes(2), nil, patience)
		if len(problems) > 0 {
			t.Errorf("%s: %q", check.name, problems)
		}
		if strings.Contains(skipped, "without it, ") {
			skips++
		}
	}
	if skips != 1 {
		t.Errorf("%d checks were skipped, want 1", skips)
	}
}
