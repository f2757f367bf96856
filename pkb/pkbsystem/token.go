// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb"
)

// heldToken is a token in memory.
type heldToken struct {
	value pkb.Secret
	// until is when it is no longer sent: before PKB refuses it.
	until time.Time
}

// currentToken returns a token that can be sent. Unlike a patient's refresh token, the
// credentials can be presented any number of times, so a request for a token belongs to
// its caller: whoever waited goes on when that caller leaves.
func (c *Client) currentToken(ctx context.Context) (*heldToken, error) {
	if t := c.usable(); t != nil {
		return t, nil
	}
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return nil, apicall.ErrorOf(opToken, &apicall.Failure{Err: ctx.Err()})
	}
	if t := c.usable(); t != nil {
		return t, nil
	}
	t, err := c.fetchToken(ctx)
	if err == nil {
		c.token.Store(t)
	}
	return t, err
}

func (c *Client) usable() *heldToken {
	if t := c.token.Load(); t != nil && c.cfg.Now().Before(t.until) {
		return t
	}
	return nil
}

// fetchToken requests a token. (PKB: Client credentials.)
func (c *Client) fetchToken(ctx context.Context) (_ *heldToken, err error) {
	ctx, end := c.begin(ctx, opToken)
	defer func() { end(err) }()
	asked := c.cfg.Now()
	var (
		token *oauth2.Token
		code  fhir.ResponseCode
	)
	failed := c.policy().Repeat(ctx, opToken, func() (f *apicall.Failure) {
		token, code, f = c.requestToken(ctx)
		return f
	})
	if failed != nil {
		err := apicall.ErrorOf(opToken, failed)
		if e, ok := errors.AsType[*pkb.APIError](err); ok && code != "" {
			e.Code = code
		}
		return nil, err
	}
	life := lifeOf(token)
	return &heldToken{pkb.NewSecret(token.AccessToken), asked.Add(life - min(life/8, 30*time.Second))}, nil
}

// requestToken sends one request for a token.
func (c *Client) requestToken(ctx context.Context) (*oauth2.Token, fhir.ResponseCode, *apicall.Failure) {
	sent := &credentials{client: c}
	hc := *c.http
	hc.Transport = sent
	config := clientcredentials.Config{
		ClientID: c.cfg.ClientID, TokenURL: c.cfg.TokenURL, // the secret stays with credentials
		AuthStyle: oauth2.AuthStyleInHeader, // none is guessed: guessing means sending the secret twice
	}
	if c.cfg.Scope != "" {
		config.Scopes = []string{c.cfg.Scope}
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, &hc))
	if err == nil {
		code, failed := c.refuse(token)
		return token, code, failed
	}
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ok && sent.response != nil && sent.response.StatusCode/100 != 2:
		failed := apicall.Refusal(sent.response)
		failed.Body = refused.Body[:min(len(refused.Body), apicall.MaxProblem)]
		return nil, knownCode(refused.ErrorCode), failed
	case ok:
		return nil, knownCode(refused.ErrorCode), c.unreadable(sent.response, "the response is an error")
	case sent.response != nil:
		return nil, "", c.unreadable(sent.response, "the response holds no token")
	}
	return nil, "", &apicall.Failure{Err: apicall.WithoutAddress(err)}
}

// unreadable is the failure for a response that reports success without a token. The
// text of x/oauth2's error is not used: it has parts of the response.
func (c *Client) unreadable(resp *http.Response, problem string) *apicall.Failure {
	failed := apicall.Refusal(resp)
	failed.Err = &apicall.ContentError{What: problem}
	return failed
}

// refuse returns a failure for a token that is not to be used.
func (c *Client) refuse(token *oauth2.Token) (code fhir.ResponseCode, _ *apicall.Failure) {
	problem := ""
	scope, hasScope := token.Extra("scope").(string)
	switch {
	case token.TokenType != "" && !strings.EqualFold(token.TokenType, "bearer"):
		problem = "the token is not a Bearer token"
	case !apicall.Printable(token.AccessToken):
		problem = "the token has characters that no header can have"
	case c.cfg.Scope != "" && hasScope && !slices.Contains(strings.Fields(scope), c.cfg.Scope):
		code, problem = "invalid_scope", "the token is for another scope than Config.Scope"
	default:
		return "", nil
	}
	return code, &apicall.Failure{Status: http.StatusOK, Err: &apicall.ContentError{What: problem}}
}

// assumedLife is the life of a token whose response has no expires_in: the shorter of
// the two figures in PKB's pages.
const assumedLife = 10 * time.Minute

// lifeOf returns the life of a token by its expires_in, a number or a text.
func lifeOf(token *oauth2.Token) time.Duration {
	var seconds float64
	switch v := token.Extra("expires_in").(type) {
	case float64:
		seconds = v
	case string:
		seconds, _ = strconv.ParseFloat(v, 64)
	}
	if seconds >= 1 && seconds < (24*time.Hour).Seconds() {
		return time.Duration(seconds * float64(time.Second))
	}
	return assumedLife
}

// knownCode returns a code of a refusal if it is one of RFC 6749, or the one that PKB's
// page prints. Others are not repeated.
func knownCode(code string) fhir.ResponseCode {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "unauthorized":
		return fhir.ResponseCode(code)
	}
	return ""
}

// credentials adds the client secret to the one request that may have it.
type credentials struct {
	client *Client
	// response is what was received, with its body taken by x/oauth2.
	response *http.Response
}

// RoundTrip implements http.RoundTripper.
func (b *credentials) RoundTrip(req *http.Request) (*http.Response, error) {
	cfg := &b.client.cfg
	if req.URL.String() != cfg.TokenURL {
		apicall.CloseBody(req)
		return nil, errElsewhere
	}
	out := req.Clone(req.Context())
	id, secret := cfg.ClientID, cfg.ClientSecret.Reveal()
	if cfg.EncodeCredentials {
		id, secret = url.QueryEscape(id), url.QueryEscape(secret)
	}
	out.SetBasicAuth(id, secret)
	out.Header.Set("Accept", "application/json")
	out.Header.Set("User-Agent", cfg.UserAgent)
	resp, err := b.client.http.Transport.RoundTrip(out)
	if resp != nil {
		resp.Request = req // logging it logs no secret
		// x/oauth2 reads a response of another type as a form. PKB sends JSON.
		resp.Header.Set("Content-Type", "application/json")
		b.response = resp
	}
	return resp, err
}
