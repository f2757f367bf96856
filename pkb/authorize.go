// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/custody"
)

// scopePatient is the user type of this flow. PKB lets any user type approve
// when no scope is sent, so it always is (PKB: Code grant; Scopes).
const scopePatient = "PATIENT"

// Pending is an approval that was started and not completed: the state sent to
// PKB, the user who started, the redirect URI, and when it ends. Keep it where
// only this user's session can reach it, from Authorize to the callback: in the
// server-side session, or in an encrypted cookie. It is good for one
// completion.
//
// It prints as [redacted]; Encode gives it as a text to keep.
type Pending struct {
	// A function, because that is what no printer looks into.
	open func() *pending
}

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

func newPending(p *pending) Pending { return Pending{open: func() *pending { return p }} }

// get returns what is pending, or nil.
func (p Pending) get() *pending {
	if p.open == nil {
		return nil
	}
	return p.open()
}

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
		return Pending{}, &StateError{Reason: StateNoPending}
	}
	b, err := base64.RawURLEncoding.DecodeString(text[3:])
	if err != nil || json.Unmarshal(b, &p) != nil || p.State == "" {
		return Pending{}, &StateError{Reason: StateNoPending}
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

// Format implements fmt.Formatter: a Pending prints nothing of itself.
func (Pending) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Pending) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler. Use Encode to keep a Pending.
func (Pending) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// mark names the approval in the store, where the state itself is not kept.
func (p *pending) mark() string {
	sum := sha256.Sum256([]byte(p.State))
	return hex.EncodeToString(sum[:12])
}

// AuthorizeOption changes one approval.
type AuthorizeOption func(*authorization)

type authorization struct {
	redirectURL    string
	another, share bool
}

// RedirectTo sends the patient back to another redirect URI than
// Config.RedirectURL: one of several that are registered with PKB, or the same
// with extra parameters.
func RedirectTo(redirectURL string) AuthorizeOption {
	return func(a *authorization) { a.redirectURL = redirectURL }
}

// AllowSwitch lets this approval move the link to another patient's record,
// which is refused with ErrWrongPatient otherwise. Use it where the user has
// said so: for somebody who linked the wrong account, and not for every relink.
// The link that works is untouched until the new one has proved good.
func AllowSwitch() AuthorizeOption {
	return func(a *authorization) { a.another = true }
}

// AllowShared lets this approval link a record that another of the host's users
// is linked with, which is refused with ErrSharedRecord otherwise.
func AllowShared() AuthorizeOption {
	return func(a *authorization) { a.share = true }
}

// Authorize starts an approval for one of the host's users. It returns the
// address to open in the patient's browser, apiAuthorize.action with client id,
// redirect URI, scope PATIENT and a fresh state, and the pending value that
// Complete needs. A link that exists is not touched by it.
//
// An approval ends after Config.ApprovalLife. PKB shows a bad request (an
// unknown client id, a redirect URI that is not registered) to the patient on
// a page of its own, and nothing comes back.
//
// Authorize reads the store once, so that one that fails does so before the
// patient has approved. It returns ErrAppUserID, ErrStore,
// ErrOtherEnvironment, ErrClosed, or an error about the redirect URI of an
// option.
//
// (PKB: Code grant.)
func (c *Client) Authorize(ctx context.Context, appUserID string, opts ...AuthorizeOption) (authorizeURL string, p Pending, err error) {
	ctx, end := c.begin(ctx, OpAuthorize)
	defer func() { end.with(err) }()
	if err := c.accepts(appUserID); err != nil {
		return "", Pending{}, err
	}
	a := authorization{redirectURL: c.cfg.RedirectURL}
	for _, o := range opts {
		o(&a)
	}
	if problem := checkRedirectURL(a.redirectURL); problem != "" {
		return "", Pending{}, &ConfigError{Field: "RedirectURL", Problem: "(of RedirectTo) " + problem}
	}
	record, err := c.keeper.Look(ctx, appUserID)
	if err != nil && !errors.Is(err, custody.ErrNoLink) {
		return "", Pending{}, public(err)
	}

	started := &pending{
		State:       rand.Text() + rand.Text(),
		AppUserID:   appUserID,
		RedirectURL: a.redirectURL,
		Environment: c.cfg.Environment.Name,
		ClientID:    c.cfg.ClientID,
		ExpiresAt:   c.cfg.Now().Add(c.cfg.ApprovalLife).UTC().Truncate(time.Millisecond),
		Switch:      a.another,
		Share:       a.share,
		Unlinks:     custody.Unlinks(record),
	}
	flow := oauth2.Config{
		ClientID:    c.cfg.ClientID,
		Endpoint:    oauth2.Endpoint{AuthURL: c.cfg.Environment.AuthorizeURL},
		RedirectURL: a.redirectURL,
		Scopes:      []string{scopePatient},
	}
	var params []oauth2.AuthCodeOption
	if c.cfg.PKCE {
		started.Verifier = oauth2.GenerateVerifier()
		params = append(params, oauth2.S256ChallengeOption(started.Verifier))
	}
	return flow.AuthCodeURL(started.State, params...), newPending(started), nil
}
