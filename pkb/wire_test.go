// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jarcoal/httpmock"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// request is what PKB sees of one of ours: everything.
type request struct {
	Method, URL string
	Header      http.Header
	Body        string
	Form        url.Values
}

// wire is a PKB that answers as its pages print it and writes down every
// request.
type wire struct {
	*httpmock.MockTransport
	seen []request
}

const (
	tokenAnswer   = `{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"Bearer","expires_in":600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","scope":"PATIENT"}`
	purviewAnswer = `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/1d4a8b2d-f885-499f-ba51-50600312f316"}}]}`
	selfAnswer    = `{"id":"7300000","firstName":"Sample","patient":true,"nationalIds":[{"value":"9991566171","name":"NHS number","countryCodes":["GB-ENG","GB-WLS"]}]}`
)

func newWire(t *testing.T) *wire {
	w := &wire{MockTransport: httpmock.NewMockTransport()}
	w.answer(t, "POST", "/apiToken.action", 200, tokenAnswer)
	w.answer(t, "POST", "/fhir/Consent/$purview", 200, purviewAnswer)
	w.answer(t, "GET", "/fhir/Consent/$purview", 200, purviewAnswer)
	w.answer(t, "GET", "/json/users/self", 200, selfAnswer)
	return w
}

func (w *wire) answer(t *testing.T, method, path string, status int, body string) {
	w.RegisterResponder(method, "https://sandbox.patientsknowbest.com"+path, func(req *http.Request) (*http.Response, error) {
		r := request{Method: req.Method, URL: req.URL.String(), Header: req.Header.Clone()}
		if req.Body != nil {
			b, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			if req.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
				if r.Form, err = url.ParseQuery(string(b)); err != nil {
					t.Errorf("form: %v", err)
				}
			} else {
				r.Body = string(b)
			}
		}
		w.seen = append(w.seen, r)
		return httpmock.NewStringResponse(status, body), nil
	})
}

// sandboxClient returns a client of PKB's sandbox that talks to w.
func sandboxClient(t *testing.T, w *wire, change ...func(*pkb.Config)) *pkb.Client {
	t.Helper()
	config := pkb.Config{
		Environment: pkb.Sandbox(), ClientID: "myClientId", RedirectURL: "https://client.example.com/cb",
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: w},
	}
	for _, f := range change {
		f(&config)
	}
	c, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// complete links user through w.
