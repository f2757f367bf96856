// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb"
)

// The errors of requests that HTTPClient does not send.
var (
	errElsewhere = errors.New("pkbsystem: the request is for another origin than those of the Config; nothing was sent")
	errOwnToken  = errors.New("pkbsystem: the request has an Authorization header of its own; nothing was sent")
)

// HTTPClient returns a client that adds the system client's token and X-Org-Public-Id
// to requests for the origins of the Config's FHIR addresses. A request for another
// origin is refused, as is one that has an Authorization header, which may be a
// patient's: neither is sent. It follows no redirect and keeps no cookies.
//
// After a 401, or a 403 with a response code about the token, it fetches a new token
// and sends the request once more, if that has no body or has GetBody: PKB has then
// refused to look at the first. It retries nothing else.
//
// Each request counts towards Config.MaxCalls until the body of the response is read
// to the end or closed: close it. The client has no time-out. A token that cannot be
// fetched is a *pkb.APIError inside the *url.Error of net/http.
func (c *Client) HTTPClient() *http.Client {
	hc := *c.http
	hc.Transport = &bearer{c}
	return &hc
}

// bearer adds the system client's token to requests.
type bearer struct{ client *Client }

func (b *bearer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "pkbsystem.HTTPClient transport")
}

func (b *bearer) String() string { return fmt.Sprint(b) }

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	c := b.client
	refuse := func(err error) (*http.Response, error) {
		apicall.CloseBody(req)
		return nil, err
	}
	if !slices.Contains(c.origins, apicall.Origin{Scheme: req.URL.Scheme, Host: req.URL.Host}) {
		return refuse(errElsewhere)
	}
	if len(req.Header.Values("Authorization")) > 0 {
		return refuse(errOwnToken)
	}
	return c.turns.Send(req, "", b.withToken)
}

// withToken sends a request, and once more with a new token if the first is refused.
func (b *bearer) withToken(req *http.Request) (*http.Response, error) {
	token, err := b.client.currentToken(req.Context())
	if err != nil {
		apicall.CloseBody(req)
		return nil, err
	}
	resp, err := b.send(req, token.value)
	if err != nil || !isRefused(resp) {
		return resp, err
	}
	b.client.token.CompareAndSwap(token, nil)
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil // cannot be sent again
		}
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // PKB's refusal is the outcome
		}
	}
	apicall.Drain(resp.Body)
	if token, err = b.client.currentToken(req.Context()); err != nil {
		apicall.CloseBody(again)
		return nil, err
	}
	return b.send(again, token.value)
}

// isRefused reports whether PKB refused the token: 401, or 403 with a code about it.
// PKB's pages do not document which status comes with which code.
func isRefused(resp *http.Response) bool {
	if resp.StatusCode != http.StatusForbidden {
		return resp.StatusCode == http.StatusUnauthorized
	}
	outcome, err := fhir.DecodeOperationOutcome(apicall.Head(resp))
	code := outcome.ResponseCode()
	return err == nil && (code == fhir.AccessTokenExpired || code == fhir.BadAuthentication)
}

func (b *bearer) send(req *http.Request, token pkb.Secret) (*http.Response, error) {
	countRequest(req.Context())
	c := b.client
	return apicall.Sender{Transport: c.http.Transport, Organisation: c.cfg.Organisation, UserAgent: c.cfg.UserAgent}.Send(req, token.Reveal())
}
