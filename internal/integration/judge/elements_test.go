// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/fhir/go/jsonformat"
	resources "github.com/google/fhir/go/proto/google/fhir/proto/stu3/resources_go_proto"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// elements compares our structs with the messages that google/fhir has of STU3.
type elements struct {
	seen  map[reflect.Type]bool
	lacks []string
	other []string // what else differs
}

// compare collects each element that only one of the two has.
func (e *elements) compare(ours reflect.Type, theirs protoreflect.MessageDescriptor) {
	if e.seen[ours] {
		return
	}
	e.seen[ours] = true
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(ours) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "resourceType" && !strings.HasPrefix(name, "_") {
			fields[name] = f.Type
		}
	}
	known := map[string]bool{}
	element := func(name string, of protoreflect.FieldDescriptor) {
		known[name] = true
		ty, ok := fields[name]
		if !ok {
			e.lacks = append(e.lacks, ours.Name()+"."+name)
			return
		}
		if isList := ty.Kind() == reflect.Slice; isList != of.IsList() {
			e.other = append(e.other, fmt.Sprintf("%s.%s is a list: %t, and in STU3: %t", ours, name, isList, of.IsList()))
		}
		for ty.Kind() == reflect.Pointer || ty.Kind() == reflect.Slice && ty != reflect.TypeFor[json.RawMessage]() {
			ty = ty.Elem()
		}
		if ty.Kind() == reflect.Struct {
			e.compare(ty, of.Message())
		}
	}
	all := theirs.Fields()
	for i := range all.Len() {
		field := all.Get(i)
		switch oneof := field.ContainingOneof(); {
		case oneof != nil: // an address, which they keep by what it refers to
			known[string(oneof.Name())] = true
		case field.JSONName() != "contained" && field.JSONName() != "resource" && isChoice(field.Message()): // and no resource of any type
			choices := field.Message().Fields()
			for j := range choices.Len() {
				name := choices.Get(j).JSONName()
				element(field.JSONName()+strings.ToUpper(name[:1])+name[1:], choices.Get(j))
			}
		default:
			element(field.JSONName(), field)
		}
	}
	for name := range fields {
		// The values of an observation and of a component are of one type here.
		if !known[name] && !(ours == reflect.TypeFor[fhir.ObservationComponent]() && name == "valueBoolean") {
			e.other = append(e.other, fmt.Sprintf("%s has %s, which STU3 does not have", ours, name))
		}
	}
}

// isChoice reports whether m has the types of an element such as value[x].
func isChoice(m protoreflect.MessageDescriptor) bool {
	return m != nil && m.Oneofs().Len() == 1 && m.Oneofs().Get(0).Fields().Len() == m.Fields().Len()
}

// A type that lacks an element loses it when it is encoded.
func TestTypesHaveEveryElement(t *testing.T) {
	e := elements{seen: map[reflect.Type]bool{}}
	for ours, theirs := range map[reflect.Type]interface {
		ProtoReflect() protoreflect.Message
	}{
		reflect.TypeFor[fhir.Appointment]():           &resources.Appointment{},
		reflect.TypeFor[fhir.Communication]():         &resources.Communication{},
		reflect.TypeFor[fhir.Consent]():               &resources.Consent{},
		reflect.TypeFor[fhir.DiagnosticReport]():      &resources.DiagnosticReport{},
		reflect.TypeFor[fhir.DocumentReference]():     &resources.DocumentReference{},
		reflect.TypeFor[fhir.Encounter]():             &resources.Encounter{},
		reflect.TypeFor[fhir.NamingSystem]():          &resources.NamingSystem{},
		reflect.TypeFor[fhir.Observation]():           &resources.Observation{},
		reflect.TypeFor[fhir.OperationOutcome]():      &resources.OperationOutcome{},
		reflect.TypeFor[fhir.ProcedureRequest]():      &resources.ProcedureRequest{},
		reflect.TypeFor[fhir.Questionnaire]():         &resources.Questionnaire{},
		reflect.TypeFor[fhir.QuestionnaireResponse](): &resources.QuestionnaireResponse{},
		reflect.TypeFor[fhir.RelatedPerson]():         &resources.RelatedPerson{},
	} {
		e.compare(ours, theirs.ProtoReflect().Descriptor())
	}
	if len(e.seen) < 55 {
		t.Errorf("only %d types compared", len(e.seen))
	}
	for _, problem := range append(e.lacks, e.other...) {
		t.Error(problem)
	}
}

