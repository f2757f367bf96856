// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"context"
	"net/http"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// FindByNHSNumber returns the PKB public id of the patient with this NHS number.
// Compare it with the public id that the patient's own authorization gave: if they are
// equal, PKB confirms that the record is this person's.
//
// It returns ErrNoPatient if PKB shows the organisation no patient with the number,
// which confirms and contradicts nothing; an *InputError, without sending anything, if
// the number is absent or its check digit is wrong; or a *pkb.APIError. A response with
// several patients, or with one whose identifiers do not have the number, is an error:
// a server that ignored the search must not confirm anybody.
//
// (PKB: Facade endpoint; Facade examples. Only NHS numbers can be searched for.)
func (c *Client) FindByNHSNumber(ctx context.Context, number identity.NHSNumber) (identity.PublicID, error) {
	if !number.ChecksumValid() {
		return "", &InputError{Fields: []string{"NHSNumber"}}
	}
	request := apicall.Request{
		Operation: opFind, Method: http.MethodGet, MediaType: mediaTypeFHIR, Repeatable: true,
		URL: c.cfg.Environment.FHIRURL + "/Patient?identifier=" + identity.KindNHSNumber.System() + "%7C" + number.Reveal(),
	}
	var found identity.PublicID
	err := c.read(ctx, request, func(data []byte) (problem string, err error) {
		found, problem, err = patientIn(data, number)
		return problem, err
	})
	if err == nil && found == "" {
		err = ErrNoPatient
	}
	return found, err
}

// patientIn returns the public id of the one patient in a search result, "" if there
// is none, or what is wrong with the result.
func patientIn(data []byte, number identity.NHSNumber) (found identity.PublicID, problem string, err error) {
	page, err := fhir.DecodeBundle(data)
	if err != nil {
		return "", "the response is not a Bundle", err
	}
	if page.Next != "" {
		return "", "the result has more than one page", nil
	}
	for _, e := range page.Entries {
		switch {
		case e.Resource.Type() == "OperationOutcome":
			if outcome, err := fhir.As[fhir.OperationOutcome](e.Resource); err != nil || outcome.Reveal().IsError() {
				return "", "the result has an error instead of a part", err
			}
			continue
		case e.Resource.Type() != "Patient" || e.Mode == "include":
			continue
		}
		id, err := identity.ParsePublicID(e.Resource.ID())
		switch {
		case err != nil:
			return "", "the id of the patient is not a public id", err
		case found != "" && found != id:
			return "", "the result has several patients", nil
		case !hasNHSNumber(e.Resource, number):
			return "", "the result has a patient without the number", nil
		}
		found = id
	}
	return found, "", nil
}

// hasNHSNumber reports whether a patient's NHS numbers are the given one. PKB's Patient
// has the national identifiers (PKB: Facade Patient).
func hasNHSNumber(patient fhir.Resource[fhir.Any], number identity.NHSNumber) bool {
	type Patient struct { // the elements that are needed
		Identifier []struct{ System, Value string } `json:"identifier"`
	}
	decoded, err := fhir.As[Patient](patient)
	if err != nil {
		return false
	}
	has := false
	for _, id := range decoded.Reveal().Identifier {
		if strings.TrimSpace(id.System) != identity.KindNHSNumber.System() {
			continue
		}
		sent, err := identity.ParseNHSNumber(id.Value)
		if err != nil || !sent.Equal(number) {
			return false // two numbers on one record contradict each other
		}
		has = true
	}
	return has
}
