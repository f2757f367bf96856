// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	models "github.com/samply/golang-fhir-models/fhir-models/fhir"
)

// The types of which STU3 and R4 have the same elements, or of which PKB sends
// only such: samply's. They print all that they hold; Resource, in which Decode
// hands them out, does not.
type (
	Parameters   = models.Parameters
	Patient      = models.Patient
	Person       = models.Person
	Practitioner = models.Practitioner
	Organization = models.Organization
)

// isModel reports whether t is one of samply's types.
func isModel(t reflect.Type) bool { return t.PkgPath() == reflect.TypeFor[models.Patient]().PkgPath() }

// withoutUnknown returns the resource without what samply's decoder would fail
// on or read as something else: it gives up at a code that it does not know,
// and where a code is required and missing it reads the first one of its list.
func withoutUnknown(raw []byte, t reflect.Type) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // 1.50 stays 1.50
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	tree, _ = fit(tree, t)
	return json.Marshal(tree)
}

var decodesItself = reflect.TypeFor[json.Unmarshaler]()

// isCode reports whether t is one of samply's codes: a number that reads its
// own text.
func isCode(t reflect.Type) bool {
	return t.Kind() == reflect.Int && reflect.PointerTo(t).Implements(decodesItself)
}

// says reports whether the zero value of t says something: it is a code, the
// first of its list, or has one.
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

// fit returns the part of tree that t can be read from without a change of
// meaning; ok is false if there is none.
func fit(tree any, t reflect.Type) (_ any, ok bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		object, isObject := tree.(map[string]any)
		return object, isObject && fitMembers(object, t)
	case t.Kind() == reflect.Slice && t != reflect.TypeFor[json.RawMessage]():
		elements, isList := tree.([]any)
		var fitting []any
		for _, e := range elements {
			if e, ok := fit(e, t.Elem()); ok {
				fitting = append(fitting, e)
			}
		}
		return fitting, isList
	}
	written, err := json.Marshal(tree)
	return tree, err == nil && tree != nil && json.Unmarshal(written, reflect.New(t).Interface()) == nil
}

// fitMembers leaves out members that do not fit, and reports whether the object
// still means what it meant.
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
