// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
)

// AccessToken is a patient's access token, for immediate use. It comes without the
// refresh token, which only this library may present.
type AccessToken struct {
	// Value is sent as "Authorization: Bearer ...".
	Value Secret
	// ExpiresAt is when PKB stops accepting it.
	ExpiresAt time.Time
}

// Token returns an access token with more than Config.HardMargin left, refreshing
// it if necessary. All callers in all processes that share the store share one
// refresh; ctx bounds this caller's wait and not the refresh.
//
// A token in memory is returned without reading the store. After an Unlink or
// AllowSwitch in another process it may be the earlier link's, until it expires.
// The calls of Patient and HTTPClient check the store.
//
// It returns ErrNotLinked, ErrRelinkRequired, ErrTryLater, ErrStore, ErrKeys,
// ErrOtherEnvironment, ErrAppUserID, ErrClosed or the error of ctx.
func (c *Client) Token(ctx context.Context, appUserID string) (AccessToken, error) {
	t, err := c.currentToken(ctx, appUserID)
	if err != nil {
		return AccessToken{}, err
	}
	return AccessToken{Value: Secret{conceal.By(t.Reveal)}, ExpiresAt: t.ExpiresAt}, nil
}

// currentToken returns a token that must not be modified.
func (c *Client) currentToken(ctx context.Context, appUserID string) (*custody.Token, error) {
	if t := c.keeper.Hot(appUserID); t != nil {
		return t, nil
	}
	if err := c.accepts(appUserID); err != nil {
		return nil, err
	}
	t, err := c.keeper.Token(ctx, appUserID)
	if err != nil {
		return nil, public(err)
	}
	return &t, nil
}

// presentToken returns a token of the link in the store, not of one that another
// process has replaced.
func (c *Client) presentToken(ctx context.Context, appUserID string) (custody.Token, error) {
	if err := c.accepts(appUserID); err != nil {
		return custody.Token{}, err
	}
	t, err := c.keeper.Present(ctx, appUserID)
	return t, public(err)
}

// TokenSource returns an oauth2.TokenSource for one user, for libraries that take
// one. Its tokens have no refresh token. A wait for a refresh ends after
// Config.RequestTimeout; HTTPClient uses the context of each request instead.
//
// An oauth2.Token prints its access token: do not log it.
func (c *Client) TokenSource(appUserID string) oauth2.TokenSource {
	return tokenSource{c, appUserID}
}

type tokenSource struct {
	client    *Client
	appUserID string
}

func (s tokenSource) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.client.cfg.RequestTimeout)
	defer cancel()
	t, err := s.client.currentToken(ctx, s.appUserID)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Value, TokenType: "Bearer", Expiry: t.ExpiresAt}, nil
}