// What the types made for R4 lack of STU3, in addition to the id and the extensions of
// primitive elements, is what their documentation says.
func TestWhatSamplyLacks(t *testing.T) {
	e := elements{seen: map[reflect.Type]bool{}}
	for _, pair := range []struct {
		ours   reflect.Type
		theirs interface {
			ProtoReflect() protoreflect.Message
		}
	}{
		{reflect.TypeFor[fhir.Patient](), &resources.Patient{}},
		{reflect.TypeFor[fhir.Person](), &resources.Person{}},
		{reflect.TypeFor[fhir.Practitioner](), &resources.Practitioner{}},
		{reflect.TypeFor[fhir.Organization](), &resources.Organization{}},
		{reflect.TypeFor[fhir.Parameters](), &resources.Parameters{}},
	} {
		e.compare(pair.ours, pair.theirs.ProtoReflect().Descriptor())
	}
	slices.Sort(e.lacks)
	want := []string{
		"Money.code", "Money.comparator", "Money.system", "Money.unit", "Organization.contained", "Patient.animal", "Patient.contained", "Person.contained", "Practitioner.contained",
		"Signature.blob", "Signature.contentType", "Signature.onBehalfOfReference", "Signature.onBehalfOfUri", "Signature.whoReference", "Signature.whoUri",
	}
	if diff := cmp.Diff(want, slices.Compact(e.lacks)); diff != "" {
		t.Errorf("samply's types lack (-documented +found):\n%s", diff)
	}
}

// What google/fhir decodes of what we encode is what it decodes of what was sent.
func (j judged) again(t *testing.T, name string, sent []byte) {
	t.Helper()
	kind, err := fhir.ResourceType(sent)
	if err != nil {
		t.Fatal(err)
	}
	decodeAndEncode, ok := encoders[kind]
	if !ok {
		t.Errorf("%s: no encoder for a %s", name, kind)
		return
	}
	encoded, err := decodeAndEncode(sent)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	want, err := j.judge.UnmarshalR3(sent)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := j.judge.UnmarshalR3(encoded)
	if err != nil {
		t.Errorf("%s: what is encoded is no STU3: %v", name, err)
	} else if !proto.Equal(got, want) {
		t.Errorf("%s: the judge decodes\n%s, want\n%s", name, got, want)
	}
	j.tried[kind]++
}

type judged struct {
	judge *jsonformat.Unmarshaller
	tried map[string]int
}

func TestEncodedFixturesAreSTU3(t *testing.T) {
	j := judged{newJudge(t), map[string]int{}}
	names, err := filepath.Glob(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		sent := fixture(t, filepath.Base(name))
		kind, err := fhir.ResourceType(sent)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case filepath.Base(name) == "parameters-lastdatapoint.json": // PKB's own element
		case kind == "Bundle": // it cannot be encoded; what is in it can
			page, err := fhir.DecodeBundle(sent)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				j.again(t, filepath.Base(name)+" "+e.FullURL, e.Resource.Raw())
			}
		default:
			j.again(t, filepath.Base(name), sent)
		}
	}
	for kind := range encoders {
		if j.tried[kind] == 0 {
			t.Errorf("no fixture of %s was tried", kind)
		}
	}
}

func TestEncodedMadeUpResourcesAreSTU3(t *testing.T) {
	j := judged{newJudge(t), map[string]int{}}
	patient := pkbtest.New(pkbtest.Config{}).AddPatient(pkbtest.Patient{})
	for _, kind := range pkbtest.MadeUpKinds() {
		for seed := range uint64(50) {
			j.again(t, fmt.Sprintf("%s with seed %d", kind, seed), pkbtest.MadeUpResource(kind, seed, patient))
		}
		if j.tried[kind] != 50 {
			t.Errorf("%d of %s tried", j.tried[kind], kind)
		}
	}
}

// The judge does notice when something is lost on the way.
func TestTheJudgeComparesWhatIsEncoded(t *testing.T) {
	judge := newJudge(t)
	sent := fixture(t, "observation.json")
	r, err := fhir.Decode[fhir.Observation](sent)
	if err != nil {
		t.Fatal(err)
	}
	r.Reveal().Subject.Reference += "0"
	encoded, err := json.Marshal(r.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	want, err := judge.UnmarshalR3(sent)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := judge.UnmarshalR3(encoded); err != nil || proto.Equal(got, want) {
		t.Errorf("another subject is the same, %v", err)
	}
}

// encoders decode and encode a resource of a type.
var encoders = map[string]func([]byte) ([]byte, error){
	"Appointment": encode[fhir.Appointment], "Communication": encode[fhir.Communication], "Consent": encode[fhir.Consent], "DiagnosticReport": encode[fhir.DiagnosticReport],
	"DocumentReference": encode[fhir.DocumentReference], "Encounter": encode[fhir.Encounter], "NamingSystem": encode[fhir.NamingSystem], "Observation": encode[fhir.Observation],
	"OperationOutcome": encode[fhir.OperationOutcome], "ProcedureRequest": encode[fhir.ProcedureRequest], "Questionnaire": encode[fhir.Questionnaire],
	"QuestionnaireResponse": encode[fhir.QuestionnaireResponse], "RelatedPerson": encode[fhir.RelatedPerson],
	"Patient": encode[fhir.Patient], "Person": encode[fhir.Person], "Practitioner": encode[fhir.Practitioner], "Organization": encode[fhir.Organization], "Parameters": encode[fhir.Parameters],
}

func encode[T any](data []byte) ([]byte, error) {
	r, err := fhir.Decode[T](data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r.Reveal())
}
