// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"time"
)

// maxAbandoned is how many calls of host code may hang, ignoring their contexts,
// before nothing new begins.
const maxAbandoned = 64

// deafAfter is how long a call may continue after its context has ended, before it
// is abandoned.
const deafAfter = time.Second

// PanicError reports that host code panicked, ended its goroutine, or returned an error
// whose methods panic. The panic value is not repeated: it may hold anything.
type PanicError struct{ Of string }

func (e *PanicError) Error() string { return e.Of + " panicked" }

// TimeoutError reports that host code did not return in time.
type TimeoutError struct{ Of string }

func (e *TimeoutError) Error() string { return e.Of + " did not return in time" }

func (*TimeoutError) Timeout() bool { return true }

func (*TimeoutError) Unwrap() error { return context.DeadlineExceeded }

// guard runs host code on a goroutine of its own, within limit. The caller always
// gets a result, and gets it at once when its context ends. A call that ignores its
// context is abandoned, and counted while it runs.
func guard[T any](k *Keeper, caller context.Context, limit time.Duration, of string, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(caller, limit)
	done := make(chan struct{}) // closed once value and err are set
	var value T
	var err error
	go func() {
		defer cancel()
		returned := false // it may panic, or call Goexit
		defer func() {
			_ = recover()
			if !returned {
				value, err = *new(T), &PanicError{Of: of}
			}
			close(done)
		}()
		value, err = call(ctx)
		examine(err)
		returned = true
	}()
	select {
	case <-done:
		return value, err
	case <-ctx.Done():
	}
	last := make(chan error, 1)
	go func() {
		deaf := time.NewTimer(deafAfter)
		defer deaf.Stop()
		select {
		case <-done:
			last <- nil
			return
		case <-deaf.C:
		}
		k.abandoned.Add(1)
		last <- &TimeoutError{Of: of}
		<-done
		k.abandoned.Add(-1)
	}()
	if err := caller.Err(); err != nil {
		return *new(T), err
	}
	if late := <-last; late != nil {
		return *new(T), late
	}
	return value, err
}

// examine calls what callers will call of an error of the host's. Methods of a nil pointer
// in an error panic: under the guard that is an error like others, and outside it would be
// the end of the process.
func examine(err error) {
	if err == nil {
		return
	}
	_, _ = err.Error(), errors.Is(err, errExamined)
	if timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok {
		_ = timeout.Timeout()
	}
}

var errExamined = errors.New("an error that no host returns")

// overrun returns an error if so many calls of host code hang that no new one may
// begin.
func (k *Keeper) overrun() error {
	if k.hanging() >= maxAbandoned {
		return &StoreError{Op: "load", Err: errOverrun}
	}
	return nil
}
