// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
)

// A modifier extension is found wherever it is, and whatever else the resource has.
func TestModifiers(t *testing.T) {
	for members, want := range map[string][]string{
		`"status":"final","extension":[{"url":"urn:plain"}]`:                                             nil,
		`"comment":"modifierExtension","modifierExtensions":[{"url":"urn:x"}],"ModifierExtension":[{}]`:  nil,
		`"modifierExtension":[],"component":[{"modifierExtension":null}],"related":[]`:                   nil,
		`"modifierExtension":[{"url":"urn:a","valueBoolean":true}]`:                                      {"urn:a"},
		`"modifierExtension":{"url":"urn:a"}`:                                                            {"urn:a"},
		`"component":[{"code":{}},{"modifierExtension":[{"url":"urn:a"}]}]`:                              {"urn:a"},
		`"component":{"referenceRange":[{"modifierExtension":[{"url":"urn:b"},{"url":"urn:a"}]}]}`:       {"urn:a", "urn:b"},
		`"contained":[{"resourceType":"Device","udi":{"modifierExtension":[{"url":"urn:a"}]}}]`:          {"urn:a"},
		`"related":[{"modifierExtension":[{"url":"urn:a"}]}],"modifierExtension":[{"url":"urn:a"},null]`: {"urn:a"},
		`"unknown":[[{"modifierExtension":[{"url":"urn:a","extension":[{"modifierExtension":[{}]}]}]}]]`: {"", "urn:a"},
		`"modifierExtension":[{"url":"urn:a"}],"modifierExtension":[]`:                                   {"urn:a"}, // one that is overridden is reported rather than missed
		`"modifier\u0045xtension":[{"u\u0072l":"urn:a"}]`:                                                {"urn:a"},
		`"modifierExtension":["odd",7,{"url":8},[]]`:                                                     {""},
		`"code":{"extension":[{"url":"urn:x","valueCoding":{"modifierExtension":[{"url":"urn:a"}]}}]}`:   {"urn:a"},
	} {
		data := []byte(`{"resourceType":"Observation",` + members + `}`)
		r, err := fhir.Decode[fhir.Observation](data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.Modifiers()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", members, diff)
		}
		page, err := fhir.Decode[fhir.Bundle]([]byte(`{"resourceType":"Bundle","entry":[{"resource":` + string(data) + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, page.Reveal().Entries[0].Resource.Modifiers()); diff != "" {
			t.Errorf("%s before it is decoded (-want +got):\n%s", members, diff)
		}
		if diff := cmp.Diff(want, page.Modifiers()); diff != "" {
			t.Errorf("%s in a page (-want +got):\n%s", members, diff)
		}
	}
	p, err := fhir.Decode[fhir.Patient]([]byte(`{"resourceType":"Patient","animal":{"modifierExtension":[{"url":"urn:a"}]}}`))
	if diff := cmp.Diff([]string{"urn:a"}, p.Modifiers()); diff != "" || err != nil {
		t.Errorf("in an element that Patient lacks (-want +got), %v:\n%s", err, diff)
	}
	page, err := fhir.Decode[fhir.Bundle]([]byte(`{"resourceType":"Bundle","entry":[{"modifierExtension":[{"url":"urn:a"}]}]}`))
	if diff := cmp.Diff([]string{"urn:a"}, page.Modifiers()); diff != "" || err != nil {
		t.Errorf("of an entry (-want +got), %v:\n%s", err, diff)
	}
	if (fhir.Resource[fhir.Observation]{}).Modifiers() != nil {
		t.Error("the zero Resource has a modifier extension")
	}
}

// A modifier extension that encoding/json finds is never missed.
func FuzzModifiers(f *testing.F) {
	for _, members := range []string{`"modifierExtension":[{"url":"a"}]`, `"a":[[{"modifierExtension":{}}]]`, `"modifier\u0045xtension":[7]`, `"modifierExtension":[null,[]]`} {
		f.Add([]byte(`{"resourceType":"Observation",` + members + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := fhir.Decode[fhir.Any](data)
		if err != nil {
			return
		}
		if found := r.Modifiers(); len(found) == 0 && modifies(values(t, r.Raw())) {
			t.Error("a modifier extension is missed")
		}
	})
}

// modifies reports whether a tree has a modifier extension.
func modifies(tree any) bool {
	switch tree := tree.(type) {
	case map[string]any:
		for name, value := range tree {
			if name == "modifierExtension" && isPresent(value) || modifies(value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(tree, modifies)
	}
	return false
}

// isPresent reports whether a value, or one of a list, is not null.
func isPresent(value any) bool {
	if list, isList := value.([]any); isList {
		return slices.ContainsFunc(list, func(v any) bool { return v != nil })
	}
	return value != nil
}
