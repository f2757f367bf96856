// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"iter"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Link describes one user's link. It holds no token and nothing about the patient
// but the public id. It prints without ids, for logs; its JSON has all fields, for
// a database or an API.
type Link struct {
	AppUserID string `json:"app_user_id"`
	// State is tokenstore.StateLinked, StateUncertain (a refresh is under way, or
	// its outcome is unknown; the link works), StateRelinkRequired (see Cause), or
	// StatePending (the first authorization waits to be checked).
	State tokenstore.State `json:"state"`
	Cause observe.Cause    `json:"cause,omitempty"`
	// PublicID is the patient's PKB public id; empty until Purview has returned it.
	PublicID identity.PublicID `json:"public_id,omitempty"`
	// Verified reports that the public id is known and that Config.Identify, if
	// set, accepted the patient.
	Verified bool `json:"verified"`
	// Unchecked reports that an authorization waits to be checked: a later one than
	// this link's, or the only one if State is StatePending. Later calls check it.
	Unchecked bool `json:"unchecked,omitempty"`
	// Tried is how often the current refresh token was presented with an unknown
	// outcome, and Refusals, how often it was refused in unknown words while others
	// were served. Unread: a kept response may hold the next tokens.
	Tried    int  `json:"tried,omitempty"`
	Refusals int  `json:"refusals,omitempty"`
	Unread   bool `json:"unread,omitempty"`
	// LinkedAt is when the patient approved, RefreshedAt when the current tokens
	// were received, and ExpiresAt when the access token expires.
	LinkedAt    time.Time `json:"linked_at,omitzero"`
	RefreshedAt time.Time `json:"refreshed_at,omitzero"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	// EndsAt is when PKB's session, and with it the link, ends; zero if unknown.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// DueAt is when the link next needs a refresh, or ends. It is approximate,
	// because replicas spread their work.
	DueAt time.Time `json:"due_at,omitzero"`
}

// LinkOf returns the link that the columns of a stored record describe, for hosts
// that read the store themselves. It opens nothing, so whoever can edit the columns
// decides what it returns: show it to operators, and use [Client.Link] for anything
// that matters to a patient.
func LinkOf(r tokenstore.Record) Link { return newLink(custody.Show(r)) }

func newLink(r custody.Shown) Link {
	return Link{
		AppUserID: r.AppUserID, State: r.State, Cause: observe.Cause(r.Cause), PublicID: identity.PublicID(r.PublicID),
		Verified: custody.Verified(r.Record), Unchecked: r.Candidate != "",
		Tried: r.Tried, Refusals: r.Refusals, Unread: r.Unread,
		LinkedAt: r.LinkedAt, RefreshedAt: r.RefreshedAt, ExpiresAt: r.ExpiresAt, EndsAt: r.EndsAt, DueAt: r.DueAt,
	}
}

// works reports whether calls can be made by the link.
func (l Link) works() bool {
	return l.State == tokenstore.StateLinked || l.State == tokenstore.StateUncertain
}

// Link returns a user's link, from the store; no request is sent to PKB. It returns
// ErrNotLinked, ErrStore, ErrAppUserID, ErrOtherEnvironment or ErrClosed.
func (c *Client) Link(ctx context.Context, appUserID string) (Link, error) {
	if err := c.accepts(appUserID); err != nil {
		return Link{}, err
	}
	return c.look(ctx, appUserID)
}

func (c *Client) look(ctx context.Context, appUserID string) (Link, error) {
	r, err := c.keeper.Look(ctx, appUserID)
	if err != nil {
		return Link{}, public(err)
	}
	return newLink(r), nil
}

// TimelineEntry is something that happened to a link. It holds nothing secret and
// nothing about the patient.
type TimelineEntry struct {
	Kind observe.EventKind `json:"kind"`
	// At is when it happened. If the same happened several times in a row, such as
	// a refresh, At is the first time, Until the last, and Count how often;
	// otherwise Until is zero.
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"`
	Count int       `json:"count"`
	// Cause is set for EventRelinkRequired, and for EventAbandoned if PKB refused the token.
	Cause observe.Cause `json:"cause,omitempty"`
}

// Timeline returns the history of a user's link, oldest first, from the store: the
// last forty events in any process, including authorizations and the link's end. It
// spans relinks, and is kept for two days after an unlink. It does not include
// reads of a token, nor failures that affected no link.
//
// It returns ErrNotLinked, ErrStore, ErrAppUserID, ErrOtherEnvironment or
// ErrClosed.
func (c *Client) Timeline(ctx context.Context, appUserID string) ([]TimelineEntry, error) {
	if err := c.accepts(appUserID); err != nil {
		return nil, err
	}
	past, err := c.keeper.Past(ctx, appUserID)
	if err != nil {
		return nil, public(err)
	}
	entries := make([]TimelineEntry, 0, len(past))
	for _, h := range past {
		entries = append(entries, TimelineEntry{
			Kind: observe.EventKind(h.Kind), At: h.At, Until: h.Until, Count: max(h.Count, 1), Cause: observe.Cause(h.Cause),
		})
	}
	return entries, nil
}

// Links returns all links of this environment and client id, in byte order of their
// app_user_id. The store must implement tokenstore.Lister; otherwise the only
// element is a *ConfigError. An error ends the sequence.
func (c *Client) Links(ctx context.Context) iter.Seq2[Link, error] {
	return func(yield func(Link, error) bool) {
		for r, err := range c.records(ctx) {
			if err != nil {
				yield(Link{}, err)
				return
			}
			if c.ours(r) && custody.IsLink(r) && !yield(LinkOf(r), nil) {
				return
			}
		}
	}
}

// Discard drops a response of the token endpoint that may hold a link's new tokens
// and could not be read (CauseResponseUnreadable, or a link that is uncertain). An
// operator decides that, once it is clear that it holds no tokens. The refresh
// token that was sent may then be presented again, which ends the session if PKB
// has spent it.
//
// It returns ErrNotLinked if no such response is kept, ErrStore, ErrKeys,
// ErrOtherEnvironment, ErrAppUserID or ErrClosed.
func (c *Client) Discard(ctx context.Context, appUserID string) error {
	if err := c.accepts(appUserID); err != nil {
		return err
	}
	return public(c.keeper.Discard(ctx, appUserID))
}

// Unlink ends a user's link and deletes its tokens and the public id. No refresh or
// authorization that has begun, in any process, can restore the link. A row without
// them stays for two days; Purge removes it. Calls in other processes notice within
// a second; an access token from Client.Token works until it expires.
//
// PKB publishes no way to revoke a token: PKB's session ends by itself.
//
// It returns ErrNotLinked, ErrStore, ErrAppUserID or ErrClosed.
func (c *Client) Unlink(ctx context.Context, appUserID string) error {
	if err := c.accepts(appUserID); err != nil {
		return err
	}
	return public(c.keeper.Unlink(ctx, appUserID))
}
