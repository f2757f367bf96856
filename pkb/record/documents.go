// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"
	"time"

	"github.com/betawerk/pkb-go/fhir"
)

// DocumentFilter narrows a search for documents. The zero DocumentFilter means
// all of the patient's.
type DocumentFilter struct {
	// Created is when the document was made.
	Created []When
	// IndexedOn is the day on which the document came to PKB, in its own
	// location; the zero time means any.
	IndexedOn time.Time
	// Status is a document-status; PKB defines the parameter, and its values
	// could not be read.
	Status string
	// SourceOrganisation is the id of the Organization that the document came
	// from.
	SourceOrganisation string
}

// DocumentReferences yields the patient's documents: what they are and where.
// It yields what Search does, and of that the documents. The documents
// themselves are at the addresses of their attachments.
//
// (PKB: Facade CapabilityStatement.)
func (r *Record) DocumentReferences(ctx context.Context, filter DocumentFilter) iter.Seq2[fhir.Resource[fhir.DocumentReference], error] {
	q := url.Values{}
	set(q, "document-status", "", filter.Status)
	set(q, "source-organisation", "Organization/", filter.SourceOrganisation)
	when := append([]When(nil), filter.Created...)
	if !filter.IndexedOn.IsZero() {
		on := On(filter.IndexedOn)
		on.indexed = true
		when = append(when, on)
	}
	return find[fhir.DocumentReference](ctx, r, "DocumentReference", q, when...)
}

// set adds a parameter, unless it is empty.
func set(q url.Values, name, prefix, value string) {
	if value != "" {
		q.Set(name, prefix+value)
	}
}
