// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/integration/npm"
)

// The short form: no value of a public file is lost, changed, or without a field.
func TestNothingIsLost(t *testing.T) {
	of := sources
	if testing.Short() {
		of = slices.DeleteFunc(slices.Clone(sources), func(s source) bool { return s.name != "cql-exec-fhir" && s.name != "fhirpath" })
	}
	c, err := measure(t.Context(), io.Discard, of, 20)
	if errors.Is(err, npm.ErrUnreachable) {
		if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
			t.Fatalf("PKB_REQUIRE_SERVICES=1 says that npm's registry can be reached: %v", err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c.figures)
	for _, problem := range c.problems {
		t.Error(problem)
	}
	if c.wrong() > 0 {
		t.Errorf("%+v: package fhir must hold every value of its own types", c.figures)
	}
	least := figures{Files: 600, Resources: 2500, Values: 40_000}
	if testing.Short() {
		least = figures{Files: 5, Resources: 300, Values: 3000}
	}
	if c.Files < least.Files || c.Resources < least.Resources || c.Values < least.Values {
		t.Errorf("%+v: too few are compared to say anything", c.figures)
	}
	if testing.Short() {
		return
	}
	for kind := range readings {
		if c.seen[kind] == 0 {
			t.Errorf("no file has a %s", kind)
		}
	}
	// What package fhir's documentation says that these types lack.
	for _, name := range slices.Sorted(maps.Keys(c.lacking)) {
		if _, last, _ := strings.Cut(name, "."); !strings.Contains(last, "_") && !strings.Contains(last, "contained") {
			t.Errorf("%s is lacking %d times, and not documented", name, c.lacking[name])
		}
	}
	if c.SamplyLost == 0 || c.SamplyLost > c.SamplyValues/20 {
		t.Errorf("%d of %d values are not held by the types made for R4", c.SamplyLost, c.SamplyValues)
	}
}

// The comparison finds what a type would lose: each fault is counted as what it is.
func TestTheComparisonCanFail(t *testing.T) {
	const sent = `{"resourceType":"Observation","status":"final","valueQuantity":{"value":1.50,"unit":"g"},"component":[{"valueBoolean":false}],"category":[{"text":"a"},{"text":"b"}],"contained":[{"resourceType":"A","n":1.0}]}`
	for name, tc := range map[string]struct {
		sent  string
		spoil func(o *fhir.Observation)
		want  figures
	}{
		"nothing":         {sent, func(*fhir.Observation) {}, figures{}},
		"a value":         {sent, func(o *fhir.Observation) { o.Status = "" }, figures{Lost: 1, Changed: 1}},
		"another value":   {sent, func(o *fhir.Observation) { o.Status = "amended" }, figures{Changed: 2}},
		"a zero":          {sent, func(o *fhir.Observation) { o.ValueQuantity.Value = "1.5" }, figures{Changed: 2}},
		"a boolean":       {sent, func(o *fhir.Observation) { o.Component[0].ValueBoolean = nil }, figures{Lost: 1, Changed: 1}},
		"an element":      {sent, func(o *fhir.Observation) { o.ValueQuantity = nil }, figures{Lost: 2, Changed: 2}},
		"one of a list":   {sent, func(o *fhir.Observation) { o.Category = o.Category[:1] }, figures{Lost: 2, Changed: 1}},
		"contained":       {sent, func(o *fhir.Observation) { o.Contained[0] = json.RawMessage(`{"resourceType":"A","n":1}`) }, figures{Changed: 2}},
		"one too many":    {sent, func(o *fhir.Observation) { o.Comment = "made up" }, figures{Changed: 1}},
		"an R4 element":   {strings.Replace(sent, `"status"`, `"note":[{"text":"x"}],"status"`, 1), func(*fhir.Observation) {}, figures{Unreachable: 1, Changed: 1}},
		"an empty object": {strings.Replace(sent, `"status"`, `"note":{},"status"`, 1), func(*fhir.Observation) {}, figures{Unreachable: 1}},
	} {
		tree, err := generic([]byte(tc.sent))
		if err != nil {
			t.Fatal(err)
		}
		r, err := fhir.Decode[fhir.Observation]([]byte(tc.sent))
		if err != nil {
			t.Fatal(err)
		}
		tc.spoil(r.Reveal())
		c := newComparison()
		c.value("x", tree, reflect.ValueOf(r.Reveal()).Elem())
		c.again("x", tree, r.Reveal())
		if c.Values != leaves(tree) {
			t.Errorf("%s: %d values of %d were compared", name, c.Values, leaves(tree))
		}
		c.Values = 0
		if diff := cmp.Diff(tc.want, c.figures); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", name, diff, strings.Join(c.problems, "\n"))
		}
	}
}

// What only Raw has of a page, and of a resource in a type made for R4, is counted.
func TestOnlyInRaw(t *testing.T) {
	c := newComparison()
	c.file("page", []byte(`{"resourceType":"Bundle","type":"searchset","total":1,"link":[{"relation":"self","url":"s"},{"relation":"next","url":"n"}],
		"entry":[{"fullUrl":"u","search":{"mode":"match","score":1},"resource":{"resourceType":"Patient","id":"1","birthDate":"1980","_birthDate":{"id":"a"},"animal":{"species":{"text":"cat"}}}},{"response":{"status":"200"}}]}`))
	want := figures{Files: 1, Resources: 2, Values: 4, SamplyValues: 5, SamplyLost: 2, BundleRaw: 5} // total, self, score, response
	if diff := cmp.Diff(want, c.figures); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, strings.Join(c.problems, "\n"))
	}
	if diff := cmp.Diff(map[string]int{"Patient._birthDate": 1, "Patient.animal.species.text": 1}, c.lacking); diff != "" {
		t.Errorf("lacking (-want +got):\n%s", diff)
	}
}
