// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
)

// HTTPClient returns a client that adds one user's bearer token to requests for the
// origins of the environment's REST and FHIR addresses. Other requests are sent
// without it. It follows no redirect, keeps no cookies, and sends "Cache-Control: no-store".
//
// After a 401, or a 403 with a response code about the token, it refreshes the
// token and sends the request once more, if the token is still the current one and
// the request has no body or has GetBody. It retries nothing else. For reads,
// [Patient.Get] is simpler.
//
// Each request counts towards Config.MaxCallsPerPatient until the body of the
// response is read to the end or closed: close it. The client has no time-out; each
// request waits for its turn and for a token within its own context. Errors of
// Token are returned by Do inside the *url.Error of net/http, where errors.Is finds
// them.
func (c *Client) HTTPClient(appUserID string) *http.Client { return c.ForUser(appUserID).http() }

// withToken returns a client that sends one given token, before a link exists.
func (c *Client) withToken(token string) *http.Client {
	hc := *c.http
	hc.Transport = &bearer{client: c, fixed: token}
	return &hc
}

// bearer adds a user's access token to requests for PKB.
type bearer struct {
	client    *Client
	appUserID string
	// fixed is a token to send instead of the user's.
	fixed string
}

func (b *bearer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pkb.HTTPClient transport") }

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	c := b.client
	if !c.takesBearer(req) {
		return c.http.Transport.RoundTrip(req)
	}
	if b.fixed != "" {
		return b.send(req, b.fixed)
	}
	return c.turns.Send(req, b.appUserID, b.withCurrentToken)
}

func (b *bearer) withCurrentToken(req *http.Request) (*http.Response, error) {
	token, err := b.client.presentToken(req.Context(), b.appUserID)
	if err != nil {
		apicall.CloseBody(req)
		return nil, err
	}
	resp, err := b.send(req, token.Value)
	if err != nil {
		return nil, err
	}
	if refused, code := isRefused(resp); refused {
		return b.unauthorized(req, resp, &token, code)
	}
	return resp, nil
}

// isRefused reports whether PKB refused the token, and the response code: 401, or
// 403 with a code about tokens or sessions. PKB's pages do not document which status
// comes with which code.
func isRefused(resp *http.Response) (bool, fhir.ResponseCode) {
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return false, ""
	}
	code, _ := responseCode(apicall.Head(resp))
	return resp.StatusCode == http.StatusUnauthorized || isAboutToken(code) || sessionOver(code) != "", code
}

// unauthorized handles a refused token: the end of a session ends the link; for any
// other reason the request is sent once more with another token.
func (b *bearer) unauthorized(req *http.Request, resp *http.Response, token *custody.Token, code fhir.ResponseCode) (*http.Response, error) {
	over, err := b.learn(req.Context(), code, token)
	if err != nil {
		return resp, nil //nolint:nilerr // the session has ended, and the store could not record it
	}
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return resp, nil // cannot be sent again
	}
	var next custody.Token
	if over {
		next, err = b.client.keeper.Token(req.Context(), b.appUserID)
	} else {
		next, err = b.client.keeper.Replace(req.Context(), b.appUserID, *token)
	}
	if errors.Is(err, custody.ErrReplaced) {
		return resp, nil // another token would not help either
	}
	apicall.Drain(resp.Body)
	if err != nil {
		return nil, public(err)
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	if resp, err = b.send(again, next.Value); err != nil {
		return nil, err
	}
	refused, code := isRefused(resp)
	if !refused {
		return resp, nil
	}
	if over, err = b.learn(req.Context(), code, &next); over && err == nil {
		apicall.Drain(resp.Body)
		if _, err = b.client.currentToken(req.Context(), b.appUserID); err == nil {
			err = ErrTryLater // another session has replaced this one
		}
		return nil, err
	}
	return resp, nil
}

// learn reports whether the code means that the token's session has ended, and
// records that; err reports that the store failed to.
func (b *bearer) learn(ctx context.Context, code fhir.ResponseCode, token *custody.Token) (over bool, err error) {
	cause := sessionOver(code)
	if cause == "" {
		return false, nil
	}
	if err = b.client.keeper.Lose(ctx, b.appUserID, *token, cause); err != nil {
		b.client.cfg.Logger.Warn("pkb: could not record the end of a session", "link", conceal.LinkName(b.appUserID), "error", err)
	}
	return true, err
}

func (b *bearer) send(req *http.Request, token string) (*http.Response, error) {
	b.client.sends(req.Context())
	return apicall.Sender{Transport: b.client.http.Transport, UserAgent: b.client.cfg.UserAgent}.Send(req, token)
}

// takesBearer reports whether a request goes to an origin of PKB's APIs.
func (c *Client) takesBearer(req *http.Request) bool {
	return slices.Contains(c.origins, apicall.Origin{Scheme: req.URL.Scheme, Host: req.URL.Host})
}
