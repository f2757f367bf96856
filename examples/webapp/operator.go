// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// linksPage is the operators' overview: one page of links.
type linksPage struct {
	Total, Needing int
	// Chips choose links by state, and Causes those that have ended by cause.
	Chips, Causes []chip
	// ByCause: the causes are open at first.
	ByCause bool
	// Query is what was searched for; Found is false if there is more than is shown.
	Query string
	Found bool
	// Heading and Meaning are about the links that are chosen; Matching is how many.
	Heading, Meaning string
	Matching         int
	From, To         int
	Page, Pages      int
	Previous, Next   string
	Links            []linkRow
}

// chip is a filter, with how many links it leaves.
type chip struct {
	To, Label string
	Count     int
	On        bool
}

// linkRow is a link in the list.
type linkRow struct {
	pkb.Link
	Path, Log string
	standing
}

func rowOf(link pkb.Link, a *app) linkRow {
	return linkRow{Link: link, Path: linkPath(link.AppUserID), Log: observe.LinkName(link.AppUserID), standing: a.standingOf(link)}
}

// linkPath is the address of a link's page. The sign before the id keeps an id of one
// or two dots from being a step in the path.
func linkPath(user string) string { return "/operator/links/~" + url.PathEscape(user) }

// links is the operators' overview.
func (a *app) links(w http.ResponseWriter, r *http.Request) {
	t, err := a.overview.tally(r.Context())
	if err != nil {
		a.noLinks(w, r, err)
		return
	}
	query, show := strings.TrimSpace(r.FormValue("q")), r.FormValue("show")
	p := linksPage{Query: query, Found: true, Page: 1}
	if n, err := strconv.Atoi(r.FormValue("page")); err == nil {
		p.Page = max(n, 1)
	}
	p.ByCause = query == "" && p.Page == 1
	kinds := p.choose(t, show, query == "")
	var links []pkb.Link
	if query != "" {
		links, err = a.found(r, &p)
	} else {
		p.turn(p.Matching, url.Values{"show": {show}})
		links, err = a.overview.list(r.Context(), t, kinds, p.skip())
	}
	if err != nil {
		a.noLinks(w, r, err)
		return
	}
	for _, link := range links {
		p.Links = append(p.Links, rowOf(link, a))
	}
	if len(links) > 0 {
		p.From, p.To = p.skip()+1, p.skip()+len(links)
	}
	version := versionOf(p)
	if unchanged(w, r, version) {
		return
	}
	a.render(w, r, http.StatusOK, "links.html", page{Title: "Links to PKB", Version: version, Seldom: query != "", Content: p})
}

// found searches.
func (a *app) found(r *http.Request, p *linksPage) ([]pkb.Link, error) {
	users, all, err := a.overview.search(r.Context(), p.Query)
	if err != nil {
		return nil, err
	}
	p.Heading, p.Found, p.Matching = "Found", all, len(users)
	p.Meaning = "By the user, by the PKB public id, or by the name of the link in logs (link=...)."
	p.turn(len(users), url.Values{"q": {p.Query}})
	return a.overview.linksOf(r.Context(), users[min(p.skip(), len(users)):min(p.skip()+pageSize, len(users))])
}

func (p *linksPage) skip() int { return (p.Page - 1) * pageSize }

// turn makes the way to the pages before and after.
func (p *linksPage) turn(count int, query url.Values) {
	p.Pages = max((count+pageSize-1)/pageSize, 1)
	p.Page = min(p.Page, p.Pages)
	to := func(n int) string {
		query.Set("page", strconv.Itoa(n))
		if query.Get("show") == "" {
			query.Del("show")
		}
		return "/operator?" + query.Encode()
	}
	if p.Page > 1 {
		p.Previous = to(p.Page - 1)
	}
	if p.Page < p.Pages {
		p.Next = to(p.Page + 1)
	}
}