func complete(t *testing.T, c *pkb.Client) {
	t.Helper()
	_, pending, err := c.Authorize(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"code": {"SplxlOBeZQQYbYS6WxSbIA"}, "state": {pending.State().Reveal()}}
	if _, err := c.Complete(t.Context(), user, pending, query); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorizeURL(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pkb.Config)
		option []pkb.AuthorizeOption
		want   url.Values
		pkce   bool
	}{
		"as documented": {want: url.Values{
			"response_type": {"code"}, "client_id": {"myClientId"}, "scope": {"PATIENT"},
			"redirect_uri": {"https://client.example.com/cb"},
		}},
		"another redirect URI": {
			option: []pkb.AuthorizeOption{pkb.RedirectTo("com.example.app:/cb?x=1")},
			want: url.Values{
				"response_type": {"code"}, "client_id": {"myClientId"}, "scope": {"PATIENT"},
				"redirect_uri": {"com.example.app:/cb?x=1"},
			},
		},
		"PKCE": {
			change: func(c *pkb.Config) { c.PKCE = true },
			want: url.Values{
				"response_type": {"code"}, "client_id": {"myClientId"}, "scope": {"PATIENT"},
				"redirect_uri": {"https://client.example.com/cb"}, "code_challenge_method": {"S256"},
			},
			pkce: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			change := tc.change
			if change == nil {
				change = func(*pkb.Config) {}
			}
			c := sandboxClient(t, newWire(t), change)
			address, pending, err := c.Authorize(t.Context(), user, tc.option...)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.Scheme + "://" + u.Host + u.Path; got != "https://sandbox.patientsknowbest.com/apiAuthorize.action" {
				t.Errorf("address %s", got)
			}
			query := u.Query()
			if state := query.Get("state"); state != pending.State().Reveal() || len(state) < 43 {
				t.Errorf("state %q", state)
			}
			if (query.Get("code_challenge") != "") != tc.pkce {
				t.Errorf("code_challenge %q", query.Get("code_challenge"))
			}
			query.Del("state")
			query.Del("code_challenge")
			if diff := cmp.Diff(tc.want, query); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

// Every request of a link's life, to the letter.
func TestRequestsToTheLetter(t *testing.T) {
	w := newWire(t)
	now := time.Now()
	c := sandboxClient(t, w, func(c *pkb.Config) { c.Now = func() time.Time { return now } })
	complete(t, c)
	if _, err := c.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	w.answer(t, "POST", "/apiToken.action", 200, `{"access_token":"second","expires_in":600,"refresh_token":"next"}`)
	if _, err := c.ForUser(user).Purview(t.Context()); err != nil {
		t.Fatal(err)
	}

	form := http.Header{
		"Accept": {"application/json"}, "User-Agent": {"pkb-go"},
		"Content-Type": {"application/x-www-form-urlencoded"},
	}
	purview := func(token string) request {
		return request{
			Method: "POST", URL: "https://sandbox.patientsknowbest.com/fhir/Consent/$purview",
			Header: http.Header{
				"Accept": {"application/fhir+json"}, "Content-Type": {"application/fhir+json"},
				"Authorization": {"Bearer " + token}, "Cache-Control": {"no-store"}, "User-Agent": {"pkb-go"},
			},
			Body: `{"resourceType":"Parameters"}`,
		}
	}
	want := []request{
		{
			Method: "POST", URL: "https://sandbox.patientsknowbest.com/apiToken.action", Header: form,
			Form: url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"myClientId"},
				"code": {"SplxlOBeZQQYbYS6WxSbIA"}, "redirect_uri": {"https://client.example.com/cb"},
			},
		},
		purview("2YotnFZFEjr1zCsicMWpAA"),
		{
			Method: "GET", URL: "https://sandbox.patientsknowbest.com/json/users/self",
			Header: http.Header{
				"Accept": {"application/json"}, "Authorization": {"Bearer 2YotnFZFEjr1zCsicMWpAA"}, "Cache-Control": {"no-store"}, "User-Agent": {"pkb-go"},
			},
		},
		{
			Method: "POST", URL: "https://sandbox.patientsknowbest.com/apiToken.action", Header: form,
			Form: url.Values{
				"grant_type": {"refresh_token"}, "client_id": {"myClientId"},
				"refresh_token": {"tGzv3JOkF0XG5Qx2TlKWIA"}, "scope": {"PATIENT"},
			},
		},
		purview("second"),
	}
	if diff := cmp.Diff(want, w.seen); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// POST first; GET after an answer 405, once and for all.
func TestPurviewMethod(t *testing.T) {
	methods := func(w *wire) (got []string) {
		for _, r := range w.seen {
			if r.URL == "https://sandbox.patientsknowbest.com/fhir/Consent/$purview" {
				got = append(got, r.Method)
			}
		}
		return got
	}
	for name, tc := range map[string]struct {
		method string
		status int // of the answer to POST
		want   []string
		fails  bool
	}{
		"POST":                       {"", 200, []string{"POST", "POST", "POST"}, false},
		"405 falls back to GET":      {"", 405, []string{"POST", "GET", "GET", "GET"}, false},
		"other errors do not":        {"", 500, []string{"POST", "POST", "POST"}, true},
		"configured GET":             {"GET", 405, []string{"GET", "GET", "GET"}, false},
		"configured POST stays POST": {"POST", 405, []string{"POST", "POST", "POST"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			w.answer(t, "POST", "/fhir/Consent/$purview", tc.status, purviewAnswer)
			c := sandboxClient(t, w, func(c *pkb.Config) { c.Environment.PurviewMethod = tc.method })
			complete(t, c)
			for range 2 {
				if _, err := c.ForUser(user).Purview(t.Context()); (err != nil) != tc.fails {
					t.Errorf("Purview: %v", err)
				}
			}
			if diff := cmp.Diff(tc.want, methods(w)); diff != "" {
				t.Errorf("methods (-want +got):\n%s", diff)
			}
			for _, r := range w.seen {
				if r.Method == "GET" && (r.Body != "" || r.Header.Get("Content-Type") != "") {
					t.Errorf("a GET with a body: %+v", r)
				}
			}
		})
	}
}

// Addresses can be set one by one.
func TestAddresses(t *testing.T) {
	w := newWire(t)
	w.RegisterResponder("POST", "https://tokens.example/t", httpmock.NewStringResponder(200, tokenAnswer))
	w.RegisterResponder("POST", "https://records.example/purview", httpmock.NewStringResponder(200, purviewAnswer))
	w.RegisterResponder("GET", "https://rest.example/json/v1/users/self", httpmock.NewStringResponder(200, selfAnswer))
	c := sandboxClient(t, w, func(c *pkb.Config) {
		c.Environment.TokenURL = "https://tokens.example/t"
		c.Environment.RESTURL = "https://rest.example/json/v1"
		c.Environment.PurviewURL = "https://records.example/purview"
	})
	complete(t, c)
	if _, err := c.ForUser(user).Self(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"POST https://tokens.example/t": 1, "POST https://records.example/purview": 1, "GET https://rest.example/json/v1/users/self": 1,
	}
	got := map[string]int{}
	for k, n := range w.GetCallCountInfo() {
		if n > 0 {
			got[k] = n
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// How a client secret travels.
func TestClientSecret(t *testing.T) {
	for _, inHeader := range []bool{false, true} {
		w := newWire(t)
		c := sandboxClient(t, w, func(c *pkb.Config) {
			c.ClientSecret, c.SecretInHeader = pkb.NewSecret("s3cret"), inHeader
		})
		complete(t, c)
		r := w.seen[0]
		_, hasHeader := r.Header["Authorization"]
		if hasHeader != inHeader || r.Form.Has("client_secret") == inHeader {
			t.Errorf("in header %t: header %t, form %t", inHeader, hasHeader, r.Form.Has("client_secret"))
		}
	}
}
