// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/seal"
)

// Health is the state of a Client in this process. It prints without secrets.
type Health struct {
	// Err is why this process cannot serve, or nil: ErrClosed, ErrStore or ErrKeys,
	// joined.
	Err error
	// HeldBack is nil, or the ErrTryLater for which this process sends no
	// refreshes: PKB refuses the application, is out of reach, or refuses one
	// refresh token after another. Current tokens still serve, and other replicas
	// meet the same: do not take this one out of rotation.
	HeldBack error
	// Unsaved is how many links have new tokens only in this process's memory,
	// because the store or the keys fail. If it ends, the patients approve again.
	Unsaved int
	// Abandoned is how many calls of the store, of Config.HTTPClient's transport or
	// of Config.Identify did not return in time and still run. With 64 of them no
	// refresh begins.
	Abandoned int
	// KeyIDs are the keys on this process's keyring, the one that seals first.
	// Promote a key only when every process has it.
	KeyIDs []string
	// Tending reports that Tend runs in this process.
	Tending bool
	// Undelivered is how many links have a notice that Config.Notify did not accept in
	// this process in the last two hours, or that a later version has to deliver.
	Undelivered int
	// Busy is how many authorizations and refreshes are under way.
	Busy int
}

const (
	// nobody is the user whose record is read to check the store.
	nobody = "pkb-go/health"
	// healthTimeout bounds the check.
	healthTimeout = 5 * time.Second
)

// Health reports whether this process can serve, for a readiness probe: the Client
// is not closed, the store responds, and the sealing key can seal and open. Respond
// with 503 while Health.Err is not nil. Do not use it for a liveness probe: a new
// process would have the same store and keys, and ending one whose Health.Unsaved
// is not 0 loses links.
//
// No request is sent to PKB: its outage must not take your application out of
// rotation. The store is read once, for the app_user_id "pkb-go/health", under
// which nothing is written. A key in a key management service is used twice, so do
// not probe every second. Health returns within five seconds, or when ctx ends.
func (c *Client) Health(ctx context.Context) Health {
	k := c.keeper.Health()
	h := Health{Unsaved: k.Unsaved, Busy: k.Busy, Abandoned: k.Abandoned, Tending: k.Tending, Undelivered: k.Undelivered, KeyIDs: seal.RingOf(c.cfg.Keys).KeyIDs()}
	if k.HeldBack != nil {
		h.HeldBack = public(k.HeldBack)
	}
	if c.closed.Load() {
		h.Err = ErrClosed
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	h.Err = errors.Join(public(c.keeper.Answers(ctx, nobody)), c.checkKeys(ctx))
	return h
}

// checkKeys seals something and opens it. An AEAD takes no context: if one hangs,
// checkKeys waits for it within ctx, and does not call it again meanwhile.
func (c *Client) checkKeys(ctx context.Context) error {
	ring := seal.RingOf(c.cfg.Keys)
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
