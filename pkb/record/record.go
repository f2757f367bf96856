// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package record reads a patient's FHIR record. A host gets a [Record] from
// pkb.Patient.Record. Calls are made with that patient's token, and pkb.Config
// bounds and retries them.
//
//	for o, err := range client.ForUser(appUserID).Record().Observations(ctx, record.Laboratory) {
//		...
//	}
//
// They return a [fhir.Resource], which prints [redacted]; Reveal returns a plain
// struct. A Record may be used from any goroutine.
package record

import (
	"context"
	"io"
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

// Source is what a Record reads from. Package pkb implements it.
type Source interface {
	// PublicID returns the patient's public id.
	PublicID(ctx context.Context) (identity.PublicID, error)
	// Get requests an address with the patient's token and passes the response to
	// decode: again, if it was cut off and is requested again. If decode fails, the
	// error has its problem; an error of Unusable is returned unchanged.
	Get(ctx context.Context, op observe.Operation, address string, decode func(response io.Reader) (problem string, err error)) error
	// Call is Get for a PKB operation without parameters, and passes the whole response.
	Call(ctx context.Context, op observe.Operation, address string, decode func(data []byte) (problem string, err error)) error
	// Unusable returns the error for a response that was read and is unusable.
	Unusable(op observe.Operation, problem string, cause error, outcome fhir.Resource[fhir.OperationOutcome]) error
	// Gone reports whether an error of Get is a response 404 or 410.
	Gone(err error) bool
}

// New returns the Record that source reads under the base URL of the FHIR API.
// Hosts use pkb.Patient.Record.
func New(base string, source Source) *Record {
	return &Record{source: source, facade: facade{strings.TrimRight(base, "/")}}
}
