// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

const callback = "https://app.example/pkb/callback"

// app is an app written by hand, that knows only what PKB documents.
type app struct {
	*testing.T
	server *pkbtest.Server
	http   *http.Client
}

func newApp(t *testing.T, cfg pkbtest.Config) *app {
	s := pkbtest.New(cfg)
	return &app{t, s, &http.Client{Transport: s.Transport()}}
}

// authorizeURL is a good authorize request, with pairs of names and values
// added or, with the value "-", taken away.
func authorizeURL(s *pkbtest.Server, change ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {s.ClientID()}, "redirect_uri": {callback},
		"scope": {"PATIENT"}, "state": {"state&1"},
	}
	edit(q, change)
	return s.URL() + "/apiAuthorize.action?" + q.Encode()
}

func edit(q url.Values, change []string) {
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == "-" {
			q.Del(change[i])
		} else {
			q.Set(change[i], change[i+1])
		}
	}
}

func (a *app) approve(p *pkbtest.Patient, change ...string) string {
	a.Helper()
	back, err := a.server.Approve(a.Context(), authorizeURL(a.server, change...), p)
	if err != nil {
		a.Fatalf("Approve: %v", err)
	}
	code := back.Query().Get("code")
	if code == "" {
		a.Fatalf("the callback %s has no code", back)
	}
	return code
}

// tokens is any response of the token endpoint.
type tokens struct {
	Status      int    `json:"-"`
	Access      string `json:"access_token"`
	Type        string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Refresh     string `json:"refresh_token"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a *app) post(form url.Values, header ...string) tokens {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), http.MethodPost, a.server.URL()+"/apiToken.action", strings.NewReader(form.Encode()))
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.http.Do(req)
	if err != nil {
		a.Fatalf("token endpoint: %v", err)
	}
	defer resp.Body.Close()
	if cc := resp.Header.Get("Cache-Control"); cc != "no-store" {
		a.Errorf("Cache-Control %q at the token endpoint", cc)
	}
	got := tokens{Status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		a.Fatalf("the token endpoint's response: %v", err)
	}
	return got
}

func (a *app) exchange(code string, change ...string) tokens {
	a.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {a.server.ClientID()}, "code": {code}, "redirect_uri": {callback}}
	edit(form, change)
	return a.post(form)
}

func (a *app) refresh(token string, change ...string) tokens {
	a.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {a.server.ClientID()}, "refresh_token": {token}, "scope": {"PATIENT"}}
	edit(form, change)
	return a.post(form)
}

// link approves and exchanges.
func (a *app) link(p *pkbtest.Patient) tokens {
	a.Helper()
	got := a.exchange(a.approve(p))
	if got.Status != http.StatusOK {
		a.Fatalf("exchange: %+v", got)
	}
	return got
}

// call sends one request with a token and returns status and body.
func (a *app) call(method, path, token, contentType, body string) (int, http.Header, string) {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.server.URL()+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatalf("%s %s: body: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func (a *app) self(token string) (int, string) {
	a.Helper()
	status, _, body := a.call(http.MethodGet, "/json/users/self", token, "", "")
	return status, responseCode(body)
}

func (a *app) purview(token string) (int, string) {
	a.Helper()
	status, _, body := a.call(http.MethodPost, "/fhir/Consent/$purview", token, "application/fhir+json", `{"resourceType":"Parameters"}`)
	return status, responseCode(body)
}

// responseCode returns the PKB response code of an OperationOutcome, "" if the
// body is none.
func responseCode(body string) string {
	var o struct {
		ResourceType string
		Issue        []struct {
			Details struct {
				Coding []struct{ System, Code string }
			}
		}
	}
	if json.Unmarshal([]byte(body), &o) != nil || o.ResourceType != "OperationOutcome" {
		return ""
	}
	for _, issue := range o.Issue {
		for _, c := range issue.Details.Coding {
			if c.System == "http://fhir.patientsknowbest.com/codesystem/response-code" {
				return c.Code
			}
		}
	}
	return ""
}
