// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"bytes"
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
		closeBody(req)
		return nil, err
	}
	if !slices.Contains(c.origins, apicall.Origin{Scheme: req.URL.Scheme, Host: req.URL.Host}) {
		return refuse(errElsewhere)
	}
	if len(req.Header.Values("Authorization")) > 0 {
		return refuse(errOwnToken)
	}
	turn, err := c.turns.Enter(req.Context(), "")
	if err != nil {
		return refuse(err)
	}
	handedOn := false
	defer func() {
		if !handedOn { // also when the host's transport panics
			turn.Leave()
		}
	}()
	resp, err := b.withToken(req)
	if err == nil && resp.Body != nil && resp.Body != http.NoBody {
		turn.ReadCloser, resp.Body, handedOn = resp.Body, turn, true
	}
	return resp, err
}

// withToken sends a request, and once more with a new token if the first is refused.
func (b *bearer) withToken(req *http.Request) (*http.Response, error) {
	token, err := b.client.currentToken(req.Context())
	if err != nil {
		closeBody(req)
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
	_, _ = io.CopyN(io.Discard, resp.Body, apicall.MaxProblem)
	_ = resp.Body.Close()
	if token, err = b.client.currentToken(req.Context()); err != nil {
		closeBody(again)
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
	head, _ := io.ReadAll(io.LimitReader(resp.Body, apicall.MaxProblem))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body} // it can be read as before
	outcome, err := fhir.DecodeOperationOutcome(head)
	code := outcome.ResponseCode()
	return err == nil && (code == fhir.AccessTokenExpired || code == fhir.BadAuthentication)
}

// send sends a copy of req with the token, because a RoundTripper must not modify its
// argument.
func (b *bearer) send(req *http.Request, token pkb.Secret) (*http.Response, error) {
	out := req.Clone(req.Context())
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header.Set("Authorization", "Bearer "+token.Reveal())
	out.Header.Set(apicall.HeaderOrganisation, b.client.cfg.Organisation)
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", b.client.cfg.UserAgent)
	}
	countRequest(out.Context())
	resp, err := b.client.http.Transport.RoundTrip(out)
	if resp != nil {
		resp.Request = req // logging it logs no token
	}
	return resp, err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
