// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
)

// Demographics reads the patient's own Patient resource, with the public id as
// its id. Self answers more of it, and is what PKB tells patient apps to use.
// That a patient may read it is inferred.
//
// It returns ErrWrongPatient if another patient's came, the errors of PublicID,
// or an *APIError.
//
// (PKB: Facade Patient.)
func (p *Patient) Demographics(ctx context.Context) (fhir.Resource[fhir.Patient], error) {
	id, err := p.PublicID(ctx)
	if err != nil {
		return fhir.Resource[fhir.Patient]{}, err
	}
	r, err := read[fhir.Patient](ctx, p, "Patient", string(id))
	if err == nil && !strings.EqualFold(r.ID(), string(id)) {
		return fhir.Resource[fhir.Patient]{}, ErrWrongPatient
	}
	return r, err
}

// HasNHSNumber asks PKB whether an NHS number is this patient's. It is the one
// search for patients that PKB offers, and this the one use of it with a
// patient's token: it says nothing of other patients. The number travels in the
// address, as PKB has it.
//
// It returns ErrWrongPatient if PKB finds another patient by the number,
// ErrSearch for no number, the errors of PublicID, or an *APIError.
//
// (PKB: Facade: Examples.)
func (p *Patient) HasNHSNumber(ctx context.Context, number NHSNumber) (bool, error) {
	if number.IsZero() {
		return false, &SearchError{Resource: "Patient", Parameter: "identifier", Problem: "there is no NHS number"}
	}
	id, err := p.PublicID(ctx)
	if err != nil {
		return false, err
	}
	own := false
	for r, err := range find[fhir.Patient](ctx, p, "Patient", url.Values{"identifier": {KindNHSNumber.System() + "|" + number.Reveal()}}) {
		if err != nil {
			return false, err
		}
		if !strings.EqualFold(r.ID(), string(id)) {
			return false, ErrWrongPatient
		}
		own = true
	}
	return own, nil
}
