// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/pkb/observe"
	"golang.org/x/oauth2"
)

// scopePatient is the user type of this flow. It is always sent: without a scope,
// PKB lets any user type approve (PKB: Code grant; Scopes).
const scopePatient = "PATIENT"

// AuthorizeOption changes one authorization.
type AuthorizeOption func(*authorization)

type authorization struct {
	redirectURL    string
	another, share bool
}

// RedirectTo replaces Config.RedirectURL for one authorization: with another
// redirect URI that is registered with PKB, or the same with extra parameters.
func RedirectTo(redirectURL string) AuthorizeOption {
	return func(a *authorization) { a.redirectURL = redirectURL }
}

// AllowSwitch lets this authorization move the link to another patient's record,
// which is otherwise refused with ErrWrongPatient. Use it where the user has asked
// for that, having linked the wrong account, and not for every relink. The existing
// link is unchanged until the new one has been checked.
func AllowSwitch() AuthorizeOption {
	return func(a *authorization) { a.another = true }
}

// AllowShared lets this authorization link a record that another of the host's
// users is linked with, which is otherwise refused with ErrSharedRecord.
func AllowShared() AuthorizeOption {
	return func(a *authorization) { a.share = true }
}

// Authorize starts an authorization for one of the host's users. It returns the
// address to open in the patient's browser, which is apiAuthorize.action with
// client id, redirect URI, scope PATIENT and a fresh state, and the Pending that
// Complete needs. An existing link is unchanged.
//
// An authorization expires after Config.ApprovalLife. PKB shows a bad request, such
// as an unknown client id or a redirect URI that is not registered, to the patient
// on its own page, and no callback follows.
//
// Authorize reads the store once, so that a failing store is noticed before the
// patient has approved. It returns ErrAppUserID, ErrStore, ErrOtherEnvironment,
// ErrClosed, or a *ConfigError for the redirect URI of an option. (PKB: Code
// grant.)
func (c *Client) Authorize(ctx context.Context, appUserID string, opts ...AuthorizeOption) (authorizeURL string, p Pending, err error) {
	ctx, end := c.begin(ctx, observe.OpAuthorize)
	defer func() { end.with(err) }()
	if err := c.accepts(appUserID); err != nil {
		return "", Pending{}, err
	}
	a := authorization{redirectURL: c.cfg.RedirectURL}
	for _, o := range opts {
		o(&a)
	}
	redirect, problem := redirectURI(a.redirectURL)
	if problem != "" {
		return "", Pending{}, &ConfigError{Field: "RedirectURL", Problem: "(of RedirectTo) " + problem}
	}
	record, err := c.keeper.Look(ctx, appUserID)
	if err != nil && !errors.Is(err, custody.ErrNoLink) {
		return "", Pending{}, public(err)
	}

	started := &pending{
		State:       rand.Text() + rand.Text(),
		AppUserID:   appUserID,
		RedirectURL: redirect,
		origin:      c.origin(),
		ExpiresAt:   c.cfg.Now().Add(c.cfg.ApprovalLife).UTC().Truncate(time.Millisecond),
		Switch:      a.another,
		Share:       a.share,
		Unlinks:     record.Unlinks,
	}
	flow := oauth2.Config{
		ClientID:    c.cfg.ClientID,
		Endpoint:    oauth2.Endpoint{AuthURL: c.cfg.Environment.AuthorizeURL},
		RedirectURL: redirect,
		Scopes:      []string{scopePatient},
	}
	var params []oauth2.AuthCodeOption
	if c.cfg.PKCE {
		started.Verifier = oauth2.GenerateVerifier()
		params = append(params, oauth2.S256ChallengeOption(started.Verifier))
	}
	return flow.AuthCodeURL(started.State, params...), newPending(started), nil
}
