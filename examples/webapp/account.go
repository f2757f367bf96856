// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/tokenstore"
)

// accountPage is what a patient sees.
type accountPage struct {
	// Link is nil if there is none.
	Link *pkb.Link
	words
	// Record is read from PKB for this page, and kept nowhere; nil if it could not be
	// read, and then Trouble is a text about it.
	Record  *record
	Trouble string
	// Messages are what has happened to the link since it was made.
	Messages []message
}

// record is who the patient is at PKB. Self and NHSNumber print [redacted] everywhere,
// and are revealed on the patient's page only.
type record struct {
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
	if p.works() {
		p.Record, err = a.read(r.Context(), who.ID, p.Link.PublicID)
		switch {
		case errors.Is(err, pkb.ErrRelinkRequired), errors.Is(err, pkb.ErrNotLinked):
			// This call has found out that the link has ended.
			if p, version, err = a.look(r.Context(), who.ID); err != nil {
				a.noAccount(w, r, err)
				return
			}
		case err != nil:
			a.log.Warn("webapp: a record cannot be read", "error", err)
			p.fails(err)
			version = later
		}
	}
	a.render(w, r, http.StatusOK, "account.html", page{Title: "Your account: " + p.Title, Version: version, Content: p})
}

// works reports whether PKB may be asked for the record.
func (p *accountPage) works() bool {
	return p.Link != nil && p.Link.State != tokenstore.StateRelinkRequired
}

// fails shows why the record of a link that works cannot be read.
func (p *accountPage) fails(err error) {
	switch {
	case errors.Is(err, pkb.ErrFrozen):
		p.words = wordsFrozen
	case errors.Is(err, pkb.ErrUnchecked), p.Link.State == tokenstore.StatePending:
		p.words = wordsChecking
	default:
		told := advice.For(err)
		if p.Trouble = told.Patient; told.Turn == advice.TurnWait {
			p.Trouble = wordsDown
		}
	}
}

// look finds out about the link, without PKB.
func (a *app) look(ctx context.Context, appUserID string) (p accountPage, version string, err error) {
	p.words = wordsNone
	link, err := a.client.Link(ctx, appUserID)
	switch {
	case errors.Is(err, pkb.ErrNotLinked):
	case err != nil:
		return p, "", err
	default:
		p.Link = &link
		switch {
		case link.State == tokenstore.StateRelinkRequired:
			p.words = wordsEnded(link.Cause)
		case a.endsSoon(link):
			p.words = wordsSoon(link.EndsAt)
		default:
			p.words = wordsLinked
		}
	}
	if p.Messages, err = a.inbox.messages(ctx, appUserID); err != nil {
		return p, "", err
	}
	return p, versionOf(link.State, link.Cause, link.PublicID, link.LinkedAt, p.Title, p.Text, p.Messages), nil
}

func (a *app) noAccount(w http.ResponseWriter, r *http.Request, err error) {
	a.log.Error("webapp: a link cannot be read", "error", err)
	told := advice.For(err)
	a.sorry(w, r, told.Status, "Sorry, there is a problem with this service", told.Patient)
}

// read asks PKB who the patient is. want is whose record the store has: for a second after
// a switch, a replica may still use the token of the record before. Tokens only change
// for later ones, so what follows a Purview of the right record is of that record.
func (a *app) read(ctx context.Context, appUserID string, want identity.PublicID) (*record, error) {
	patient := a.client.ForUser(appUserID)
	for try := 1; ; try++ {
		id, err := patient.Purview(ctx)
		switch {
		case err != nil:
			return nil, err
		case want == "" || id == want:
			self, err := patient.Self(ctx)
			if err != nil {
				return nil, err
			}
			number, _ := self.NHSNumber()
			return &record{Self: self, NHSNumber: number}, nil
		case try == 2:
			return nil, pkb.ErrTryLater
		}
		select {
		case <-time.After(1100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// askSwitch asks for a confirmation: another record is then shown than before.
func (a *app) askSwitch(w http.ResponseWriter, r *http.Request) {
	// Browsers apply the policy of a form also to where its answer leads.
	h := w.Header()
	h.Set("Content-Security-Policy", strings.Replace(h.Get("Content-Security-Policy"), "form-action 'self'", "form-action 'self' "+a.pkb, 1))
	a.render(w, r, http.StatusOK, "switch.html", page{Title: "Link another record?"})
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
	if err := a.inbox.forget(r.Context(), who.ID); err != nil {
		a.log.Error("webapp: messages about a link that is gone are still there", "error", err)
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}

// notLinked responds when a patient comes back from PKB, or cannot go there, and no
// link was made. The library has logged it.
func (a *app) notLinked(w http.ResponseWriter, r *http.Request, f pkb.Failure) {
	again, back := way{"/pkb/link", "Start again"}, way{"/account", "Go to your account"}
	ways := []way{again, back}
	switch {
	case errors.Is(f.Err, pkb.ErrAppUserID):
		ways = []way{{"/", "Sign in"}}
	case errors.Is(f.Err, pkb.ErrWrongPatient):
		ways = []way{again, {"/switch", "Link the other record instead"}, back}
	case f.Linked, errors.Is(f.Err, pkb.ErrSharedRecord), errors.Is(f.Err, pkb.ErrUnchecked), errors.Is(f.Err, pkb.ErrOvertaken):
		ways = []way{back}
	}
	a.render(w, r, f.Status, "sorry.html", page{Title: f.Title, Content: sorryPage{Title: f.Title, Text: f.Text, Links: ways}})
}
