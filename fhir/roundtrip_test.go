// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
)

// values decodes JSON for comparing, with numbers as they are written.
func values(t testing.TB, data []byte) (tree any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// isOurs reports whether the type is not one of samply's, which are made for R4.
func (r reading) isOurs() bool {
	return r.model.PkgPath() == reflect.TypeFor[fhir.Observation]().PkgPath()
}

// roundTrip decodes and encodes a resource of one of our types, by encoding/json
// alone and by Decode, and each that is contained in it.
func roundTrip(t *testing.T, name string, data []byte) (tried int) {
	t.Helper()
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var inner struct {
		Contained []json.RawMessage
		Entry     []struct{ Resource json.RawMessage }
	}
	if json.Unmarshal(data, &inner) == nil {
		for _, c := range inner.Contained {
			tried += roundTrip(t, name+" contained", c)
		}
		for _, e := range inner.Entry {
			if e.Resource != nil {
				tried += roundTrip(t, name+" entry", e.Resource)
			}
		}
	}
	kind, err := fhir.ResourceType(data)
	r, ok := readingOf(kind)
	if err != nil || !ok || !r.isOurs() {
		return tried
	}
	model := reflect.New(r.model).Interface()
	if err := json.Unmarshal(data, model); err != nil {
		t.Errorf("%s: %v", name, err)
		return tried
	}
	resource, err := r.decode(data)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return tried
	}
	decoded, _, _, _ := r.look(resource)
	for _, m := range []any{model, decoded} {
		again, err := json.Marshal(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(values(t, data), values(t, again)); diff != "" {
			t.Errorf("%s: what is encoded is not what was decoded (-want +got):\n%s", name, diff)
		}
	}
	return tried + 1
}

func TestRoundTrip(t *testing.T) {
	tried := 0
	for name, data := range fixtures(t) {
		tried += roundTrip(t, name, data)
	}
	for name, data := range map[string]string{
		"extensions of primitives": `{"resourceType":"RelatedPerson","active":false,"_active":{"id":"a"},"birthDate":"1980","_birthDate":{"extension":[{"url":"urn:x","valueDateTime":"1980-01-01T10:00:00Z"}]},
			"_gender":{"extension":[{"url":"urn:x","valueCode":"unknown"}]},
			"name":[{"given":["Ada",null,"Bo"],"_given":[null,{"extension":[{"url":"urn:x","valueBoolean":false}]},null],"_family":{"id":"f"}}]}`,
		"numbers": `{"resourceType":"Observation","valueQuantity":{"value":1.50},"component":[{"valueQuantity":{"value":1e-7}},{"valueQuantity":{"value":0.0}},{"valueQuantity":{"value":-0}},
			{"valueQuantity":{"value":12345678901234567890.123456789}}]}`,
		"texts":     `{"resourceType":"Observation","comment":"<&>\u2028 \ud83d\ude00 \"\\"}`,
		"modifiers": `{"resourceType":"Observation","component":[{"modifierExtension":[{"url":"urn:not"}]}],"related":[{"modifierExtension":[{"url":"urn:not"}],"target":{"identifier":{"assigner":{"display":"x"}}}}]}`,
		"contained": `{"resourceType":"Consent","contained":[{"resourceType":"Unheard","n":1.0}]}`,
		"timing":    `{"resourceType":"ProcedureRequest","occurrenceTiming":{"event":["2020",null],"_event":[null,{"id":"e"}],"repeat":{"boundsPeriod":{"start":"2020"},"frequency":1,"period":2.0,"periodUnit":"d","dayOfWeek":["mon"]}}}`,
	} {
		tried += roundTrip(t, name, []byte(data))
	}
	if tried < 20 {
		t.Errorf("only %d resources tried", tried)
	}
}

// The examples of the specification, or any other public files, in a directory:
//
//	STU3_EXAMPLES=~/hl7.fhir.r3.examples/package go test ./fhir -run TestPublicExamples -v
func TestPublicExamples(t *testing.T) {
	dir := os.Getenv("STU3_EXAMPLES")
	if dir == "" {
		t.Skip("STU3_EXAMPLES names no directory with public STU3 files: only the fixtures are tried")
	}
	tried := 0
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && json.Valid(data) {
			tried += roundTrip(t, path, data)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d resources give back what was decoded", tried)
	if tried == 0 {
		t.Error("no resource was tried")
	}
}

// filled returns a value of type t in which every element is present.
func filled(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filled(t.Elem(), depth))
	case reflect.Slice:
		if t == reflect.TypeFor[json.RawMessage]() {
			return reflect.ValueOf(json.RawMessage(`{"resourceType":"Unheard"}`))
		}
		v.Set(reflect.Append(v, filled(t.Elem(), depth), filled(t.Elem(), depth)))
	case reflect.Struct:
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if depth < 2 || t.Field(i).Type.Kind() == reflect.String || t.Field(i).Anonymous || name == "" {
				v.Field(i).Set(filled(t.Field(i).Type, depth+1))
			}
		}
	case reflect.Bool:
		v.SetBool(false)
	case reflect.String:
		v.SetString("1.50")
	}
	return v
}

