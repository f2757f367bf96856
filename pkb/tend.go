// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Tend looks after links that nobody uses just now, until ctx ends. It delivers
// notices to Config.Notify, warns before a session ends, checks authorizations that
// could not be checked yet and gives them up after a week, asks once more about
// refreshes whose outcome is unknown, refreshes idle links (Config.KeepWarm), removes
// what an unlink left, and seals with the promoted key. Any number of processes may
// run it at the same time, and each link is looked after by one of them.
//
// It refreshes at most ten links a second. Without it links work, and you get no
// notices. Tend returns nil when ctx ends, ErrClosed, or a *ConfigError if the store has
// neither Due nor List (tokenstore.Scheduler, tokenstore.Lister).
func (c *Client) Tend(ctx context.Context) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return tended(c.keeper.Tend(ctx))
}

// TendOnce does what is due now, and returns how many links it looked at: it is Tend
// as a job that runs from time to time, such as every hour. It returns ErrClosed, ErrStore, the error of ctx, or a *ConfigError as Tend does.
func (c *Client) TendOnce(ctx context.Context) (links int, err error) {
	if c.closed.Load() {
		return 0, ErrClosed
	}
	links, err = c.keeper.TendOnce(ctx)
	return links, tended(err)
}

func tended(err error) error {
	if errors.Is(err, custody.ErrCannotTend) {
		return &ConfigError{Field: "Store", Problem: "cannot be tended: it has neither a Due nor a List method (tokenstore.Scheduler, tokenstore.Lister)"}
	}
	return public(err)
}

// Import makes a link of tokens that other code obtained for a user. They are saved,
// checked by Purview and Config.Identify as after an authorization, and then used. If
// the access token has expired, the refresh token is presented first, once. A link that
// works is never replaced.
//
// First stop whatever refreshed these tokens, for good: see import.md.
//
// Import returns ErrUnchecked if the tokens are saved and could not be checked yet, which
// later calls and Tend do; ErrOvertaken if the user is linked or has just approved;
// ErrState if the token was imported before and is not the link; ErrRelinkRequired if PKB
// does not accept it; ErrNotLinked after an unlink meanwhile; identity.ErrNotAPatient,
// ErrIdentityRefused, ErrWrongPatient, ErrSharedRecord, ErrStore, ErrKeys, ErrNewer,
// ErrOtherEnvironment, ErrAppUserID, ErrClosed or the error of ctx; and another for a
// token without a refresh token.
func (c *Client) Import(ctx context.Context, appUserID string, token *oauth2.Token) (Link, error) {
	if err := c.accepts(appUserID); err != nil {
		return Link{}, err
	}
	if token == nil {
		return Link{}, errNotImportable
	}
	scope, _ := token.Extra("scope").(string)
	r, err := c.keeper.Import(ctx, appUserID, custody.Imported{
		AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, Scope: scope, ExpiresAt: token.Expiry,
	})
	unchecked, waits := errors.AsType[*custody.UncheckedError](err)
	switch {
	case waits:
		return LinkOf(r), &uncheckedError{cause: quiet(unchecked.Err)}
	case errors.Is(err, custody.ErrNotImportable):
		return Link{}, errNotImportable
	case errors.Is(err, custody.ErrInUse):
		return LinkOf(r), ErrOvertaken
	case err != nil:
		return Link{}, public(err)
	}
	return LinkOf(r), nil
}

var errNotImportable = errors.New("pkb: the token cannot be imported: it needs an access token and a refresh token")

// noticeKind returns what a notice is about.
func noticeKind(n custody.Notice) observe.EventKind {
	switch {
	case n.Kind == custody.NoticeMade:
		return observe.EventLinked
	case n.Kind == custody.NoticeEnded:
		return observe.EventRelinkRequired
	case n.Kind == custody.NoticeEndsSoon:
		return observe.EventEndsSoon
	case n.Cause == custody.SharedRecord:
		return observe.EventSharedRecord
	case n.Cause == custody.WrongPatient:
		return observe.EventWrongPatient
	}
	return observe.EventAbandoned
}

// notify returns how a notice is delivered to the host, or nil.
func (c *Config) notify() func(context.Context, custody.Notice) error {
	if c.Notify == nil {
		return nil
	}
	return func(ctx context.Context, n custody.Notice) error {
		return c.Notify(ctx, newNotice(n))
	}
}

func newNotice(n custody.Notice) observe.Notice {
	return observe.Notice{
		ID: n.ID, Kind: noticeKind(n), AppUserID: n.User, Cause: observe.Cause(n.Cause), At: n.At,
		EndsAt: n.EndsAt, Last: n.Last, Earlier: n.Earlier, Tries: n.Tries,
	}
}

// NoticesOf returns the notices that a stored record owes Config.Notify, in order.
// Like LinkOf, it is for operators.
func NoticesOf(r tokenstore.Record) (owed []observe.Notice) {
	for _, n := range custody.Owed(r) {
		owed = append(owed, newNotice(n))
	}
	return owed
}
