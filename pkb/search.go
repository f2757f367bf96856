// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/betawerk/pkb-go/fhir"
)

// maxPages bounds one search: a server that makes up new pages for ever is
// broken.
const maxPages = 10_000

// Search yields everything that a search finds, as PKB sends it: resources of
// the type, those that they include, and operation outcomes with remarks. The
// methods that are named after what they read are easier; this one is for
// _include, and for what comes beside the matches.
//
// q holds parameters that PKB's CapabilityStatement has for the type; a search
// that it does not have, or that lacks what it requires, gets ErrSearch and is
// not sent. The parameter patient is added: it is the link's patient, always.
// A search for Patient is not offered here; see HasNHSNumber.
//
// Pages are fetched as they are needed, each time the result is ranged over, and
// one at a time is in memory; one that is larger than 4 MiB fails. A page that
// fails is an error and the end: the resources before it are not all that there
// are. A bundle without resources is no error: PKB leaves out silently what the
// patient may not see. A link to a page on another server is not followed and no
// token goes there, and pages that go round in circles end: ErrPaging.
//
// Beside these it yields the errors of PublicID, or an *APIError.
//
// (PKB: Facade endpoint; its CapabilityStatement. Paging is inferred.)
func (p *Patient) Search(ctx context.Context, resource string, q url.Values) iter.Seq2[fhir.Resource[fhir.Any], error] {
	return func(yield func(fhir.Resource[fhir.Any], error) bool) {
		err := checkSearch(resource, q)
		if resource == "Patient" {
			err = &SearchError{Resource: resource, Problem: "a search for patients is not offered: use HasNHSNumber"}
		}
		if err != nil {
			yield(fhir.Resource[fhir.Any]{}, err)
			return
		}
		for e, err := range p.entries(ctx, resource, q) {
			if !yield(e.Resource, err) {
				return
			}
		}
	}
}

// find yields what a search finds of type T, which is what was searched for.
// Resources beside the matches are passed over, but not an operation outcome
// that says that something went wrong.
func find[T any](ctx context.Context, p *Patient, resource string, q url.Values, when ...When) iter.Seq2[fhir.Resource[T], error] {
	return func(yield func(fhir.Resource[T], error) bool) {
		for e, err := range p.entries(ctx, resource, q, when...) {
			switch {
			case err != nil:
			case e.Resource.Type() == "OperationOutcome":
				if err = outcomeError(resource+" search", e.Resource); err == nil {
					continue
				}
			case e.Resource.Type() != resource || e.Mode == "include":
				continue
			}
			var found fhir.Resource[T]
			if err == nil {
				if found, err = fhir.As[T](e.Resource); err != nil {
					err = unusable(resource+" search", "an entry cannot be read", err)
				}
			}
			if !yield(found, err) || err != nil {
				return
			}
		}
	}
}

// outcomeError makes an error of an operation outcome with an issue that is
// one; remarks are nil.
func outcomeError(op string, r fhir.Resource[fhir.Any]) error {
	outcome, err := fhir.DecodeOperationOutcome(r.Raw())
	if err != nil {
		return nil //nolint:nilerr // it says nothing
	}
	for _, i := range outcome.Issue {
		if i.Severity == "error" || i.Severity == "fatal" {
			return &APIError{
				Operation: op, Status: http.StatusOK, Code: outcome.ResponseCode(), Outcome: &outcome,
				Err: &answerError{what: "an error came instead of a part of the result"},
			}
		}
	}
	return nil
}

// entries yields the entries of all pages of a search, and at most one error,
// last.
func (p *Patient) entries(ctx context.Context, resource string, q url.Values, when ...When) iter.Seq2[fhir.Entry, error] {
	return func(yield func(fhir.Entry, error) bool) {
		address, err := p.searchAddress(ctx, resource, q, when)
		seen := map[string]bool{}
		for err == nil {
			var page fhir.Bundle
			seen[address] = true
			if page, err = p.page(ctx, resource+" search", address); err != nil {
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
			address, err = p.client.facade().next(address, page.Next)
			switch {
			case err != nil:
			case seen[address]:
				err = &PagingError{Reason: PageCycle}
			case len(seen) == maxPages:
				err = &PagingError{Reason: PageLimit}
			}
		}
		yield(fhir.Entry{}, err)
	}
}

// searchAddress returns the address of a search that PKB offers.
func (p *Patient) searchAddress(ctx context.Context, resource string, q url.Values, when []When) (string, error) {
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
		id, err := p.PublicID(ctx)
		if err != nil {
			return "", err
		}
		all.Set("patient", "Patient/"+string(id))
	}
	return p.client.facade().search(resource, all), nil
}