// No element is lost, whichever is present: two that shared a name would be.
func TestEveryElementRoundTrips(t *testing.T) {
	for _, r := range readings {
		if !r.isOurs() {
			continue
		}
		want := filled(r.model, 0)
		want.FieldByName("ResourceType").SetString(r.name)
		data, err := json.Marshal(want.Interface())
		if err != nil {
			t.Fatal(err)
		}
		resource, err := r.decode(data)
		if err != nil {
			t.Fatal(err)
		}
		model, _, _, _ := r.look(resource)
		if diff := cmp.Diff(want.Interface(), reflect.ValueOf(model).Elem().Interface()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.name, diff)
		}
		roundTrip(t, r.name, data)
	}
}

func TestNewResource(t *testing.T) {
	built, err := fhir.NewResource(fhir.Observation{Common: fhir.Common{ID: "1"}, Status: "final", ObservationValue: fhir.ObservationValue{ValueBoolean: new(false)}})
	if err != nil {
		t.Fatal(err)
	}
	const raw = `{"resourceType":"Observation","id":"1","status":"final","valueBoolean":false}`
	if string(built.Raw()) != raw || built.Type() != "Observation" || built.ID() != "1" || built.Reveal().Status != "final" || built.IsZero() {
		t.Errorf("built %s", built.Raw())
	}
	decoded, err := fhir.Decode[fhir.Observation]([]byte(` {"valueBoolean":false, "status":"final","id":"1","resourceType":"Observation"}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decoded, built); diff != "" {
		t.Errorf("what is built differs from what is decoded:\n%s", diff)
	}
	if diff := cmp.Diff(decoded.Reveal(), built.Reveal()); diff != "" {
		t.Errorf("what is built differs from what is decoded:\n%s", diff)
	}
	if diff := cmp.Diff([]fhir.Resource[fhir.Observation]{built}, []fhir.Resource[fhir.Observation]{{}}); diff == "" || strings.Contains(diff, "final") {
		t.Errorf("a diff of two resources shows what is in them, or nothing:\n%s", diff)
	}
	var absent fhir.Resource[fhir.Observation]
	for _, other := range []string{`{"resourceType":"Observation"}`, strings.Replace(raw, "false", "true", 1), strings.Replace(raw, `"1"`, `"2"`, 1)} {
		r, err := fhir.Decode[fhir.Observation]([]byte(other))
		if err != nil || r.Equal(built) || built.Equal(r) || absent.Equal(r) || r.Equal(absent) {
			t.Errorf("%s is equal, %v", other, err)
		}
	}
	if !absent.IsZero() || !absent.Equal(absent) || absent.Equal(built) {
		t.Error("the zero Resource is not absent")
	}
	if encoded, err := json.Marshal(struct {
		R fhir.Resource[fhir.Observation] `json:"r,omitzero"`
	}{}); err != nil || string(encoded) != "{}" {
		t.Errorf("a host's struct without a resource is %s, %v", encoded, err)
	}

	if r, err := fhir.NewResource(fhir.Patient{Active: new(true)}); err != nil || !strings.Contains(string(r.Raw()), `"resourceType":"Patient"`) || r.Type() != "Patient" {
		t.Errorf("a Patient: %s, %v", r.Raw(), err)
	}
	if r, err := fhir.NewResource(fhir.OperationOutcome{}); err != nil || string(r.Raw()) != `{"resourceType":"OperationOutcome"}` {
		t.Errorf("an empty model: %s, %v", r.Raw(), err)
	}
	if r, err := fhir.NewResource(fhir.Observation{Common: fhir.Common{ResourceType: "Patient"}}); !errors.Is(err, fhir.ErrResourceType) || !r.IsZero() {
		t.Errorf("a model of another type: %v", err)
	}
	if r, err := fhir.NewResource(fhir.Observation{ObservationValue: fhir.ObservationValue{ValueQuantity: &fhir.Quantity{Value: "tall"}}}); err == nil || !r.IsZero() {
		t.Errorf("a model that is not JSON: %v", err)
	}
	for _, entries := range [][]fhir.Entry{nil, {{}}} {
		if _, err := fhir.NewResource(fhir.Bundle{Entries: entries}); err == nil {
			t.Error("a Bundle is encoded as what it is not")
		}
	}
	if _, err := fhir.NewResource(fhir.Any{}); err == nil {
		t.Error("a resource of no type")
	}
	if _, err := fhir.NewResource("text"); err == nil {
		t.Error("a text is a resource")
	}
}

// A Bundle and an OperationOutcome are decoded like any other resource.
func TestDecodeOfEveryKind(t *testing.T) {
	page, err := fhir.Decode[fhir.Bundle](fixtures(t)["testdata/bundle.json"])
	if err != nil || page.Reveal().Type != "searchset" || len(page.Reveal().Entries) != 3 {
		t.Fatalf("%d entries, %v", len(page.Reveal().Entries), err)
	}
	outcome, err := fhir.As[fhir.OperationOutcome](page.Reveal().Entries[2].Resource)
	if err != nil || len(outcome.Reveal().Issue) == 0 {
		t.Errorf("an outcome with %d issues, %v", len(outcome.Reveal().Issue), err)
	}
	if page.Reveal().Entries[0].FullURL == "" {
		t.Error("an entry without its address")
	}
}

// A Resource is encoded and decoded nowhere.
func TestResourceRefusesEncoding(t *testing.T) {
	r, err := fhir.NewResource(fhir.Observation{Comment: "canary"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{r, &r, []any{r}, map[string]any{"r": r}, struct {
		R fhir.Resource[fhir.Observation]
	}{r}, fhir.Resource[fhir.Any]{}, fhir.Bundle{Entries: []fhir.Entry{{}}}} {
		if encoded, err := json.Marshal(v); err == nil || len(encoded) > 0 || !strings.Contains(err.Error(), "Reveal") || !strings.Contains(err.Error(), "Raw") {
			t.Errorf("%T is encoded as %q, %v", v, encoded, err)
		}
	}
	if text, err := r.MarshalText(); err == nil || text != nil {
		t.Errorf("as text %q, %v", text, err)
	}
	if value, err := r.Value(); err == nil || value != nil {
		t.Errorf("in a column %q, %v", value, err)
	}
	if err := json.Unmarshal([]byte(`{"resourceType":"Observation"}`), &r); err == nil || r.Reveal().Comment != "canary" {
		t.Errorf("decoded into: %v", err)
	}
}
