// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// ledger is a record to which every writer adds a mark of its own, with what each was
// told. So the record has the history of its writes, and what is in it must be what
// the writers were told: marks that were acknowledged are there, once, and those that
// were refused are not. Of the others nobody knows.
//
// A page holds so many marks; then the next one is begun.
type ledger struct {
	s *spread
	// calm: a node may be dead, so a write may fail in ways that end by themselves.
	calm bool

	mu    sync.Mutex
	last  uint32 // mark
	pages []*page
	// acked counts what was acknowledged by each node.
	acked []int
	told  map[string]bool
}

// page is one record of a ledger.
type page struct {
	id string
	// acked are marks that were acknowledged, in that order; refused are those that
	// were not written by the word of the store.
	acked   []uint32
	refused map[uint32]bool
	// winners counts the writes that were acknowledged on each version.
	winners map[uint64]int
}

// marksOfPage is how many marks are on a page, about, so that they fit Details; and
// latest is how many acknowledged ones are looked for at each read.
const (
	marksOfPage = 2000
	latest      = 50
)

func newLedger(s *spread) *ledger {
	l := &ledger{s: s, acked: make([]int, len(s.stores)), told: map[string]bool{}}
	l.turn()
	return l
}

// turn begins a page.
func (l *ledger) turn() {
	l.pages = append(l.pages, &page{id: l.s.id("ledger-" + rand.Text()), refused: map[uint32]bool{}, winners: map[uint64]int{}})
}

// errorf notes a problem, each text once.
func (l *ledger) errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.told[text] {
		l.told[text] = true
		l.s.errorf("%s", text)
	}
}

// begin returns the page to write on, a new mark, and how many marks of the page a
// read must see that begins now.
func (l *ledger) begin() (p *page, mark uint32, see int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	p = l.pages[len(l.pages)-1]
	return p, l.last, len(p.acked)
}

// write adds a mark through a node, and compares what it reads with what it must see.
// The caller gives the write up after a while, unless that is 0.
func (l *ledger) write(ctx context.Context, node int, store tokenstore.Store, giveUp time.Duration) error {
	p, mark, see := l.begin()
	r, err := store.Load(ctx, p.id)
	if errors.Is(err, tokenstore.ErrNotFound) {
		r, err = tokenstore.Record{AppUserID: p.id}, nil
	}
	if err != nil {
		l.failed(ctx, "Load", node, err)
		return err
	}
	marks := marksIn(r)
	l.mu.Lock()
	missing := 0
	for _, m := range p.acked[max(0, see-latest):see] { // audit looks at the others
		if !slices.Contains(marks[max(0, len(marks)-10*latest):], m) {
			missing++
		}
	}
	if len(marks) >= marksOfPage && p == l.pages[len(l.pages)-1] {
		l.turn()
	}
	l.mu.Unlock()
	if missing > 0 {
		l.errorf("node %d loads a record without writes that were acknowledged before", node)
	}
	base := r.Version
	r.Details = binary.BigEndian.AppendUint32(r.Details, mark)
	if giveUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, giveUp)
		defer cancel()
	}
	_, err = store.Save(ctx, r)
	switch {
	case err == nil:
		l.mu.Lock()
		p.acked = append(p.acked, mark)
		l.acked[node]++
		p.winners[base]++
		twice := p.winners[base] > 1
		l.mu.Unlock()
		if twice {
			l.errorf("two writes were acknowledged on one version")
		}
	case errors.Is(err, tokenstore.ErrConflict):
		l.mu.Lock()
		p.refused[mark] = true
		l.mu.Unlock()
	default:
		l.failed(ctx, "Save", node, err)
	}
	return err
}

// failed looks at an error that is none of the contract's results.
func (l *ledger) failed(ctx context.Context, call string, node int, err error) {
	switch {
	case ctx.Err() != nil:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && l.calm {
			l.errorf("%s through node %d did not return within %v while a node was dead", call, node, l.s.patience)
		}
	case !l.calm:
		l.errorf("%s through node %d while others write: %v", call, node, err)
	case !errors.Is(err, tokenstore.ErrUnavailable):
		l.errorf("%s through node %d while a node was dead: %v, want tokenstore.ErrUnavailable, so that nobody is called for what waiting ends", call, node, err)
	}
}

// waitFor waits until each of nodes has acknowledged n more writes.
func (l *ledger) waitFor(when string, nodes []int, n int) {
	l.mu.Lock()
	from := slices.Clone(l.acked)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.patience)
	defer cancel()
	for _, node := range nodes {
		for enough := false; !enough; {
			l.mu.Lock()
			enough = l.acked[node]-from[node] >= n
			l.mu.Unlock()
			if ctx.Err() != nil && !enough {
				l.errorf("%s, node %d did not accept %d writes within %v", when, node, n, l.s.patience)
				return
			}
			wait(ctx, time.Millisecond)
		}
	}
}

// audit compares the ledger, as each node reads it, with what the writers were told.
func (l *ledger) audit() {
	for _, p := range l.pages {
		for node, store := range l.s.stores {
			r, err := l.read(store, p.id)
			if errors.Is(err, tokenstore.ErrNotFound) && len(p.acked) == 0 {
				continue
			}
			if err != nil {
				l.errorf("Load through node %d after all writes: %v", node, err)
				continue
			}
			l.compare(p, node, marksIn(r))
		}
	}
}

func (l *ledger) compare(p *page, node int, marks []uint32) {
	times := map[uint32]int{}
	for _, m := range marks {
		times[m]++
	}
	lost, done, twice := 0, 0, 0
	for _, m := range p.acked {
		if times[m] == 0 {
			lost++
		}
	}
	for m, n := range times {
		if p.refused[m] {
			done++
		}
		if n > 1 {
			twice++
		}
	}
	if lost > 0 {
		l.errorf("as node %d reads it, %d of %d acknowledged writes are lost", node, lost, len(p.acked))
	}
	if done > 0 {
		l.errorf("as node %d reads it, %d writes were done for which Save returned ErrConflict, which means that nothing was written; an outcome that is unknown is another error", node, done)
	}
	if twice > 0 {
		l.errorf("as node %d reads it, %d writes were done twice", node, twice)
	}
}

// read loads a page, for as long as the cluster may take to come back.
func (l *ledger) read(store tokenstore.Store, id string) (r tokenstore.Record, err error) {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.patience)
	defer cancel()
	for {
		r, err = store.Load(ctx, id)
		if !errors.Is(err, tokenstore.ErrUnavailable) || ctx.Err() != nil {
			return r, err
		}
		wait(ctx, 10*time.Millisecond)
	}
}

func marksIn(r tokenstore.Record) (marks []uint32) {
	for rest := r.Details; len(rest) >= 4; rest = rest[4:] {
		marks = append(marks, binary.BigEndian.Uint32(rest))
	}
	return marks
}
