// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// containment makes calls of code of the host's that only watches: its Telemetry and its
// Logger. Such a call may stand between PKB's response and the save of what PKB has
// issued, or be made while a link is locked. So each is made on a goroutine of its own:
// one that panics, ends its goroutine or does not return costs what it was to be told.
type containment struct {
	hanging atomic.Int32
	// failed, if not nil, is called with what became of a call that does not return.
	failed func(error)
}

const (
	// watchPatience is how long a call is waited for.
	watchPatience = time.Second
	// mostWatching is how many calls may hang before no other is made.
	mostWatching = 16
)

// contain returns what a call of a method of the host's returns, or false if it does not.
func contain[T any](c *containment, method string, call func() T) (value T, returned bool) {
	if c.hanging.Load() >= mostWatching {
		return value, false
	}
	done := make(chan *T, 1)
	go func() {
		var got *T // nil unless the call returns: it may panic, or call Goexit
		defer func() {
			_ = recover()
			done <- got
		}()
		v := call()
		got = &v
	}()
	late := time.NewTimer(watchPatience)
	defer late.Stop()
	var err error = &custody.PanicError{Of: method}
	select {
	case got := <-done:
		if got != nil {
			return *got, true
		}
	case <-late.C:
		err = &custody.TimeoutError{Of: method}
		c.hanging.Add(1)
		go func() {
			<-done
			c.hanging.Add(-1)
		}()
	}
	if c.failed != nil {
		c.failed(err)
	}
	return value, false
}

// telemetry is the host's, contained.
type telemetry struct {
	to        observe.Telemetry // or nil
	contained containment
}

// call calls a method of the host's that returns nothing.
func (t *telemetry) call(method string, call func()) {
	_, _ = contain(&t.contained, method, func() struct{} {
		call()
		return struct{}{}
	})
}

// begin returns ctx with the values that the host puts into it, and a function for the
// end.
func (t *telemetry) begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Result)) {
	type begun struct {
		ctx context.Context
		end func(observe.Result)
	}
	b, returned := contain(&t.contained, "Telemetry.Begin", func() (b begun) {
		b.ctx, b.end = t.to.Begin(ctx, op)
		return b
	})
	if !returned {
		return ctx, func(observe.Result) {}
	}
	return withValuesOf(ctx, b.ctx), func(r observe.Result) { t.call("the end of Telemetry.Begin", func() { b.end(r) }) }
}

// follower returns how a refresh points to its first caller, or nil.
func (t *telemetry) follower() func(refresh, caller context.Context) context.Context {
	to, ok := t.to.(observe.Follower)
	if !ok {
		return nil
	}
	return func(refresh, caller context.Context) context.Context {
		followed, _ := contain(&t.contained, "Telemetry.Follow", func() context.Context { return to.Follow(refresh, caller) })
		return withValuesOf(refresh, followed)
	}
}

// valued is a context that has the values of another, too, which should derive from it.
type valued struct {
	context.Context
	values context.Context
}

// Value implements context.Context.
func (v valued) Value(key any) any {
	if value := v.values.Value(key); value != nil {
		return value
	}
	return v.Context.Value(key)
}

func withValuesOf(ctx, values context.Context) context.Context {
	if values == nil {
		return ctx
	}
	return valued{ctx, values}
}
