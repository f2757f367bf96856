// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
)

// accountPage is what a patient sees.
type accountPage struct {
	// Link is nil where there is none. Ended says that the patient has to
	// approve again, and Why in which words.
	Link  *pkb.Link
	Ended bool
	Why   string
	// Record is read from PKB for this page, and kept nowhere; nil if it was
	// not to be had, and then Trouble says why.
	Record  *record
	Trouble string
}

// record is who the patient is at PKB, in the clear: for the patient's own page
// and for nothing else.
type record struct {
	PublicID, Name, NHSNumber string
	DateOfBirth               time.Time
}

// account shows the link and whose record it is.
func (a *app) account(w http.ResponseWriter, r *http.Request) {
	who, _ := signedIn(r)
	link, err := a.client.Link(r.Context(), who.ID)
	p := accountPage{}
	switch {
	case err == nil:
		p.Link = &link
		p.Ended, p.Why = link.State == tokenstore.StateRelinkRequired, whyEnded(link.Cause)
	case errors.Is(err, pkb.ErrNotLinked):
	default:
		a.log.Error("webapp: a link cannot be read", "error", err)
		a.sorry(w, r, http.StatusServiceUnavailable, "Sorry, there is a problem with this service", "Try again in a few minutes.")
		return
	}

	// The page asks again and again whether something has changed: PKB is asked
	// when it has, and, where it did not answer, every half minute.
	version := versionOf(link.State, link.Cause, link.PublicID, link.LinkedAt)
	later := versionOf(version, a.now().Unix()/30)
	if unchanged(w, r, version) || unchanged(w, r, later) {
		return
	}
	if p.Link != nil && !p.Ended {
		if p.Record, err = a.read(r.Context(), who.ID); err != nil {
			p.Trouble, version = trouble(err), later
			a.log.Warn("webapp: a record cannot be read", "error", err)
		}
	}
	title := "Your account: PKB record not linked"
	switch {
	case p.Ended:
		title = "Your account: PKB needs your approval again"
	case p.Link != nil:
		title = "Your account: PKB record linked"
	}
	a.render(w, r, http.StatusOK, "account.html", page{Title: title, Version: version, Content: p})
}

// read asks PKB who the patient is.
func (a *app) read(ctx context.Context, appUserID string) (*record, error) {
	patient := a.client.ForUser(appUserID)
	id, err := patient.Purview(ctx)
	if err != nil {
		return nil, err
	}
	self, err := patient.Self(ctx)
	if err != nil {
		return nil, err
	}
	shown := &record{PublicID: string(id), Name: self.FirstName.Reveal() + " " + self.LastName.Reveal(), DateOfBirth: self.DateOfBirth.Time(time.UTC)}
	if number, ok := self.NHSNumber(); ok {
		shown.NHSNumber = grouped(number.Reveal())
	}
	return shown, nil
}

// trouble says to a patient why the record is not shown.
func trouble(err error) string {
	switch {
	case errors.Is(err, pkb.ErrFrozen):
		return "PKB has stopped access to your record. Contact PKB to find out why."
	case errors.Is(err, pkb.ErrRelinkRequired), errors.Is(err, pkb.ErrNotLinked):
		return "Your link has just ended. Reload this page to see what you can do."
	}
	return "PKB is not answering at the moment. Your record stays linked, and this page will try again."
}

// whyEnded says to a patient why a link has ended.
func whyEnded(cause pkb.Cause) string {
	switch cause {
	case pkb.CauseSessionExpired, pkb.CauseFinalTokenExpired:
		return "Your approval has run out. PKB gives approvals for a limited time."
	case pkb.CauseFrozen:
		return "PKB has stopped access to your record. Contact PKB to find out why, then approve again."
	case pkb.CauseWrongPatient:
		return "The last approval was for another person's record, so it was not used."
	case "":
		return ""
	}
	return "PKB has ended the connection. This can happen for technical reasons, and you have done nothing wrong."
}

// askUnlink makes sure, without a script.
func (a *app) askUnlink(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "unlink.html", page{Title: "Unlink your PKB record?"})
}

func (a *app) unlink(w http.ResponseWriter, r *http.Request) {
	who, _ := signedIn(r)
	if err := a.client.Unlink(r.Context(), who.ID); err != nil && !errors.Is(err, pkb.ErrNotLinked) {
		a.log.Error("webapp: a link cannot be ended", "error", err)
		a.sorry(w, r, http.StatusServiceUnavailable, "Your record is still linked", "It could not be unlinked just now. Try again in a few minutes.")
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

// notLinked answers when a patient comes back from PKB, or cannot go there, and
// no link came of it. The library has written it to the log.
func (a *app) notLinked(w http.ResponseWriter, r *http.Request, f pkb.Failure) {
	title, ways := "Your record was not linked", []way{{"/pkb/link", "Start again"}, {"/account", "Go to your account"}}
	switch {
	case errors.Is(f.Err, pkb.ErrAppUserID):
		ways = []way{{"/", "Sign in"}}
	case errors.Is(f.Err, pkb.ErrWrongPatient):
		title = "This is another record"
		ways = slices.Insert(ways, 1, way{"/pkb/switch", "Link the other record instead"})
	case errors.Is(f.Err, pkb.ErrSharedRecord):
		ways = ways[1:]
	}
	a.render(w, r, f.Status, "sorry.html", page{Title: title, Content: sorryPage{Title: title, Text: f.Text, Links: ways}})
}
