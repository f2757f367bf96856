// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func yes() *bool { v := true; return &v }
func no() *bool  { v := false; return &v }

func details(all []pkbsystem.PatientStatus) (d []pkbsystem.StatusDetails) {
	for _, s := range all {
		d = append(d, s.Reveal())
	}
	return d
}

// The result has the order of the numbers, whatever the batches.
func TestStatus(t *testing.T) {
	for _, batch := range []int{1, 2, 3, 5000} {
		r := newRig(t, func(o *pkbtest.Organisation, c *pkbsystem.Config) {
			o.NoAccess, c.StatusBatch = []string{oneID}, batch
		})
		r.pkb.AddPatient(pkbtest.Patient{PublicID: oneID, NHSNumber: "9990000018"})
		dead := r.pkb.AddPatient(pkbtest.Patient{Self: map[string]any{"dateDeceased": "2026-01-02"}, DateOfBirth: "1930-01-02"})
		numbers := []identity.NHSNumber{numberOf(t, "9990000018"), r.number(t), numberOf(t, "9990000026"), numberOf(t, dead.NHSNumber), r.number(t)}
		found, err := r.Status(t.Context(), identity.KindNHSNumber, numbers...)
		if err != nil {
			t.Fatal(err)
		}
		here := pkbsystem.StatusDetails{Presence: pkbsystem.Found, Registered: yes(), Deceased: no(), DateOfBirth: "1941-03-17"}
		want := []pkbsystem.StatusDetails{
			{Presence: pkbsystem.NoAccess, Registered: yes(), Deceased: no()}, here, {Presence: pkbsystem.NotFound},
			{Presence: pkbsystem.Found, Registered: yes(), Deceased: yes(), DateOfBirth: "1930-01-02"}, here,
		}
		if diff := cmp.Diff(want, details(found)); diff != "" {
			t.Errorf("batches of %d (-want +got):\n%s", batch, diff)
		}
		if n, most := r.pkb.Count(pkbtest.Facade), (len(numbers)+batch-1)/batch; n != most {
			t.Errorf("batches of %d made %d requests, want %d", batch, n, most)
		}
	}
}

func TestStatusOfOtherNumbers(t *testing.T) {
	r := newRig(t)
	r.pkb.AddScenarios()
	found, err := r.Status(t.Context(), identity.KindCHINumber, numberOf(t, "9990000042"))
	if err != nil || found[0].Reveal().Presence != pkbsystem.Found {
		t.Errorf("%v, %v", details(found), err)
	}
	found, err = r.Status(t.Context(), identity.KindHealthAndCareNumber, numberOf(t, "9990000042"))
	if err != nil || found[0].Reveal().Presence != pkbsystem.NotFound {
		t.Errorf("the same digits as another kind of number: %v, %v", details(found), err)
	}
	if found, err := r.Status(t.Context(), identity.KindNHSNumber); len(found) > 0 || err != nil || r.pkb.Count(pkbtest.Facade) != 2 {
		t.Errorf("no numbers: %v, %v", details(found), err)
	}
}

