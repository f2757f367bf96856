// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"

	"github.com/betawerk/pkb-go/fhir"
)

// Consents yields who may see what of the patient's record, as far as this patient
// may see it. PKB enforces them: do not decide access by them. See [Record.Search]
// for errors. (PKB: Facade Consent.)
func (r *Record) Consents(ctx context.Context) iter.Seq2[fhir.Resource[fhir.Consent], error] {
	return find[fhir.Consent](ctx, r, "Consent", nil)
}
