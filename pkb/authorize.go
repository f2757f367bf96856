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

// scopePatient is the user type of this flow. PKB lets any user type approve
// when no scope is sent, so it always is (PKB: Code grant; Scopes).
const scopePatient = "PATIENT"

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
	ctx, end := c.begin(ctx, observe.OpAuthorize)
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
