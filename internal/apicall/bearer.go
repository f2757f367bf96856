// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import (
	"bytes"
	"io"
	"net/http"
)

// Sender sends requests with a bearer token.
type Sender struct {
	Transport http.RoundTripper
	// Organisation is on whose behalf a system client calls; "" with a patient's
	// token, with which it is never sent, not even for a host that sets it.
	Organisation string
	// UserAgent is for a request that has none.
	UserAgent string
}

// Send sends a copy of req with the token, because a RoundTripper must not modify its
// argument.
func (s Sender) Send(req *http.Request, token string) (*http.Response, error) {
	out := req.WithContext(req.Context())
	if out.Header = req.Header.Clone(); out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header.Set("Authorization", "Bearer "+token)
	if s.Organisation == "" {
		out.Header.Del(headerOrganisation)
	} else {
		out.Header.Set(headerOrganisation, s.Organisation)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", s.UserAgent)
	}
	// What is about a patient is not for caches: those that are transports keep
	// responses by their address, which is the same for every patient.
	if out.Header.Get("Cache-Control") == "" {
		out.Header.Set("Cache-Control", "no-store")
	}
	resp, err := s.Transport.RoundTrip(out)
	if resp != nil {
		resp.Request = req // logging it logs no token
	}
	return resp, err
}

// headerOrganisation is the header in which a system client names the organisation on
// whose behalf it calls.
const headerOrganisation = "X-Org-Public-Id"

// Head returns the beginning of a response that is an error. The response can be read
// as before.
func Head(resp *http.Response) []byte {
	head, _ := io.ReadAll(io.LimitReader(resp.Body, MaxProblem))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return head
}

// Drain reads the rest of a small body, so that its connection is reused, and closes
// it.
func Drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, MaxProblem)
	_ = body.Close()
}

// CloseBody closes the body of a request that is not sent.
func CloseBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
