// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// The pages that no journey meets.
func TestAppPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	amira := newPerson(t)
	amira.open(s.url + "/pkb/link")
	amira.sees("sign in first")
	amira.checkPatient("app-sign-in-first")
	amira.signsIn(s, "Amira")
	amira.open(s.url + "/nowhere")
	amira.sees("Page not found")
	amira.checkPatient("app-not-found")
	amira.open(s.url + "/operator")
	amira.sees("This page is not for you")
	amira.check("app-not-for-you")
	olu := newPerson(t)
	olu.signsIn(s, "Olu, operator")
	olu.sees("0 links")
	olu.check("operator-no-links")
	olu.open(s.url + "/operator/links/~amira")
	olu.sees("No such link")
	olu.check("operator-no-such-link")
}

// What PKB shows, as pkbtest plays it.
func TestPKBPages(t *testing.T) {
	t.Parallel()
	server, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	authorize := func(change func(url.Values)) string {
		query := url.Values{
			"response_type": {"code"}, "client_id": {server.ClientID()}, "scope": {"PATIENT"}, "state": {"a state"},
			"redirect_uri": {"http://localhost:8080/callback"},
		}
		change(query)
		return server.URL() + "/apiAuthorize.action?" + query.Encode()
	}
	asItIs := func(url.Values) {}
	b := newPerson(t)
	b.open(authorize(asItIs))
	b.sees("no patients yet")
	b.check("pkb-no-patients")
	ada := server.AddPatient(pkbtest.Patient{})
	b.open(authorize(asItIs))
	b.check("pkb-log-in")
	b.logsIn(ada)
	b.check("pkb-consent")
	scenarios := server.AddScenarios()
	b.open(authorize(asItIs))
	b.check("pkb-log-in-scenarios")
	b.logsIn(scenarios[0])
	b.sees("Scenario: ")
	b.check("pkb-consent-scenario")
	b.open(authorize(func(q url.Values) { q.Set("who", "nobody@example.org") }))
	b.sees("Nobody here")
	b.check("pkb-log-in-problem")
	b.open(authorize(func(q url.Values) { q.Set("client_id", "another") }))
	b.sees("This did not work")
	b.check("pkb-error")
	b.open(server.URL() + "/nowhere")
	b.sees("nothing at this address")
	b.check("pkb-not-found")
}

// The page that package pkb shows when a host has none of its own, for every
// reason there is.
func TestDefaultFailurePage(t *testing.T) {
	t.Parallel()
	server, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	ada := server.AddPatient(pkbtest.Patient{FirstName: "Ada"})
	bo := server.AddPatient(pkbtest.Patient{FirstName: "Bo"})
	clinician := server.AddPatient(pkbtest.Patient{FirstName: "Dr", Purview: []string{"Practitioner/1"}})

	// A host of a few lines. Whoever is signed in is said in a cookie that
	// anybody can write: there is one person here.
	mux := http.NewServeMux()
	host := httptest.NewServer(mux)
	t.Cleanup(host.Close)
	var stranger atomic.Bool
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: host.URL + "/pkb/callback", Store: tokenstore.NewMemory(),
		Identify: func(context.Context, pkb.Candidate) error {
			if stranger.Load() {
				return pkb.ErrIdentityRefused
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	web := client.Web(pkb.WebConfig{Done: "/done", User: func(r *http.Request) string {
		c, err := r.Cookie("user")
		if err != nil {
			return ""
		}
		return c.Value
	}})
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("/pkb/callback", web.Callback())
	mux.HandleFunc("GET /form-post", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><title>Send</title><main><form method="post" action="/pkb/callback"><input type="hidden" name="code" value="a"><button>Send</button></form></main>`))
	})
	mux.HandleFunc("GET /user/{id}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.PathValue("id"), Path: "/"})
	})
	mux.HandleFunc("GET /nobody", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "user", Path: "/", MaxAge: -1})
	})
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("all done"))
	})

	b := newPerson(t)
	goes := func(user string, as *pkbtest.Patient, decision string) {
		t.Helper()
		b.open(host.URL + "/user/" + user)
		b.open(host.URL + "/pkb/link")
		b.logsIn(as)
		b.press(decision)
	}
	goes("amira", ada, "Approve")
	b.sees("all done")

	var shown []string
	const still, gone, trouble = "Your record is still linked", "Your record was not linked", "This did not work"
	for _, tc := range []struct {
		name, title, says string
		happens           func()
	}{
		{"denied", gone, "did not allow access", func() { goes("ben", bo, "Deny") }},
		{"state", gone, "used already", func() { b.open(host.URL + "/pkb/callback?code=a&state=b") }},
		{"wrong-patient", still, "another account than before", func() { goes("amira", bo, "Approve") }},
		{"shared-record", gone, "another account of this app", func() { goes("ben", ada, "Approve") }},
		{"not-a-patient", gone, "is not a patient's", func() { goes("ben", clinician, "Approve") }},
		{"identity-refused", gone, "does not seem to be yours", func() {
			stranger.Store(true)
			defer stranger.Store(false)
			goes("ben", bo, "Approve")
			b.sees("was not linked")
		}},
		{"denied-while-linked", still, "did not allow access", func() { goes("amira", ada, "Deny") }},
		{"form-post", still, "in a way that this app cannot read", func() {
			b.open(host.URL + "/form-post")
			b.press("Send")
		}},
		{"pkb-down", gone, "could not be used just now", func() {
			server.Next(pkbtest.Token, pkbtest.Respond(http.StatusServiceUnavailable, "text/html", "down"))
			goes("ben", bo, "Approve")
		}},
		{"nobody", trouble, "sign in first", func() {
			b.open(host.URL + "/nobody")
			b.open(host.URL + "/pkb/link")
		}},
	} {
		tc.happens()
		b.sees(tc.title)
		b.sees(tc.says)
		b.check("failure-" + tc.name)
		text, err := eval[string](b, "document.body.innerText")
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(shown, text) {
			t.Errorf("%s: the page is one that was seen before: not a variant of its own", tc.name)
		}
		shown = append(shown, text)
	}
	b.press("Go back to the app")
	b.sees("all done")
}

// A check that finds nothing must be one that can.
func TestAxeFindsFaults(t *testing.T) {
	t.Parallel()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = w.Write([]byte(`<!DOCTYPE html><title>Bad</title><main><h1>Bad</h1><p style="color:#999;background:#fff">Faint</p><input></main>`))
	}))
	t.Cleanup(bad.Close)
	b := newPerson(t)
	b.open(bad.URL)
	var found []string
	for _, v := range b.violations() {
		found = append(found, v.ID)
	}
	for _, want := range []string{"color-contrast", "html-has-lang", "label"} {
		if !slices.Contains(found, want) {
			t.Errorf("axe-core does not find %s on a page made for it; it finds %s", want, strings.Join(found, ", "))
		}
	}
}
