// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"errors"
	"iter"
	"net/url"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// maxPages bounds one search, in case a server generates pages without end.
const maxPages = 10_000

// Search yields all results of a search: resources of the type, those that they
// include, operation outcomes with remarks, and whatever else the server puts there.
// The methods named after a resource are easier; this one is for _include, and for
// results other than matches.
//
// q holds parameters of the type in PKB's CapabilityStatement. A search with
// others, or without required ones, is ErrSearch and is not sent. The parameter
// patient is added: it is always the link's patient. For Patient, use HasNHSNumber.
//
// Pages are fetched as they are needed, one at a time, each time the result is ranged
// over. A page is in memory once while its results are yielded, and a result that is
// kept keeps no other. A page that is larger than pkb.Config.MaxResponseBytes is
// pkb.ErrTooLarge: narrow the search, such as by a time, or raise the setting.
//
// An error ends the sequence: the resources before it are not all. The exception is
// ErrEntry, for an entry without a resource, after which the sequence goes on. A
// bundle without resources is no error: PKB silently omits what the patient may not
// see. ErrPaging is for a next page on another server, where no token is sent, for a
// cycle of pages, and for a page that has expired: then search again.
//
// Otherwise Search yields the errors of pkb.Patient.PublicID, or a *pkb.APIError.
// The methods named after a resource also yield one for an operation outcome among
// the results that is an error, and ErrEntry for a resource of another type, or whose
// type cannot be read, unless it is marked as included. (PKB: Facade endpoint; its
// CapabilityStatement. Paging is inferred.)
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
			if err == nil && e.Resource.IsZero() {
				err = &EntryError{Search: resource}
			}
			if !yield(e.Resource, err) {
				return
			}
		}
	}
}

// find yields the matches of a search, decoded. It ignores what is included, and
// operation outcomes without an error.
func find[T any](ctx context.Context, r *Record, resource string, q url.Values, when ...When) iter.Seq2[fhir.Resource[T], error] {
	return func(yield func(fhir.Resource[T], error) bool) {
		for e, err := range r.entries(ctx, resource, q, when...) {
			var found fhir.Resource[T]
			switch {
			case err != nil:
			case e.Resource.Type() == "OperationOutcome":
				if err = r.outcomeError(resource, e.Resource); err == nil {
					continue
				}
			case e.Mode == "include":
				continue
			default:
				found, err = match[T](resource, e.Resource)
			}
			if !yield(found, err) || err != nil && !errors.Is(err, ErrEntry) {
				return
			}
		}
	}
}

func match[T any](resource string, entry fhir.Resource[fhir.Any]) (found fhir.Resource[T], err error) {
	if entry.Type() == resource {
		if found, err = fhir.As[T](entry); err == nil {
			return found, nil
		}
	}
	return found, &EntryError{Search: resource, Resource: entry}
}

func searchOf(resource string) observe.Operation { return observe.Operation(resource + " search") }

// outcomeError returns an error for an operation outcome with an error in it, or
// nil.
func (r *Record) outcomeError(resource string, entry fhir.Resource[fhir.Any]) error {
	outcome, err := fhir.As[fhir.OperationOutcome](entry)
	if err != nil {
		return &EntryError{Search: resource, Resource: entry}
	}
	if outcome.Reveal().IsError() {
		return r.source.Unusable(searchOf(resource), "the result has an error instead of a part", nil, outcome)
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
			if page, err = r.page(ctx, resource, address); err != nil {
				if len(seen) > 0 && r.source.Gone(err) {
					err = &PagingError{Reason: expired, Err: err}
				}
				break
			}
			seen[address] = true
			for i, e := range page.Entries {
				page.Entries[i] = fhir.Entry{} // the host keeps it, or nobody does
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
