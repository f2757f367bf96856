// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

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
	data, err := object(data)
	if err != nil {
		return Bundle{}, err
	}
	if kind := kindOf(data); kind != "Bundle" {
		return Bundle{}, &ResourceTypeError{Want: "Bundle", Got: kind}
	}
	var b Bundle
	eachMember(data, func(name, value []byte) {
		switch string(name) {
		case "type":
			b.Type = unquote(value)
		case "link":
			eachElement(value, func(link []byte) {
				if next := nextLink(link); b.Next == "" {
					b.Next = next
				}
			})
		case "entry":
			eachElement(value, func(e []byte) {
				if entry, ok := readEntry(e); ok {
					b.Entries = append(b.Entries, entry)
				}
			})
		}
	})
	return b, nil
}

func nextLink(link []byte) string {
	relation, address := "", ""
	eachMember(link, func(name, value []byte) {
		switch string(name) {
		case "relation":
			relation = unquote(value)
		case "url":
			address = unquote(value)
		}
	})
	if relation != "next" {
		return ""
	}
	return address
}

func readEntry(data []byte) (Entry, bool) {
	var e Entry
	eachMember(data, func(name, value []byte) {
		switch string(name) {
		case "resource":
			if value[0] == '{' {
				e.Resource = wrap(value)
			}
		case "search":
			eachMember(value, func(name, value []byte) {
				if string(name) == "mode" {
					e.Mode = unquote(value)
				}
			})
		}
	})
	return e, e.Resource.held != nil
}
