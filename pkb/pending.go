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

// Pending is an authorization that was started and not completed: the state sent to
// PKB, the user who started it, the redirect URI, and when it expires. From
// Authorize to the callback, keep it where only this user's session can reach it:
// in the server-side session, or in an encrypted cookie. It can be completed once.
//
// It prints as [redacted]; Encode returns a text to keep.
type Pending struct{ started }

type started = conceal.Hidden[*pending]

type pending struct {
	State       string `json:"state"`
	Verifier    string `json:"verifier,omitempty"`
	AppUserID   string `json:"user"`
	RedirectURL string `json:"redirect"`
	origin
	ExpiresAt time.Time `json:"exp"`
	Switch    bool      `json:"switch,omitempty"`
	Share     bool      `json:"share,omitempty"`
	// Unlinks is how often the user had been unlinked: an authorization from before
	// an unlink must not restore the link.
	Unlinks uint64 `json:"unlinks,omitempty"`
}

// origin is whose links an authorization is about: it is completed by a client of the
// same ones only.
type origin struct {
	Environment string `json:"env"`
	ClientID    string `json:"client"`
	// Part is the prefix of the store: the user of another one is somebody else.
	Part string `json:"part,omitempty"`
}

func (c *Client) origin() origin {
	return origin{c.cfg.Environment.Name, c.cfg.ClientID, c.keeper.Prefix()}
}

func newPending(p *pending) Pending { return Pending{conceal.Of(p)} }

func (p Pending) get() *pending { return conceal.Open(p.started) }

// Encode returns the Pending as text. Whoever can read or change it can complete
// the authorization as somebody else: keep it in the session, not in a URL, a log
// or a form.
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

// ParsePending reads what Encode returned. For anything else it returns ErrState.
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

// State returns the state sent to PKB, by which a host can tell several Pending
// values of one session apart.
func (p Pending) State() Secret {
	if kept := p.get(); kept != nil {
		return NewSecret(kept.State)
	}
	return Secret{}
}

// ExpiresAt returns when the authorization expires.
func (p Pending) ExpiresAt() time.Time {
	if kept := p.get(); kept != nil {
		return kept.ExpiresAt
	}
	return time.Time{}
}

// IsZero reports whether the Pending is absent.
func (p Pending) IsZero() bool { return p.get() == nil }

// Equal reports whether both are the same authorization.
func (p Pending) Equal(o Pending) bool { return p.Encode() == o.Encode() }

// mark identifies the authorization in the store, which does not keep the state.
func (p *pending) mark() string {
	sum := sha256.Sum256([]byte(p.State))
	return hex.EncodeToString(sum[:markSize])
}

const markSize = 12
