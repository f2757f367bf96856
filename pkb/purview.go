// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/tokenstore"
)

const (
	opPurview     = "purview"
	mediaTypeFHIR = "application/fhir+json"
)

// Patient calls PKB for one linked user. It holds no state and costs next to
// nothing to make; use it from any goroutine.
//
// At most Config.MaxCallsPerPatient calls for one user are under way at once;
// others wait for their turn. A read that finds PKB busy or out of reach is
// repeated, see Config.Retries.
type Patient struct {
	client    *Client
	appUserID string
	sender    http.Client // adds the user's bearer
	bearer    bearer
}

// ForUser returns the calls for one of the host's users. The argument is the
// host's own app_user_id, never an NHS number or a PKB id. A user without a
// link, and "", get an error from each call.
func (c *Client) ForUser(appUserID string) *Patient {
	p := &Patient{client: c, appUserID: appUserID, sender: *c.http, bearer: bearer{client: c, appUserID: appUserID}}
	p.sender.Transport = &p.bearer
	return p
}

// http returns the client that sends the user's requests.
func (p *Patient) http() *http.Client { return &p.sender }

// PublicID returns the PKB public id of the user's patient: a UUID, not the
// numeric id of users/self. It is fixed when the link is made and then read
// from the store; a link that could not learn it then asks Purview now.
//
// It returns the errors of Purview.
func (p *Patient) PublicID(ctx context.Context) (PublicID, error) {
	link, err := p.client.Link(ctx, p.appUserID)
	if err != nil {
		return "", err
	}
	if link.Verified {
		return link.PublicID, nil
	}
	return p.ask(ctx, link)
}

// Purview asks PKB whose record the user's tokens open, and returns that
// patient's public id: POST (or, remembered after an answer 405, GET)
// /fhir/Consent/$purview. PublicID answers the same from the store; Purview is
// for those who want to hear it from PKB.
//
// It returns ErrWrongPatient if PKB names another patient than the link
// belongs to, ErrSharedRecord if that turns out to be another user's too (which
// ends this link), ErrNotAPatient if it names none, the errors of Token, or an
// *APIError.
//
// (PKB: Purview operation; Patient Identifier and Demographic Retrieval. Path
// and method are inferred.)
func (p *Patient) Purview(ctx context.Context) (PublicID, error) {
	link, err := p.client.Link(ctx, p.appUserID)
	if err != nil {
		return "", err
	}
	return p.ask(ctx, link)
}

// ask asks PKB, and fixes the answer on link if link has none yet.
func (p *Patient) ask(ctx context.Context, link Link) (PublicID, error) {
	if !link.Verified {
		// Whose it is gets fixed on the link in the same way as by Complete.
		if err := p.client.keeper.Check(ctx, p.appUserID); err != nil {
			return "", public(err)
		}
		checked, err := p.client.Link(ctx, p.appUserID)
		if err != nil {
			return "", err
		}
		if checked.State == tokenstore.StateRelinkRequired {
			return "", &RelinkError{Cause: checked.Cause}
		}
		if checked.Verified {
			return checked.PublicID, nil
		}
	}
	id, err := p.client.purview(ctx, p.http())
	if err == nil && link.Verified && link.PublicID != id {
		// The token in memory may be that of an earlier link, which another process
		// has replaced: it must not speak for this one.
		p.client.keeper.Forget(p.appUserID)
		if link, err = p.client.Link(ctx, p.appUserID); err == nil {
			id, err = p.client.purview(ctx, p.http())
		}
	}
	switch {
	case err != nil:
		return "", err
	case link.Verified && link.PublicID != id:
		return "", ErrWrongPatient
	}
	return id, nil
}

// purview asks with whatever token hc adds.
func (c *Client) purview(ctx context.Context, hc *http.Client) (_ PublicID, err error) {
	ctx, end := c.begin(ctx, OpPurview)
	defer func() { end.call(err) }()
	env := c.cfg.Environment
	data, err := c.operation(ctx, hc, opPurview, env.PurviewURL, env.PurviewMethod, &c.purviewByGET)
	if err != nil {
		return "", err
	}
	id, err := publicIDFromPurview(data, env.FHIRURL)
	if err != nil {
		if errors.Is(err, ErrNotAPatient) {
			return "", err
		}
		return "", instead(opPurview, data, "the answer does not name one patient: "+purviewProblem(err), err)
	}
	return id, nil
}

// purviewProblem says what is wrong with an answer of Purview.
func purviewProblem(err error) string {
	if e, ok := errors.AsType[*fhir.PurviewError](err); ok {
		switch e.Count {
		case 0:
			return "it names nobody"
		case 1:
			return "its reference cannot be read"
		}
		return "it names more than one"
	}
	switch {
	case errors.Is(err, errElsewhere):
		return "it names a record on another server"
	case errors.Is(err, errNotAUUID):
		return "its reference holds no public id"
	case errors.Is(err, fhir.ErrResourceType):
		return "it is not a Parameters resource"
	}
	return "it is not FHIR"
}
