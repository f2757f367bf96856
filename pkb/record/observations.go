// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
)

// Category says what kind of data points a search is for: a code with its
// system before it, as "system|code". PKB's pages show two codes and know more;
// give others the same form.
type Category string

// The categories that PKB's pages show (PKB: Observation; observation-category).
const (
	Laboratory  Category = fhir.ObservationCategorySystem + "|LABORATORY"
	Measurement Category = fhir.ObservationCategorySystem + "|MEASUREMENT"
)

// Observations yields the patient's data points of one category, all or those
// of a time. It yields what Search does, and of that the observations.
//
// (PKB: Observation.)
func (r *Record) Observations(ctx context.Context, category Category, when ...When) iter.Seq2[fhir.Resource[fhir.Observation], error] {
	return find[fhir.Observation](ctx, r, "Observation", url.Values{"category": {string(category)}}, when...)
}

// DiagnosticReports yields the reports on the patient's tests, of one category,
// all or those of a time. It yields what Search does, and of that the reports.
// Which categories reports have, PKB's pages do not say.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) DiagnosticReports(ctx context.Context, category Category, when ...When) iter.Seq2[fhir.Resource[fhir.DiagnosticReport], error] {
	return find[fhir.DiagnosticReport](ctx, r, "DiagnosticReport", url.Values{"category": {string(category)}}, when...)
}
