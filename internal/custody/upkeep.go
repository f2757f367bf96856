// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// keepRemains is how long a record without tokens stays: longer than anything
// that was under way when it lost them, or might yet bring some.
const keepRemains = 24 * time.Hour

// Reseal seals the tokens of a user's record with the key that seals now, and
// reports whether that was due. Whatever happens to the record meanwhile, in
// any process, goes on.
func (k *Keeper) Reseal(ctx context.Context, user string) (done bool, err error) {
	for {
		r, err := k.load(ctx, user)
		if errors.Is(err, ErrNoLink) {
			return false, nil // it has gone meanwhile
		}
		if err != nil {
			return false, err
		}
		if len(r.Sealed) == 0 || r.KeyID == k.Ring.KeyID() {
			return false, nil
		}
		r.note(KeyRotated, k.Now(), "")
		if _, err = k.save(ctx, r); err == nil {
			k.emit(Event{Kind: KeyRotated, User: user})
			return true, nil
		}
		if !isConflict(err) {
			return false, err
		}
	}
}

// Purge removes a record that has no tokens and will get none: a tombstone, or
// an approval that was never finished, whose time is over.
func (k *Keeper) Purge(ctx context.Context, r tokenstore.Record) (done bool, err error) {
	if r.State != tokenstore.StateUnlinked && r.State != tokenstore.StatePending || len(r.Sealed) > 0 ||
		r.DueAt.IsZero() || k.Now().Before(r.DueAt) {
		return false, nil
	}
	err = k.Store.Delete(ctx, r.AppUserID, r.Version)
	if errors.Is(err, tokenstore.ErrConflict) || errors.Is(err, tokenstore.ErrNotFound) {
		return false, nil // it is wanted again, or has gone
	}
	if err != nil {
		return false, storeError("delete", err)
	}
	return true, nil
}
