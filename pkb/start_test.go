// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// A plain link starts by GET, from wherever. What may move a link, or share a record,
// starts by POST, from this site: no page elsewhere can start it in a patient's name.
func TestHowAnAuthorizationStarts(t *testing.T) {
	const plain, moves, shares = "/pkb/link", "/pkb/switch", "/pkb/share"
	for _, tc := range []struct {
		method, route string
		headers       []string
		status        int
	}{
		{"GET", plain, nil, 303},
		{"GET", plain, []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate"}, 303},
		{"GET", plain, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"}, 303},
		{"GET", plain, []string{"Origin: https://evil.example"}, 303},
		{"POST", plain, nil, 405},
		{"PUT", plain, nil, 405},
		{"HEAD", plain, nil, 405},

		{"POST", moves, nil, 303}, // no browser of the last years
		{"POST", moves, []string{"Sec-Fetch-Site: same-origin", "Origin: https://app.example"}, 303},
		{"POST", moves, []string{"Sec-Fetch-Site: same-origin"}, 303},
		{"POST", moves, []string{"Sec-Fetch-Site: none"}, 303},
		{"POST", moves, []string{"Origin: https://app.example"}, 303},
		{"POST", moves, []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
		{"POST", moves, []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"POST", moves, []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.example"}, 403},
		{"POST", moves, []string{"Origin: https://evil.example"}, 403},
		{"POST", moves, []string{"Origin: https://app.example.evil.example"}, 403},
		{"POST", moves, []string{"Origin: https://app.example:8443"}, 403},
		{"POST", moves, []string{"Origin: null"}, 403},
		{"GET", moves, nil, 405},
		{"GET", moves, []string{"Sec-Fetch-Site: same-origin"}, 405},
		{"GET", moves, []string{"Sec-Fetch-Site: cross-site"}, 405},
		{"HEAD", moves, nil, 405},
		{"PATCH", moves, nil, 405},

		{"POST", shares, []string{"Sec-Fetch-Site: same-origin"}, 303},
		{"POST", shares, []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"GET", shares, nil, 405},
	} {
		h := newTown(t, 1)
		b := h.newBrowser(t)
		got := b.visit(t, tc.method, home+tc.route, tc.headers...)
		if got.status != tc.status || (got.cookies != 0) != (tc.status == 303) {
			t.Errorf("%s %s %v: status %d, want %d; %d cookies", tc.method, tc.route, tc.headers, got.status, tc.status, got.cookies)
		}
		want := "GET"
		if tc.route != plain {
			want = "POST"
		}
		if allow := got.header.Get("Allow"); tc.status == 405 && allow != want {
			t.Errorf("%s %s: Allow: %s, want %s", tc.method, tc.route, allow, want)
		}
		if tc.status != 303 && tc.method != "HEAD" && !strings.Contains(got.text, "go back") {
			t.Errorf("%s %s: the page does not say what to do:\n%s", tc.method, tc.route, got.text)
		}
	}
}

// Behind a proxy that changes Host, a browser that sends Origin only is still one of
// this site.
func TestStartBehindAProxyThatChangesHost(t *testing.T) {
	h := newTown(t, 1)
	for origin, want := range map[string]int{"https://app.example": 303, "https://evil.example": 403, "http://app.example": 403} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://10.0.0.7:8080/pkb/switch", nil)
		req.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		h.handlers[0].ServeHTTP(w, req)
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", origin, w.Code, want)
		}
	}
}

// The switch itself: the old link stands until the new one is made.
func TestSwitchByPOST(t *testing.T) {
	h := newTown(t, 2)
	b := h.newBrowser(t)
	b.links(t, h.patient)
	other := h.pkb.AddPatient(pkbtest.Patient{})
	callback := b.approvesAt(t, http.MethodPost, "/pkb/switch", other, "Sec-Fetch-Site: same-origin")
	if link, err := h.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(h.patient.PublicID) {
		t.Errorf("while the patient is at PKB: %v, %v", link, err)
	}
	for i := range 2 {
		b.to = i
		if got := b.get(t, callback); !got.done() {
			t.Errorf("visit %d: status %d\n%s", i, got.status, got.text)
		}
	}
	if link, err := h.Link(t.Context(), user); err != nil || link.PublicID != identity.PublicID(other.PublicID) {
		t.Errorf("afterwards: %v, %v", link, err)
	}
}

// A callback that is not one gets a page that says what is wrong with it, and uses
// nothing up: the right one still completes.
func TestCallbackThatIsNotOne(t *testing.T) {
	for name, tc := range map[string]struct {
		method string
		query  func(url.Values) string
		status int
		code   string
		says   string
	}{
		"form_post":           {method: "POST", query: func(url.Values) string { return "" }, status: 405, code: "callback_method", says: "sent you back in a way that this app cannot read"},
		"POST with a query":   {method: "POST", query: url.Values.Encode, status: 405, code: "callback_method", says: "in a way that this app cannot read"},
		"PUT":                 {method: "PUT", query: url.Values.Encode, status: 405, code: "callback_method", says: "in a way that this app cannot read"},
		"a semicolon":         {query: func(q url.Values) string { return q.Encode() + ";x=y" }, status: 400, code: "callback_query", says: "cannot be read"},
		"a semicolon in code": {query: func(q url.Values) string { return "state=" + q.Get("state") + "&code=a;b" }, status: 400, code: "callback_query", says: "cannot be read"},
		"a bad percent sign":  {query: func(q url.Values) string { return q.Encode() + "%" }, status: 400, code: "callback_query", says: "cannot be read"},
		"bad percent in code": {query: func(q url.Values) string { return "state=" + q.Get("state") + "&code=a%zzb" }, status: 400, code: "callback_query", says: "cannot be read"},
		"semicolons only":     {query: func(q url.Values) string { return "state=" + q.Get("state") + ";code=" + q.Get("code") }, status: 400, code: "callback_query", says: "cannot be read"},
		"nothing":             {query: func(url.Values) string { return "" }, status: 400, code: "state_no_pending", says: "used already"},
		"state only":          {query: func(q url.Values) string { return "state=" + q.Get("state") }, status: 400, code: "callback", says: "could not finish"},
		"code only":           {query: func(q url.Values) string { return "code=" + q.Get("code") }, status: 400, code: "state_no_pending", says: "used already"},
		"two codes":           {query: func(q url.Values) string { return q.Encode() + "&code=b" }, status: 400, code: "callback", says: "could not finish"},
		"two states":          {query: func(q url.Values) string { return q.Encode() + "&state=b" }, status: 400, code: "state_missing", says: "not complete"},
		"code and error":      {query: func(q url.Values) string { return q.Encode() + "&error=access_denied" }, status: 400, code: "callback", says: "could not finish"},
		"an unknown error":    {query: func(q url.Values) string { return "error=%3Cb%3E&state=" + q.Get("state") }, status: 400, code: "callback", says: "could not finish"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTown(t, 1)
			b := h.newBrowser(t)
			callback := b.approves(t, h.patient)
			u, err := url.Parse(callback)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			u.RawQuery = tc.query(q)
			if tc.method == "" {
				tc.method = http.MethodGet
			}
			got := b.visit(t, tc.method, u.String())
			if got.status != tc.status || !strings.Contains(got.text, tc.says) || !strings.Contains(got.text, "<h1>Your record was not linked</h1>") {
				t.Errorf("status %d, want %d with %q\n%s", got.status, tc.status, tc.says, got.text)
			}
			if allow := got.header.Get("Allow"); tc.status == 405 && allow != "GET" {
				t.Errorf("Allow: %s", allow)
			}
			for _, part := range []string{q.Get("state"), q.Get("code"), "<b>", "&lt;b&gt;"} {
				if strings.Contains(got.text, part) {
					t.Errorf("the page repeats %s", part)
				}
			}
			if n := h.sent(); n != 0 {
				t.Errorf("%d requests were sent", n)
			}
			h.own = true
			h.open(h.replica(t))
			b.visit(t, tc.method, u.String())
			if h.failed.Code != tc.code || h.failed.Status != tc.status {
				t.Errorf("the host gets %q, %d", h.failed.Code, h.failed.Status)
			}
			if got := b.get(t, callback); !got.done() {
				t.Errorf("the callback as it was sent: status %d", got.status)
			}
		})
	}
}

// A code is sent as PKB wrote it, whatever characters it has.
func TestCodesWithSpecialCharacters(t *testing.T) {
	for raw, want := range map[string]string{
		"a%2Bb%2F%3D%3D": "a+b/==", "a/b==": "a/b==", "4/0Ab-_.~!": "4/0Ab-_.~!", "a%25b": "a%b", "a%3Bb": "a;b", "%C3%A9": "é", "a%26b": "a&b",
	} {
		h := newTown(t, 1)
		b := h.newBrowser(t)
		u, err := url.Parse(b.approves(t, h.patient))
		if err != nil {
			t.Fatal(err)
		}
		var sent string
		h.pkb.Next(pkbtest.Token, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent = r.PostFormValue("code")
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		})
		u.RawQuery = "code=" + raw + "&state=" + u.Query().Get("state")
		if got := b.get(t, u.String()); got.status != http.StatusBadGateway || sent != want {
			t.Errorf("%s: status %d, and %q was sent", raw, got.status, sent)
		}
	}
}

