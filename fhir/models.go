// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"reflect"
	"strings"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// The types for resources of which PKB sends only elements that STU3 and R4 share.
// They are samply's, which are made for R4 and cannot hold all of STU3: _birthDate,
// animal, contained and _family, for example, are not in them, so that encoding one
// does not give back all that was decoded. Resource.Raw has all of it.
type (
	Parameters   = models.Parameters
	Patient      = models.Patient
	Person       = models.Person
	Practitioner = models.Practitioner
	Organization = models.Organization
)

// isModel reports whether t is one of samply's types.
func isModel(t reflect.Type) bool { return t.PkgPath() == reflect.TypeFor[models.Patient]().PkgPath() }

// isCode reports whether t is one of samply's codes: a number that reads its
// own text.
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

// fit returns what of tree samply's type t can be decoded from without a change of
// meaning; ok is false if that is nothing. samply's decoder fails on a code that it
// does not know, and reads a required code that is absent as the first of its list.
func fit(tree any, t reflect.Type) (_ any, ok bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		object, isObject := tree.(map[string]any)
		return object, isObject && fitMembers(object, t)
	case t.Kind() == reflect.Slice && t != rawMessage:
		elements, isList := tree.([]any)
		var fitting []any
		for _, e := range elements {
			if e, ok := fit(e, t.Elem()); ok {
				fitting = append(fitting, e)
			}
		}
		return fitting, isList
	}
	return tree, tree != nil && holds(t, tree)
}

// fitMembers removes the members that do not fit, and reports whether the object
// still means the same.
func fitMembers(object map[string]any, t reflect.Type) bool {
	known := make(map[string]bool, t.NumField())
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		known[name] = true
		value, ok := fit(object[name], f.Type)
		if ok {
			object[name] = value
			continue
		}
		delete(object, name)
		if says(f.Type) {
			return false
		}
	}
	for name := range object {
		if !known[name] {
			delete(object, name) // encoding/json would read NAME as name
		}
	}
	return true
}
