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
	"github.com/betawerk/pkb-go/pkb/identity"
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

func TestWebTwoTabs(t *testing.T) {
	s := newSite(t)
	first, second := s.start(t), s.start(t)
	for name, callback := range map[string]string{"second": second, "first": first} {
		if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("%s tab: status %d", name, resp.StatusCode)
		}
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

// A callback that is loaded again, or gone Back to, leads to where the first visit
// led: the patient sees the last page, and the link stands. It sends nothing. For
// another browser of the same user that is so too; anybody else starts again.
func TestWebReplayedCallback(t *testing.T) {
	s := newSite(t)
	callback := s.start(t)
	s.get(t, s.browser, callback)
	sent := len(s.pkb.Requests())
	for name, browser := range map[string]*http.Client{"reload": s.browser, "another browser": s.newBrowser(t)} {
		if resp := s.get(t, browser, callback); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/account" {
			t.Errorf("%s: status %d to %q", name, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if n := len(s.pkb.Requests()); n != sent {
		t.Errorf("%d requests for a callback that was complete", n-sent)
	}
	for name, change := range map[string]func(url.Values){
		"another state": func(q url.Values) { q.Set("state", q.Get("state")+"x") },
		"two states":    func(q url.Values) { q.Add("state", "x") },
		"no state":      func(q url.Values) { q.Del("state") },
	} {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		if resp := s.get(t, s.browser, u.String()); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	if _, err := s.ForUser(user).Self(t.Context()); err != nil {
		t.Errorf("the link suffered: %v", err)
	}
	s.signedIn = "user-2"
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("another user: status %d", resp.StatusCode)
	}
	s.signedIn = user
	if err := s.Unlink(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("after Unlink: status %d", resp.StatusCode)
	}
}

// Double-clicked, the callback comes twice at once, with the cookie: both visits
// lead to the link.
func TestWebDoubleSubmit(t *testing.T) {
	s := newSite(t)
	callback := s.start(t)
	arrived, let := make(chan struct{}), make(chan struct{})
	s.pkb.Next(pkbtest.Token, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-let
			next.ServeHTTP(w, r)
		})
	})
	done := make(chan int, 2)
	visit := func() {
		resp, err := s.browser.Get(callback)
		if err != nil {
			t.Error(err)
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}
	go visit()
	<-arrived // the first visit has spent the code
	go visit()
	close(let)
	for range 2 {
		if status := <-done; status != http.StatusSeeOther {
			t.Errorf("status %d", status)
		}
	}
	if n := s.pkb.Exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A page that the browser fetches ahead, because the patient might click, begins
// nothing and uses nothing up.
func TestWebPagesFetchedAhead(t *testing.T) {
	for name, value := range map[string]string{
		"Sec-Purpose": "prefetch;prerender", "Purpose": "prefetch", "X-Moz": "prefetch", "X-Purpose": "preview",
	} {
		s := newSite(t)
		callback := s.start(t)
		for _, address := range []string{callback, s.server.URL + "/pkb/link"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(name, value)
			resp, err := s.browser.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 0 {
				t.Errorf("%s: %s: status %d, %d cookies", name, req.URL.Path, resp.StatusCode, len(resp.Cookies()))
			}
		}
		if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: afterwards: status %d", name, resp.StatusCode)
		}
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

// Somebody who looks without coming in, such as a link preview, uses nothing up.
func TestWebAnswersGETOnly(t *testing.T) {
	s := newSite(t)
	callback := s.start(t)
	for _, address := range []string{callback, s.server.URL + "/pkb/link"} {
		resp, err := s.browser.Head(address)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusMethodNotAllowed || len(resp.Cookies()) != 0 {
			t.Errorf("HEAD %s: status %d, %d cookies", resp.Request.URL.Path, resp.StatusCode, len(resp.Cookies()))
		}
	}
	if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("afterwards: status %d", resp.StatusCode)
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

// A second route lets the patient choose another account.
func TestWebSwitch(t *testing.T) {
	s := newSite(t)
	s.get(t, s.browser, s.start(t))
	s.patient = s.pkb.AddPatient(pkbtest.Patient{})
	if resp := s.get(t, s.browser, s.start(t)); resp.StatusCode != http.StatusConflict {
		t.Errorf("another account on the usual route: status %d", resp.StatusCode)
	}
	w := httptest.NewRecorder()
	s.web.Link(pkb.AllowSwitch()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/pkb/switch", nil))
	back, err := s.pkb.Approve(t.Context(), w.Header().Get("Location"), s.patient)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, back.String(), nil)
	for _, c := range w.Result().Cookies() {
		req.AddCookie(c)
	}
	w = httptest.NewRecorder()
	s.web.Callback().ServeHTTP(w, req)
	if link, err := s.Link(t.Context(), user); w.Code != http.StatusSeeOther || err != nil || link.PublicID != identity.PublicID(s.patient.PublicID) {
		t.Errorf("status %d, linked to %v, %v", w.Code, link.PublicID, err)
	}
}

// One more attempt than a browser keeps costs the oldest, and no other.
func TestWebTooManyTabsCostTheOldest(t *testing.T) {
	s := newSite(t)
	var callbacks []string
	for range 6 {
		callbacks = append(callbacks, s.start(t))
	}
	if resp := s.get(t, s.browser, callbacks[0]); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the oldest: status %d", resp.StatusCode)
	}
	for i, callback := range callbacks[1:] {
		if resp := s.get(t, s.browser, callback); resp.StatusCode != http.StatusSeeOther {
			t.Errorf("tab %d: status %d", i+2, resp.StatusCode)
		}
	}
}

func TestWebLimitsOpenAttempts(t *testing.T) {
	s := newSite(t)
	for range 20 {
		s.get(t, s.browser, s.server.URL+"/pkb/link")
	}
	home, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.browser.Jar.Cookies(home)); n > 5 {
		t.Errorf("%d cookies", n)
	}
	if resp := s.get(t, s.browser, s.start(t)); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the last attempt: status %d", resp.StatusCode)
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
