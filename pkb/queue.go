// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
)

// queue lets at most so many requests for one user go at once. A user for whom
// none is under way or waiting costs nothing.
type queue struct {
	most int

	mu    sync.Mutex
	lines map[string]*line
}

// line is one user's requests.
type line struct {
	places chan struct{}
	here   int // under way and waiting
}

// busy: no turn in time.
const busy = "as many requests for this patient as Config.MaxCallsPerPatient allows were under way until the time was up"

// enter waits for a turn, which the caller has to leave.
func (q *queue) enter(ctx context.Context, appUserID string) (*turn, error) {
	q.mu.Lock()
	l := q.lines[appUserID]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[string]*line)
		}
		l = &line{places: make(chan struct{}, q.most)}
		q.lines[appUserID] = l
	}
	l.here++
	q.mu.Unlock()
	select {
	case l.places <- struct{}{}:
		return &turn{queue: q, line: l, appUserID: appUserID}, nil
	case <-ctx.Done():
		q.goAway(l, appUserID)
		return nil, newAnswerError(busy, ctx.Err())
	}
}

func (q *queue) goAway(l *line, appUserID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.here--; l.here == 0 {
		delete(q.lines, appUserID)
	}
}

// turn is one request's turn, and the body of its answer, which ends it.
type turn struct {
	io.ReadCloser
	queue     *queue
	line      *line
	appUserID string
	left      atomic.Bool
}

func (t *turn) leave() {
	if t.left.CompareAndSwap(false, true) {
		<-t.line.places
		t.queue.goAway(t.line, t.appUserID)
	}
}

// Read leaves at the end of the body.
func (t *turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.leave()
	}
	return n, err
}

// Close leaves.
func (t *turn) Close() error {
	defer t.leave()
	return t.ReadCloser.Close()
}