// One identifier that PKB does not take refuses the whole request, so it is not sent.
func TestStatusSendsNothingThatPKBRefuses(t *testing.T) {
	r := newRig(t)
	for name, tc := range map[string]struct {
		kind    identity.NationalIDKind
		numbers []identity.NHSNumber
		want    []string
	}{
		"another kind":   {identity.KindBSN, []identity.NHSNumber{r.number(t)}, []string{"kind"}},
		"no kind":        {"", []identity.NHSNumber{r.number(t)}, []string{"kind"}},
		"an absent one":  {identity.KindNHSNumber, []identity.NHSNumber{r.number(t), {}}, []string{"numbers[1]"}},
		"a slip of hand": {identity.KindNHSNumber, []identity.NHSNumber{numberOf(t, "9990000019"), r.number(t), {}}, []string{"numbers[0]", "numbers[2]"}},
	} {
		_, err := r.Status(t.Context(), tc.kind, tc.numbers...)
		input, _ := errors.AsType[*pkbsystem.InputError](err)
		if input == nil || !errors.Is(err, pkbsystem.ErrInput) || !cmp.Equal(input.Fields, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if len(r.sent) > 0 {
		t.Errorf("sent: %+v", r.sent)
	}
}

// Types of values and what else PKB's page leaves open are read with tolerance; what is
// not understood is absent, and nobody is "found" by it.
func TestStatusResponses(t *testing.T) {
	const nhs = "https://fhir.nhs.uk/Id/nhs-number"
	r := newRig(t)
	number := r.patient.NHSNumber
	id := fmt.Sprintf(`{"name":"patientIdentifier","valueIdentifier":{"system":%q,"value":%q}}`, nhs, number)
	about := func(parts ...string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"patientStatus","part":[` + strings.Join(parts, ",") + `]}]}`
	}
	found := pkbsystem.StatusDetails{Presence: pkbsystem.Found}
	for name, tc := range map[string]struct {
		body string
		want pkbsystem.StatusDetails
		err  string
	}{
		"as booleans":              {about(id, `{"name":"registered","valueBoolean":true}`, `{"name":"deceased","valueBoolean":false}`), pkbsystem.StatusDetails{Presence: pkbsystem.Found, Registered: yes(), Deceased: no()}, ""},
		"as texts":                 {about(id, `{"name":"registered","valueString":"true"}`, `{"name":"dateOfBirth","valueString":"1941-03-17"}`), pkbsystem.StatusDetails{Presence: pkbsystem.Found, Registered: yes(), DateOfBirth: "1941-03-17"}, ""},
		"a date and time":          {about(id, `{"name":"dateOfBirth","valueDateTime":"1941-03-17T00:00:00Z"}`), pkbsystem.StatusDetails{Presence: pkbsystem.Found, DateOfBirth: "1941-03-17"}, ""},
		"part of a date":           {about(id, `{"name":"dateOfBirth","valueDate":"1941"}`), found, ""},
		"a single part":            {`{"resourceType":"Parameters","parameter":{"name":"patientStatus","part":` + id + `}}`, found, ""},
		"no parts but the number":  {about(id), found, ""},
		"not found, in other case": {about(id, `{"name":"diagnostics","valueString":" NOT  found "}`), pkbsystem.StatusDetails{Presence: pkbsystem.NotFound}, ""},
		"no access, with a date":   {about(id, `{"name":"diagnostics","valueCode":"No access"}`, `{"name":"dateOfBirth","valueDate":"1941-03-17"}`), pkbsystem.StatusDetails{Presence: pkbsystem.NoAccess}, ""},
		"other words":              {about(id, `{"name":"diagnostics","valueString":"Maintenance"}`), pkbsystem.StatusDetails{}, ""},
		"not mentioned":            {about(strings.Replace(id, number, "9990000018", 1)), pkbsystem.StatusDetails{}, ""},
		"as a CHI number":          {about(strings.Replace(id, nhs, "urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53", 1)), pkbsystem.StatusDetails{}, ""},
		"a system with a space":    {about(strings.Replace(id, nhs, nhs+" ", 1)), found, ""},
		"a number in groups":       {about(strings.Replace(id, number, number[:3]+" "+number[3:], 1)), found, ""},
		"another parameter":        {strings.Replace(about(id), "patientStatus", "other", 1), pkbsystem.StatusDetails{}, ""},
		"twice the same":           {strings.Replace(about(id), `"parameter":[`, `"parameter":[{"name":"patientStatus","part":[`+id+`]},`, 1), found, ""},
		"twice, and differently":   {strings.Replace(about(id), `"parameter":[`, `"parameter":[{"name":"patientStatus","part":[`+id+`,{"name":"deceased","valueBoolean":true}]},`, 1), pkbsystem.StatusDetails{}, "contradicts itself"},
		"nothing in it":            {`{"resourceType":"Parameters"}`, pkbsystem.StatusDetails{}, ""},
		"another resource":         {`{"resourceType":"Bundle"}`, pkbsystem.StatusDetails{}, "not Parameters"},
		"an outcome":               {`{"resourceType":"OperationOutcome","issue":[{"code":"NO_CONSENT"}]}`, pkbsystem.StatusDetails{}, "NO_CONSENT"},
		"a list":                   {`[]`, pkbsystem.StatusDetails{}, "not JSON"},
		"HTML":                     {`<html>`, pkbsystem.StatusDetails{}, "a page, not data"},
	} {
		t.Run(name, func(t *testing.T) {
			r.pkb.Next(pkbtest.Facade, pkbtest.Respond(200, "application/fhir+json", tc.body))
			got, err := r.Status(t.Context(), identity.KindNHSNumber, r.number(t))
			if tc.err != "" {
				if a := apiOf(t, err); a.Operation != "system status-query" || !strings.Contains(a.Text, tc.err) {
					t.Errorf("%+v, want %q", a, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]pkbsystem.StatusDetails{tc.want}, details(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got[0].IsZero() != (tc.want == pkbsystem.StatusDetails{}) {
				t.Errorf("IsZero: %v", got[0].IsZero())
			}
		})
	}
}

// A failure in the middle leaves what was read before it, and no more than that.
func TestStatusFailsInTheMiddle(t *testing.T) {
	r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.StatusBatch = 1 }))
	r.pkb.Next(pkbtest.Facade, pkbtest.Pass(), pkbtest.Respond(503, "", ""))
	found, err := r.Status(t.Context(), identity.KindNHSNumber, r.number(t), numberOf(t, "9990000018"), numberOf(t, "9990000026"))
	if apiOf(t, err).Status != 503 {
		t.Error(err)
	}
	var absent []bool
	for _, s := range found {
		absent = append(absent, s.IsZero())
	}
	if want := []bool{false, true, true}; !cmp.Equal(absent, want) {
		t.Errorf("absent: %v, want %v", absent, want)
	}
}

// A request names each number once, as an Identifier.
func TestStatusRequest(t *testing.T) {
	r := newRig(t)
	numbers := slices.Repeat([]identity.NHSNumber{r.number(t), numberOf(t, "9990000018")}, 2)
	if _, err := r.Status(t.Context(), identity.KindNHSNumber, numbers...); err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal([]byte(r.sent[1].Body), &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(fmt.Appendf(nil, `{"resourceType":"Parameters","parameter":[
		{"name":"patientIdentifier","valueIdentifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":%q}},
		{"name":"patientIdentifier","valueIdentifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}}]}`, r.patient.NHSNumber), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
