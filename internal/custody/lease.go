// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// watch remembers since when a lease has looked the same.
type watch struct {
	lease tokenstore.Lease
	since time.Time
}

// leased reports whether another process may be refreshing. Its clock may
// differ from ours, so a lease counts as abandoned only when it is over by more
// than MaxSkew, or when it has stood unchanged before our eyes for its whole
// length.
//
// A holder that does not renew may have lost its database and not its life: it
// may have the answer and be trying to save it. So a lease whose refresh token
// may be on its way is left alone for as long as its holder tries: taking over
// means to present that token again.
func (k *Keeper) leased(r row, seen *watch) bool {
	l := r.Lease
	// Our own lease is one that an earlier flight could not give back: there is
	// one flight per user at a time.
	if l.Owner == "" || l.Owner == k.owner {
		return false
	}
	trying := time.Duration(0)
	if r.Intent.Attempt > 0 {
		trying = k.SaveTimeout
	}
	now := k.Now()
	if now.After(l.ExpiresAt.Add(k.MaxSkew + trying)) {
		return false
	}
	if seen.since.IsZero() || !sameLease(seen.lease, l) {
		*seen = watch{lease: l, since: now}
		return true
	}
	return now.Sub(seen.since) <= l.ExpiresAt.Sub(l.RenewedAt)+trying
}

// sameLease reports whether neither owner nor renewal has changed.
func sameLease(a, b tokenstore.Lease) bool {
	return a.Owner == b.Owner && a.Fence == b.Fence && a.RenewedAt.Equal(b.RenewedAt)
}

// sameHolder reports whether a lease was only renewed, if that.
func sameHolder(a, b tokenstore.Lease) bool { return a.Owner == b.Owner && a.Fence == b.Fence }

// renew keeps the lease of held alive at a third of its life, until stop, which
// returns the row as it is then. Usually the POST is over before the first time.
func (k *Keeper) renew(held row) (stop func() row) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for k.pause(ctx, k.LeaseTTL/3, k.LeaseTTL/3+time.Millisecond) == nil {
			next := held
			next.Lease.RenewedAt = k.Now()
			next.Lease.ExpiresAt = next.Lease.RenewedAt.Add(k.LeaseTTL)
			saved, err := k.save(ctx, next)
			if err == nil {
				held = saved
				continue
			}
			// Somebody wrote something else, or the store failed: look again,
			// and give up when the lease is another's.
			now, err := k.load(ctx, held.AppUserID)
			if err != nil {
				continue
			}
			if now.Generation != held.Generation || !sameHolder(now.Lease, held.Lease) {
				return
			}
			held = now
		}
	}()
	return func() row {
		cancel()
		<-done
		return held
	}
}

// lease takes the lease of r and writes down what is about to be sent: one
// write, which also proves that the store can be written to before a refresh
// token is spent.
func (k *Keeper) lease(ctx context.Context, r row, attempt int) (row, error) {
	now := k.Now()
	r.Lease = tokenstore.Lease{
		Owner: k.owner, Fence: r.Lease.Fence + 1,
		RenewedAt: now, ExpiresAt: now.Add(k.LeaseTTL),
	}
	r.Intent = tokenstore.Intent{Generation: r.Generation, Attempt: attempt, SentAt: now}
	return k.save(ctx, r)
}