// The host's proxy refuses, is broken, or no name is resolved: nothing was sent, so it
// is not the patient's turn to approve again. The page says to load it again, and
// then it completes.
func TestCallbackThatCannotReachPKB(t *testing.T) {
	for name, status := range map[string]int{"407": 407, "403": 403, "502": 502, "no such host": 0} {
		t.Run(name, func(t *testing.T) {
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
			t.Cleanup(proxy.Close)
			address, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			broken := &http.Transport{Proxy: http.ProxyURL(address)}
			if status == 0 {
				broken.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.invalid:3128"})
			}
			h := newTown(t, 1)
			works := h.config.HTTPClient
			h.config.HTTPClient = &http.Client{Transport: broken}
			h.own = true
			h.open(h.replica(t))
			b := h.newBrowser(t)
			callback := b.approves(t, h.patient)
			b.get(t, callback)
			if h.failed.Code != "exchange_not_sent" || h.failed.Linked || !strings.Contains(h.failed.Text, "load this page again") || strings.Contains(h.failed.Text, "start again") {
				t.Errorf("the host gets %q: %q (%v)", h.failed.Code, h.failed.Text, h.failed.Err)
			}
			h.config.HTTPClient = works
			h.open(h.replica(t))
			if got := b.get(t, callback); !got.done() {
				t.Errorf("loaded again: status %d, %q", got.status, h.failed.Code)
			}
		})
	}
}
