// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"embed"
	"log/slog"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

// app is one replica.
type app struct {
	client   *pkb.Client
	sessions *sessions
	log      *slog.Logger
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
	mux.Handle("POST /pkb/switch", web.Link(pkb.AllowSwitch()))
	mux.Handle("GET "+callback, web.Callback())
	mux.Handle("GET /unlink", a.patients(a.askUnlink))
	mux.Handle("POST /unlink", a.patients(a.unlink))
	mux.Handle("GET /operator", a.operators(a.links))
	mux.Handle("GET /operator/links/{user}", a.operators(a.link))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.sorry(w, r, http.StatusNotFound, "Page not found", "There is nothing at this address.")
	})

	// A form that another site sends is refused; the session's cookie does not
	// come with it either (SameSite=Lax).
	forms := http.NewCrossOriginProtection()
	forms.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.sorry(w, r, http.StatusForbidden, "This was sent from another site", "Nothing was changed. Start again from your account.")
	}))
	return guard(a.withSession(forms.Handler(mux)))
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
