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

// DocumentFilter narrows a search for documents. The zero DocumentFilter finds all
// of the patient's.
type DocumentFilter struct {
	// Created is when the document was created.
	Created []When
	// IndexedOn is the day on which PKB received the document, in its own location;
	// the zero time means any.
	IndexedOn time.Time
	// Status is a document-status. PKB defines the parameter; its values could not
	// be read.
	Status string
	// SourceOrganisation is the id of the Organization that sent the document.
	SourceOrganisation string
}

// DocumentReferences yields the descriptions of the patient's documents. The
// documents are at the addresses of their attachments. See [Record.Search] for
// errors. (PKB: Facade CapabilityStatement.)
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

func set(q url.Values, name, prefix, value string) {
	if value != "" {
		q.Set(name, prefix+value)
	}
}
