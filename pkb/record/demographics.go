// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// Demographics reads the patient's own Patient resource, whose id is the public id.
// Self has more, and is what PKB advises patient apps to use. That a patient may read
// this resource is inferred.
//
// It returns ErrWrongPatient if the resource is another patient's, the errors of
// PublicID, or an *APIError. (PKB: Facade Patient.)
func (r *Record) Demographics(ctx context.Context) (fhir.Resource[fhir.Patient], error) {
	id, err := r.source.PublicID(ctx)
	if err != nil {
		return fhir.Resource[fhir.Patient]{}, err
	}
	found, err := read[fhir.Patient](ctx, r, "Patient", string(id))
	if err == nil && !strings.EqualFold(found.ID(), string(id)) {
		return fhir.Resource[fhir.Patient]{}, wording.ErrWrongPatient
	}
	return found, err
}

// HasNHSNumber asks PKB whether an NHS number is this patient's. It is the only
// search for patients that PKB offers, and reveals nothing about other patients.
// The number is sent in the address, as PKB requires.
//
// It returns ErrWrongPatient if PKB finds another patient by the number, ErrSearch
// for no number, the errors of PublicID, or an *APIError. (PKB: Facade: Examples.)
func (r *Record) HasNHSNumber(ctx context.Context, number identity.NHSNumber) (bool, error) {
	if number.IsZero() {
		return false, &SearchError{Resource: "Patient", Parameter: "identifier", Problem: "there is no NHS number"}
	}
	id, err := r.source.PublicID(ctx)
	if err != nil {
		return false, err
	}
	own := false
	for found, err := range find[fhir.Patient](ctx, r, "Patient", url.Values{"identifier": {identity.KindNHSNumber.System() + "|" + number.Reveal()}}) {
		if err != nil {
			return false, err
		}
		if !strings.EqualFold(found.ID(), string(id)) {
			return false, wording.ErrWrongPatient
		}
		own = true
	}
	return own, nil
}
