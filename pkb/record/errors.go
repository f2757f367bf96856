// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"

	"github.com/betawerk/pkb-go/fhir"
)

var (
	// ErrSearch: PKB does not offer this search. Nothing was sent. *SearchError has
	// the reason.
	ErrSearch = errors.New("record: PKB does not offer this search; nothing was sent")

	// ErrPaging: the pages of a search could not be followed to the end, so the
	// results are incomplete. *PagingError has the reason.
	ErrPaging = errors.New("record: the pages of a search cannot be followed to their end")

	// ErrEntry: an entry of the results cannot be yielded. The search goes on after
	// it. *EntryError has the entry.
	ErrEntry = errors.New("record: an entry of the results is not what was searched for")
)

// SearchError is ErrSearch with what is wrong. It holds no value of the search.
type SearchError struct {
	// Resource is the resource type, and Parameter the search parameter, or "id";
	// either can be "".
	Resource, Parameter string
	// Problem is what is wrong.
	Problem string
}

func (e *SearchError) Error() string {
	what := e.Resource
	if e.Parameter != "" {
		what += " by " + e.Parameter
	}
	if what != "" {
		what += ": "
	}
	return "record: not sent: " + what + e.Problem
}

// Is reports whether target is ErrSearch.
func (e *SearchError) Is(target error) bool { return target == ErrSearch }

// PagingError is ErrPaging with its reason.
type PagingError struct {
	// Reason is one of:
	//
	//	elsewhere   the next page is on another server, or outside the FHIR API; no
	//	            request and no token was sent there
	//	unreadable  the link to the next page is not a URL
	//	cycle       the next page was read before
	//	limit       there are more than 10,000 pages
	//	expired     PKB no longer has the next page (410, or 404; inferred): search
	//	            again
	Reason string
	// Err is the *pkb.APIError of an expired page, or nil.
	Err error
}

var pagingReasons = map[string]string{
	elsewhere:  "the next page is not on the server of the record, and no token was sent there",
	unreadable: "the link to the next page cannot be read",
	cycle:      "the next page was read before",
	limit:      "there are more than 10,000 pages",
	expired:    "the next page has expired",
}

const (
	elsewhere  = "elsewhere"
	unreadable = "unreadable"
	cycle      = "cycle"
	limit      = "limit"
	expired    = "expired"
)

func (e *PagingError) Error() string {
	return "record: the search is not complete: " + pagingReasons[e.Reason]
}

// Is reports whether target is ErrPaging.
func (e *PagingError) Is(target error) bool { return target == ErrPaging }

// Unwrap returns e.Err.
func (e *PagingError) Unwrap() error { return e.Err }

// EntryError is ErrEntry with the entry.
type EntryError struct {
	// Search is the type of resource that was searched for.
	Search string
	// Resource is what the entry has: a resource of another type, or one whose type
	// cannot be read; absent if the entry has none. It is personal data.
	Resource fhir.Resource[fhir.Any]
}

func (e *EntryError) Error() string {
	problem := "a resource of type " + e.Resource.Type()
	switch {
	case e.Resource.IsZero():
		problem = "no resource"
	case e.Resource.Type() == "":
		problem = "a resource without a readable resourceType"
	case e.Resource.Type() == e.Search:
		problem = "a resource that cannot be decoded"
	}
	return "record: " + e.Search + " search: an entry has " + problem
}

// Is reports whether target is ErrEntry.
func (e *EntryError) Is(target error) bool { return target == ErrEntry }
