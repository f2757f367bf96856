// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// demographics are those of a patient whom a test of a host makes up.
func demographics() identity.Demographics {
	return identity.Demographics{
		Patient: true, ID: "7310001234567", FirstName: "Canarina", LastName: "Finkowski", DateOfBirth: "1941-03-17", Gender: identity.GenderFemale,
		HeightCentimetres: "168.50", WeightKilograms: "61", Email: "canarina@birds.example",
		Contacts: []identity.Contact{{Type: "EMAIL", Value: "canarina@birds.example", Primary: true}},
	}
}

// observation has a value whose last digit says how exactly it was measured.
func observation() fhir.Observation {
	yes := true
	return fhir.Observation{
		Common: fhir.Common{ResourceType: "Observation", ID: "o1"}, Status: "final",
		Code:              fhir.CodeableConcept{Text: "Potassium", Coding: []fhir.Coding{{System: "http://snomed.info/sct", Code: "59573005", UserSelected: &yes}}},
		Subject:           fhir.Ref{Reference: "Patient/1d4a8b2d-f885-499f-ba51-50600312f316", Display: "Canarina Finkowski"},
		EffectiveDateTime: "2024-01-05T10:00:00Z",
		ObservationValue:  fhir.ObservationValue{ValueQuantity: &fhir.Quantity{Value: "4.50", Unit: "mmol/L"}},
	}
}

// What a host sends to its own front end, and keeps in its own tables, is what it
// takes out of a wrapper.
func TestWhatIsRevealedGoesThroughJSON(t *testing.T) {
	resource, err := fhir.NewResource(observation())
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string]struct{ revealed, back any }{
		"an Observation": {resource.Reveal(), new(fhir.Observation)},
		"demographics":   {pointer(identity.NewSelf(demographics()).Reveal()), new(identity.Demographics)},
		"a host's own struct": {
			&card{"for the front end", resource.Reveal().Code, resource.Reveal().EffectiveDateTime, identity.NewSelf(demographics()).Reveal()}, new(card),
		},
	} {
		text, err := json.Marshal(values.revealed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := json.Unmarshal(text, values.back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := json.Marshal(values.back)
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("%s comes back changed, %v:\n%s\n%s", name, err, text, again)
		}
		if name == "an Observation" && !bytes.Contains(text, []byte(`"value":4.50`)) {
			t.Errorf("the value is not written as it was measured: %s", text)
		}
		if got := fmt.Sprintf("%+v", reflect.ValueOf(values.back).Elem()); name == "demographics" && got != fmt.Sprintf("%+v", demographics()) {
			t.Errorf("%s come back as %s", name, got)
		}
	}
}

type card struct {
	Label  string                `json:"label"`
	Code   fhir.CodeableConcept  `json:"code"`
	When   fhir.DateTime         `json:"when"`
	Person identity.Demographics `json:"person"`
}

func pointer[T any](v T) *T { return &v }

// A wrapper in a host's JSON is an error on the day when it is written, and no text that
// is found in a table a year later.
func TestWrappersAreNoJSON(t *testing.T) {
	resource, err := fhir.NewResource(observation())
	if err != nil {
		t.Fatal(err)
	}
	nhs, err := identity.ParseNHSNumber("999 156 6171")
	if err != nil {
		t.Fatal(err)
	}
	self := identity.NewSelf(demographics())
	for _, v := range []any{
		pkb.NewSecret("birdseed"), pkb.Candidate{AppUserID: "user-1", Self: self}, self, nhs, resource, identity.NewKnown(identity.Person{FirstName: "Canarina"}),
		struct{ Self identity.Self }{self}, map[string]any{"o": resource}, []identity.NHSNumber{nhs}, pkb.AccessToken{Value: pkb.NewSecret("birdseed")},
	} {
		text, err := json.Marshal(v)
		if err == nil || !strings.Contains(err.Error(), "Reveal") || len(text) > 0 {
			t.Errorf("%T: %s, %v; want an error that names Reveal", v, text, err)
		}
	}
	if text, err := json.Marshal(struct {
		Self identity.Self `json:"self,omitzero"`
	}{}); err != nil || string(text) != "{}" {
		t.Errorf("an absent wrapper with omitzero: %s, %v", text, err)
	}
	var back struct{ Self identity.Self }
	if err := json.Unmarshal([]byte(`{"Self":{"firstName":"x"}}`), &back); err == nil || !back.Self.IsZero() {
		t.Errorf("decoding into a wrapper: %v", err)
	}
}

// greeting is code of a host's, which its test calls without any HTTP.
func greeting(self identity.Self, newest fhir.Resource[fhir.Observation]) string {
	value := newest.Reveal().ValueQuantity
	if value == nil {
		return "Hello " + self.Reveal().FirstName
	}
	return fmt.Sprintf("Hello %s, your %s is %s %s", self.Reveal().FirstName, newest.Reveal().Code.Text, value.Value, value.Unit)
}

func TestHostTestsWithoutHTTP(t *testing.T) {
	resource, err := fhir.NewResource(observation())
	if err != nil {
		t.Fatal(err)
	}
	if got := greeting(identity.NewSelf(demographics()), resource); got != "Hello Canarina, your Potassium is 4.50 mmol/L" {
		t.Error(got)
	}
	if got := greeting(identity.NewSelf(demographics()), fhir.Resource[fhir.Observation]{}); got != "Hello Canarina" {
		t.Error(got)
	}
	if !identity.NewSelf(demographics()).Equal(identity.NewSelf(demographics())) {
		t.Error("two of the same are not Equal: a test cannot compare them")
	}
}

// visit is a struct of a host's that holds wrappers, and that its programmers log.
type visit struct {
	ID       int
	Self     identity.Self
	Newest   fhir.Resource[fhir.Observation]
	earlier  []fhir.Resource[fhir.Observation]
	nhs      *identity.NHSNumber
	password pkb.Secret
}

func TestLoggingAHostsStruct(t *testing.T) {
	resource, err := fhir.NewResource(observation())
	if err != nil {
		t.Fatal(err)
	}
	nhs, err := identity.ParseNHSNumber("9991566171")
	if err != nil {
		t.Fatal(err)
	}
	v := visit{7, identity.NewSelf(demographics()), resource, []fhir.Resource[fhir.Observation]{resource}, &nhs, pkb.NewSecret("birdseed-7f3a")}
	var out bytes.Buffer
	// A time of day has digits that can be those of a value.
	timeless := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, timeless), slog.NewJSONHandler(&out, timeless)} {
		slog.New(handler).Info("visited", "visit", v, "pointer", &v, "self", v.Self, "earlier", v.earlier)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	fmt.Fprintf(&out, "%+v", fmt.Errorf("saving %+v: %v", v, []any{v.Self, v.nhs, v.password}))
	for _, canary := range []string{"Canarina", "Finkowski", "1941", "9991566171", "birdseed", "Potassium", "4.50", "43616e6172696e61"} {
		if strings.Contains(out.String(), canary) {
			t.Errorf("%s is printed:\n%s", canary, &out)
		}
	}
	if !strings.Contains(out.String(), "[redacted]") || !strings.Contains(out.String(), "ID:7") {
		t.Errorf("nothing of the host's own is printed:\n%s", &out)
	}
}
