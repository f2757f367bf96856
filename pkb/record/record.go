// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package record reads a patient's FHIR record. A host gets a [Record] from
// pkb.Patient.Record; each call is made with that patient's token, waits its turn,
// and is retried and bounded as pkb.Config has it.
//
//	for o, err := range client.ForUser(appUserID).Record().Observations(ctx, record.Laboratory) {
//		...
//	}
//
// What comes back is a [fhir.Resource]: it prints [redacted], and Reveal returns a
// plain struct. A Record may be used from any goroutine.
package record

import (
	"context"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// Record reads one patient's record. It holds no state.
type Record struct {
	source Source
	facade facade
}

// Source is what a Record reads through. Package pkb has one for each patient.
type Source interface {
	// PublicID returns the patient's public id.
	PublicID(ctx context.Context) (identity.PublicID, error)
	// Get requests an address with the patient's token, and hands the response to
	// decode. The error of a response that decode refuses says problem.
	Get(ctx context.Context, op observe.Operation, address string, decode func(data []byte) (problem string, err error)) error
	// Call is like Get, for an operation of PKB's without parameters.
	Call(ctx context.Context, op observe.Operation, address string, decode func(data []byte) (problem string, err error)) error
	// Unusable returns the error for a response that was read and cannot be used.
	Unusable(op observe.Operation, problem string, cause error, outcome fhir.Resource[fhir.OperationOutcome]) error
}

// New returns the Record that source reads, under the base URL of the FHIR API.
// Hosts use pkb.Patient.Record.
func New(base string, source Source) *Record {
	return &Record{source: source, facade: facade{strings.TrimRight(base, "/")}}
}
