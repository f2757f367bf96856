// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"errors"
	"io"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/jsonwalk"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// page reads one page of a search. An entry without a resource has none in it, too.
func (r *Record) page(ctx context.Context, resource, address string) (page fhir.Bundle, err error) {
	op := searchOf(resource)
	err = r.source.Get(ctx, op, address, func(response io.Reader) (string, error) {
		var rest []byte
		page, rest, err = readPage(response)
		return "the response is not a Bundle", r.orOutcome(op, rest, err)
	})
	return page, err
}

// orOutcome returns err, or the error for an operation outcome in the place of what was
// requested.
func (r *Record) orOutcome(op observe.Operation, data []byte, err error) error {
	if !errors.Is(err, fhir.ErrResourceType) {
		return err
	}
	outcome, other := fhir.Decode[fhir.OperationOutcome](data)
	if other != nil {
		return err
	}
	return r.source.Unusable(op, "the response is an OperationOutcome", nil, outcome)
}

// readPage decodes a Bundle while it arrives, and returns it with what it has other
// than entries. Each entry is decoded as a Bundle of its own, so that its resource
// keeps itself in memory and no other.
func readPage(response io.Reader) (page fhir.Bundle, rest []byte, err error) {
	const before, after = `{"resourceType":"Bundle","entry":[`, `]}`
	var entries []fhir.Entry
	rest, err = jsonwalk.Split(response, "entry", func(entry []byte) error {
		alone := make([]byte, 0, len(before)+len(entry)+len(after))
		alone = append(append(append(alone, before...), entry...), after...)
		one, err := fhir.DecodeBundle(alone)
		if len(one.Entries) == 0 {
			one.Entries = make([]fhir.Entry, 1)
		}
		entries = append(entries, one.Entries...)
		return err
	})
	if err != nil {
		return fhir.Bundle{}, nil, err
	}
	if page, err = fhir.DecodeBundle(rest); err != nil {
		return fhir.Bundle{}, rest, err
	}
	page.Entries = append(entries, page.Entries...) // those of a name with escapes
	return page, rest, nil
}

func read[T any](ctx context.Context, r *Record, resource, id string) (found fhir.Resource[T], err error) {
	if ref, err := fhir.ParseReference(resource + "/" + id); err != nil || ref.ID != id {
		return found, &SearchError{Resource: resource, Parameter: "id", Problem: "it is not the id of a resource: up to 64 letters, digits, '-' and '.'"}
	}
	op := observe.Operation(resource + " read")
	err = r.source.Get(ctx, op, r.facade.read(resource, id), whole(func(data []byte) (string, error) {
		found, err = fhir.Decode[T](data)
		return "the response is not a resource of the requested type", r.orOutcome(op, data, err)
	}))
	return found, err
}

// whole returns a decoder that reads all of the response first.
func whole(decode func(data []byte) (string, error)) func(io.Reader) (string, error) {
	return func(response io.Reader) (string, error) {
		data, err := io.ReadAll(response)
		if err != nil {
			return "", err
		}
		return decode(data)
	}
}
