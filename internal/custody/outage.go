// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"sync"

	"github.com/betawerk/pkb-go/tokenstore"
)

// outage detects that a store was away and is back: another node may have replaced
// it, without the latest writes.
type outage struct {
	mu        sync.Mutex
	since     int64 // of the first failure since the last success, or 0
	waryUntil int64
	// reached means that the store was well once: before that nobody knows for how
	// long it has been away.
	reached bool
}

// shortest is how long a store must have been away to be another node.
const shortest = int64(1e9)

func (o *outage) wary(now int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now < o.waryUntil
}

// observe records the result of a call of the store. When an outage ends, this
// process first looks at every row that it saved lately. Until then, and for the
// life of a lease, it presents only pairs that it saved itself.
func (k *Keeper) observe(ctx context.Context, err error) {
	if !k.cameBack(ctx, err) {
		return
	}
	for _, e := range k.kept.recent(k.now()) {
		_, _ = k.check(context.WithoutCancel(ctx), e.user, &flight{})
	}
}

func (k *Keeper) cameBack(ctx context.Context, err error) bool {
	well := err == nil || errors.Is(err, tokenstore.ErrNotFound) || errors.Is(err, tokenstore.ErrConflict)
	o := &k.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case well && o.since == 0:
		o.reached = true
		return false
	case well:
		away, reached := k.clock.exact()-o.since, o.reached
		if o.since, o.reached = 0, true; reached && away < shortest {
			return false
		}
		o.waryUntil = k.clock.exact() + int64(leaseTTL)
		return true
	case errors.Is(err, tokenstore.ErrInvalid) || errors.Is(err, tokenstore.ErrClosed) || ctx.Err() != nil:
		return false
	}
	if o.since == 0 {
		o.since = k.clock.exact()
	}
	return false
}
