// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`)

func TestTokenAnswer(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	got := a.link(a.server.AddPatient(pkbtest.Patient{}))
	if !tokenForm.MatchString(got.Access) || !tokenForm.MatchString(got.Refresh) || got.Access == got.Refresh {
		t.Errorf("tokens %q and %q", got.Access, got.Refresh)
	}
	want := tokens{Status: 200, Access: got.Access, Type: "Bearer", ExpiresIn: 600, Refresh: got.Refresh, Scope: "PATIENT"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

// refused is the response to a grant that does not work.
func refused(code string) func(tokens) bool {
	return func(got tokens) bool { return got.Status == 400 && got.Error == code && got.Access == "" }
}

func TestCodeBinding(t *testing.T) {
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	pkce := []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256"}
	ok := func(got tokens) bool { return got.Status == 200 && got.Access != "" }
	only := pkbtest.Config{RedirectURIs: []string{callback}}
	for name, tc := range map[string]struct {
		cfg       pkbtest.Config
		authorize []string
		exchange  []string
		wait      time.Duration
		want      func(tokens) bool
	}{
		"good":                            {want: ok},
		"just in time":                    {wait: 59 * time.Second, want: ok},
		"too late":                        {wait: time.Minute, want: refused("invalid_grant")},
		"own life of codes":               {cfg: pkbtest.Config{CodeLife: time.Hour}, wait: 59 * time.Minute, want: ok},
		"another code":                    {exchange: []string{"code", "other"}, want: refused("invalid_grant")},
		"no code":                         {exchange: []string{"code", "-"}, want: refused("invalid_request")},
		"another redirect_uri":            {exchange: []string{"redirect_uri", "https://app.example/callback"}, want: refused("invalid_grant")},
		"no redirect_uri":                 {exchange: []string{"redirect_uri", "-"}, want: refused("invalid_grant")},
		"the base of redirect_uri":        {authorize: []string{"redirect_uri", callback + "?x=1"}, want: refused("invalid_grant")},
		"exactly the redirect_uri":        {authorize: []string{"redirect_uri", callback + "?x=1"}, exchange: []string{"redirect_uri", callback + "?x=1"}, want: ok},
		"redirect_uri never sent":         {cfg: only, authorize: []string{"redirect_uri", "-"}, exchange: []string{"redirect_uri", "-"}, want: ok},
		"redirect_uri sent late":          {cfg: only, authorize: []string{"redirect_uri", "-"}, want: ok},
		"redirect_uri sent late, another": {cfg: only, authorize: []string{"redirect_uri", "-"}, exchange: []string{"redirect_uri", callback + "/"}, want: refused("invalid_grant")},
		"another client":                  {exchange: []string{"client_id", "other"}, want: func(got tokens) bool { return got.Status == 401 && got.Error == "invalid_client" }},
		"no client":                       {exchange: []string{"client_id", "-"}, want: func(got tokens) bool { return got.Status == 401 && got.Error == "invalid_client" }},
		"a secret nobody asked for":       {exchange: []string{"client_secret", "x"}, want: func(got tokens) bool { return got.Status == 401 && got.Error == "invalid_client" }},
		"no grant_type":                   {exchange: []string{"grant_type", "-"}, want: refused("invalid_request")},
		"another grant_type":              {exchange: []string{"grant_type", "password"}, want: refused("unsupported_grant_type")},
		"PKCE":                            {authorize: pkce, exchange: []string{"code_verifier", verifier}, want: ok},
		"PKCE, another verifier":          {authorize: pkce, exchange: []string{"code_verifier", verifier + "x"}, want: refused("invalid_grant")},
		"PKCE, no verifier":               {authorize: pkce, want: refused("invalid_grant")},
		"a verifier without PKCE":         {exchange: []string{"code_verifier", verifier}, want: refused("invalid_grant")},
		"PKCE asked for":                  {cfg: pkbtest.Config{RequirePKCE: true}, authorize: pkce, exchange: []string{"code_verifier", verifier}, want: ok},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tc.cfg)
			code := a.approve(a.server.AddPatient(pkbtest.Patient{}), tc.authorize...)
			a.server.Advance(tc.wait)
			if got := a.exchange(code, tc.exchange...); !tc.want(got) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCodeTwiceKillsTheSession(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	code := a.approve(p)
	first := a.exchange(code)
	if got := a.exchange(code); !refused("invalid_grant")(got) {
		t.Errorf("second exchange: %+v", got)
	}
	if status, code := a.self(first.Access); status != 401 || code != "API_SESSION_INVALID" {
		t.Errorf("users/self: %d %s", status, code)
	}
	if n := a.server.LiveSessions(p); n != 0 {
		t.Errorf("%d live sessions", n)
	}
}

func TestRefreshRotation(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	first := a.link(p)
	a.server.Advance(9 * time.Minute)
	second := a.refresh(first.Refresh)
	if second.Status != 200 || second.Access == first.Access || second.Refresh == first.Refresh || second.Refresh == "" {
		t.Fatalf("refresh: %+v", second)
	}
	// The older access token lasts until its own end.
	for _, token := range []string{first.Access, second.Access} {
		if status, code := a.self(token); status != 200 {
			t.Errorf("users/self: %d %s", status, code)
		}
	}
	a.server.Advance(time.Minute)
	if status, code := a.self(first.Access); status != 401 || code != "ACC_TOKEN_EXPIRED" {
		t.Errorf("users/self with the older token: %d %s", status, code)
	}
	if status, code := a.purview(first.Access); status != 401 || code != "ACC_TOKEN_EXPIRED" {
		t.Errorf("Purview with the older token: %d %s", status, code)
	}
	if third := a.refresh(second.Refresh, "scope", "-"); third.Status != 200 {
		t.Errorf("refresh without scope: %+v", third)
	}
	if n := a.server.ReusedRefreshTokens(); n != 0 {
		t.Errorf("%d reused", n)
	}
	if e, r := a.server.Exchanges(), a.server.Refreshes(); e != 1 || r != 2 {
		t.Errorf("%d exchanges, %d refreshes", e, r)
	}
}

func TestReuseKillsTheSession(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	other := a.link(p) // a second session of the same patient is not touched
	first := a.link(p)
	second := a.refresh(first.Refresh)
	for _, token := range []string{first.Refresh, second.Refresh} {
		if got := a.refresh(token); !refused("invalid_grant")(got) || got.Description != "API_SESSION_INVALID" {
			t.Errorf("refresh: %+v", got)
		}
	}
	for _, token := range []string{first.Access, second.Access} {
		if status, code := a.self(token); status != 401 || code != "API_SESSION_INVALID" {
			t.Errorf("users/self: %d %s", status, code)
		}
	}
	if n := a.server.ReusedRefreshTokens(); n != 1 {
		t.Errorf("%d reused, want 1", n)
	}
	if n := a.server.LiveSessions(p); n != 1 {
		t.Errorf("%d live sessions, want the other one", n)
	}
	if status, _ := a.self(other.Access); status != 200 {
		t.Errorf("the other session: %d", status)
	}
}

// Of many at once, one wins; and then the session is dead.
func TestRefreshRace(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	first := a.link(a.server.AddPatient(pkbtest.Patient{}))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 16 {
		wg.Go(func() {
			form := url.Values{"grant_type": {"refresh_token"}, "client_id": {a.server.ClientID()}, "refresh_token": {first.Refresh}}
			resp, err := a.http.PostForm(a.server.URL()+"/apiToken.action", form)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				won++
			}
		})
	}
	wg.Wait()
	if won != 1 || a.server.ReusedRefreshTokens() != 15 || a.server.LiveSessions(nil) != 0 {
		t.Errorf("%d won, %d reused, %d sessions live", won, a.server.ReusedRefreshTokens(), a.server.LiveSessions(nil))
	}
}

func TestRefreshRefusals(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	first := a.link(a.server.AddPatient(pkbtest.Patient{}))
	for name, tc := range map[string]struct {
		change []string
		want   string
	}{
		"unknown token":    {[]string{"refresh_token", "other"}, "invalid_grant"},
		"the access token": {[]string{"refresh_token", first.Access}, "invalid_grant"},
		"no token":         {[]string{"refresh_token", "-"}, "invalid_request"},
		"another scope":    {[]string{"scope", "CLINICIAN"}, "invalid_scope"},
	} {
		if got := a.refresh(first.Refresh, tc.change...); !refused(tc.want)(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := a.refresh(first.Refresh); got.Status != 200 {
		t.Errorf("the refusals spent the token: %+v", got)
	}
}

// Near the end of a session the access token comes alone, and dies with it.
func TestSessionEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that no time passes but ours
		a := newApp(t, pkbtest.Config{TokenLife: 10 * time.Minute, SessionLife: 25 * time.Minute})
		p := a.server.AddPatient(pkbtest.Patient{})
		first := a.link(p)
		a.server.Advance(15 * time.Minute) // exactly one token's life is left
		second := a.refresh(first.Refresh)
		if second.Refresh == "" {
			t.Fatalf("no refresh token, though the access token does not outlive the session: %+v", second)
		}
		a.server.Advance(time.Second)
		last := a.refresh(second.Refresh)
		if last.Status != 200 || last.Refresh != "" || last.ExpiresIn != 600 {
			t.Fatalf("last refresh: %+v", last)
		}
		a.server.Advance(9*time.Minute + 58*time.Second)
		if status, code := a.self(last.Access); status != 200 {
			t.Errorf("users/self before the end: %d %s", status, code)
		}
		a.server.Advance(time.Second)
		if status, code := a.self(last.Access); status != 401 || code != "API_SESSION_EXPIRED" {
			t.Errorf("users/self after the end: %d %s", status, code)
		}
		if got := a.refresh(second.Refresh); got.Description != "API_SESSION_EXPIRED" {
			t.Errorf("refresh after the end: %+v", got)
		}
	})
}

func TestSessionsEndedByHand(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*pkbtest.Server, *pkbtest.Patient)
		want string
	}{
		"end":        {(*pkbtest.Server).EndSessions, "API_SESSION_EXPIRED"},
		"invalidate": {(*pkbtest.Server).InvalidateSessions, "API_SESSION_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, pkbtest.Config{})
			p, q := a.server.AddPatient(pkbtest.Patient{}), a.server.AddPatient(pkbtest.Patient{})
			tp, tq := a.link(p), a.link(q)
			tc.do(a.server, p)
			if got := a.refresh(tp.Refresh); !refused("invalid_grant")(got) || got.Description != tc.want {
				t.Errorf("refresh: %+v", got)
			}
			if status, code := a.purview(tp.Access); status != 401 || code != tc.want {
				t.Errorf("Purview: %d %s", status, code)
			}
			if got := a.refresh(tq.Refresh); got.Status != 200 {
				t.Errorf("another patient's refresh: %+v", got)
			}
			if n := [3]int{a.server.LiveSessions(p), a.server.LiveSessions(q), a.server.LiveSessions(nil)}; n != [3]int{0, 1, 1} {
				t.Errorf("live sessions %v", n)
			}
			tc.do(a.server, nil)
			if n := a.server.LiveSessions(nil); n != 0 {
				t.Errorf("%d live sessions after all were ended", n)
			}
		})
	}
}

