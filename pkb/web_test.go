// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// site is a host application with two pages of ours, and a browser.
type site struct {
	*rig
	web      *pkb.Web
	server   *httptest.Server
	browser  *http.Client
	signedIn string
	failed   pkb.Failure
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{signedIn: user}
	mux := http.NewServeMux()
	s.server = httptest.NewTLSServer(mux)
	t.Cleanup(s.server.Close)
	redirect := s.server.URL + "/pkb/callback"
	key, err := keys.Generate("k")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keys.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	s.rig = newRig(t, func(server *pkbtest.Config, c *pkb.Config) {
		server.RedirectURIs, c.RedirectURL, c.Keys = []string{redirect}, redirect, keys
	})
	s.web = s.handlers(s.Client)
	mux.HandleFunc("GET /pkb/link", func(w http.ResponseWriter, r *http.Request) { s.web.Link().ServeHTTP(w, r) })
	mux.HandleFunc("GET /pkb/callback", func(w http.ResponseWriter, r *http.Request) { s.web.Callback().ServeHTTP(w, r) })
	mux.HandleFunc("GET /account", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s.browser = s.newBrowser(t)
	return s
}

// restart serves the pages from another client with the same keys.
func (s *site) restart(t *testing.T, change func(*pkb.Config)) {
	t.Helper()
	change(&s.config)
	s.Client = s.replica(t)
	s.web = s.handlers(s.Client)
}

func (s *site) handlers(c *pkb.Client) *pkb.Web {
	return c.Web(pkb.WebConfig{User: func(*http.Request) string { return s.signedIn }, Done: "/account"})
}

// newBrowser returns a browser that shows us every redirect.
func (s *site) newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.server.Client()
	return &http.Client{Transport: c.Transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// start presses the link on the account page and approves at PKB; it returns
// the callback's address.
func (s *site) start(t *testing.T) string {
	t.Helper()
	resp := s.get(t, s.browser, s.server.URL+"/pkb/link")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("link: status %d", resp.StatusCode)
	}
	back, err := s.pkb.Approve(t.Context(), resp.Header.Get("Location"), s.patient)
	if err != nil {
		t.Fatal(err)
	}
	return back.String()
}

func (s *site) get(t *testing.T, browser *http.Client, address string) *http.Response {
	t.Helper()
	resp, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s: cacheable, or with a referrer", resp.Request.URL.Path)
	}
	return resp
}

func TestWebLinks(t *testing.T) {
	s := newSite(t)
	resp := s.get(t, s.browser, s.start(t))
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/account" {
		t.Errorf("callback: status %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if _, err := s.Link(t.Context(), user); err != nil {
		t.Error(err)
	}
	home, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if left := s.browser.Jar.Cookies(home); len(left) != 0 {
		t.Errorf("%d cookies left behind", len(left))
	}
}

func TestWebCookie(t *testing.T) {
	s := newSite(t)
	resp := s.get(t, s.browser, s.server.URL+"/pkb/link")
	cookies := resp.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies", len(cookies))
	}
	c := cookies[0]
	if !strings.HasPrefix(c.Name, "__Host-pkb-") || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 600 {
		t.Errorf("cookie %v", c)
	}
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if state := u.Query().Get("state"); strings.Contains(c.String(), state) || strings.Contains(c.Value, user) {
		t.Error("the cookie can be read")
	}
}

// S42: the attacks on state: none makes a link, none shows what it was sent.
func TestWebAttacks(t *testing.T) {
	change := func(f func(url.Values)) func(string) string {
		return func(callback string) string {
			u, _ := url.Parse(callback)
			q := u.Query()
			f(q)
			u.RawQuery = q.Encode()
			return u.String()
		}
	}
	for name, tc := range map[string]struct {
		callback func(string) string
		before   func(*testing.T, *site)
		status   int
	}{
		"state missing":   {callback: change(func(q url.Values) { q.Del("state") }), status: 400},
		"state unknown":   {callback: change(func(q url.Values) { q.Set("state", "<script>alert(1)</script>") }), status: 400},
		"state tampered":  {callback: change(func(q url.Values) { q.Set("state", q.Get("state")+"x") }), status: 400},
		"other browser":   {before: func(t *testing.T, s *site) { s.browser = s.newBrowser(t) }, status: 400},
		"other user":      {before: func(_ *testing.T, s *site) { s.signedIn = "user-2" }, status: 400},
		"other client":    {before: func(t *testing.T, s *site) { s.restart(t, func(c *pkb.Config) { c.ClientID = "another-client" }) }, status: 400},
		"other server":    {before: func(t *testing.T, s *site) { s.restart(t, func(c *pkb.Config) { c.Environment.Name = "production" }) }, status: 400},
		"nobody":          {before: func(_ *testing.T, s *site) { s.signedIn = "" }, status: 401},
		"too late":        {before: func(_ *testing.T, s *site) { s.pkb.Advance(71 * time.Minute) }, status: 400},
		"refused":         {callback: change(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }), status: 200},
		"header injected": {callback: change(func(q url.Values) { q.Set("code", "x\r\nSet-Cookie: a=b") }), status: 502},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			callback := s.start(t)
			if tc.before != nil {
				tc.before(t, s)
			}
			if tc.callback != nil {
				callback = tc.callback(callback)
			}
			resp, err := s.browser.Get(callback)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			page := new(strings.Builder)
			if _, err := io.Copy(page, resp.Body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || strings.Contains(page.String(), "script>") || resp.Header.Get("Location") != "" {
				t.Errorf("status %d, want %d; page:\n%s", resp.StatusCode, tc.status, page)
			}
			for _, u := range []string{user, "user-2"} {
				if _, err := s.Link(t.Context(), u); !errors.Is(err, pkb.ErrNotLinked) {
					t.Errorf("%s: %v, want ErrNotLinked", u, err)
				}
			}
		})
	}
}

