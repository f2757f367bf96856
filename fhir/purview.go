// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"errors"
	"strings"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

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
