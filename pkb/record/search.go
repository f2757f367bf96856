// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// maxPages bounds one search, in case a server generates pages without end.
const maxPages = 10_000

// Search yields all results of a search: resources of the type, those that they
// include, and operation outcomes with remarks. The methods named after a resource
// are easier; this one is for _include, and for results other than matches.
//
// q holds parameters of the type in PKB's CapabilityStatement. A search with
// others, or without required ones, is ErrSearch and is not sent. The parameter
// patient is added: it is always the link's patient. For Patient, use HasNHSNumber.
//
// Pages are fetched as they are needed, each time the result is ranged over, one at
// a time; one that is larger than 4 MiB is an error. An error ends the sequence:
// the resources before it are not all. A bundle without resources is no error: PKB
// silently omits what the patient may not see. A link to another server is not
// followed, and no token is sent there; it is ErrPaging, as is a cycle of pages.
//
// Otherwise Search yields the errors of pkb.Patient.PublicID, or a *pkb.APIError.
// The methods named after a resource also yield one for an operation outcome among
// the results that is an error. (PKB: Facade endpoint; its CapabilityStatement.
// Paging is inferred.)
func (r *Record) Search(ctx context.Context, resource string, q url.Values) iter.Seq2[fhir.Resource[fhir.Any], error] {
	return func(yield func(fhir.Resource[fhir.Any], error) bool) {
		err := checkSearch(resource, q)
		if resource == "Patient" {
			err = &SearchError{Resource: resource, Problem: "a search for patients is not offered, other than HasNHSNumber"}
		}
		if err != nil {
			yield(fhir.Resource[fhir.Any]{}, err)
			return
		}
		for e, err := range r.entries(ctx, resource, q) {
			if !yield(e.Resource, err) {
				return
			}
		}
	}
}

// find yields the matches of a search, decoded. It ignores other resources, except
// an operation outcome that is an error.
func find[T any](ctx context.Context, r *Record, resource string, q url.Values, when ...When) iter.Seq2[fhir.Resource[T], error] {
	return func(yield func(fhir.Resource[T], error) bool) {
		for e, err := range r.entries(ctx, resource, q, when...) {
			switch {
			case err != nil:
			case e.Resource.Type() == "OperationOutcome":
				if err = r.outcomeError(resource, e.Resource); err == nil {
					continue
				}
			case e.Resource.Type() != resource || e.Mode == "include":
				continue
			}
			var found fhir.Resource[T]
			if err == nil {
				if found, err = fhir.As[T](e.Resource); err != nil {
					err = r.source.Unusable(searchOf(resource), "an entry cannot be read", err, fhir.Resource[fhir.OperationOutcome]{})
				}
			}
			if !yield(found, err) || err != nil {
				return
			}
		}
	}
}

func searchOf(resource string) observe.Operation { return observe.Operation(resource + " search") }

// outcomeError returns an error for an operation outcome with an error in it, or
// nil.
func (r *Record) outcomeError(resource string, entry fhir.Resource[fhir.Any]) error {
	outcome, err := fhir.As[fhir.OperationOutcome](entry)
	if err != nil {
		return nil //nolint:nilerr // it reports nothing
	}
	for _, i := range outcome.Reveal().Issue {
		if i.Severity == "error" || i.Severity == "fatal" {
			return r.source.Unusable(searchOf(resource), "the result has an error instead of a part", nil, outcome)
		}
	}
	return nil
}

// entries yields the entries of all pages, and at most one error, last.
func (r *Record) entries(ctx context.Context, resource string, q url.Values, when ...When) iter.Seq2[fhir.Entry, error] {
	return func(yield func(fhir.Entry, error) bool) {
		address, err := r.searchAddress(ctx, resource, q, when)
		seen := map[string]bool{}
		for err == nil {
			var page fhir.Bundle
			seen[address] = true
			if page, err = r.page(ctx, resource, address); err != nil {
				break
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			address, err = r.facade.next(address, page.Next)
			switch {
			case err != nil:
			case seen[address]:
				err = &PagingError{Reason: cycle}
			case len(seen) == maxPages:
				err = &PagingError{Reason: limit}
			}
		}
		yield(fhir.Entry{}, err)
	}
}

func (r *Record) searchAddress(ctx context.Context, resource string, q url.Values, when []When) (string, error) {
	all := url.Values{}
	for name, values := range q {
		all[name] = append([]string(nil), values...)
	}
	for _, w := range when {
		if w.problem != "" || len(w.values) == 0 {
			return "", &SearchError{Resource: resource, Parameter: w.parameter(resource), Problem: w.trouble()}
		}
		all[w.parameter(resource)] = append(all[w.parameter(resource)], w.values...)
	}
	if err := checkSearch(resource, all); err != nil {
		return "", err
	}
	if _, ok := searches[resource]["patient"]; ok {
		id, err := r.source.PublicID(ctx)
		if err != nil {
			return "", err
		}
		all.Set("patient", "Patient/"+string(id))
	}
	return r.facade.search(resource, all), nil
}

func (r *Record) page(ctx context.Context, resource, address string) (page fhir.Bundle, err error) {
	err = r.source.Get(ctx, searchOf(resource), address, func(data []byte) (string, error) {
		page, err = fhir.DecodeBundle(data)
		return "the response is not a Bundle", err
	})
	return page, err
}

func read[T any](ctx context.Context, r *Record, resource, id string) (found fhir.Resource[T], err error) {
	if _, err := fhir.ParseReference(resource + "/" + id); err != nil {
		return found, &SearchError{Resource: resource, Parameter: "id", Problem: "it is not the id of a resource: up to 64 letters, digits, '-' and '.'"}
	}
	err = r.source.Get(ctx, observe.Operation(resource+" read"), r.facade.read(resource, id), func(data []byte) (string, error) {
		found, err = fhir.Decode[T](data)
		return "the response is not a resource of the requested type", err
	})
	return found, err
}
