// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Turns limits the concurrent requests of each user to Most.
type Turns struct {
	Most int
	// Busy is the error text of a request that got no turn in time.
	Busy string

	mu    sync.Mutex
	lines map[string]*line
}

type line struct {
	places chan struct{}
	here   int // requests under way or waiting
}

// Enter waits for a turn. The caller must call Leave.
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
		return nil, &ContentError{What: q.Busy, Err: ctx.Err()}
	}
}

// Send waits for a turn and calls send. The turn ends with the body of the response.
// Without a turn the body of req is closed.
func (q *Turns) Send(req *http.Request, appUserID string, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	turn, err := q.Enter(req.Context(), appUserID)
	if err != nil {
		CloseBody(req)
		return nil, err
	}
	handedOn := false
	defer func() {
		if !handedOn { // also when the host's transport panics
			turn.Leave()
		}
	}()
	resp, err := send(req)
	if err == nil && resp.Body != nil && resp.Body != http.NoBody {
		turn.ReadCloser, resp.Body, handedOn = resp.Body, turn, true
	}
	return resp, err
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

// Leave ends the turn. It may be called several times.
func (t *Turn) Leave() {
	if t.left.CompareAndSwap(false, true) {
		<-t.line.places
		t.turns.goAway(t.line, t.appUserID)
	}
}

// Read ends the turn at the end of the body.
func (t *Turn) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.Leave()
	}
	return n, err
}

// Close ends the turn.
func (t *Turn) Close() error {
	defer t.Leave()
	return t.ReadCloser.Close()
}
