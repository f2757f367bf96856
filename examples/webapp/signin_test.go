// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNobodyIsLetInWithoutSigningIn(t *testing.T) {
	r := newRig(t, "")
	for _, path := range []string{"account", "unlink", "operator", "operator/links/~amira"} {
		if a := newPerson(t).get(r.replicas[0].url + path); a.at.Path != "/" || !strings.HasPrefix(a.title(), "Sign in") {
			t.Errorf("%s leads to %s (%s), want the way to sign in", path, a.at.Path, a.title())
		}
	}
	if a := newPerson(t).get(r.replicas[0].url + "pkb/link"); a.status != http.StatusUnauthorized {
		t.Errorf("pkb/link: status %d, want 401", a.status)
	}
	if a := newPerson(t).signIn(r.replicas[0], "mallory"); a.status != http.StatusBadRequest {
		t.Errorf("an unknown user: status %d, want 400", a.status)
	}
}

func TestSessionHoldsOnEveryReplica(t *testing.T) {
	r := newRig(t, "")
	one, two := r.replicas[0], r.replicas[1]
	amira := newPerson(t)
	if a := amira.signIn(one, "amira"); a.at.Path != "/account" {
		t.Fatalf("signing in leads to %s", a.at.Path)
	}
	mustShow(t, amira.get(two.url+"account"), "Signed in as Amira")
	amira.post(two.url+"signout", nil)
	if a := amira.get(one.url + "account"); a.at.Path != "/" {
		t.Error("signed out on one replica, and still signed in on the other")
	}
}

// Who signs out is out, even if somebody has kept a copy of the cookie.
func TestSignOutEndsTheSessionItself(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira, thief := newPerson(t), newPerson(t)
	amira.signIn(one, "amira")
	address, err := url.Parse(one.url)
	if err != nil {
		t.Fatal(err)
	}
	thief.http.Jar.SetCookies(address, amira.http.Jar.Cookies(address))
	mustShow(t, thief.get(one.url+"account"), "Signed in as Amira") // the copy is good
	amira.post(one.url+"signout", nil)
	if a := thief.get(one.url + "account"); a.at.Path != "/" {
		t.Error("a copy of the cookie outlived the session")
	}
}

func TestSessionEnds(t *testing.T) {
	db, _, err := openDatabase(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &sessions{db: db, accounts: accounts, now: func() time.Time { return now }}
	if err := s.migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	token, err := s.begin(t.Context(), "ben")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(sessionLife - time.Second)
	if who, ok, err := s.whose(t.Context(), token); err != nil || !ok || who.ID != "ben" {
		t.Errorf("a second before its end: %v, %t, %v", who, ok, err)
	}
	now = now.Add(time.Second)
	if who, ok, err := s.whose(t.Context(), token); err != nil || ok {
		t.Errorf("at its end: %v, %t, %v", who, ok, err)
	}
	// The next log-in sweeps it out.
	if _, err := s.begin(t.Context(), "amira"); err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM webapp_sessions").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d sessions are kept, want the new one only (%v)", rows, err)
	}
}

// The database of sessions opens no session.
func TestSessionTokenIsNotInTheDatabase(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	address, err := url.Parse(one.url)
	if err != nil {
		t.Fatal(err)
	}
	cookies := amira.http.Jar.Cookies(address)
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want one", len(cookies))
	}
	for _, name := range []string{r.settings.db, r.settings.db + "-wal"} {
		kept, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(kept), cookies[0].Value) {
			t.Errorf("%s holds the session's token", filepath.Base(name))
		}
	}
}

func TestCookieIsForThisSiteOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		secure bool
		want   []string
	}{
		"on this machine": {false, []string{"webapp=", "HttpOnly", "SameSite=Lax", "Path=/"}},
		"over https":      {true, []string{"__Host-webapp=", "HttpOnly", "SameSite=Lax", "Path=/", "Secure"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			(&app{secure: tc.secure}).setCookie(w, "token", time.Hour)
			cookie := w.Header().Get("Set-Cookie")
			for _, want := range tc.want {
				if !strings.Contains(cookie, want) {
					t.Errorf("the cookie %q lacks %s", cookie, want)
				}
			}
		})
	}
}

// A form of another site must do nothing, signed in or not.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	for name, header := range map[string]map[string]string{
		"a browser that says so":     {"Sec-Fetch-Site": "cross-site"},
		"a neighbour":                {"Sec-Fetch-Site": "same-site"},
		"an older browser":           {"Origin": "https://evil.example"},
		"a page that hides where":    {"Origin": "null"},
		"another port of this place": {"Origin": "http://127.0.0.1:1"},
	} {
		for _, path := range []string{"unlink", "signout", "signin"} {
			if a := amira.send(http.MethodPost, one.url+path, url.Values{"user": {"ben"}}, header); a.status != http.StatusForbidden {
				t.Errorf("%s, %s: status %d, want 403", name, path, a.status)
			}
		}
	}
	mustShow(t, amira.get(one.url+"account"), "Signed in as Amira", "Ada Canary")
	if a := amira.send(http.MethodPost, one.url+"unlink", nil, map[string]string{"Sec-Fetch-Site": "same-origin"}); a.status != http.StatusOK {
		t.Errorf("our own form: status %d", a.status)
	}
	// Nothing is changed by looking.
	amira.link(r, one, one)
	amira.get(one.url + "unlink")
	mustShow(t, amira.get(one.url+"account"), "Ada Canary")
}

// A name that points here and is not ours is another site's (DNS rebinding).
func TestOnlyOurOwnNames(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	for host, want := range map[string]int{
		"127.0.0.1:1": http.StatusOK, "localhost": http.StatusOK, "LOCALHOST:99": http.StatusOK, "[::1]:80": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "evil.example:80": http.StatusMisdirectedRequest, "127.0.0.1.evil.example": http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest,
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, one.url, nil)
		req.RequestURI, req.Host = "", host
		resp, err := new(http.Transport).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func TestPagesAreGuarded(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	for _, path := range []string{"", "account", "unlink", "operator", "nowhere", "assets/style.css", "assets/", "pkb/callback"} {
		a := amira.get(one.url + path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("/%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("/%s: the policy %q lets in more than our own files", path, policy)
		}
		mustNotShow(t, a, "<style", "style=", "onclick", "https://")
	}
}
