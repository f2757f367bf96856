// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
)

// Category is a category of data points: a code with its system, in the form "system|code".
// PKB's pages show two codes, and there are others.
type Category string

// The categories that PKB's pages show (PKB: Observation; observation-category).
const (
	Laboratory  Category = fhir.ObservationCategorySystem + "|LABORATORY"
	Measurement Category = fhir.ObservationCategorySystem + "|MEASUREMENT"
)

// Observations yields the patient's data points of one category, all or those of a
// time. A data point has a value of one of eleven types, in [fhir.ObservationValue];
// or components that have one each, such as a blood pressure; or DataAbsentReason. The
// example shows each of them. The fields of the other types are nil or empty.
//
// See [Record.Search] for errors. (PKB: Observation.)
func (r *Record) Observations(ctx context.Context, category Category, when ...When) iter.Seq2[fhir.Resource[fhir.Observation], error] {
	return find[fhir.Observation](ctx, r, "Observation", url.Values{"category": {string(category)}}, when...)
}

// DiagnosticReports yields the patient's test reports of one category, all or those
// of a time. PKB's pages do not list the categories of reports. See [Record.Search]
// for errors. (PKB: Facade CapabilityStatement.)
func (r *Record) DiagnosticReports(ctx context.Context, category Category, when ...When) iter.Seq2[fhir.Resource[fhir.DiagnosticReport], error] {
	return find[fhir.DiagnosticReport](ctx, r, "DiagnosticReport", url.Values{"category": {string(category)}}, when...)
}
