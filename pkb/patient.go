// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Patient calls PKB for one linked user. It holds no state, is cheap to make, and
// may be used from any goroutine.
//
// At most Config.MaxCallsPerPatient calls for one user are under way at once;
// others wait. A read is retried when PKB is busy or out of reach; see
// Config.Retries.
type Patient struct {
	client    *Client
	appUserID string
	sender    http.Client // adds the user's bearer
	bearer    bearer
}

// ForUser returns the calls for one of the host's users. The argument is the host's
// own app_user_id, never an NHS number or a PKB id. For a user without a link, and
// for "", each call returns an error.
func (c *Client) ForUser(appUserID string) *Patient {
	p := &Patient{client: c, appUserID: appUserID, sender: *c.http, bearer: bearer{client: c, appUserID: appUserID}}
	p.sender.Transport = &p.bearer
	return p
}

func (p *Patient) http() *http.Client { return &p.sender }

// PublicID returns the PKB public id of the user's patient: a UUID, not the numeric
// id of users/self. It is fixed when the link is made and then read from the store.
// If it is not known yet, PublicID asks Purview.
//
// It returns the errors of Purview.
func (p *Patient) PublicID(ctx context.Context) (identity.PublicID, error) {
	link, err := p.client.Link(ctx, p.appUserID)
	if err != nil {
		return "", err
	}
	if link.Verified {
		return link.PublicID, nil
	}
	return p.check(ctx)
}

// Purview asks PKB whose record the user's tokens open, by POST
// /fhir/Consent/$purview, or by GET after a response 405, and returns that
// patient's public id. PublicID returns the same from the store.
//
// It returns ErrWrongPatient if PKB names another patient than the link's,
// ErrSharedRecord if that patient is another user's too (which ends this link),
// identity.ErrNotAPatient if it names none, the errors of Token, or an *APIError.
// (PKB: Purview operation; Patient Identifier and Demographic Retrieval. Path and
// method are inferred.)
func (p *Patient) Purview(ctx context.Context) (identity.PublicID, error) {
	if known := p.client.keeper.Patient(p.appUserID); known != "" {
		// Once in memory, whose record a session opens costs no look at the store.
		return p.confirm(ctx, identity.PublicID(known))
	}
	link, err := p.client.Link(ctx, p.appUserID)
	switch {
	case err != nil:
		return "", err
	case link.Verified:
		return p.confirm(ctx, link.PublicID)
	}
	return p.check(ctx)
}

// check calls Purview for a link whose patient is not known yet, and fixes the result.
func (p *Patient) check(ctx context.Context) (identity.PublicID, error) {
	if err := p.client.keeper.Check(ctx, p.appUserID); err != nil {
		return "", public(err)
	}
	checked, err := p.client.Link(ctx, p.appUserID)
	switch {
	case err != nil:
		return "", err
	case checked.State == tokenstore.StateRelinkRequired:
		return "", &RelinkError{Cause: checked.Cause}
	case checked.Verified:
		return checked.PublicID, nil
	}
	return p.client.purview(ctx, p.http())
}

// confirm calls Purview for a link whose patient is known.
func (p *Patient) confirm(ctx context.Context, known identity.PublicID) (identity.PublicID, error) {
	id, err := p.client.purview(ctx, p.http())
	if err != nil || id == known {
		return id, err
	}
	// The token in memory may be an earlier link's, which another process replaced.
	p.client.keeper.Forget(p.appUserID)
	link, err := p.client.Link(ctx, p.appUserID)
	if err == nil {
		id, err = p.client.purview(ctx, p.http())
	}
	switch {
	case err != nil:
		return "", err
	case link.Verified && link.PublicID != id:
		return "", ErrWrongPatient
	}
	return id, nil
}

// Self returns the patient's demographics and national ids: GET /json/users/self.
// The library keeps none of it.
//
// It returns identity.ErrNotAPatient if PKB reports that the user is not a patient,
// the errors of Token, or an *APIError, also for a response 200 that is not about a
// user. (PKB: Patient Identifier and Demographic Retrieval.)
func (p *Patient) Self(ctx context.Context) (identity.Self, error) {
	return p.client.self(ctx, p.http())
}

// Record returns the patient's FHIR record.
func (p *Patient) Record() *record.Record {
	return record.New(p.client.cfg.Environment.FHIRURL, source{p})
}

// source implements record.Source.
type source struct{ *Patient }

func (s source) Get(ctx context.Context, op observe.Operation, address string, decode func(io.Reader) (string, error)) error {
	return s.client.stream(ctx, s.http(), get(op, address, mediaTypeFHIR), func(body *apicall.Body) (string, error) { return decode(body) })
}

func (s source) Call(ctx context.Context, op observe.Operation, address string, decode func([]byte) (string, error)) error {
	return s.client.operation(ctx, s.http(), op, address, "", &s.client.lastDataPointByGET, decode)
}

func (s source) Gone(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

func (s source) Unusable(op observe.Operation, problem string, cause error, outcome fhir.Resource[fhir.OperationOutcome]) error {
	return unusable(string(op), problem, cause, outcome)
}

func (c *Client) self(ctx context.Context, hc *http.Client) (self identity.Self, err error) {
	err = c.read(ctx, hc, get(observe.OpSelf, c.cfg.Environment.SelfURL, mediaTypeJSON), func(data []byte) (string, error) {
		self, err = identity.DecodeSelf(data)
		return "the response is not the JSON object that PKB describes", err
	})
	return self, err
}

func (c *Client) purview(ctx context.Context, hc *http.Client) (id identity.PublicID, err error) {
	env := c.cfg.Environment
	err = c.operation(ctx, hc, observe.OpPurview, env.PurviewURL, env.PurviewMethod, &c.purviewByGET, func(data []byte) (string, error) {
		var problem string
		id, problem, err = publicIDFromPurview(data, env.FHIRURL)
		return "the response does not name one patient: " + problem, err
	})
	return id, err
}

var errElsewhere = errors.New("the response names a record on another server")

// publicIDFromPurview returns the patient that a response of Purview names, or what
// is wrong with it. An absolute reference must be on the same server.
func publicIDFromPurview(response []byte, server string) (identity.PublicID, string, error) {
	ref, err := fhir.Purview(response)
	switch {
	case err != nil:
		return "", purviewProblem(err), err
	case ref.Base != "" && !apicall.SameServer(server, ref.Base):
		return "", "it names a record on another server", errElsewhere
	case ref.Type != "Patient":
		return "", "", identity.ErrNotAPatient
	}
	id, err := identity.ParsePublicID(ref.ID)
	return id, "its reference holds no public id", err
}

func purviewProblem(err error) string {
	if e, ok := errors.AsType[*fhir.PurviewError](err); ok {
		switch e.Count {
		case 0:
			return "it names no one"
		case 1:
			return "its reference cannot be read"
		}
		return "it names more than one"
	}
	if errors.Is(err, fhir.ErrResourceType) {
		return "it is not a Parameters resource"
	}
	return "it is not FHIR"
}
