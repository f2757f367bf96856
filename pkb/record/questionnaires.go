// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
)

// Questionnaires yields the questionnaires that PKB lets the patient see, those
// of one publisher if its Organization's id is given and not "". It yields what
// Search does, and of that the questionnaires.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) Questionnaires(ctx context.Context, publisher string) iter.Seq2[fhir.Resource[fhir.Questionnaire], error] {
	q := url.Values{}
	set(q, "publisher-reference", "Organization/", publisher)
	return find[fhir.Questionnaire](ctx, r, "Questionnaire", q)
}

// Questionnaire reads one questionnaire by its id. It returns ErrNotFound if
// there is none, ErrSearch for what is no id, the errors of Token, or an
// *APIError.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) Questionnaire(ctx context.Context, id string) (fhir.Resource[fhir.Questionnaire], error) {
	return read[fhir.Questionnaire](ctx, r, "Questionnaire", id)
}

// ResponseFilter narrows a search for questionnaires that were filled in. The
// zero ResponseFilter means all of the patient's.
type ResponseFilter struct {
	// Authored is when the answers were given.
	Authored []When
	// BasedOn is the id of the ProcedureRequest that was answered.
	BasedOn string
	// Questionnaire is the id of the Questionnaire.
	Questionnaire string
}

// QuestionnaireResponses yields the questionnaires that the patient has filled
// in. It yields what Search does, and of that the responses. Search can include
// the requests for them.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) QuestionnaireResponses(ctx context.Context, filter ResponseFilter) iter.Seq2[fhir.Resource[fhir.QuestionnaireResponse], error] {
	q := url.Values{}
	set(q, "based-on", "ProcedureRequest/", filter.BasedOn)
	set(q, "questionnaire", "Questionnaire/", filter.Questionnaire)
	return find[fhir.QuestionnaireResponse](ctx, r, "QuestionnaireResponse", q, filter.Authored...)
}

// ProcedureRequest reads a request, as one to fill in a questionnaire, by its
// id. It returns the errors of Questionnaire.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) ProcedureRequest(ctx context.Context, id string) (fhir.Resource[fhir.ProcedureRequest], error) {
	return read[fhir.ProcedureRequest](ctx, r, "ProcedureRequest", id)
}
