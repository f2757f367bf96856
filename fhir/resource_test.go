// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
)

// reading is a type under test without its type parameter.
type reading struct {
	name   string
	model  reflect.Type
	decode func(data []byte) (any, error) // a Resource
	look   func(resource any) (model any, id string, raw json.RawMessage, contained int)
}

func read[T any]() reading {
	t := reflect.TypeFor[T]()
	return reading{
		name: t.Name(), model: t,
		decode: func(data []byte) (any, error) { return fhir.Decode[T](data) },
		look: func(resource any) (any, string, json.RawMessage, int) {
			r := resource.(fhir.Resource[T])
			return r.Reveal(), r.ID(), r.Raw(), len(r.Contained())
		},
	}
}

// readings are all types that Decode is made for.
var readings = []reading{
	read[fhir.Observation](), read[fhir.DiagnosticReport](), read[fhir.DocumentReference](), read[fhir.Appointment](),
	read[fhir.Encounter](), read[fhir.Communication](), read[fhir.Consent](), read[fhir.RelatedPerson](),
	read[fhir.Questionnaire](), read[fhir.QuestionnaireResponse](), read[fhir.ProcedureRequest](), read[fhir.NamingSystem](),
	read[fhir.OperationOutcome](),
	read[fhir.Patient](), read[fhir.Person](), read[fhir.Practitioner](), read[fhir.Organization](), read[fhir.Parameters](),
}

func readingOf(kind string) (reading, bool) {
	for _, r := range readings {
		if r.name == kind {
			return r, true
		}
	}
	return reading{}, false
}

// fixtures are resources in the shapes that PKB's pages describe.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d fixtures, %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func kindOf(t testing.TB, data []byte) string {
	t.Helper()
	kind, err := fhir.ResourceType(data)
	if err != nil {
		t.Fatal(err)
	}
	return kind
}

// Every element of every fixture is decoded into its field: none is lost, as R4
// models lose those of STU3.
func TestNothingIsLost(t *testing.T) {
	seen := map[string]bool{}
	for name, data := range fixtures(t) {
		r, ok := readingOf(kindOf(t, data))
		if !ok {
			continue // a Bundle is no struct of FHIR's shape
		}
		seen[r.name] = true
		resource, err := r.decode(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		model, id, raw, contained := r.look(resource)
		var tree map[string]any
		if err := json.Unmarshal(data, &tree); err != nil {
			t.Fatal(err)
		}
		if want, _ := tree["id"].(string); id != want {
			t.Errorf("%s: id %q", name, id)
		}
		if !bytes.Equal(raw, bytes.TrimSpace(data)) {
			t.Errorf("%s: Raw is not what was received", name)
		}
		if c, _ := tree["contained"].([]any); len(c) != contained {
			t.Errorf("%s: %d contained resources, want %d", name, contained, len(c))
		}
		delete(tree, "resourceType")
		delete(tree, "contained")
		arrived(t, name, tree, reflect.ValueOf(model).Elem())
	}
	for _, r := range readings {
		if !seen[r.name] {
			t.Errorf("there is no fixture for %s", r.name)
		}
	}
}

// arrived reports the members of tree that are not in v.
func arrived(t *testing.T, path string, tree any, v reflect.Value) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			t.Errorf("%s is lost", path)
			return
		}
		v = v.Elem()
	}
	switch tree := tree.(type) {
	case map[string]any:
		for name, value := range tree {
			field := v.FieldByIndex(fieldNamed(v.Type(), name))
			arrived(t, path+"."+name, value, field)
		}
	case []any:
		if v.Kind() != reflect.Slice || v.Len() != len(tree) {
			t.Errorf("%s is lost", path)
			return
		}
		for i, e := range tree {
			arrived(t, fmt.Sprintf("%s[%d]", path, i), e, v.Index(i))
		}
	default:
		got := fmt.Sprint(v.Interface())
		if n, ok := v.Interface().(json.Number); ok {
			f, err := n.Float64()
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			got = fmt.Sprint(f)
		}
		if got != fmt.Sprint(tree) {
			t.Errorf("%s is %q, want %v", path, got, tree)
		}
	}
}

// fieldNamed finds the field with a JSON name, also in embedded structs.
func fieldNamed(t reflect.Type, name string) []int {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return f.Index
		}
	}
	panic(t.Name() + " has no element " + name)
}

