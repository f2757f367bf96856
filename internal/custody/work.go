// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"sync"
)

// work counts what must be finished before the process may end.
type work struct {
	mu     sync.Mutex
	open   int
	closed bool
	idle   chan struct{} // closed when the last one ends after close
}

// begin counts one piece of work, unless the process is about to end.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.open++
	return true
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open--; w.open == 0 && w.closed {
		close(w.idle)
	}
}

// close lets nothing new begin and waits for what has begun, or for ctx.
func (w *work) close(ctx context.Context) error {
	w.shut()
	select {
	case <-w.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *work) shut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed, w.idle = true, make(chan struct{})
		if w.open == 0 {
			close(w.idle)
		}
	}
}

func (w *work) closing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *work) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

// unsaved are the trips with something to save that nobody else has.
type unsaved struct {
	mu    sync.Mutex
	trips map[*trip]struct{}
}

func (u *unsaved) add(t *trip) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.trips == nil {
		u.trips = map[*trip]struct{}{}
	}
	u.trips[t] = struct{}{}
}

func (u *unsaved) remove(t *trip) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.trips, t)
}

func (u *unsaved) users() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	users := make([]string, 0, len(u.trips))
	for t := range u.trips {
		users = append(users, t.e.user)
	}
	return users
}
