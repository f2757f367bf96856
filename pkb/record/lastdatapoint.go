// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// LastDataPoint returns when data last came into the patient's record: a cheap way
// to check for new data. ok is false if PKB returns no time. Demographics, data of
// connected devices and changes of consent are ignored, and the time can go back
// when data is deleted, so check whether it differs.
//
// It returns the errors of Token, or an *APIError. (PKB: date-of-last-data-point.
// Path and method are inferred, like those of Purview.)
func (r *Record) LastDataPoint(ctx context.Context) (at time.Time, ok bool, err error) {
	err = r.source.Call(ctx, observe.OpLastDataPoint, r.facade.operation("Patient", string(observe.OpLastDataPoint)), func(data []byte) (string, error) {
		at, ok, err = fhir.LastDataPoint(data)
		return "the response has no time that can be read", err
	})
	return at, ok, err
}
