// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// tokens watches the token endpoint: whose each code and refresh token is, which
// replica has the newest one of a link, and which are presented again. PKB itself only
// counts the last.
type tokens struct {
	mu sync.Mutex
	// owners are the users of codes and refresh tokens.
	owners map[string]string
	spent  map[string]bool
	// newest is what a user's link was last given.
	newest map[string]given
	again  []again
}

// given is a pair of tokens that a replica has received.
type given struct {
	to *replica
	at time.Time
}

// again is a refresh token that was presented though it was spent. known means that a
// process that runs had its successor.
type again struct {
	user  string
	known bool
}

func newTokens() *tokens {
	return &tokens{owners: map[string]string{}, spent: map[string]bool{}, newest: map[string]given{}}
}

// expect says whose code it is.
func (t *tokens) expect(code, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owners[code] = user
}

// exchanged reports whether a code was.
func (t *tokens) exchanged(code string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.spent[code]
}

// holder is who received a user's newest tokens, and when.
func (t *tokens) holder(user string) given {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest[user]
}

// twice are the refresh tokens that were presented again.
func (t *tokens) twice() []again {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]again(nil), t.again...)
}

// through is a replica's way to PKB.
func (t *tokens) through(r *replica, next http.RoundTripper) http.RoundTripper {
	return &way{t, r, next}
}

type way struct {
	tokens *tokens
	from   *replica
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w *way) RoundTrip(req *http.Request) (*http.Response, error) {
	if !w.from.alive() {
		return nil, errDead
	}
	presented := ""
	if strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(form))
		values, _ := url.ParseQuery(string(form))
		presented = values.Get("code") + values.Get("refresh_token")
		w.tokens.present(presented)
	}
	resp, err := w.next.RoundTrip(req)
	if err == nil && presented != "" {
		err = w.received(presented, resp)
	}
	if !w.from.alive() {
		return nil, errDead // as for a response on its way to a process that dies
	}
	return resp, err
}

// present notes that a code or refresh token is presented.
func (t *tokens) present(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if user := t.owners[token]; t.spent[token] {
		t.again = append(t.again, again{user, t.newest[user].to.alive()})
	}
}

// received notes what a response gives.
func (w *way) received(presented string, resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var pair struct {
		RefreshToken string `json:"refresh_token"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &pair) != nil || pair.RefreshToken == "" {
		return nil
	}
	t := w.tokens
	t.mu.Lock()
	defer t.mu.Unlock()
	user := t.owners[presented]
	t.spent[presented] = true
	t.owners[pair.RefreshToken] = user
	t.newest[user] = given{w.from, time.Now()}
	return nil
}
