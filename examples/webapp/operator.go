// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// linksPage shows all links by state.
type linksPage struct {
	Total  int
	Groups []linkGroup
}

// linkGroup is the links in one state.
type linkGroup struct {
	ID, Title, Meaning string
	Links              []pkb.Link
}

// states are the groups; those that need somebody come first.
var states = []struct {
	state          tokenstore.State
	title, meaning string
}{
	{tokenstore.StateRelinkRequired, "Ended", "Only the patient can repair these, by approving again."},
	{tokenstore.StateUncertain, "Uncertain", "A refresh is under way, or its response was lost. The current access token is used until it expires."},
	{tokenstore.StateLinked, "Linked", "These work. The first call after a refresh is due starts it."},
}

// links is the operators' overview.
func (a *app) links(w http.ResponseWriter, r *http.Request) {
	byState := map[tokenstore.State][]pkb.Link{}
	var all []any
	for link, err := range a.client.Links(r.Context()) {
		if err != nil {
			a.noLinks(w, r, err)
			return
		}
		byState[link.State] = append(byState[link.State], link)
		all = append(all, link)
	}
	version := versionOf(all...)
	if unchanged(w, r, version) {
		return
	}
	p := linksPage{Total: len(all)}
	for _, s := range states {
		p.Groups = append(p.Groups, linkGroup{ID: string(s.state), Title: s.title, Meaning: s.meaning, Links: byState[s.state]})
	}
	a.render(w, r, http.StatusOK, "links.html", page{Title: "Links to PKB", Version: version, Content: p})
}

func (a *app) noLinks(w http.ResponseWriter, r *http.Request, err error) {
	a.log.Error("webapp: links cannot be read", "error", err)
	a.sorry(w, r, http.StatusServiceUnavailable, "The links cannot be read", "See the log of this replica.")
}

func (a *app) noSuchLink(w http.ResponseWriter, r *http.Request) {
	a.sorry(w, r, http.StatusNotFound, "No such link", "This user has no link to PKB, and had none recently.")
}

// linkPage shows one link and what happened to it.
type linkPage struct {
	User     string
	Link     *pkb.Link
	Title    string
	Timeline []happening
}

// link is the operators' view of one link, of which only the timeline may be left.
func (a *app) link(w http.ResponseWriter, r *http.Request) {
	user := r.PathValue("user")
	p := linkPage{User: user, Title: "Not linked"}
	link, err := a.client.Link(r.Context(), user)
	switch {
	case err == nil:
		p.Link = &link
		for _, s := range states {
			if s.state == link.State {
				p.Title = s.title
			}
		}
	case errors.Is(err, pkb.ErrNotLinked):
	case errors.Is(err, pkb.ErrAppUserID):
		a.noSuchLink(w, r)
		return
	default:
		a.noLinks(w, r, err)
		return
	}
	if p.Timeline, err = a.timeline(r.Context(), user); err != nil {
		a.noLinks(w, r, err)
		return
	}
	if p.Link == nil && len(p.Timeline) == 0 {
		a.noSuchLink(w, r)
		return
	}
	version := versionOf(link, p.Timeline)
	if unchanged(w, r, version) {
		return
	}
	a.render(w, r, http.StatusOK, "link.html", page{Title: "Link of " + user, Version: version, Content: p})
}
