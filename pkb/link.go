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

// Link is what is known about one user's link. It holds no token and nothing
// about the patient but the public id. It prints without ids, as logs need it, and its
// JSON has all of it, as a database or an API of yours needs it.
type Link struct {
	AppUserID string `json:"app_user_id"`
	// State is tokenstore.StateLinked, StateUncertain (a refresh is open; the
	// link works), StateRelinkRequired (Cause says why), or StatePending (the first
	// authorization waits to be checked: see Unchecked).
	State tokenstore.State `json:"state"`
	Cause observe.Cause    `json:"cause,omitempty"`
	// PublicID is the patient's PKB public id; empty until Purview has told it.
	PublicID identity.PublicID `json:"public_id,omitempty"`
	// Verified says that the public id is known, and that Config.Identify, if
	// there is one, has accepted this patient.
	Verified bool `json:"verified"`
	// Unchecked says that an authorization waits, of which it could not be found out
	// yet whose it is: one that was approved later than this link, or, where State is
	// tokenstore.StatePending, the only one. The calls that follow check it.
	Unchecked bool `json:"unchecked,omitempty"`
	// Tried is how often the present refresh token was presented with an outcome
	// that is not known; Refusals, how often it was refused in unknown words while
	// others were served. Unread says that a response is kept that may hold the next
	// tokens and cannot be read.
	Tried    int  `json:"tried,omitempty"`
	Refusals int  `json:"refusals,omitempty"`
	Unread   bool `json:"unread,omitempty"`
	// LinkedAt is when the patient approved, RefreshedAt when the present
	// tokens came, ExpiresAt when the present access token ends.
	LinkedAt    time.Time `json:"linked_at,omitzero"`
	RefreshedAt time.Time `json:"refreshed_at,omitzero"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	// EndsAt is when PKB's session, and with it the link, ends; zero when that
	// is not known.
	EndsAt time.Time `json:"ends_at,omitzero"`
	// DueAt is when the link next wants attention: a refresh, or its end. It is
	// approximate, because replicas spread what they do.
	DueAt time.Time `json:"due_at,omitzero"`
}

// LinkOf returns what the columns of a stored record say of a link, for those who
// read the store themselves. Nothing is opened: whoever can edit the columns
// decides what they say, so show it to operators, and use [Client.Link] for
// anything that matters to a patient.
func LinkOf(r tokenstore.Record) Link { return newLink(r) }

func newLink(r tokenstore.Record) Link {
	return Link{
		AppUserID: r.AppUserID, State: r.State, Cause: observe.Cause(r.Cause), PublicID: identity.PublicID(r.PublicID),
		Verified: custody.Verified(r), Unchecked: r.Candidate != "",
		Tried: r.Tried, Refusals: custody.Refusals(r), Unread: custody.Unread(r),
		LinkedAt: r.LinkedAt, RefreshedAt: r.RefreshedAt, ExpiresAt: r.ExpiresAt, EndsAt: r.EndsAt, DueAt: r.DueAt,
	}
}

// Link returns what is known about a user's link, from the store; PKB is not
// asked. It returns ErrNotLinked, ErrStore, ErrAppUserID, ErrOtherEnvironment or
// ErrClosed.
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

// TimelineEntry is something that happened to a link, as it is kept with it. It
// holds nothing secret and nothing about the patient.
type TimelineEntry struct {
	Kind observe.EventKind `json:"kind"`
	// At is when it happened. Of the same several times in a row, as with
	// refreshes, At is the first time, Until the last, and Count how many; Until
	// is zero for a single one.
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"`
	Count int       `json:"count"`
	// Cause is that of EventRelinkRequired.
	Cause observe.Cause `json:"cause,omitempty"`
}

// Timeline returns the past of a user's link, oldest first, from the store: the
// last forty things that happened to it in any process, its approvals and its
// end among them. It goes through relinks, and is there for two days after an
// unlink. Reading a token, and trouble that touched no link, is not in it.
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

// errNoList: the store cannot list its records.
var errNoList = &ConfigError{Field: "Store", Problem: "cannot list links: it has no List method (tokenstore.Lister)"}

// Links returns all links of this environment and client id, in the byte order
// of their app_user_id. The store must implement tokenstore.Lister; else the
// only element is a *ConfigError. An error ends the sequence.
func (c *Client) Links(ctx context.Context) iter.Seq2[Link, error] {
	return func(yield func(Link, error) bool) {
		for r, err := range c.records(ctx) {
			if err != nil {
				yield(Link{}, err)
				return
			}
			if c.ours(r) && custody.IsLink(r) && !yield(newLink(r), nil) {
				return
			}
		}
	}
}

// Discard gives up a response of the token endpoint that may hold a link's new
// tokens and could not be read (CauseAnswerUnreadable, or a link that is
// uncertain): an operator's decision, once it is clear that no tokens are in it.
// The refresh token that it answered may then be presented again, which ends the
// session if PKB has spent it.
//
// It returns ErrNotLinked when no such response is kept, ErrStore, ErrKeys,
// ErrOtherEnvironment, ErrAppUserID or ErrClosed.
func (c *Client) Discard(ctx context.Context, appUserID string) error {
	if err := c.accepts(appUserID); err != nil {
		return err
	}
	return public(c.keeper.Discard(ctx, appUserID))
}

// Unlink ends a user's link and deletes its tokens and the public id. A refresh
// or an approval that is under way, in any process, cannot bring the link back.
// What stays is a row without them, for two days; Purge removes it. An approval that
// was begun before does not bring the link back.
// Calls in another process notice within a second; whoever took an access token
// out with Client.Token can use it until that ends.
//
// PKB publishes no way to revoke a token: the session at PKB ends by itself.
//
// It returns ErrNotLinked when there is nothing to end, ErrStore, ErrAppUserID or
// ErrClosed.
func (c *Client) Unlink(ctx context.Context, appUserID string) error {
	if err := c.accepts(appUserID); err != nil {
		return err
	}
	return public(c.keeper.Unlink(ctx, appUserID))
}
