// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// A bad authorize request ends on an error page: nothing is sent to the app.
func TestAuthorizeErrors(t *testing.T) {
	one := pkbtest.Config{RedirectURIs: []string{"https://app.example/cb?tenant=7"}}
	good := strings.Repeat("x", 43)
	for name, tc := range map[string]struct {
		cfg    pkbtest.Config
		change []string
		raw    string // added to the query as it is
		want   string // in the page; "" for a good request
	}{
		"good":                           {},
		"no scope":                       {change: []string{"scope", "-"}},
		"no state":                       {change: []string{"state", "-"}},
		"token response":                 {change: []string{"response_type", "token"}, want: "response_type"},
		"no response_type":               {change: []string{"response_type", "-"}, want: "response_type"},
		"no client_id":                   {change: []string{"client_id", "-"}, want: "client_id"},
		"unknown client":                 {change: []string{"client_id", "<b>other</b>"}, want: "client_id"},
		"clinician's scope":              {change: []string{"scope", "CLINICIAN"}, want: "scope"},
		"empty scope":                    {change: []string{"scope", ""}, want: "scope"},
		"a parameter twice":              {raw: "&state=other", want: "more than once"},
		"no redirect_uri, several known": {change: []string{"redirect_uri", "-"}, want: "redirect_uri is missing"},
		"no redirect_uri, one known":     {cfg: one, change: []string{"redirect_uri", "-"}},
		"unknown redirect_uri":           {change: []string{"redirect_uri", "https://evil.example/pkb/callback"}, want: "not registered"},
		"longer path":                    {change: []string{"redirect_uri", callback + "/more"}, want: "not registered"},
		"another scheme":                 {change: []string{"redirect_uri", "http://app.example/pkb/callback"}, want: "not registered"},
		"another port":                   {change: []string{"redirect_uri", "https://app.example:8443/pkb/callback"}, want: "not registered"},
		"a fragment":                     {change: []string{"redirect_uri", callback + "#x"}, want: "not registered"},
		"user info":                      {change: []string{"redirect_uri", "https://me@app.example/pkb/callback"}, want: "not registered"},
		"no URL":                         {change: []string{"redirect_uri", "::"}, want: "not registered"},
		"more query":                     {change: []string{"redirect_uri", callback + "?team=a%20b"}},
		"a code in the query":            {change: []string{"redirect_uri", callback + "?code=mine"}, want: "not registered"},
		"registered query and more":      {cfg: one, change: []string{"redirect_uri", "https://app.example/cb?tenant=7&team=1"}},
		"registered query missing":       {cfg: one, change: []string{"redirect_uri", "https://app.example/cb?team=1"}, want: "not registered"},
		"registered query changed":       {cfg: one, change: []string{"redirect_uri", "https://app.example/cb?tenant=8"}, want: "not registered"},
		"loopback with a port":           {change: []string{"redirect_uri", "http://127.0.0.1:54321/callback"}},
		"localhost with a port":          {change: []string{"redirect_uri", "http://localhost:8080/pkb/callback"}},
		"one loopback for another":       {cfg: pkbtest.Config{RedirectURIs: []string{"http://localhost/cb"}}, change: []string{"redirect_uri", "http://127.0.0.1/cb"}, want: "not registered"},
		"custom scheme":                  {cfg: pkbtest.Config{RedirectURIs: []string{"example.app:/cb"}}, change: []string{"redirect_uri", "example.app:/cb"}},
		"PKCE":                           {change: []string{"code_challenge", good, "code_challenge_method", "S256"}},
		"plain PKCE":                     {change: []string{"code_challenge", good, "code_challenge_method", "plain"}, want: "S256"},
		"PKCE without method":            {change: []string{"code_challenge", good}, want: "S256"},
		"PKCE method alone":              {change: []string{"code_challenge_method", "S256"}, want: "code_challenge"},
		"a short challenge":              {change: []string{"code_challenge", "x", "code_challenge_method", "S256"}, want: "base64url"},
		"PKCE asked for":                 {cfg: pkbtest.Config{RequirePKCE: true}, want: "PKCE"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tc.cfg)
			p := a.server.AddPatient(pkbtest.Patient{})
			change := tc.change
			if tc.cfg.RedirectURIs != nil && !strings.Contains(strings.Join(change, " "), "redirect_uri") {
				t.Fatal("name a redirect_uri")
			}
			address := authorizeURL(a.server, change...) + tc.raw
			back, err := a.server.Approve(t.Context(), address, p)
			if tc.want == "" {
				if err != nil {
					t.Fatalf("Approve: %v", err)
				}
				if back.Query().Get("code") == "" {
					t.Errorf("callback %s has no code", back)
				}
				return
			}
			if err == nil {
				t.Fatalf("approved; callback %s", back)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not mention %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "state&1") || strings.Contains(err.Error(), "state%261") {
				t.Errorf("error %q repeats the state", err)
			}
			resp, err := a.http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
				t.Errorf("status %d, Location %q; want an error page", resp.StatusCode, resp.Header.Get("Location"))
			}
			page, _ := io.ReadAll(resp.Body)
			if strings.Contains(string(page), "<b>other") {
				t.Errorf("the page repeats markup:\n%s", page)
			}
		})
	}
}

