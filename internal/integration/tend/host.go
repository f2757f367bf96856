// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// hostPlan is how a host accepts notices.
type hostPlan struct {
	Seed uint64
	// Fails is how often it does not accept a notice: before it has it, and after.
	Fails float64
	// Hang is how long it hangs now and then.
	Hang time.Duration
	// DieWith is after how many notices that it has taken the process dies; 0 means
	// never.
	DieWith int64
}

// host is what Config.Notify does: it writes into its inbox, through a pool of its own,
// which is not counted.
type host struct {
	hostPlan
	inbox *cluster.Inbox
	mu    sync.Mutex
	dice  *rand.Rand
	taken atomic.Int64
}

// hangs is how often it hangs.
const hangs = 1.0 / 200

func (p hostPlan) open(setup cluster.Setup) (*host, error) {
	inbox, err := setup.OpenInbox()
	if err != nil {
		return nil, err
	}
	return &host{hostPlan: p, inbox: inbox, dice: rand.New(rand.NewPCG(p.Seed, p.Seed))}, nil
}

func (h *host) throw() float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dice.Float64()
}

var errFull = errors.New("the queue is full")

func (h *host) notify(ctx context.Context, n observe.Notice) error {
	x := h.throw()
	switch {
	case x < h.Fails/3:
		return errFull
	case x < h.Fails/2:
		panic(errFull)
	case h.throw() < hangs:
		select {
		case <-time.After(h.Hang):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := h.inbox.Take(ctx, n); err != nil {
		return err
	}
	if h.taken.Add(1) == h.DieWith {
		cluster.Die()
	}
	if x < h.Fails {
		return errFull // though it has it
	}
	return nil
}
