// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// plainHost is a host of a few lines, with one user, who is signed in.
func plainHost(t *testing.T, more func(*http.ServeMux), watch func(*http.Request)) (*pkbtest.Server, string) {
	t.Helper()
	server, err := pkbtest.Start(pkbtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	mux := http.NewServeMux()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if watch != nil {
			watch(r)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(host.Close)
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: host.URL + "/pkb/callback", Store: tokenstore.NewMemory(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	web := client.Web(pkb.WebConfig{Done: "/done", User: func(*http.Request) string { return "amira" }})
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("POST /pkb/switch", web.Link(pkb.AllowSwitch()))
	mux.Handle("/pkb/callback", web.Callback())
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("all done")) })
	more(mux)
	return server, host.URL
}

func html(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(`<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Account</title><main>` + body + `</main>`))
	}
}

// A page asks the browser to fetch or to render the link ahead. That begins nothing,
// and when the patient then presses the link, it leads to PKB as if it had not been.
func TestLinkThatIsFetchedAhead(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"prefetch rule":  `<script type="speculationrules">{"prefetch": [{"urls": ["/pkb/link"], "eagerness": "immediate"}]}</script>`,
		"prerender rule": `<script type="speculationrules">{"prerender": [{"urls": ["/pkb/link"], "eagerness": "immediate"}]}</script>`,
		"link prefetch":  `<link rel="prefetch" href="/pkb/link">`,
	} {
		t.Run(name, func(t *testing.T) {
			fetched := make(chan string, 10)
			server, address := plainHost(t, func(mux *http.ServeMux) {
				mux.HandleFunc("GET /account", html(head+`<a href="/pkb/link">Link your record</a>`))
			}, func(r *http.Request) {
				if r.URL.Path == "/pkb/link" {
					fetched <- r.Header.Get("Sec-Purpose") + r.Header.Get("Purpose")
				}
			})
			ada := server.AddPatient(pkbtest.Patient{FirstName: "Ada"})
			b := newPerson(t)
			b.open(address + "/account")
			select {
			case purpose := <-fetched:
				if !strings.Contains(purpose, "prefetch") {
					t.Errorf("fetched ahead with the purpose %q", purpose)
				}
			case <-time.After(patience):
				t.Skip("this browser fetches nothing ahead")
			}
			if n := len(server.Requests()); n != 0 {
				t.Errorf("PKB got %d requests for it", n)
			}
			b.press("Link your record")
			b.logsIn(ada)
			b.press("Approve")
			b.sees("all done")
		})
	}
}

// A switch starts from the host's own form, whose page allows forms to lead to PKB.
func TestSwitchFromAForm(t *testing.T) {
	t.Parallel()
	var pkbOrigin string
	server, address := plainHost(t, func(mux *http.ServeMux) {
		mux.HandleFunc("GET /account", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self' "+pkbOrigin)
			html(`<form method="post" action="/pkb/switch"><button>Link another record</button></form>`)(w, r)
		})
	}, nil)
	pkbOrigin = server.URL()
	ada := server.AddPatient(pkbtest.Patient{FirstName: "Ada"})
	b := newPerson(t)
	b.open(address + "/account")
	b.press("Link another record")
	b.logsIn(ada)
	b.press("Approve")
	b.sees("all done")
}

// What the patient's page of the default is like in the dark, and on a phone.
func TestDefaultPageInTheDark(t *testing.T) {
	t.Parallel()
	_, address := plainHost(t, func(*http.ServeMux) {}, nil)
	b := newPerson(t)
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	}); err != nil {
		t.Fatal(err)
	}
	b.open(address + "/pkb/callback")
	b.sees("Your record was not linked")
	if back, err := eval[string](b, "getComputedStyle(document.body).backgroundColor"); err != nil || back != "rgb(33, 43, 50)" {
		t.Errorf("the background is %s (%v)", back, err)
	}
	b.check("failure-dark")
}
