// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	resources "github.com/google/fhir/go/proto/google/fhir/proto/stu3/resources_go_proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/betawerk/pkb-go/fhir"
)

// elements compares our structs with the messages that google/fhir has of STU3.
type elements struct {
	t    *testing.T
	seen map[reflect.Type]bool
}

// compare reports each element that only one of the two has.
func (e elements) compare(ours reflect.Type, theirs protoreflect.MessageDescriptor) {
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
			e.t.Errorf("%s lacks %s", ours, name)
			return
		}
		if isList := ty.Kind() == reflect.Slice; isList != of.IsList() {
			e.t.Errorf("%s.%s is a list: %t, and in STU3: %t", ours, name, isList, of.IsList())
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
		case field.JSONName() != "contained" && isChoice(field.Message()):
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
			e.t.Errorf("%s has %s, which STU3 does not have", ours, name)
		}
	}
}

// isChoice reports whether m has the types of an element such as value[x].
func isChoice(m protoreflect.MessageDescriptor) bool {
	return m != nil && m.Oneofs().Len() == 1 && m.Oneofs().Get(0).Fields().Len() == m.Fields().Len()
}

// A type that lacks an element loses it when it is encoded.
func TestTypesHaveEveryElement(t *testing.T) {
	e := elements{t, map[reflect.Type]bool{}}
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
}

// What google/fhir decodes of what we encode is what it decodes of the fixture.
func TestEncodedFixturesAreSTU3(t *testing.T) {
	judge := newJudge(t)
	tried := 0
	for name, decodeAndEncode := range map[string]func([]byte) ([]byte, error){
		"appointment": encode[fhir.Appointment], "communication": encode[fhir.Communication], "consent": encode[fhir.Consent], "diagnosticreport": encode[fhir.DiagnosticReport],
		"documentreference": encode[fhir.DocumentReference], "encounter": encode[fhir.Encounter], "namingsystem": encode[fhir.NamingSystem], "observation": encode[fhir.Observation],
		"observation-measurement": encode[fhir.Observation], "operationoutcome": encode[fhir.OperationOutcome], "procedurerequest": encode[fhir.ProcedureRequest],
		"questionnaire": encode[fhir.Questionnaire], "questionnaireresponse": encode[fhir.QuestionnaireResponse], "relatedperson": encode[fhir.RelatedPerson],
	} {
		data := fixture(t, name+".json")
		encoded, err := decodeAndEncode(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := judge.UnmarshalR3(data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := judge.UnmarshalR3(encoded)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.String() != want.String() {
			t.Errorf("%s: the judge decodes\n%s, want\n%s", name, got, want)
		}
		tried++
	}
	if tried < 14 {
		t.Errorf("only %d fixtures tried", tried)
	}
}

func encode[T any](data []byte) ([]byte, error) {
	r, err := fhir.Decode[T](data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r.Reveal())
}
