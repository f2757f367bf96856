// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"context"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
	"github.com/betawerk/pkb-go/tokenstore"
)

func (t *trip) verify(id core.PairID) core.Input {
	k := t.k
	c := Candidate{User: t.e.user, AccessToken: k.read(t.vault.answers[id]).grant.AccessToken, PublicID: t.program.Rec.Public}
	public, err := guard(k, t.ctx, k.VerifyTimeout, "the check of an authorization", func(ctx context.Context) (string, error) { return k.Verify(ctx, c) })
	in := core.Input{Kind: core.Verified, Ruling: core.Known, Patient: public}
	refused, no := errors.AsType[*RefusedError](err)
	switch {
	case no:
		in.Ruling, t.refused = core.Barred, refused
	case err != nil || public == "":
		in.Ruling, t.refused = core.Unknown, err
	}
	t.e.mu.Lock()
	m := k.remember(t.e)
	m.failures++
	if in.Ruling != core.Unknown {
		m.failures = 0
	}
	m.tiredUntil = 0
	if m.failures > 0 {
		m.tiredUntil = k.clock.exact() + int64(min(time.Second<<min(m.failures-1, 6), time.Minute))
	}
	t.e.mu.Unlock()
	in.Facts = t.facts()
	return in
}

// enough bounds how many users a SharedError names.
const enough = 10

func (t *trip) find(patient string) (core.Input, error) {
	k := t.k
	finder, ok := k.Store.(tokenstore.Finder)
	in := core.Input{Kind: core.Found}
	if !ok {
		in.Facts = t.facts()
		return in, nil
	}
	found, err := guard(k, t.ctx, k.StoreTimeout, "the store", func(ctx context.Context) ([]tokenstore.Record, error) {
		return finder.FindPublicID(ctx, patient, enough)
	})
	if err != nil {
		// The claim stays, and the session waits, until a look succeeds.
		t.err = &StoreError{Op: "find", Err: err}
		in.Claimed = true
		in.Facts = t.facts()
		return in, nil //nolint:nilerr // the flight continues, and callers learn why the session waits
	}
	t.shared = nil
	for _, r := range found {
		switch {
		case r.AppUserID == t.e.user || r.Environment != k.Environment || r.ClientID != k.ClientID:
		case r.PublicID == patient && IsLink(r):
			in.Shared = true
			t.shared = append(t.shared, r.AppUserID)
		case r.Claim == patient:
			in.Claimed = true
			in.Yield = in.Yield || r.AppUserID < t.e.user
		}
	}
	in.Facts = t.facts()
	return in, nil
}
