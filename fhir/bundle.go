// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import "github.com/betawerk/pkb-go/internal/jsonwalk"

// Bundle is one page of what a search found. It is not samply's Bundle: that
// one gives up at a type or mode that it does not know, and copies each
// resource.
type Bundle struct {
	Redacted
	// Type is "searchset" for a search; other types are kept.
	Type string
	// Next is the address of the next page as the server wrote it, absolute or
	// not; "" on the last page.
	Next string
	// Entries are those that have a resource, in order.
	Entries []Entry
}

// Entry is a resource in a Bundle and why it is there.
type Entry struct {
	Redacted
	// Mode is "match", "include" or "outcome"; "" if the server does not say.
	Mode     string
	Resource Resource[Any]
}

// DecodeBundle reads a Bundle. It returns ErrMalformed or ErrResourceType.
// Nothing that is odd in an entry makes it fail. The resources are parts of
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
		case "link":
			w.Each(func() {
				if next := nextLinkAt(w); b.Next == "" {
					b.Next = next
				}
			})
		case "entry":
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

// nextLink walks through a link and returns its address if it is to the next
// page.
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

// entry walks through an entry; ok is false if it has no resource.
func entryAt(w *jsonwalk.Walk) (e Entry, ok bool) {
	w.Object(func(name []byte) {
		switch string(name) {
		case "resource":
			if r, there := resourceAt(w); there {
				e.Resource, ok = r, true
			}
		case "search":
			w.Object(func(name []byte) {
				if string(name) == "mode" {
					e.Mode = w.Text()
				}
			})
		}
	})
	return e, ok
}
