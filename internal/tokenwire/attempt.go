// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/retryafter"
)

const (
	// maxBody bounds what is read of a response; a token response has a few hundred
	// bytes, for which there is room at once.
	maxBody  = 1 << 20
	bodyRoom = 1 << 10
	// refusalPatience bounds the wait for the body of a 4xx response, which may have
	// a code.
	refusalPatience = 10 * time.Second
	// statusPatience bounds the wait for the body of a 3xx or 5xx response, whose
	// status decides.
	statusPatience = time.Second
	// grace is how long a transport may take to notice that its context has ended.
	grace = 5 * time.Second
)

var (
	errNothing = errors.New("neither a response nor an error")
	errLeft    = errors.New("nobody waits for the response")
)

// attempt runs one request in a goroutine of its own, so that a transport that
// panics, ends its goroutine or ignores its context does no harm.
type attempt struct {
	status chan struct{} // closed when got.status is known
	ready  chan struct{} // closed when got is complete

	mu  sync.Mutex
	got received
	// completed: got is complete. ended: the goroutine has ended. left: the caller
	// has left.
	completed, ended, left bool
	late                   *time.Timer
	running                *atomic.Int64 // counts abandoned goroutines
	counted                bool
}

// received is the result of a request.
type received struct {
	status     int // 0 without a response
	retryAfter time.Duration
	body       []byte
	// err is why the response is absent or incomplete, or nil.
	err *Failure
	// ended: the transport is done with the request. refused: its error means that
	// the server did not look at it.
	ended, refused bool
}

func newAttempt(running *atomic.Int64) *attempt {
	return &attempt{status: make(chan struct{}), ready: make(chan struct{}), running: running}
}

func (a *attempt) run(rt http.RoundTripper, req *http.Request) {
	defer func() {
		// If nothing is complete by now, send did not return.
		f := &Failure{What: "the application's HTTP transport ended its goroutine"}
		if recover() != nil { // the panic value is not printed
			f.What = "the application's HTTP transport panicked"
		}
		a.end(f)
	}()
	a.send(rt, req)
}

func (a *attempt) send(rt http.RoundTripper, req *http.Request) {
	resp, err := rt.RoundTrip(req)
	if err == nil && resp == nil {
		err = errNothing
	}
	if err != nil {
		f, refused := failure(err), refusedUnread(err)
		a.complete(func(got *received) { got.err, got.refused = f, refused })
		return
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	defer resp.Body.Close()
	a.mu.Lock()
	a.got.status, a.got.retryAfter = resp.StatusCode, retryafter.In(resp.Header)
	close(a.status)
	a.mu.Unlock()

	_, err = io.CopyBuffer(a, io.LimitReader(resp.Body, maxBody+1), make([]byte, bodyRoom))
	var f *Failure
	if err != nil {
		f = failure(err)
	}
	a.complete(func(got *received) {
		if got.err = f; f == nil && len(got.body) > maxBody {
			got.err = &Failure{What: "the response is too long"}
		}
	})
}

// Write implements io.Writer for the body.
func (a *attempt) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return 0, errLeft
	}
	a.got.body = append(a.got.body, p...)
	return len(p), nil
}

func (a *attempt) complete(set func(*received)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.completed {
		return
	}
	a.completed = true
	set(&a.got)
	a.got.ended = true
	close(a.ready)
}

// end is the last act of the goroutine. f is the error if nothing is complete.
func (a *attempt) end(f *Failure) {
	a.complete(func(got *received) { got.err = f })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.late != nil {
		a.late.Stop()
	}
	if a.counted {
		a.running.Add(-1)
	}
}

// wait returns the result of the request once it is complete, or once waiting is
// pointless: the status decides, or ctx has ended and the transport does not notice.
func (a *attempt) wait(ctx context.Context) received {
	var (
		status, ended  = a.status, ctx.Done()
		enough, noMore <-chan time.Time
	)
	for {
		select {
		case <-a.ready:
			return a.leave(grace, nil)
		case <-status:
			status = nil
			if d := patience(a.got.status); d > 0 { // written before status was closed
				t := time.NewTimer(d)
				defer t.Stop()
				enough = t.C
			}
		case <-enough:
			return a.leave(grace, &Failure{What: "the response did not end in time", Cause: context.DeadlineExceeded})
		case <-ended:
			ended = nil
			t := time.NewTimer(grace)
			defer t.Stop()
			noMore = t.C
		case <-noMore:
			return a.leave(0, failure(ctx.Err()))
		}
	}
}

// patience is how long the body of a response is waited for; 0 means until the
// request's time-out.
func patience(status int) time.Duration {
	switch {
	case status >= 200 && status <= 299:
		return 0
	case status >= 400 && status <= 499:
		return refusalPatience
	}
	return statusPatience
}

// leave returns what there is, with why as its error if it is incomplete. A
// goroutine that still runs after a while is counted until it ends.
func (a *attempt) leave(after time.Duration, why *Failure) received {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
	switch {
	case a.ended:
	case after == 0:
		a.counted = true
		a.running.Add(1)
	default:
		a.late = time.AfterFunc(after, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !a.ended {
				a.counted = true
				a.running.Add(1)
			}
		})
	}
	got := a.got
	if !a.completed {
		got.err = why
	}
	return got
}
