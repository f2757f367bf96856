// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"errors"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// ErrReference: the text is not a reference to one resource.
var ErrReference = errors.New("fhir: not a reference of the form Type/id")

// Reference points to a resource.
type Reference struct {
	// Base is the address of the server in an absolute reference, without a
	// trailing slash; "" in a relative one.
	Base string
	// Type and ID are the type and the id of the resource.
	Type, ID string
}

// ParseReference parses "Type/id", relative or at the end of an http or https
// address. A "/_history/version" that follows is dropped.
func ParseReference(s string) (Reference, error) {
	var base string
	path := s
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
			return Reference{}, ErrReference
		}
		base, path = u.Scheme+"://"+u.Host, strings.TrimPrefix(u.EscapedPath(), "/")
	}
	parts := strings.Split(path, "/")
	if n := len(parts); n >= 4 && parts[n-2] == "_history" {
		if !isID(parts[n-1]) {
			return Reference{}, ErrReference
		}
		parts = parts[:n-2]
	}
	n := len(parts)
	if n < 2 || base == "" && n != 2 || !isName(parts[n-2]) || !isID(parts[n-1]) {
		return Reference{}, ErrReference
	}
	if n > 2 {
		base += "/" + strings.Join(parts[:n-2], "/")
	}
	return Reference{Base: base, Type: parts[n-2], ID: parts[n-1]}, nil
}

// isID reports whether s is a FHIR id: 1 to 64 letters, digits, '-' and '.'.
func isID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// ErrPurview: a response of the Purview operation does not have exactly one
// reference. The error is a *PurviewError.
var ErrPurview = errors.New("fhir: not a Purview response with one reference")

// PurviewError is ErrPurview with the number of references.
type PurviewError struct {
	// Count is the number of parameters with the name purview. If it is 1, the
	// parameter had no valid reference.
	Count int
}

func (e *PurviewError) Error() string {
	switch e.Count {
	case 0:
		return "fhir: the Purview response has no reference"
	case 1:
		return "fhir: the Purview response has no valid reference"
	}
	return "fhir: the Purview response names more than one"
}

// Is reports whether target is ErrPurview.
func (e *PurviewError) Is(target error) bool { return target == ErrPurview }

// Purview decodes the response of PKB's Purview operation: Parameters with one
// parameter purview, whose valueReference refers to a Patient, a Practitioner or an
// Organization. Other parameters are ignored. It returns [ErrMalformed],
// [ErrResourceType] or [ErrPurview].
//
// (PKB: Purview operation; Patient Identifier and Demographic Retrieval.)
func Purview(data []byte) (Reference, error) {
	var (
		k     kinds
		count int
		ref   Reference
		found bool
	)
	_, err := whole(data, func(w *jsonwalk.Walk, name []byte) {
		switch string(name) {
		case "resourceType":
			k.member(w, name)
		case "parameter":
			w.Each(func() {
				called, reference := purviewAt(w)
				if called != "purview" {
					return
				}
				count++
				if r, err := ParseReference(strings.TrimSpace(reference)); err == nil {
					ref, found = r, true
				}
			})
		}
	})
	if err != nil {
		return Reference{}, err
	}
	if k.kind() != "Parameters" {
		return Reference{}, &ResourceTypeError{Want: "Parameters", Got: k.kind()}
	}
	if count != 1 || !found {
		return Reference{}, &PurviewError{Count: count}
	}
	return ref, nil
}

// purviewAt walks through a parameter and returns its name and the reference that is
// its value.
func purviewAt(w *jsonwalk.Walk) (called, reference string) {
	w.Object(func(name []byte) {
		switch string(name) {
		case "name":
			called = w.Text()
		case "valueReference":
			reference = ""
			w.Object(func(name []byte) {
				if string(name) == "reference" {
					reference = w.Text()
				}
			})
		}
	})
	return called, reference
}
