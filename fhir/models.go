// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"reflect"
	"strings"
	"sync"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// The types for resources of which PKB sends only elements that STU3 and R4 share.
// They are samply's, which are made for R4 and cannot hold all of STU3. They lack
//
//   - the id and the extensions of primitive elements, such as _birthDate and _family
//   - contained, and animal of a Patient
//   - unit, system, code and comparator of an amount of money, and most of a signature,
//     in the value of an extension or a parameter
//   - codes that R4 does not know, such as the gender "X", and an element that requires
//     the code which it lacks, such as a link of a Patient without a type
//
// so that encoding one does not return all that was decoded. Resource.Raw has all of it,
// and Resource.Contained and Resource.Modifiers read that.
type (
	Parameters   = models.Parameters
	Patient      = models.Patient
	Person       = models.Person
	Practitioner = models.Practitioner
	Organization = models.Organization
)

// isModel reports whether t is one of samply's types.
func isModel(t reflect.Type) bool { return t.PkgPath() == reflect.TypeFor[models.Patient]().PkgPath() }

// isCode reports whether t is one of samply's codes: a number that decodes its own
// text, and fails on text that it does not know.
func isCode(t reflect.Type) bool {
	return t.Kind() == reflect.Int && reflect.PointerTo(t).Implements(decodesItself)
}

// says reports whether the zero value of t has a meaning: whether it is a code, the
// first of its list, or contains one.
func says(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return isCode(t)
	}
	for f := range t.Fields() {
		if says(f.Type) {
			return true
		}
	}
	return false
}

var codesOf sync.Map // from reflect.Type to []string

// codes returns the names of the codes that samply's type t requires.
func codes(t reflect.Type) []string {
	if cached, ok := codesOf.Load(t); ok {
		return cached.([]string)
	}
	var names []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); says(f.Type) {
			names = append(names, name)
		}
	}
	cached, _ := codesOf.LoadOrStore(t, names)
	return cached.([]string)
}

// hasCodes reports whether object has each code that samply's type t requires. An
// absent one would be decoded as the first code of its list.
func hasCodes(object map[string]any, t reflect.Type) bool {
	for _, name := range codes(t) {
		if object[name] == nil {
			return false
		}
	}
	return true
}
