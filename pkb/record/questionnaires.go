// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
)

// Questionnaires yields the questionnaires that the patient may see, of one
// publisher if the id of its Organization is not "". See [Record.Search] for
// errors. (PKB: Facade CapabilityStatement.)
func (r *Record) Questionnaires(ctx context.Context, publisher string) iter.Seq2[fhir.Resource[fhir.Questionnaire], error] {
	q := url.Values{}
	set(q, "publisher-reference", "Organization/", publisher)
	return find[fhir.Questionnaire](ctx, r, "Questionnaire", q)
}

// Questionnaire reads one questionnaire by its id. It returns the errors of
// Organization. (PKB: Facade CapabilityStatement.)
func (r *Record) Questionnaire(ctx context.Context, id string) (fhir.Resource[fhir.Questionnaire], error) {
	return read[fhir.Questionnaire](ctx, r, "Questionnaire", id)
}

// ResponseFilter narrows a search for completed questionnaires. The zero
// ResponseFilter finds all of the patient's.
type ResponseFilter struct {
	// Authored is when the answers were given.
	Authored []When
	// BasedOn is the id of the ProcedureRequest that was fulfilled.
	BasedOn string
	// Questionnaire is the id of the Questionnaire.
	Questionnaire string
}

// QuestionnaireResponses yields the questionnaires that the patient has completed.
// Search can include the requests for them. See [Record.Search] for errors. (PKB:
// Facade CapabilityStatement.)
func (r *Record) QuestionnaireResponses(ctx context.Context, filter ResponseFilter) iter.Seq2[fhir.Resource[fhir.QuestionnaireResponse], error] {
	q := url.Values{}
	set(q, "based-on", "ProcedureRequest/", filter.BasedOn)
	set(q, "questionnaire", "Questionnaire/", filter.Questionnaire)
	return find[fhir.QuestionnaireResponse](ctx, r, "QuestionnaireResponse", q, filter.Authored...)
}

// ProcedureRequest reads a request by its id, such as one to complete a
// questionnaire. It returns the errors of Organization. (PKB: Facade
// CapabilityStatement.)
func (r *Record) ProcedureRequest(ctx context.Context, id string) (fhir.Resource[fhir.ProcedureRequest], error) {
	return read[fhir.ProcedureRequest](ctx, r, "ProcedureRequest", id)
}