// An element that does not fit is left at its zero value, or read as what it must
// mean; the rest is decoded.
func TestOddElements(t *testing.T) {
	r, err := fhir.Decode[fhir.Observation]([]byte("\xef\xbb\xbf" + ` {"id":"a","status":"brand-new-status","code":7,"category":{"text":"one"},
		"valueQuantity":{"value":"140.50","comparator":"~","unit":5,"code":"g/L"},"valueBoolean":"yes","effectiveDateTime":{},"method":[{"text":"of one"}],
		"bodySite":[{"text":"a"},{"text":"b"}],"performer":[{"reference":["Patient/1"]},7],"interpretation":[],
		"comment":"kept","component":[null,{"valueString":"kept","code":[]},8],"new":{"x":[1]},"subject":null,"resourceType":"Observation"} `))
	if err != nil {
		t.Fatal(err)
	}
	want := fhir.Observation{
		Common: fhir.Common{ResourceType: "Observation", ID: "a"}, Status: "brand-new-status", Comment: "kept",
		Category: []fhir.CodeableConcept{{Text: "one"}}, Method: &fhir.CodeableConcept{Text: "of one"}, Performer: []fhir.Ref{{Reference: "Patient/1"}, {}},
		Component: []fhir.ObservationComponent{{}, {ObservationValue: fhir.ObservationValue{ValueString: "kept"}}, {}},
	}
	want.ValueQuantity = &fhir.Quantity{Value: "140.50", Comparator: "~", Unit: "5", Code: "g/L"}
	if diff := cmp.Diff(&want, r.Reveal()); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(r.Raw()), `"new":{"x":[1]}`) {
		t.Error("Raw lacks the unknown element")
	}
}

