// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "github.com/betawerk/pkb-go/internal/jsonwalk"

// Bundle is one page of search results. [As] decodes a resource of it, and
// [Bundle.Resolve] finds the one that another refers to. The addresses in it can have
// search parameters that identify a patient. Bundle has not all elements of STU3; for
// the others, such as total, read Resource.Raw of a Bundle from [Decode].
type Bundle struct {
	// Type is "searchset" for a search; other types are kept.
	Type string
	// Next is the address of the next page as the server wrote it, absolute or
	// relative; "" on the last page.
	Next string
	// Entries are the entries that have a resource, in order.
	Entries []Entry
}

// Entry is a resource in a Bundle and the reason for its presence.
type Entry struct {
	// FullURL is the address of the resource, or "".
	FullURL string
	// Mode is "match", "include" or "outcome"; "" if it is absent.
	Mode     string
	Resource Resource[Any]
}

// DecodeBundle decodes a Bundle. It returns [ErrMalformed] or [ErrResourceType].
// An entry that is malformed does not make it fail. The resources are parts of
// data: do not change it afterwards.
func DecodeBundle(data []byte) (Bundle, error) {
	var (
		b Bundle
		k kinds
	)
	_, err := whole(data, func(w *jsonwalk.Walk, name []byte) {
		switch string(name) {
		case "resourceType":
			k.member(w, name)
		case "type":
			b.Type = w.Text()
		case "link": // of members of the same name the last is used, here and below
			b.Next = ""
			w.Each(func() {
				if next := nextLinkAt(w); b.Next == "" {
					b.Next = next
				}
			})
		case "entry":
			b.Entries = nil
			w.Each(func() {
				if e, ok := entryAt(w); ok {
					b.Entries = append(b.Entries, e)
				}
			})
		}
	})
	if err != nil {
		return Bundle{}, err
	}
	if k.kind() != "Bundle" {
		return Bundle{}, &ResourceTypeError{Want: "Bundle", Got: k.kind()}
	}
	return b, nil
}

// nextLinkAt walks through a link and returns its address if its relation is "next".
func nextLinkAt(w *jsonwalk.Walk) string {
	relation, address := "", ""
	w.Object(func(name []byte) {
		switch string(name) {
		case "relation":
			relation = w.Text()
		case "url":
			address = w.Text()
		}
	})
	if relation != "next" {
		return ""
	}
	return address
}

// entryAt walks through an entry; ok is false if it has no resource.
func entryAt(w *jsonwalk.Walk) (e Entry, ok bool) {
	w.Object(func(name []byte) {
		switch string(name) {
		case "resource":
			e.Resource, ok = resourceAt(w)
		case "fullUrl":
			e.FullURL = w.Text()
		case "search":
			e.Mode = ""
			w.Object(func(name []byte) {
				if string(name) == "mode" {
					e.Mode = w.Text()
				}
			})
		}
	})
	return e, ok
}