func TestClientSecret(t *testing.T) {
	const secret = "s3cret:% +"
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(user)+":"+url.QueryEscape(password)))
	}
	for name, tc := range map[string]struct {
		public bool
		change []string
		header []string
		status int
		want   string
	}{
		"in the form":              {change: []string{"client_secret", secret}, status: 200},
		"in the header":            {change: []string{"client_id", "-"}, header: []string{"Authorization", basic("test-client", secret)}, status: 200},
		"in the header, id twice":  {header: []string{"Authorization", basic("test-client", secret)}, status: 200},
		"in the header, other id":  {change: []string{"client_id", "other"}, header: []string{"Authorization", basic("test-client", secret)}, status: 401, want: "invalid_client"},
		"in both":                  {change: []string{"client_secret", secret}, header: []string{"Authorization", basic("test-client", secret)}, status: 400, want: "invalid_request"},
		"missing":                  {status: 401, want: "invalid_client"},
		"wrong in the form":        {change: []string{"client_secret", "x"}, status: 401, want: "invalid_client"},
		"wrong in the header":      {header: []string{"Authorization", basic("test-client", "x")}, status: 401, want: "invalid_client"},
		"a bearer token":           {header: []string{"Authorization", "Bearer x"}, status: 401, want: "invalid_client"},
		"Basic of a public client": {public: true, header: []string{"Authorization", basic("test-client", "")}, status: 401, want: "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := pkbtest.Config{ClientSecret: secret}
			if tc.public {
				cfg.ClientSecret = ""
			}
			a := newApp(t, cfg)
			code := a.approve(a.server.AddPatient(pkbtest.Patient{}))
			form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"test-client"}, "code": {code}, "redirect_uri": {callback}}
			edit(form, tc.change)
			if got := a.post(form, tc.header...); got.Status != tc.status || got.Error != tc.want {
				t.Errorf("%+v, want %d %s", got, tc.status, tc.want)
			}
		})
	}
}

func TestTokenEndpointWantsAForm(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	for name, tc := range map[string]struct {
		method, contentType, body string
		status                    int
	}{
		"GET":               {http.MethodGet, "", "", 405},
		"JSON":              {http.MethodPost, "application/json", `{"grant_type":"refresh_token"}`, 400},
		"no type":           {http.MethodPost, "", "grant_type=refresh_token", 400},
		"broken form":       {http.MethodPost, "application/x-www-form-urlencoded", "%zz", 400},
		"a parameter twice": {http.MethodPost, "application/x-www-form-urlencoded", "client_id=test-client&client_id=test-client", 400},
		"endless":           {http.MethodPost, "application/x-www-form-urlencoded", strings.Repeat("x", 1<<20+1), 413},
	} {
		if status, _, body := a.call(tc.method, "/apiToken.action", "", tc.contentType, tc.body); status != tc.status {
			t.Errorf("%s: status %d, want %d: %s", name, status, tc.status, body)
		}
	}
}
