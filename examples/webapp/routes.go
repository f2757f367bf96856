// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"embed"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

// app is one replica.
type app struct {
	client   *pkb.Client
	sessions *sessions
	overview *overview
	inbox    *inbox
	log      *slog.Logger
	// url is where people open the app; pkb is PKB's origin.
	url, pkb string
	// secure: browsers reach the app over https.
	secure bool
	now    func() time.Time
}

//go:embed assets
var assets embed.FS

// handler serves everything; callback is the path of the redirect URI.
func (a *app) handler(callback string) http.Handler {
	web := a.client.Web(pkb.WebConfig{User: appUserID, Done: "/account", Failed: a.notLinked})

	mux := http.NewServeMux()
	mux.Handle("GET /assets/{file}", http.FileServerFS(assets))
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /signin", a.signIn)
	mux.HandleFunc("POST /signout", a.signOut)
	mux.Handle("GET /account", a.patients(a.account))
	mux.Handle("GET /pkb/link", web.Link())
	mux.Handle("GET /switch", a.patients(a.askSwitch))
	mux.Handle("POST /pkb/switch", web.Link(pkb.AllowSwitch()))
	mux.Handle(callback, web.Callback())
	mux.Handle("GET /unlink", a.patients(a.askUnlink))
	mux.Handle("POST /unlink", a.patients(a.unlink))
	mux.Handle("GET /operator", a.operators(a.links))
	mux.Handle("GET /operator/links/{user}", a.operators(a.link))
	mux.Handle("POST /operator/links/{user}/refresh", a.operators(a.refresh))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.sorry(w, r, http.StatusNotFound, "Page not found", "There is nothing at this address.")
	})

	// A form that another site sends is refused; the session's cookie does not
	// come with it either (SameSite=Lax).
	forms := http.NewCrossOriginProtection()
	forms.AddInsecureBypassPattern(callback) // whose handler says what is wrong with a form
	forms.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.sorry(w, r, http.StatusForbidden, "This was sent from another site", "Nothing was changed. Start again from your account.")
	}))
	return guard(a.known(a.withSession(forms.Handler(mux))))
}

// known refuses requests to a name that is not ours: it may be another site's, pointed
// here so that its pages can read ours (DNS rebinding).
func (a *app) known(next http.Handler) http.Handler {
	own, _ := url.Parse(a.url) // start has made it
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		if !loopback(host) && !strings.EqualFold(host, own.Hostname()) {
			a.sorry(w, r, http.StatusMisdirectedRequest, "This is not the address of Example Health", "Open "+a.url+" instead.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard keeps pages out of caches, frames and referrers, and lets them load
// nothing that is not ours.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		next.ServeHTTP(w, r)
	})
}
