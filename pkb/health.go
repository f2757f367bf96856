// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/internal/seal"
)

// Health is how a Client is, in this process. It prints without anything secret.
type Health struct {
	// Err is why this process cannot serve, or nil: ErrClosed, ErrStore or
	// ErrKeys, joined. Its text says whose turn it is.
	Err error
	// HeldBack is nil, or the ErrTryLater for which refreshes are kept away from
	// PKB: PKB refuses the application, is out of reach, or refuses one refresh
	// token after the other. Tokens at hand go on serving, and other replicas
	// find the same: no reason to take this one out of rotation.
	HeldBack error
	// Unsaved is how many links have new tokens in the memory of this process only,
	// because the store, or the keys, do not take them. They are tried on. End the
	// process, and those patients have to approve again.
	Unsaved int
	// Abandoned is how many calls of the store, of Config.HTTPClient's transport or
	// of Config.Identify did not return in time and still run. With 64 of them no
	// refresh begins.
	Abandoned int
	// KeyIDs are the keys that this process can open, the one that seals first.
	// Promote a key only when every process has it.
	KeyIDs []string
	// Busy is how many approvals and refreshes are under way.
	Busy int
}

const (
	// nobody is read to see whether the store answers.
	nobody = "pkb-go/health"
	// healthTimeout bounds the check, whatever the caller's context says.
	healthTimeout = 5 * time.Second
)

// Health reports whether this process can serve, for a readiness probe: the
// Client is not closed, the store answers, and the key that seals can seal and
// open. Answer 503 while Health.Err is not nil. Do not use it for a liveness
// probe: a new process would have the same store and keys, and one that is ended
// while Health.Unsaved is not 0 loses links.
//
// PKB is not asked: its outage must not take your application out of rotation.
// The store is read once, for the app_user_id "pkb-go/health"; nothing is ever
// written under it, and whether it is there does not matter. A key that stays
// with a key management service is used twice, so do not probe every second. It
// takes five seconds at most, or as long as ctx allows.
func (c *Client) Health(ctx context.Context) Health {
	k := c.keeper.Health()
	h := Health{Unsaved: k.Unsaved, Busy: k.Busy, Abandoned: k.Abandoned, KeyIDs: ringOf(c.cfg.Keys).KeyIDs()}
	if k.HeldBack != nil {
		h.HeldBack = public(k.HeldBack)
	}
	if c.closed.Load() {
		h.Err = ErrClosed
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	h.Err = errors.Join(c.checkStore(ctx), c.checkKeys(ctx))
	return h
}

func (c *Client) checkStore(ctx context.Context) error {
	return public(c.keeper.Answers(ctx, nobody))
}

// checkKeys seals something and opens it. An AEAD knows no context, so one that
// hangs is waited for no longer than ctx; while it does, it is not asked again.
func (c *Client) checkKeys(ctx context.Context) error {
	ring := ringOf(c.cfg.Keys)
	if ring == nil {
		return nil
	}
	hangs := newKeysError(&seal.KeyError{KeyID: ring.KeyID(), Err: context.DeadlineExceeded})
	select {
	case c.checkingKeys <- struct{}{}:
	case <-ctx.Done():
		return hangs
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.checkingKeys }()
		done <- tryKeys(ring)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return hangs
	}
}

func tryKeys(ring *seal.Ring) (err error) {
	defer func() {
		if recover() != nil {
			err = newKeysError(&seal.KeyError{KeyID: ring.KeyID(), Err: errKeyPanicked})
		}
	}()
	place := seal.Place{Purpose: "health", AppUserID: nobody}
	sealed, _, err := ring.Seal(place, []byte(nobody))
	if err == nil {
		_, err = ring.Open(place, sealed)
	}
	if err != nil {
		return newKeysError(err)
	}
	return nil
}

var errKeyPanicked = errors.New("the AEAD panicked")

// Close ends the Client, before the process ends: every call that comes from now
// on gets ErrClosed. It waits until the approvals and refreshes under way have
// saved what they got, or until ctx ends: a refresh that is cut off between
// PKB's answer and the save costs the patient a new approval. The error then
// says how many are left, and wraps that of ctx; they go on while the process
// does, and Close can be called again to wait for them.
//
// Stop serving requests first, as with http.Server.Shutdown, then call Close,
// and close the store after that: Close does not. Give it Config.TokenTimeout
// and some seconds more.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	err := c.keeper.Close(ctx)
	if left := c.keeper.Health().Busy; err != nil && left > 0 {
		return &unfinishedError{left: left, cause: err}
	}
	return nil
}

// unfinishedError says that Close was not given the time it needs.
type unfinishedError struct {
	left  int
	cause error
}

func (e *unfinishedError) Error() string {
	return fmt.Sprintf("pkb: %d authorizations or refreshes are still under way, and the tokens they receive may be lost", e.left)
}

// Unwrap returns the error of the context.
func (e *unfinishedError) Unwrap() error { return e.cause }
