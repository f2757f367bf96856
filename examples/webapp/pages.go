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
	"strconv"
	"time"

	"github.com/betawerk/pkb-go/pkb/identity"
)

//go:embed pages
var pageFiles embed.FS

// pages are the page files, each inside layout.html.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"signin.html", "account.html", "switch.html", "unlink.html", "links.html", "link.html", "sorry.html"} {
		all[name] = template.Must(template.New("layout.html").Funcs(template.FuncMap{
			"birthday": func(d identity.Date) string { return d.Time(time.UTC).Format("2 January 2006") },
			"day":      func(t time.Time) string { return t.UTC().Format("2 January 2006") },
			"moment":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05") },
			"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
			"weekday":  func(t time.Time) string { return t.UTC().Format("Monday 2 January 2006") },
			"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
			"ago":      func(t time.Time) string { return ago(t, time.Now()) },
			"number":   number,
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
	// Seldom: the page asks less often whether it is up to date.
	Seldom  bool
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

// ago is a time in words that a person reads at a glance. live.js does the same, as time
// passes.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	n, unit := d.Abs().Round(time.Minute)/time.Minute, "minute"
	switch {
	case n < 1:
		return "just now"
	case n >= 48*60:
		n, unit = n/(24*60), "day"
	case n >= 90:
		n, unit = (n+30)/60, "hour"
	}
	if n != 1 {
		unit += "s"
	}
	if d < 0 {
		return fmt.Sprintf("in %d %s", n, unit)
	}
	return fmt.Sprintf("%d %s ago", n, unit)
}

// number writes a number as people do: 100,000.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