// Names match exactly, and the last member of a name is used as a whole: a quantity
// of two amounts is one that nobody sent.
func TestNamesAreExact(t *testing.T) {
	for name, tc := range map[string]struct {
		members string
		want    fhir.Observation
	}{
		"capitals":            {`"status":"final","STATUS":"entered-in-error","ID":"9"`, fhir.Observation{Status: "final"}},
		"capitals only":       {`"Status":"final"`, fhir.Observation{}},
		"two of a name":       {`"status":"final","status":"amended"`, fhir.Observation{Status: "amended"}},
		"two objects":         {`"code":{"text":"a"},"code":{"coding":[{"code":"x"}]}`, fhir.Observation{Code: fhir.CodeableConcept{Coding: []fhir.Coding{{Code: "x"}}}}},
		"two in a list":       {`"performer":[{"reference":"a","reference":"b"}]`, fhir.Observation{Performer: []fhir.Ref{{Reference: "b"}}}},
		"two with an escape":  {`"comment":"a","c\u006fmment":"b"`, fhir.Observation{Comment: "b"}},
		"the sign for Kelvin": {`"statu\u017f":"final"`, fhir.Observation{}},
	} {
		for _, body := range []string{`{"resourceType":"Observation",` + tc.members + `}`, `{"resourceType":"Bundle","entry":[{"resource":{` + tc.members + `,"resourceType":"Observation"}}]}`} {
			tc.want.ResourceType = "Observation"
			r, err := fhir.Decode[fhir.Observation]([]byte(body))
			if errors.Is(err, fhir.ErrResourceType) {
				var page fhir.Bundle
				if page, err = fhir.DecodeBundle([]byte(body)); err == nil {
					r, err = fhir.As[fhir.Observation](page.Entries[0].Resource)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tc.want, r.Reveal()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// A resource of very many elements would take hundreds of times the memory of its JSON:
// it is not decoded, whatever the elements are, and Raw has it.
func TestVeryManyElements(t *testing.T) {
	const most = 100_000
	list := func(element string, n int) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	for name, members := range map[string]func(n int) string{
		"empty extensions":   func(n int) string { return `"extension":` + list("{}", n) },
		"nothing":            func(n int) string { return `"extension":` + list("null", n) },
		"what does not fit":  func(n int) string { return `"extension":` + list("1", n) },
		"beside an odd name": func(n int) string { return `"STATUS":"x","extension":` + list("{}", n) },
		"at two depths":      func(n int) string { return `"contact":[{"extension":` + list("{}", n-1) + `}]` },
		"in two lists":       func(n int) string { return `"extension":` + list("{}", n/2) + `,"identifier":` + list("{}", n-n/2) },
	} {
		for _, kind := range []string{"Observation", "Patient", "Bundle"} {
			for n, want := range map[int]error{most: nil, most + 1: fhir.ErrTooLarge} {
				if n == most && kind == "Patient" {
					continue // it takes longest
				}
				data := []byte(`{"resourceType":"` + kind + `",` + members(n) + `}`)
				page, err := fhir.DecodeBundle([]byte(`{"resourceType":"Bundle","entry":[{"resource":` + string(data) + `},{"resource":{"resourceType":"Observation"}}]}`))
				if err != nil || len(page.Entries) != 2 || !bytes.Equal(page.Entries[0].Resource.Raw(), data) {
					t.Fatalf("%s: %d entries, %v", name, len(page.Entries), err)
				}
				switch kind {
				case "Observation":
					_, err = fhir.As[fhir.Observation](page.Entries[0].Resource)
				case "Patient":
					_, err = fhir.Decode[fhir.Patient](data)
				case "Bundle": // its resources are not decoded
					_, err = fhir.Decode[fhir.Bundle](data)
					want = nil
				}
				if !errors.Is(err, want) {
					t.Errorf("%s, %d in a %s: %v, want %v", name, n, kind, err, want)
				}
				if _, err := fhir.As[fhir.Observation](page.Entries[1].Resource); err != nil {
					t.Errorf("%s: the resource after it: %v", name, err)
				}
			}
		}
	}
}

// What is nested as deep as JSON may be is read in one pass.
func TestDeepParameters(t *testing.T) {
	const depth, each = 4000, 50
	times := strings.Repeat(`{"lastRecordUpdate":"2020"},`, each)
	data := `{"resourceType":"Parameters","parameter":` + strings.Repeat(`[`+times+`{"part":`, depth) + `[]` + strings.Repeat(`}]`, depth) + `}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, found, err := fhir.LastDataPoint([]byte(data))
	runtime.ReadMemStats(&after)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(20*len(data)); got > most {
		t.Errorf("%d MiB for %d MiB of JSON", got>>20, len(data)>>20)
	}
}

// A host's own type needs no tags.
func TestOwnType(t *testing.T) {
	type Observation struct {
		Status  string
		Code    struct{ Text string }
		Issued  time.Time
		Value   *float64 `json:"value"`
		Comment any
	}
	r, err := fhir.Decode[Observation]([]byte(`{"resourceType":"Observation","status":7,"code":[{"text":"t"}],"issued":"soon","value":[1.5],"comment":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Observation{Status: "7", Code: struct{ Text string }{"t"}, Value: new(1.5), Comment: []any{1.0}}
	if diff := cmp.Diff(want, r.Reveal()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// samply's decoder reads an unknown gender as an error and as male, and a link
// without a type as "replaced-by".
func TestAnUnknownCodeBecomesNoOther(t *testing.T) {
	for name, tc := range map[string]struct {
		member string
		check  func(p *fhir.Patient) bool
	}{
		"gender known":           {`"gender":"female"`, func(p *fhir.Patient) bool { return p.Gender != nil && p.Gender.Code() == "female" }},
		"gender unknown to FHIR": {`"gender":"indeterminate"`, func(p *fhir.Patient) bool { return p.Gender == nil }},
		"gender null":            {`"gender":null`, func(p *fhir.Patient) bool { return p.Gender == nil }},
		"gender a number":        {`"gender":0`, func(p *fhir.Patient) bool { return p.Gender == nil }},
		"gender in capitals":     {`"GENDER":"male"`, func(p *fhir.Patient) bool { return p.Gender == nil }},
		"telecom.system": {`"telecom":[{"system":"pigeon","value":"x"},{"system":"email","value":"y"}]`, func(p *fhir.Patient) bool {
			return len(p.Telecom) == 2 && p.Telecom[0].System == nil && *p.Telecom[0].Value == "x" && p.Telecom[1].System.Code() == "email"
		}},
		"name.use":              {`"name":[{"use":"secret","family":"E"}]`, func(p *fhir.Patient) bool { return p.Name[0].Use == nil && *p.Name[0].Family == "E" }},
		"link without a type":   {`"link":[{"other":{"reference":"Patient/2"}},{"type":"seealso","other":{"reference":"Patient/3"}}]`, func(p *fhir.Patient) bool { return len(p.Link) == 1 && p.Link[0].Type.Code() == "seealso" }},
		"link of a new type":    {`"link":[{"type":"twin","other":{"reference":"Patient/2"}}]`, func(p *fhir.Patient) bool { return len(p.Link) == 0 }},
		"text without a status": {`"text":{"div":"<div/>"}`, func(p *fhir.Patient) bool { return p.Text == nil }},
		"one in place of a list": {`"name":{"family":"E","given":"A"},"active":"true"`, func(p *fhir.Patient) bool {
			return *p.Name[0].Family == "E" && len(p.Name[0].Given) == 1 && p.Name[0].Given[0] == "A" && *p.Active
		}},
		"a number as text":      {`"identifier":[{"value":9434765919}]`, func(p *fhir.Patient) bool { return *p.Identifier[0].Value == "9434765919" }},
		"a name without a text": {`"name":[{"given":["A",null,{}]},7]`, func(p *fhir.Patient) bool { return len(p.Name) == 1 && len(p.Name[0].Given) == 1 }},
		"the animal of STU3":    {`"animal":{"species":{"text":"x"}},"active":true`, func(p *fhir.Patient) bool { return *p.Active }},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := fhir.Decode[fhir.Patient]([]byte(`{"resourceType":"Patient","id":"1","birthDate":"1980-02-29",` + tc.member + `}`))
			if err != nil {
				t.Fatal(err)
			}
			p := r.Reveal()
			if p.BirthDate == nil || *p.BirthDate != "1980-02-29" || r.ID() != "1" {
				t.Error("another element is lost")
			}
			if !tc.check(p) {
				t.Error("the code became another one, or more is lost than the element with it")
			}
			if !strings.Contains(string(r.Raw()), tc.member) {
				t.Error("Raw does not have it")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for body, want := range map[string]error{
		`{"resourceType":"Patient"}`:                                     fhir.ErrResourceType,
		`{"resourceType":"Observation","resourceType":"Patient"}`:        fhir.ErrResourceType,
		`{"status":"final"}`:                                             fhir.ErrResourceType,
		`{"contained":[{"resourceType":"Observation"}]}`:                 fhir.ErrResourceType,
		`{"resourceType":"OperationOutcome","issue":[{"code":"login"}]}`: fhir.ErrResourceType,
		"": fhir.ErrMalformed, "null": fhir.ErrMalformed, "[]": fhir.ErrMalformed, "<html>": fhir.ErrMalformed,
		`{"resourceType":"Observation"`: fhir.ErrMalformed, `{"resourceType":"Observation"} x`: fhir.ErrMalformed,
	} {
		r, err := fhir.Decode[fhir.Observation]([]byte(body))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
		if r.Type() != "" || r.ID() != "" || r.Raw() != nil || r.Contained() != nil || r.Reveal().Status != "" {
			t.Errorf("%s: the result of an error is not zero", body)
		}
	}
}

func TestDecodeBundle(t *testing.T) {
	b, err := fhir.DecodeBundle(fixtures(t)["testdata/bundle.json"])
	if err != nil {
		t.Fatal(err)
	}
	type entry struct{ Mode, Type, ID string }
	var got []entry
	for _, e := range b.Entries {
		got = append(got, entry{e.Mode, e.Resource.Type(), e.Resource.ID()})
	}
	want := []entry{{"match", "Observation", "obs-1"}, {"match", "Observation", "obs-2"}, {"outcome", "OperationOutcome", ""}}
	if diff := cmp.Diff(want, got); diff != "" || b.Type != "searchset" || !strings.HasSuffix(b.Next, "?_getpages=2b1e&_getpagesoffset=2") {
		t.Errorf("type %q, next %q, entries (-want +got):\n%s", b.Type, b.Next, diff)
	}
	for name, tc := range map[string]struct {
		body    string
		next    string
		entries []entry
	}{
		"nothing found":   {`{"resourceType":"Bundle","type":"searchset","total":0}`, "", nil},
		"unknown codes":   {`{"resourceType":"Bundle","type":"new","entry":[{"search":{"mode":"odd"},"resource":{"resourceType":"New","id":"1"}}]}`, "", []entry{{"odd", "New", "1"}}},
		"odd shapes":      {`{"resourceType":"Bundle","type":7,"link":"x","entry":[null,7,[],{},{"resource":null},{"resource":"x"},{"search":5,"resource":{"id":9}}]}`, "", []entry{{"", "", ""}}},
		"one, not many":   {`{"resourceType":"Bundle","link":{"relation":"next","url":"?p=2"},"entry":{"resource":{"resourceType":"A"}}}`, "?p=2", []entry{{"", "A", ""}}},
		"escapes":         {`{"resourceType":"Bundle","link":[{"relation":"self","url":"s"},{"relation":"n\u0065xt","u\u0072l":"\u002fa\"\\"}],"entry":[]}`, `/a"\`, nil},
		"two of each":     {`{"resourceType":"Bundle","link":[{"relation":"next","url":"1"}],"link":[],"entry":[{"resource":{"resourceType":"A"}}],"entry":[{"search":{"mode":"match"},"search":{},"resource":{"resourceType":"B"},"resource":{"resourceType":"C"}},{"resource":{"resourceType":"D"},"resource":null}]}`, "", []entry{{"", "C", ""}}},
		"in capitals":     {`{"resourceType":"Bundle","Link":[{"relation":"next","url":"1"}],"ENTRY":[{"resource":{"resourceType":"A"}}],"entry":[{"Search":{"mode":"match"},"resource":{"resourceType":"B","ID":"9"}}]}`, "", []entry{{"", "B", ""}}},
		"nested links":    {`{"resourceType":"Bundle","entry":[{"link":[{"relation":"next","url":"x"}],"resource":{"resourceType":"Bundle","link":[{"relation":"next","url":"y"}]}}]}`, "", []entry{{"", "Bundle", ""}}},
		"two nexts":       {`{"resourceType":"Bundle","link":[{"relation":"next","url":"1"},{"relation":"next","url":"2"}]}`, "1", nil},
		"braces in texts": {`{"resourceType":"Bundle","entry":[{"resource":{"x":"}]\\","resourceType":"A","y":["{",{"z":-1.5e3}],"id":"1"}}]}`, "", []entry{{"", "A", "1"}}},
	} {
		b, err := fhir.DecodeBundle([]byte(tc.body))
		var got []entry
		for _, e := range b.Entries {
			got = append(got, entry{e.Mode, e.Resource.Type(), e.Resource.ID()})
			if !json.Valid(e.Resource.Raw()) {
				t.Errorf("%s: an entry is not JSON", name)
			}
		}
		if diff := cmp.Diff(tc.entries, got); diff != "" || err != nil || b.Next != tc.next {
			t.Errorf("%s: next %q, %v, entries (-want +got):\n%s", name, b.Next, err, diff)
		}
	}
	for body, want := range map[string]error{`{"resourceType":"OperationOutcome"}`: fhir.ErrResourceType, `{"type":"searchset"}`: fhir.ErrResourceType, "[]": fhir.ErrMalformed, "<html>": fhir.ErrMalformed} {
		if _, err := fhir.DecodeBundle([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
}

func TestContained(t *testing.T) {
	r, err := fhir.Decode[fhir.Consent](fixtures(t)["testdata/consent.json"])
	if err != nil {
		t.Fatal(err)
	}
	all := r.Contained()
	if len(all) != 1 || all[0].Type() != "RelatedPerson" {
		t.Fatalf("%d contained resources", len(all))
	}
	carer, err := fhir.As[fhir.RelatedPerson](all[0])
	if err != nil || carer.Reveal().Name[0].Family != "Sample" || "#"+carer.ID() != r.Reveal().Actor[0].Reference.Reference {
		t.Errorf("the carer is %s, %v", carer.ID(), err)
	}
	twice, err := fhir.Decode[fhir.Consent]([]byte(`{"resourceType":"Consent","contained":[{"resourceType":"A"},{"resourceType":"B"}],"contained":{"resourceType":"C"}}`))
	if all := twice.Contained(); err != nil || len(all) != 1 || all[0].Type() != "C" || len(twice.Reveal().Contained) != 1 {
		t.Errorf("of two members of the same name, %d are contained, %v", len(all), err)
	}
	if _, err := fhir.As[fhir.Consent](all[0]); !errors.Is(err, fhir.ErrResourceType) {
		t.Errorf("a RelatedPerson as a Consent: %v", err)
	}
}

// observation is an observation in which an element has a JSON value.
func observation(t *testing.T, element, value string) *fhir.Observation {
	t.Helper()
	r, err := fhir.Decode[fhir.Observation]([]byte(`{"resourceType":"Observation","comment":"kept","` + element + `":` + value + `}`))
	if err != nil || r.Reveal().Comment != "kept" {
		t.Fatalf("%s %s: %v", element, value, err)
	}
	return r.Reveal()
}

func TestDateTime(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for sent, want := range map[string]struct {
		at        string
		precision fhir.Precision
	}{
		`"2018"`:                      {"2018-01-01T00:00:00Z", fhir.ToYear},
		`"2018-07"`:                   {"2018-07-01T00:00:00+01:00", fhir.ToMonth},
		`"2018-07-01"`:                {"2018-07-01T00:00:00+01:00", fhir.ToDay},
		`"2018-07-01T10:00:00Z"`:      {"2018-07-01T10:00:00Z", fhir.ToInstant},
		`"2018-07-01T10:00:00.1234Z"`: {"2018-07-01T10:00:00.1234Z", fhir.ToInstant},
		`"2018-07-01T10:00:00+05:30"`: {"2018-07-01T10:00:00+05:30", fhir.ToInstant},
		`"2018-07-01T10:00:00"`:       {"2018-07-01T10:00:00+01:00", fhir.ToInstant},
		`"2018-07-01T10:00:00+0530"`:  {"2018-07-01T10:00:00+05:30", fhir.ToInstant},
		`"2018-07-01T10:00+00:00"`:    {"2018-07-01T10:00:00Z", fhir.ToInstant},
		`"2018-07-01T10:00+0000"`:     {"2018-07-01T10:00:00Z", fhir.ToInstant},
		`"2018-07-01T10:00"`:          {"2018-07-01T10:00:00+01:00", fhir.ToInstant},
		`"2018-07-01T10:00:00+00"`:    {"2018-07-01T10:00:00Z", fhir.ToInstant},
		`"2018-07-01T10:00-05"`:       {"2018-07-01T10:00:00-05:00", fhir.ToInstant},
		`"2018-07-01 10:00:00"`:       {"2018-07-01T10:00:00+01:00", fhir.ToInstant},
		`"2018-07-01t10:00:00z"`:      {"2018-07-01T10:00:00Z", fhir.ToInstant},
		`"2018-07-01T10:00:00,25Z"`:   {"2018-07-01T10:00:00.25Z", fhir.ToInstant},
		`"2016-12-31T23:59:60Z"`:      {"2017-01-01T00:00:00Z", fhir.ToInstant},
		`"2016-12-31T23:59:60.5Z"`:    {"2017-01-01T00:00:00.5Z", fhir.ToInstant},
		`" 2018-07-01 "`:              {"2018-07-01T00:00:00+01:00", fhir.ToDay},
		`2018`:                        {"2018-01-01T00:00:00Z", fhir.ToYear},
		`"2018-02-30"`:                {"", fhir.NoPrecision},
		`"2018-07-01T24:00:00Z"`:      {"", fhir.NoPrecision},
		`"2018-07-01T10:00:00 00:00"`: {"", fhir.NoPrecision},
		`"2018-07-01Z"`:               {"", fhir.NoPrecision},
		`"2018-07-01T"`:               {"", fhir.NoPrecision},
		`"20180701"`:                  {"", fhir.NoPrecision},
		`"01/07/2018"`:                {"", fhir.NoPrecision},
		`"soon"`:                      {"", fhir.NoPrecision},
		`""`:                          {"", fhir.NoPrecision},
		`null`:                        {"", fhir.NoPrecision},
		`{"year":2018}`:               {"", fhir.NoPrecision},
	} {
		at, precision := observation(t, "effectiveDateTime", sent).EffectiveDateTime.Time(london)
		got := ""
		if !at.IsZero() {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want.at || precision != want.precision {
			t.Errorf("%s: %s, %d, want %s, %d", sent, got, precision, want.at, want.precision)
		}
	}
}

func TestNumber(t *testing.T) {
	for sent, want := range map[string]json.Number{
		`1.50`: "1.50", `0`: "0", `-1e2`: "-1e2", `"2.5"`: "2.5", `1e999`: "1e999", `[3]`: "3", `12345678901234567890.10`: "12345678901234567890.10",
		`"NaN"`: "", `"tall"`: "", `""`: "", `null`: "", `[]`: "", `{}`: "", `true`: "", `"01"`: "",
	} {
		if q := observation(t, "valueQuantity", `{"value":`+sent+`,"unit":"g"}`).ValueQuantity; q.Value != want || q.Unit != "g" {
			t.Errorf("%s: %q, unit %q", sent, q.Value, q.Unit)
		}
	}
}

func TestBoolean(t *testing.T) {
	for sent, want := range map[string]*bool{
		`true`: new(true), `false`: new(false), `"true"`: new(true), `"false"`: new(false), `[true]`: new(true),
		`null`: nil, `"yes"`: nil, `1`: nil, `0`: nil, `{}`: nil, `""`: nil,
	} {
		if diff := cmp.Diff(want, observation(t, "valueBoolean", sent).ValueBoolean); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sent, diff)
		}
	}
}

func TestLastDataPoint(t *testing.T) {
	// PKB's example, with a made-up number.
	const example = `{ "resourceType" : "Parameters", "parameter" : [ { "name" : "lastDataPointsResult", "part" : [
  { "name" : "patientIdentifier", "valueIdentifier": { "system": "https://fhir.nhs.uk/Id/nhs-number ", "value": "9990000018" }, "lastRecordUpdate" :"2020-08-01T09:57:34.2112Z" } ] } ] }`
	at := time.Date(2020, 8, 1, 9, 57, 34, 211_200_000, time.UTC)
	parameters := func(s string) string { return `{"resourceType":"Parameters","parameter":` + s + `}` }
	for body, want := range map[string]time.Time{
		example: at,
		parameters(`[{"name":"lastDataPointsResult","part":[{"name":"lastRecordUpdate","valueDateTime":"2020-08-01T09:57:34.2112Z"}]}]`): at,
		parameters(`[{"name":"lastRecordUpdate","valueInstant":"2020-08-01T10:57:34.2112+01:00"}]`):                                      at,
		parameters(`{"lastRecordUpdate":"2020-08-01T09:57:34.2112Z"}`):                                                                   at,
		parameters(`[{"lastRecordUpdate":"2019"},{"part":[{"part":[{"lastRecordUpdate":"2020-08-01T09:57:34.2112Z"}]}]}]`):               at,
		parameters(`[{"name":"birthDate","valueDate":"2024-01-01"}]`):                                                                    {},
		parameters(`[{"lastRecordUpdate":null}]`):                                                                                        {},
		parameters(`[]`): {}, parameters(`null`): {}, parameters(`7`): {}, `{"resourceType":"Parameters"}`: {},
	} {
		got, found, err := fhir.LastDataPoint([]byte(body))
		if err != nil || !got.Equal(want) || found == want.IsZero() {
			t.Errorf("%s: %v, %t, %v", body, got, found, err)
		}
	}
	for body, want := range map[string]error{
		parameters(`[{"lastRecordUpdate":"yesterday"}]`): fhir.ErrDateTime,
		`{"resourceType":"OperationOutcome"}`:            fhir.ErrResourceType, "null": fhir.ErrMalformed, "<html>": fhir.ErrMalformed,
	} {
		if got, found, err := fhir.LastDataPoint([]byte(body)); !errors.Is(err, want) || found || !got.IsZero() {
			t.Errorf("%s: %v, %t, %v, want %v", body, got, found, err, want)
		}
	}
}

func TestCodeOfASystem(t *testing.T) {
	c := fhir.CodeableConcept{Coding: []fhir.Coding{{System: "urn:a", Code: "1"}, {System: "urn:b ", Code: "2"}, {System: "urn:b", Code: "3"}}}
	if c.Code("urn:b") != "2" || c.Code("urn:a") != "1" || c.Code("urn:c") != "" {
		t.Error("Code found another system's")
	}
}

// printed returns v under every verb, in slog, and what json.Marshal makes of it.
func printed(t *testing.T, v any) string {
	t.Helper()
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	j, err := json.Marshal(v)
	fmt.Fprintln(&out, string(j), err)
	return out.String()
}

func leaks(out string) bool {
	for _, canary := range []string{"canary", "63616e617279", "63616E617279", "99 97 110 97 114 121", "0x63, 0x61"} {
		if strings.Contains(out, canary) {
			return true
		}
	}
	return false
}

// canaries puts a canary into every text of a resource.
func canaries(tree any) any {
	switch tree := tree.(type) {
	case map[string]any:
		for name, value := range tree {
			if name != "resourceType" {
				tree[name] = canaries(value)
			}
		}
	case []any:
		for i := range tree {
			tree[i] = canaries(tree[i])
		}
	case string:
		return "canary"
	}
	return tree
}

// Nothing personal is printed, wherever a resource sits, and whatever its type.
func TestResourcesDoNotPrint(t *testing.T) {
	for name, data := range fixtures(t) {
		var tree any
		if err := json.Unmarshal(data, &tree); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(canaries(tree))
		if err != nil {
			t.Fatal(err)
		}
		var resource any
		if r, ok := readingOf(kindOf(t, data)); ok {
			if resource, err = r.decode(data); err != nil {
				t.Fatal(err)
			}
		} else {
			page, err := fhir.DecodeBundle(data)
			if err != nil {
				t.Fatal(err)
			}
			var all []fhir.Resource[fhir.Any]
			for _, e := range page.Entries {
				all = append(all, e.Resource)
			}
			resource = all
		}
		for _, v := range []any{resource, &resource, []any{resource}, map[string]any{"x": resource}, struct{ R any }{resource}, struct{ r any }{resource}} {
			if out := printed(t, v); leaks(out) {
				t.Errorf("%s prints: %s", name, out)
			}
		}
	}
	data := []byte(`{"resourceType":"Patient","id":"canary","name":[{"family":"canary"}],"contained":[{"resourceType":"Patient","id":"canary"}]}`)
	p, err := fhir.Decode[fhir.Patient](data)
	if err != nil {
		t.Fatal(err)
	}
	o, err := fhir.NewResource(fhir.Observation{Comment: "canary"})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []any{
		&p, struct{ r fhir.Resource[fhir.Patient] }{p}, struct{ r *fhir.Resource[fhir.Patient] }{&p}, struct{ r any }{p}, []struct{ r any }{{p}},
		p.Contained(), struct{ c []fhir.Resource[fhir.Any] }{p.Contained()},
		struct {
			r fhir.Resource[fhir.Observation]
		}{o}, &o, []fhir.Resource[fhir.Observation]{o}, struct {
			r *fhir.Resource[fhir.Observation]
		}{&o},
	} {
		if out := printed(t, v); leaks(out) {
			t.Errorf("value %d, %T prints: %s", i, v, out)
		}
	}
}

// The structs are plain: nothing but a Resource decides how it is printed or encoded,
// and each has what the id and the extensions of its elements need.
func TestStructsArePlain(t *testing.T) {
	own := reflect.TypeFor[fhir.Observation]().PkgPath()
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(ty reflect.Type) {
		for ty.Kind() == reflect.Pointer || ty.Kind() == reflect.Slice {
			ty = ty.Elem()
		}
		if ty.Kind() != reflect.Struct || seen[ty] || ty.PkgPath() != own {
			return
		}
		seen[ty] = true
		for _, name := range []string{"String", "GoString", "Format", "LogValue", "MarshalJSON", "MarshalText", "UnmarshalJSON", "UnmarshalText"} {
			if _, ok := reflect.PointerTo(ty).MethodByName(name); ok {
				t.Errorf("%s has a method %s", ty, name)
			}
		}
		names := map[string]bool{}
		for _, f := range reflect.VisibleFields(ty) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names[name] = true
			if !f.IsExported() || !f.Anonymous && name == "" {
				t.Errorf("%s.%s has no name in JSON", ty, f.Name)
			}
			if f.Index[0] == 0 || !strings.Contains(f.Tag.Get("json"), ",omit") && !f.Anonymous {
				continue
			}
			visit(f.Type)
		}
		if ty.Name() != "ObservationValue" && !(names["id"] && names["extension"]) {
			t.Errorf("%s has no id or no extension", ty)
		}
		for _, f := range reflect.VisibleFields(ty) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			kind := f.Type.Kind()
			switch primitive := kind == reflect.String || kind == reflect.Pointer && f.Type.Elem().Kind() == reflect.Bool || kind == reflect.Slice && f.Type.Elem().Kind() == reflect.String; {
			case name == "id" || name == "resourceType" || ty == reflect.TypeFor[fhir.Extension]() && name == "url": // these have no extensions
			case primitive != names["_"+name] && !strings.HasPrefix(name, "_") && name != "":
				t.Errorf("%s.%s is primitive: %t, and has _%s: %t", ty, f.Name, primitive, name, names["_"+name])
			}
		}
	}
	for _, r := range readings {
		visit(r.model)
	}
	visit(reflect.TypeFor[fhir.Extension]())
	visit(reflect.TypeFor[fhir.Common]())
	if len(seen) < 55 {
		t.Errorf("only %d types looked at", len(seen))
	}
}

func addFixtures(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
}

func FuzzDecode(f *testing.F) {
	addFixtures(f)
	f.Add([]byte(`{"resourceType":"Patient","gender":"x","link":[{}],"contained":[{"resourceType":"A"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, err := fhir.ResourceType(data)
		for _, r := range readings {
			resource, decodeErr := r.decode(data)
			switch {
			case err != nil:
				if !errors.Is(decodeErr, fhir.ErrMalformed) {
					t.Fatalf("%s: %v, want ErrMalformed", r.name, decodeErr)
				}
			case kind != r.name:
				if !errors.Is(decodeErr, fhir.ErrResourceType) {
					t.Fatalf("%s from %q: %v, want ErrResourceType", r.name, kind, decodeErr)
				}
			case errors.Is(decodeErr, fhir.ErrTooLarge) && bytes.Count(data, []byte(",")) > 1000:
			case decodeErr != nil:
				t.Fatalf("%s: %v: whatever is odd in it, a resource is not lost", r.name, decodeErr)
			default:
				if _, _, raw, _ := r.look(resource); !json.Valid(raw) || !bytes.Contains(data, raw) {
					t.Errorf("%s: Raw is not what was received", r.name)
				}
			}
		}
	})
}

func FuzzDecodeBundle(f *testing.F) {
	addFixtures(f)
	f.Add([]byte(`{"resourceType":"Bundle","link":[{"relation":"next","url":"\\"}],"entry":[{"resource":{"resourceType":"A"}},7]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := fhir.DecodeBundle(data)
		if err != nil {
			if !errors.Is(err, fhir.ErrMalformed) && !errors.Is(err, fhir.ErrResourceType) {
				t.Fatal(err)
			}
			return
		}
		// encoding/json reads the same, where it reads it at all.
		var want struct {
			Entry []struct{ Resource json.RawMessage }
		}
		plain := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &want) == nil
		n := 0
		for _, e := range want.Entry {
			if len(e.Resource) > 0 && e.Resource[0] == '{' {
				n++
			}
		}
		for _, e := range b.Entries {
			kind, err := fhir.ResourceType(e.Resource.Raw())
			if err != nil || kind != e.Resource.Type() {
				t.Errorf("an entry is of type %q, and %q by itself, %v", e.Resource.Type(), kind, err)
			}
		}
		if plain && !repeats(data) && len(b.Entries) != n {
			t.Errorf("%d entries, and %d by encoding/json", len(b.Entries), n)
		}
	})
}

// repeats reports whether encoding/json may read another member than this package:
// one that is present twice, or in capitals.
func repeats(data []byte) bool {
	lower := bytes.ToLower(data)
	return bytes.Count(lower, []byte("entry")) > 1 || bytes.Contains(data, []byte(`\u`)) || !bytes.Contains(data, []byte(`"entry"`)) ||
		bytes.Count(lower, []byte("resource")) != bytes.Count(data, []byte(`"resource"`))+bytes.Count(data, []byte(`"resourceType"`)) || !json.Valid(data)
}

func FuzzLastDataPoint(f *testing.F) {
	f.Add([]byte(`{"resourceType":"Parameters","parameter":[{"part":[{"lastRecordUpdate":"2020-08-01T09:57:34.2112Z"}]}]}`))
	f.Add([]byte(`{"resourceType":"Parameters","parameter":{"name":"lastRecordUpdate","valueDate":"2020"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if at, found, err := fhir.LastDataPoint(data); err != nil && (found || !at.IsZero()) {
			t.Errorf("%v with %v", at, err)
		}
	})
}

func FuzzDateTime(f *testing.F) {
	for _, s := range []string{`"2018"`, `"2018-07-01T10:00:00.5+01:00"`, `7`, `null`, `{}`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		d := observation(t, "issued", string(data)).Issued
		if at, p := d.Time(time.UTC); (p == fhir.NoPrecision) != at.IsZero() && !strings.HasPrefix(strings.TrimSpace(string(d)), "0001") {
			t.Errorf("%v with precision %d", at, p)
		}
		observation(t, "valueBoolean", string(data))
		observation(t, "valueQuantity", `{"value":`+string(data)+`}`)
	})
}

// A page of a search is decoded at each turn.
func BenchmarkDecodePage(b *testing.B) {
	one, err := os.ReadFile("testdata/observation.json")
	if err != nil {
		b.Fatal(err)
	}
	page := []byte(`{"resourceType":"Bundle","type":"searchset","entry":[` + strings.TrimSuffix(strings.Repeat(`{"resource":`+string(one)+`},`, 1000), ",") + `]}`)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		bundle, err := fhir.DecodeBundle(page)
		if err != nil || len(bundle.Entries) != 1000 {
			b.Fatal(err)
		}
		for _, e := range bundle.Entries {
			if _, err := fhir.As[fhir.Observation](e.Resource); err != nil {
				b.Fatal(err)
			}
		}
	}
}