func TestCallback(t *testing.T) {
	for name, tc := range map[string]struct {
		redirect string
		change   []string
		want     string // with CODE for the code
		denied   string
	}{
		"plain": {
			redirect: callback,
			want:     callback + "?code=CODE&state=state%261",
			denied:   callback + "?error=access_denied&state=state%261",
		},
		"no state": {
			redirect: callback, change: []string{"state", "-"},
			want: callback + "?code=CODE", denied: callback + "?error=access_denied",
		},
		"with a query": {
			redirect: callback + "?team=a%20b&x",
			want:     callback + "?team=a%20b&x&code=CODE&state=state%261",
			denied:   callback + "?team=a%20b&x&error=access_denied&state=state%261",
		},
		"custom scheme": {
			redirect: "example.app:/cb",
			want:     "example.app:/cb?code=CODE&state=state%261",
			denied:   "example.app:/cb?error=access_denied&state=state%261",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, pkbtest.Config{RedirectURIs: []string{callback, "example.app:/cb"}})
			p := a.server.AddPatient(pkbtest.Patient{})
			address := authorizeURL(a.server, append([]string{"redirect_uri", tc.redirect}, tc.change...)...)
			back, err := a.server.Approve(t.Context(), address, p)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Replace(back.String(), back.Query().Get("code"), "CODE", 1)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("approved (-want +got):\n%s", diff)
			}
			if back, err = a.server.Deny(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.denied, back.String()); diff != "" {
				t.Errorf("denied (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApproveNeedsAPatientOfThisServer(t *testing.T) {
	s := pkbtest.New(pkbtest.Config{})
	s.AddPatient(pkbtest.Patient{})
	for _, p := range []*pkbtest.Patient{nil, {PublicID: "stranger"}} {
		if back, err := s.Approve(t.Context(), authorizeURL(s), p); err == nil {
			t.Errorf("approved by %+v: %s", p, back)
		}
	}
	s.Next(pkbtest.Authorize, pkbtest.Respond(503, "text/html", "<h1>Closed</h1> for <i>today</i>"))
	if _, err := s.Deny(t.Context(), authorizeURL(s)); err == nil || !strings.Contains(err.Error(), "Closed for today") {
		t.Errorf("Deny: %v, want the words of the page", err)
	}
	for _, address := range []string{"::", "/apiAuthorize.action", s.URL() + "/elsewhere?state=canary", "https://pkb.example/%zz?state=canary"} {
		if _, err := s.Deny(t.Context(), address); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("Deny at %s: %v", address, err)
		}
	}
}

// What the browser relies on: who asks is named and escaped, the style that the
// policy allows is the one on the page, nothing is kept or passed on.
func TestPages(t *testing.T) {
	a := newApp(t, pkbtest.Config{ClientID: `<i>"client"</i>`, BasePath: "tenant/"})
	p := a.server.AddPatient(pkbtest.Patient{FirstName: "<script>", LastName: "O'Example", Scenario: "<script>", About: "<script>"})
	authorize := strings.TrimPrefix(authorizeURL(a.server, "state", `"><script>`), a.server.URL())
	named := []string{`&lt;i&gt;&#34;client&#34;&lt;/i&gt;`, `O&#39;Example`, `action="apiAuthorize.action"`}
	titles := map[string]string{}
	for name, tc := range map[string]struct {
		address string
		status  int
		want    []string
	}{
		"log-in":        {authorize, 200, append(named, `value="`+p.PublicID+`"`, `>Log in</button>`, `<label for="patient">`, `<label for="who">`)},
		"log-in again":  {authorize + "&who=" + url.QueryEscape(`"><script>`), 400, append(named, `role="alert"`, "Nobody here has", `aria-invalid="true"`)},
		"nobody chosen": {authorize + "&patient=&who=+", 400, append(named, `role="alert"`, "Choose who you are")},
		"nobody known":  {authorize + "&patient=stranger", 400, append(named, `role="alert"`, "Choose who you are")},
		"consent":       {authorize + "&patient=" + p.PublicID, 200, append(named, `>Approve</button>`, `>Deny</button>`, "Log in as somebody else")},
		"error":         {authorize + "&scope=", 400, []string{`role="alert"`, "Nothing was sent to the app"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, h, page := a.call(http.MethodGet, tc.address, "", "", "")
			if status != tc.status {
				t.Fatalf("status %d: %s", status, page)
			}
			if strings.Contains(page, "<script") || strings.Contains(page, "<i>") {
				t.Errorf("markup of others on the page:\n%s", page)
			}
			for _, want := range append(tc.want, `lang="en"`, "<h1>", "<main>", "not Patients Know Best") {
				if !strings.Contains(page, want) {
					t.Errorf("the page lacks %s:\n%s", want, page)
				}
			}
			style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
			title := regexp.MustCompile(`<title>(.*)</title>`).FindStringSubmatch(page)
			if style == nil || title == nil {
				t.Fatalf("no style or no title:\n%s", page)
			}
			titles[title[1]] += name + " "
			sum := sha256.Sum256([]byte(style[1]))
			want := map[string]string{
				"Cache-Control":           "no-store",
				"Referrer-Policy":         "no-referrer",
				"Content-Security-Policy": "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'",
				"Set-Cookie":              "",
			}
			for name, value := range want {
				if diff := cmp.Diff(value, h.Get(name)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
	if len(titles) != 4 {
		t.Errorf("whoever hears only the titles cannot tell the pages apart: %q", titles)
	}
}

// The form can also be sent by hand, and is checked like the address.
func TestConsentFormIsChecked(t *testing.T) {
	for name, change := range map[string][]string{
		"no decision":     {"decision", "-"},
		"another":         {"decision", "maybe"},
		"no patient":      {"patient", "-"},
		"nobody":          {"patient", "nobody"},
		"unknown client":  {"client_id", "other"},
		"other app's URI": {"redirect_uri", "https://evil.example/"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, pkbtest.Config{})
			p := a.server.AddPatient(pkbtest.Patient{})
			address, _ := url.Parse(authorizeURL(a.server))
			form := address.Query()
			form.Set("decision", "approve")
			form.Set("patient", p.PublicID)
			edit(form, change)
			status, h, page := a.call(http.MethodPost, "/apiAuthorize.action", "", "application/x-www-form-urlencoded", form.Encode())
			if status != http.StatusBadRequest || h.Get("Location") != "" {
				t.Errorf("status %d, Location %q\n%s", status, h.Get("Location"), page)
			}
		})
	}
	a := newApp(t, pkbtest.Config{})
	if status, _, _ := a.call(http.MethodPost, "/apiAuthorize.action", "", "application/json", "{}"); status != http.StatusBadRequest {
		t.Errorf("a JSON body: status %d", status)
	}
	if status, h, _ := a.call(http.MethodDelete, "/apiAuthorize.action", "", "", ""); status != http.StatusMethodNotAllowed || h.Get("Allow") == "" {
		t.Errorf("DELETE: status %d, Allow %q", status, h.Get("Allow"))
	}
}
