// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
)

// Turns lets at most Most requests for one user go at once. A user for whom none is
// under way or waiting costs nothing.
type Turns struct {
	Most int

	mu    sync.Mutex
	lines map[string]*line
}

// line is one user's requests.
type line struct {
	places chan struct{}
	here   int // under way and waiting
}

// busy: there was no turn in time.
const busy = "as many requests for this patient as Config.MaxCallsPerPatient allows were under way until the time was up"

// Enter waits for a turn, which the caller has to leave.
func (q *Turns) Enter(ctx context.Context, appUserID string) (*Turn, error) {
	q.mu.Lock()
	l := q.lines[appUserID]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[string]*line)
		}
		l = &line{places: make(chan struct{}, q.Most)}
		q.lines[appUserID] = l
	}
	l.here++
	q.mu.Unlock()
	select {
	case l.places <- struct{}{}:
		return &Turn{turns: q, line: l, appUserID: appUserID}, nil
	case <-ctx.Done():
		q.goAway(l, appUserID)
		return nil, &ContentError{What: busy, Err: ctx.Err()}
	}
}

func (q *Turns) goAway(l *line, appUserID string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.here--; l.here == 0 {
		delete(q.lines, appUserID)
	}
}

// Turn is one request's turn, and the body of its response, which ends it.
type Turn struct {
	io.ReadCloser
	turns     *Turns
	line      *line
	appUserID string
	left      atomic.Bool
}

// Leave ends the turn; more than once is once.
func (t *Turn) Leave() {
	if t.left.CompareAndSwap(false, true) {
		<-t.line.places
		t.turns.goAway(t.line, t.appUserID)
	}
}

// Read leaves at the end of the body.
func (t *Turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.Leave()
	}
	return n, err
}

// Close leaves.
func (t *Turn) Close() error {
	defer t.Leave()
	return t.ReadCloser.Close()
}
