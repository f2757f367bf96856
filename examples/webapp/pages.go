// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/betawerk/pkb-go/pkb/identity"
)

//go:embed pages
var pageFiles embed.FS

// pages are the page files, each inside layout.html.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"signin.html", "account.html", "unlink.html", "links.html", "link.html", "sorry.html"} {
		all[name] = template.Must(template.New("layout.html").Funcs(template.FuncMap{
			"birthday": func(d identity.Date) string { return d.Time(time.UTC).Format("2 January 2006") },
			"day":      func(t time.Time) string { return t.UTC().Format("2 January 2006") },
			"moment":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05") },
			"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		}).ParseFS(pageFiles, "pages/layout.html", "pages/"+name))
	}
	return all
}()

// page is what the layout shows around the content.
type page struct {
	Title string
	// Who is signed in, if anybody.
	Who *account
	// Version names the state of a page that keeps itself up to date; "" for a
	// page that does not.
	Version string
	Content any
}

// render sends a page. Nothing is sent before the whole page is made.
func (a *app) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	if who, ok := signedIn(r); ok {
		p.Who = &who
	}
	var body bytes.Buffer
	if err := pages[name].Execute(&body, p); err != nil {
		a.log.Error("webapp: a page cannot be made", "page", name)
		http.Error(w, "Sorry, there is a problem with this service.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.Version != "" {
		w.Header().Set("ETag", p.Version)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that left is not an error
}

// versionOf names a state of what a page shows.
func versionOf(state ...any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v", state))
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// unchanged responds to a page that checks whether it is up to date; if it is, that is
// the whole response.
func unchanged(w http.ResponseWriter, r *http.Request, version string) bool {
	if r.Header.Get("If-None-Match") != version {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// sorry shows that something did not work, and what to do.
func (a *app) sorry(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	a.render(w, r, status, "sorry.html", page{Title: title, Content: sorryPage{Title: title, Text: text}})
}

type sorryPage struct {
	Title, Text string
	// Links are where to go from here; without any there is one to the start.
	Links []way
}

type way struct{ To, Text string }
