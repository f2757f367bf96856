// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// town is a host of several processes over one store and one keyring, with the three
// routes that a host has.
type town struct {
	*rig
	handlers []http.Handler
	signedIn string
	failed   pkb.Failure
	texts    func(*http.Request) pkb.PageTexts
	// own: the host shows a page of its own, and failed is what it got.
	own bool
}

const home = "https://app.example"

func newTown(t *testing.T, processes int, change ...func(*pkbtest.Config, *pkb.Config)) *town {
	t.Helper()
	h := &town{signedIn: user}
	h.rig = newRig(t, append([]func(*pkbtest.Config, *pkb.Config){func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = keyring(t, "k") }}, change...)...)
	for range processes {
		h.open(h.replica(t))
	}
	return h
}

// open serves the routes from one more process.
func (h *town) open(c *pkb.Client) {
	cfg := pkb.WebConfig{
		User: func(*http.Request) string { return h.signedIn }, Done: "/account",
		Texts: func(r *http.Request) pkb.PageTexts {
			if h.texts == nil {
				return pkb.PageTexts{}
			}
			return h.texts(r)
		},
	}
	if h.own {
		cfg.Failed = func(w http.ResponseWriter, _ *http.Request, f pkb.Failure) {
			h.failed = f
			w.WriteHeader(f.Status)
		}
	}
	web := c.Web(cfg)
	mux := http.NewServeMux()
	mux.Handle("/pkb/link", web.Link())
	mux.Handle("/pkb/switch", web.Link(pkb.AllowSwitch()))
	mux.Handle("/pkb/share", web.Link(pkb.AllowShared()))
	mux.Handle("/pkb/callback", web.Callback())
	h.handlers = append(h.handlers, mux)
}

// browser is one that shows every redirect. Its requests go to the last process, or
// to the one that to names.
type browser struct {
	h  *town
	to int
	*http.Client
}

func (h *town) newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{h: h, to: -1}
	b.Client = &http.Client{Transport: b, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b
}

func (b *browser) RoundTrip(r *http.Request) (*http.Response, error) {
	to := b.to
	if to < 0 {
		to = len(b.h.handlers) - 1
	}
	served := r.Clone(r.Context())
	served.RequestURI, served.Host = r.URL.RequestURI(), r.URL.Host
	if served.Body == nil {
		served.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	b.h.handlers[to].ServeHTTP(w, served)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// page is what a visit got.
type page struct {
	status   int
	location string
	text     string
	header   http.Header
	cookies  int
}

// visit loads an address, with headers as "Name: value".
func (b *browser) visit(t *testing.T, method, address string, headers ...string) page {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if h := resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Frame-Options") != "DENY" {
		t.Errorf("%s %s: cacheable, with a referrer, or in a frame", method, req.URL.Path)
	}
	return page{resp.StatusCode, resp.Header.Get("Location"), string(text), resp.Header, len(resp.Cookies())}
}

func (b *browser) get(t *testing.T, address string, headers ...string) page {
	t.Helper()
	return b.visit(t, http.MethodGet, address, headers...)
}

// approves starts an authorization, and returns the callback of a patient who approves.
func (b *browser) approves(t *testing.T, p *pkbtest.Patient, headers ...string) string {
	t.Helper()
	return b.approvesAt(t, http.MethodGet, "/pkb/link", p, headers...)
}

func (b *browser) approvesAt(t *testing.T, method, route string, p *pkbtest.Patient, headers ...string) string {
	t.Helper()
	started := b.visit(t, method, home+route, headers...)
	if started.status != http.StatusSeeOther {
		t.Fatalf("%s: status %d\n%s", route, started.status, started.text)
	}
	back, err := b.h.pkb.Approve(t.Context(), started.location, p)
	if err != nil {
		t.Fatal(err)
	}
	return back.String()
}

// links links the user who is signed in.
func (b *browser) links(t *testing.T, p *pkbtest.Patient) (callback string) {
	t.Helper()
	callback = b.approves(t, p)
	if got := b.get(t, callback); !got.done() {
		t.Fatalf("callback: status %d\n%s", got.status, got.text)
	}
	return callback
}

// kept are the cookies of the browser.
func (b *browser) kept(t *testing.T) []*http.Cookie {
	t.Helper()
	u, err := url.Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	return b.Jar.Cookies(u)
}

// done reports whether the visit was led to Done.
func (p page) done() bool {
	return p.status == http.StatusSeeOther && p.location == "/account"
}

// changed is an address with another query.
func changed(t *testing.T, address string, change func(url.Values)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	change(q)
	u.RawQuery = q.Encode()
	return u.String()
}

// sent is how many codes and refresh tokens were presented.
func (h *town) sent() (n int) {
	for _, r := range h.pkb.Requests() {
		if r.Endpoint == pkbtest.Token {
			n++
		}
	}
	return n
}
