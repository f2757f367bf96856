// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"iter"
	"sync"
	"time"
)

// database keeps a row for each user, as a replicated one does: a read may lag
// once behind a write, and with the primary the latest writes can be lost that it
// has acknowledged.
type database[R any] struct {
	mu   sync.Mutex
	rows map[string]*history[R]
}

// history is a row, with what it was.
type history[R any] struct {
	writes []written[R] // the newest last
	next   sight        // what the next read sees
}

type written[R any] struct {
	row  R
	at   time.Time
	pair pairID
}

// pairID names a pair that the server issued: the authorization it belongs to, and its
// number in it.
type pairID struct{ epoch, gen int }

// sight is what a read sees.
type sight int

const (
	newest sight = iota
	older        // as the row was before the latest write
	absent
)

// keptWrites is how many writes of a row can be lost at once, and one more.
const keptWrites = 3

// read returns a user's row; absent is a row of zero.
func (d *database[R]) read(user string) (row R, saw sight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.rows[user]
	if h == nil {
		return row, absent
	}
	saw, h.next = h.next, newest
	n := len(h.writes)
	if saw == older && n < 2 {
		saw = newest
	}
	switch saw {
	case absent:
		return row, absent
	case older:
		return h.writes[n-2].row, older
	case newest:
	}
	return h.writes[n-1].row, newest
}

// change writes what change makes of a user's row, unless that is an error. next
// is what the next read sees.
func (d *database[R]) change(user string, next sight, change func(R) (R, pairID, error)) (before, after R, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.rows[user]
	if h == nil {
		h = &history[R]{}
	} else {
		before = h.writes[len(h.writes)-1].row
	}
	after, pair, err := change(before)
	if err != nil {
		return before, after, err
	}
	if d.rows == nil {
		d.rows = map[string]*history[R]{}
	}
	d.rows[user] = h
	h.next = next
	h.writes = append(h.writes, written[R]{after, time.Now(), pair})
	if len(h.writes) > keptWrites {
		h.writes = append([]written[R](nil), h.writes[1:]...)
	}
	return before, after, nil
}

// all yields the rows as they are; it is locked meanwhile.
func (d *database[R]) all() iter.Seq[R] {
	return func(yield func(R) bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, h := range d.rows {
			if !yield(h.writes[len(h.writes)-1].row) {
				return
			}
		}
	}
}

// lose takes a row back by so many writes, as far as they are later than since, and
// notes what that has changed. It returns the pairs that the row had and has.
func (d *database[R]) lose(user string, n int, since time.Time, note func(before, now R, of pairID)) (had, has pairID, lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.rows[user]
	if h == nil {
		return had, has, false
	}
	last := len(h.writes) - 1
	had = h.writes[last].pair
	before := h.writes[last].row
	for ; n > 0 && last > 0 && h.writes[last].at.After(since); n-- {
		last--
	}
	lost = last < len(h.writes)-1
	h.writes = h.writes[:last+1]
	if lost {
		note(before, h.writes[last].row, h.writes[last].pair)
	}
	return had, h.writes[last].pair, lost
}
