// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
)

// Organization reads an organisation or a team by the id that other resources refer
// to. It returns ErrNotFound if it does not exist, ErrSearch for an invalid id, the
// errors of Token, or an *APIError. (PKB: Facade CapabilityStatement.)
func (r *Record) Organization(ctx context.Context, id string) (fhir.Resource[fhir.Organization], error) {
	return read[fhir.Organization](ctx, r, "Organization", id)
}

// Practitioner reads a PKB user other than a patient, by the id that other
// resources refer to. PKB warns that this need not be a professional. It returns
// the errors of Organization. (PKB: Facade Practitioner.)
func (r *Record) Practitioner(ctx context.Context, id string) (fhir.Resource[fhir.Practitioner], error) {
	return read[fhir.Practitioner](ctx, r, "Practitioner", id)
}

// NamingSystems yields PKB's descriptions of an identifier system, such as a
// hospital's numbers. See [Record.Search] for errors. (PKB: Facade Patient; Facade
// CapabilityStatement.)
func (r *Record) NamingSystems(ctx context.Context, system string) iter.Seq2[fhir.Resource[fhir.NamingSystem], error] {
	return find[fhir.NamingSystem](ctx, r, "NamingSystem", url.Values{"value": {system}})
}