// PKB takes no requests just then, or the patient says no and thinks again: the
// same approval can still be completed.
func TestWebSecondThoughts(t *testing.T) {
	s := newSite(t)
	callback := s.start(t)
	s.pkb.Next(pkbtest.Token, pkbtest.Respond(429, "", ""))
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("in the outage: status %d", resp.StatusCode)
	}
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("reloaded: status %d", resp.StatusCode)
	}

	callback = s.start(t)
	denied, _, _ := strings.Cut(callback, "?")
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	denied += "?error=access_denied&state=" + u.Query().Get("state")
	if resp := s.get(t, s.browser, denied); resp.StatusCode != http.StatusOK {
		t.Errorf("denied: status %d", resp.StatusCode)
	}
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("back, and approved: status %d", resp.StatusCode)
	}
}

// The callback comes to another replica: fine with common keys.
func TestWebOtherReplica(t *testing.T) {
	text, err := keys.Generate("k")
	if err != nil {
		t.Fatal(err)
	}
	for _, common := range []bool{true, false} {
		s := newSite(t)
		s.config.Keys = nil
		if common {
			if s.config.Keys, err = keys.Parse(text); err != nil {
				t.Fatal(err)
			}
		}
		one, other := s.handlers(s.replica(t)), s.handlers(s.replica(t))
		w := httptest.NewRecorder()
		one.Link().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/pkb/link", nil))
		back, err := s.pkb.Approve(t.Context(), w.Header().Get("Location"), s.patient)
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, back.String(), nil)
		for _, c := range w.Result().Cookies() {
			req.AddCookie(c)
		}
		w = httptest.NewRecorder()
		other.Callback().ServeHTTP(w, req)
		if (w.Code == http.StatusSeeOther) != common {
			t.Errorf("common keys %t: status %d", common, w.Code)
		}
	}
}

// Whatever else comes with the callback, the patient ends up at Done.
func TestWebRedirectsNowhereElse(t *testing.T) {
	for _, extra := range []string{
		"&next=https://evil.example/", "&redirect_uri=https%3A%2F%2Fevil.example", "&Done=//evil.example", "&return_to=/%5Cevil.example",
	} {
		s := newSite(t)
		resp := s.get(t, s.browser, s.start(t)+extra)
		if got := resp.Header.Get("Location"); got != "/account" {
			t.Errorf("%s: sent to %q", extra, got)
		}
	}
}

// The host's own session cookie is SameSite=Strict, so the callback comes
// without it: the log says so, because nobody would guess.
func TestWebNamesTheStrictCookie(t *testing.T) {
	s := newSite(t)
	callback := s.start(t)
	s.signedIn = ""
	s.web = s.Web(pkb.WebConfig{
		User:   func(*http.Request) string { return s.signedIn },
		Failed: func(_ http.ResponseWriter, _ *http.Request, f pkb.Failure) { s.failed = f },
	})
	s.get(t, s.browser, callback)
	if !errors.Is(s.failed.Err, pkb.ErrAppUserID) || !strings.Contains(s.failed.Err.Error(), "SameSite=Strict") {
		t.Errorf("failed with %v", s.failed.Err)
	}
	s.signedIn = user
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("with the session back: status %d", resp.StatusCode)
	}
}

func TestWebLinkedHook(t *testing.T) {
	s := newSite(t)
	var linked pkb.Link
	s.web = s.Web(pkb.WebConfig{
		User: func(*http.Request) string { return s.signedIn },
		Linked: func(w http.ResponseWriter, r *http.Request, l pkb.Link) {
			linked = l
			http.Redirect(w, r, "/welcome", http.StatusSeeOther)
		},
	})
	resp := s.get(t, s.browser, s.start(t))
	if resp.Header.Get("Location") != "/welcome" || linked.AppUserID != user || linked.PublicID == "" {
		t.Errorf("sent to %q, linked %+v", resp.Header.Get("Location"), linked)
	}
}

func TestWebFailedHook(t *testing.T) {
	s := newSite(t)
	web := s.Web(pkb.WebConfig{
		User: func(*http.Request) string { return "" },
		Failed: func(w http.ResponseWriter, _ *http.Request, f pkb.Failure) {
			s.failed = f
			w.WriteHeader(http.StatusTeapot)
		},
	})
	w := httptest.NewRecorder()
	web.Link().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/pkb/link", nil))
	if w.Code != http.StatusTeapot || !errors.Is(s.failed.Err, pkb.ErrAppUserID) || s.failed.Status != 401 || !strings.Contains(s.failed.Text, "sign in") {
		t.Errorf("status %d, %+v", w.Code, s.failed)
	}
}

func TestWebConfigMistakesPanic(t *testing.T) {
	r := newRig(t)
	someone := func(*http.Request) string { return user }
	for name, c := range map[string]pkb.WebConfig{
		"no User": {}, "other site": {User: someone, Done: "https://evil.example/"},
		"scheme-relative": {User: someone, Done: "//evil.example/"}, "backslash": {User: someone, Done: `/\evil.example`},
		"relative": {User: someone, Done: "account"}, "line break": {User: someone, Done: "/a\r\nb"},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			r.Web(c)
		}()
	}
}