func (a *app) noLinks(w http.ResponseWriter, r *http.Request, err error) {
	a.log.Error("webapp: links cannot be read", "error", err)
	a.sorry(w, r, http.StatusServiceUnavailable, "The links cannot be read", "See the log of this replica.")
}

func (a *app) noSuchLink(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusNotFound, "sorry.html", page{Title: "No such link", Content: sorryPage{
		Title: "No such link", Text: "This user has no link to PKB, and had none recently.", Links: []way{{"/operator", "All links"}},
	}})
}

// linkPage shows one link, what to do about it, and what happened to it.
type linkPage struct {
	User, Log, Path string
	Link            *pkb.Link
	standing
	advised
	// Did is what came of a refresh that the operator asked for.
	Did string
	// Relink is where the patient approves again.
	Relink   string
	Timeline []day
}

// link is the operators' view of one link, of which only the timeline may be left.
func (a *app) link(w http.ResponseWriter, r *http.Request) {
	user, ok := strings.CutPrefix(r.PathValue("user"), "~")
	if !ok {
		a.noSuchLink(w, r)
		return
	}
	link, linked, err := a.overview.one(r.Context(), user)
	if err != nil {
		a.noLinks(w, r, err)
		return
	}
	p := linkPage{User: user, Log: observe.LinkName(user), Path: linkPath(user), Relink: a.url + "pkb/link", Did: outcomes[r.FormValue("refresh")]}
	p.standing, p.advised = a.standingOf(link), a.advise(link)
	if linked {
		p.Link = &link
	}
	if p.Timeline, err = a.timeline(r.Context(), user); errors.Is(err, pkb.ErrAppUserID) {
		a.noSuchLink(w, r)
		return
	} else if err != nil {
		a.noLinks(w, r, err)
		return
	}
	if !linked && len(p.Timeline) == 0 {
		a.noSuchLink(w, r)
		return
	}
	version := versionOf(link, p.standing, p.advised, p.Did, p.Timeline)
	if unchanged(w, r, version) {
		return
	}
	a.render(w, r, http.StatusOK, "link.html", page{Title: "Link of " + user, Version: version, Content: p})
}

// outcomes are what comes of a refresh that an operator asks for.
var outcomes = map[string]string{
	"done":    "New tokens were received and saved.",
	"begun":   "A refresh has begun. This page shows what comes of it.",
	"not-due": "Nothing was sent: the token is not due. It works once, and using it early gains nothing.",
	"ended":   "The link has ended: only the patient can repair it.",
	"later":   "It did not succeed now. The link is kept, and the next call tries again.",
	"failed":  "It did not work: the log of this replica says why.",
}

// refresh does for a link what the patient's next call would: it refreshes a token that
// is due, once, and leaves alone one that is not.
func (a *app) refresh(w http.ResponseWriter, r *http.Request) {
	user := strings.TrimPrefix(r.PathValue("user"), "~")
	before, err := a.client.Link(r.Context(), user)
	// The first call reads the link, and refreshes a token that has expired. The second
	// begins the refresh of one that is due and still works.
	for range 2 {
		if err == nil {
			_, err = a.client.Token(r.Context(), user)
		}
	}
	outcome := "failed"
	switch {
	case errors.Is(err, pkb.ErrRelinkRequired), errors.Is(err, pkb.ErrNotLinked):
		outcome = "ended"
	case errors.Is(err, pkb.ErrTryLater):
		outcome = "later"
	case err == nil:
		after, err := a.client.Link(r.Context(), user)
		switch {
		case err != nil:
		case after.RefreshedAt.After(before.RefreshedAt):
			outcome = "done"
		case !after.DueAt.IsZero() && after.DueAt.Before(a.now()):
			outcome = "begun"
		default:
			outcome = "not-due"
		}
	}
	if err != nil {
		a.log.Warn("webapp: an operator's refresh", "link", observe.LinkName(user), "error", err)
	}
	http.Redirect(w, r, linkPath(user)+"?refresh="+outcome, http.StatusSeeOther)
}