func (p *Patient) page(ctx context.Context, op, address string) (page fhir.Bundle, err error) {
	ctx, end := p.client.begin(ctx, Operation(op))
	defer func() { end.call(err) }()
	data, err := p.get(ctx, op, address)
	if err != nil {
		return fhir.Bundle{}, err
	}
	page, err = fhir.DecodeBundle(data)
	if err != nil {
		return fhir.Bundle{}, instead(op, data, "the answer is not a Bundle", err)
	}
	return page, nil
}

// read reads one resource by its id.
func read[T any](ctx context.Context, p *Patient, resource, id string) (r fhir.Resource[T], err error) {
	if _, err := fhir.ParseReference(resource + "/" + id); err != nil {
		return fhir.Resource[T]{}, &SearchError{Resource: resource, Parameter: "id", Problem: "it is not the id of a resource: at most 64 letters, digits, '-' and '.'"}
	}
	op := resource + " read"
	ctx, end := p.client.begin(ctx, Operation(op))
	defer func() { end.call(err) }()
	data, err := p.get(ctx, op, p.client.facade().read(resource, id))
	if err != nil {
		return fhir.Resource[T]{}, err
	}
	if r, err = fhir.Decode[T](data); err != nil {
		return fhir.Resource[T]{}, instead(op, data, "the answer is not a resource of the type asked for", err)
	}
	return r, nil
}

// get reads what is at one address of the record.
func (p *Patient) get(ctx context.Context, op, address string) ([]byte, error) {
	c := p.client
	return c.call(ctx, p.http(), op, http.MethodGet, address, mediaTypeFHIR, nil)
}

// unusable is an answer that came with a good status and cannot be used.
func unusable(op, what string, cause error) *APIError {
	return &APIError{Operation: op, Status: http.StatusOK, Err: newAnswerError(what, cause)}
}

// When narrows a search to a time. Several together all have to be true. Which
// of them a search takes is PKB's choice: a search for encounters knows After,
// Before and On only.
//
// What happened on a day or in a month, without a time of day, counts as PKB's
// server sees it; an instant is sent in UTC, to the millisecond.
type When struct {
	values  []string
	problem string
	indexed bool
}

// From is a time or later (ge).
func From(t time.Time) When { return instant("ge", t) }

// Until is a time or earlier (le).
func Until(t time.Time) When { return instant("le", t) }

// After is later than a time (gt).
func After(t time.Time) When { return instant("gt", t) }

// Before is earlier than a time (lt).
func Before(t time.Time) When { return instant("lt", t) }

// On is the day that t is in, in t's own location (eq).
func On(t time.Time) When {
	if t.IsZero() {
		return When{problem: noTime}
	}
	return When{values: []string{"eq" + t.Format(time.DateOnly)}}
}

// During is a time from a beginning to before an end (ge and lt).
func During(from, to time.Time) When {
	w := instant("ge", from)
	end := instant("lt", to)
	switch {
	case w.problem != "" || end.problem != "":
		return When{problem: noTime}
	case !from.Before(to):
		return When{problem: "it ends before it begins"}
	}
	w.values = append(w.values, end.values...)
	return w
}

const noTime = "it is no time"

func instant(prefix string, t time.Time) When {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return When{problem: noTime}
	}
	return When{values: []string{prefix + t.UTC().Format("2006-01-02T15:04:05.999Z07:00")}}
}

func (w When) trouble() string {
	if w.problem == "" {
		return noTime // the zero When
	}
	return w.problem
}

// parameter returns the name of the date that a search is narrowed by.
func (w When) parameter(resource string) string {
	switch {
	case w.indexed:
		return "indexed"
	case resource == "Communication":
		return "sent"
	case resource == "DocumentReference":
		return "created"
	case resource == "QuestionnaireResponse":
		return "authored"
	}
	return "date"
}
