// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// Pending is an approval that was started and not completed: the state sent to
// PKB, the user who started, the redirect URI, and when it ends. Keep it where
// only this user's session can reach it, from Authorize to the callback: in the
// server-side session, or in an encrypted cookie. It is good for one
// completion.
//
// It prints as [redacted]; Encode gives it as a text to keep.
type Pending struct{ started }

type started = conceal.Hidden[*pending]

type pending struct {
	State       string    `json:"state"`
	Verifier    string    `json:"verifier,omitempty"`
	AppUserID   string    `json:"user"`
	RedirectURL string    `json:"redirect"`
	Environment string    `json:"env"`
	ClientID    string    `json:"client"`
	ExpiresAt   time.Time `json:"exp"`
	Switch      bool      `json:"switch,omitempty"`
	Share       bool      `json:"share,omitempty"`
	// Unlinks is how often the user had been unlinked: an authorization that is
	// older than an unlink must not bring the link back.
	Unlinks uint64 `json:"unlinks,omitempty"`
}

func newPending(p *pending) Pending { return Pending{conceal.Of(p)} }

// get returns what is pending, or nil.
func (p Pending) get() *pending { return conceal.Open(p.started) }

// Encode returns the pending value as text, for keeping. Whoever can read or
// change it can complete the approval as somebody else: it belongs in the
// session, not in a URL, a log or a form.
func (p Pending) Encode() string {
	kept := p.get()
	if kept == nil {
		return ""
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return "" // strings and a time always marshal
	}
	return "p1." + base64.RawURLEncoding.EncodeToString(b)
}

// ParsePending reads what Encode wrote. Anything else gives an error for which
// errors.Is(err, ErrState) holds.
func ParsePending(text string) (Pending, error) {
	var p pending
	if len(text) < 3 || len(text) > 16<<10 || text[:3] != "p1." {
		return Pending{}, &StateError{Reason: stateNoPending}
	}
	b, err := base64.RawURLEncoding.DecodeString(text[3:])
	if err != nil || json.Unmarshal(b, &p) != nil || p.State == "" {
		return Pending{}, &StateError{Reason: stateNoPending}
	}
	return newPending(&p), nil
}

// State returns the state sent to PKB, for hosts that keep several pending
// values of one session apart by it.
func (p Pending) State() Secret {
	if kept := p.get(); kept != nil {
		return NewSecret(kept.State)
	}
	return Secret{}
}

// ExpiresAt is when the approval can no longer be completed.
func (p Pending) ExpiresAt() time.Time {
	if kept := p.get(); kept != nil {
		return kept.ExpiresAt
	}
	return time.Time{}
}

// IsZero reports whether nothing is pending.
func (p Pending) IsZero() bool { return p.get() == nil }

// Equal reports whether both are the same authorization.
func (p Pending) Equal(o Pending) bool { return p.Encode() == o.Encode() }

// mark names the approval in the store, where the state itself is not kept.
func (p *pending) mark() string {
	sum := sha256.Sum256([]byte(p.State))
	return hex.EncodeToString(sum[:12])
}
