// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/tokenstore"
)

// accountPage is what a patient sees.
type accountPage struct {
	// Link is nil if there is none. Ended reports that the patient has to
	// approve again, and Why is a text about it.
	Link  *pkb.Link
	Ended bool
	Why   string
	// Record is read from PKB for this page, and kept nowhere; nil if it could not be
	// read, and then Trouble is a text about it.
	Record  *record
	Trouble string
}

// record is who the patient is at PKB. Self and NHSNumber print [redacted]
// everywhere, and are revealed on the patient's page only.
type record struct {
	PublicID  identity.PublicID
	Self      identity.Self
	NHSNumber identity.NHSNumber
}

// account shows the link and whose record it is.
func (a *app) account(w http.ResponseWriter, r *http.Request) {
	who, _ := signedIn(r)
	p, version, err := a.look(r.Context(), who.ID)
	if err != nil {
		a.noAccount(w, r, err)
		return
	}
	// The page checks every two seconds whether something has changed: PKB is asked
	// when it has, and, after a failure, every half minute.
	later := versionOf(version, a.now().Unix()/30)
	if unchanged(w, r, version) || unchanged(w, r, later) {
		return
	}
	if p.Link != nil && !p.Ended {
		p.Record, err = a.read(r.Context(), who.ID)
		switch {
		case errors.Is(err, pkb.ErrRelinkRequired), errors.Is(err, pkb.ErrNotLinked):
			// This call has found out that the link has ended.
			if p, version, err = a.look(r.Context(), who.ID); err != nil {
				a.noAccount(w, r, err)
				return
			}
		case err != nil:
			a.log.Warn("webapp: a record cannot be read", "error", err)
			p.Trouble, version = advice.For(err).Patient, later
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

// look finds out about the link, without PKB.
func (a *app) look(ctx context.Context, appUserID string) (p accountPage, version string, err error) {
	link, err := a.client.Link(ctx, appUserID)
	switch {
	case err == nil:
		p.Link = &link
		if p.Ended = link.State == tokenstore.StateRelinkRequired; p.Ended {
			p.Why = advice.For(&pkb.RelinkError{Cause: link.Cause}).Patient
		}
	case !errors.Is(err, pkb.ErrNotLinked):
		return p, "", err
	}
	return p, versionOf(link.State, link.Cause, link.PublicID, link.LinkedAt), nil
}

func (a *app) noAccount(w http.ResponseWriter, r *http.Request, err error) {
	a.log.Error("webapp: a link cannot be read", "error", err)
	told := advice.For(err)
	a.sorry(w, r, told.Status, "Sorry, there is a problem with this service", told.Patient)
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
	number, _ := self.NHSNumber()
	return &record{PublicID: id, Self: self, NHSNumber: number}, nil
}

// askUnlink asks for a confirmation, without a script.
func (a *app) askUnlink(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "unlink.html", page{Title: "Unlink your PKB record?"})
}

func (a *app) unlink(w http.ResponseWriter, r *http.Request) {
	who, _ := signedIn(r)
	if err := a.client.Unlink(r.Context(), who.ID); err != nil && !errors.Is(err, pkb.ErrNotLinked) {
		a.log.Error("webapp: a link cannot be ended", "error", err)
		a.sorry(w, r, http.StatusServiceUnavailable, "Your record is still linked", "It could not be unlinked now. Try again in a few minutes.")
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

// notLinked responds when a patient comes back from PKB, or cannot go there, and no
// link was made. The library has logged it.
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
	case errors.Is(f.Err, pkb.ErrUnchecked):
		title, ways = "Your approval is being checked", ways[1:]
	case errors.Is(f.Err, pkb.ErrOvertaken):
		title, ways = "You have approved again in another window", ways[1:]
	}
	a.render(w, r, f.Status, "sorry.html", page{Title: title, Content: sorryPage{Title: title, Text: f.Text, Links: ways}})
}
