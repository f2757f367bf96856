// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"

	"github.com/betawerk/pkb-go/fhir"
)

// Appointments yields the patient's appointments, all or those of a time. See
// [Record.Search] for errors. (PKB: Appointment.)
func (r *Record) Appointments(ctx context.Context, when ...When) iter.Seq2[fhir.Resource[fhir.Appointment], error] {
	return find[fhir.Appointment](ctx, r, "Appointment", nil, when...)
}

// Encounters yields the patient's contacts with providers, all or those of a time,
// for which PKB accepts only After, Before and On. See [Record.Search] for errors.
// (PKB: Facade CapabilityStatement.)
func (r *Record) Encounters(ctx context.Context, when ...When) iter.Seq2[fhir.Resource[fhir.Encounter], error] {
	return find[fhir.Encounter](ctx, r, "Encounter", nil, when...)
}

// Communications yields the patient's messages, all or those sent at a time. See
// [Record.Search] for errors. (PKB: Facade CapabilityStatement.)
func (r *Record) Communications(ctx context.Context, when ...When) iter.Seq2[fhir.Resource[fhir.Communication], error] {
	return find[fhir.Communication](ctx, r, "Communication", nil, when...)
}
