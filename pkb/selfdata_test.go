// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
)

// documented is the sample of PKB's page, with made-up values.
const documented = `{
  "id": "7300000", "userType": null,
  "heightCm": "2", "heightFeet": "0", "heightInches": "1", "heightInchesTotal": "1",
  "weightKg": "87", "weightLbs": "191.8",
  "title": "Dr.", "firstName": "Sample", "lastName": "Person",
  "dob": "2000-01-01", "dateDeceased": null,
  "genderMF": "m", "gender": "M",
  "email": "sample@example.org", "phone": "",
  "address1": "1 Sample Street", "address2": "", "city": "Sample City", "state": "COUNTY",
  "postalCode": "ZZ99 3WZ", "country": "GB-ENG",
  "jobTitle": null, "organizationName": null, "teamName": null,
  "nationalIds": [{"value": "9991566171", "name": "NHS number", "countryCodes": ["GB-ENG", "GB-WLS"]}],
  "orgLevelIds": null, "teamLevelIds": null,
  "contacts": [{"id": "10700000", "contactType": "EMAIL", "contactValue": "sample@example.org",
    "phoneUseType": null, "primary": true, "confirmed": true}],
  "patient": true
}`

// inClear returns a Self as plain text, for comparing.
func inClear(s *Self) map[string]string {
	m := map[string]string{
		"id": string(s.ID), "userType": s.UserType,
		"heightCm": s.HeightCentimetres.text.reveal(), "heightFeet": s.HeightFeet.text.reveal(),
		"heightInches": s.HeightInches.text.reveal(), "heightInchesTotal": s.HeightInchesTotal.text.reveal(),
		"weightKg": s.WeightKilograms.text.reveal(), "weightLbs": s.WeightPounds.text.reveal(),
		"title": s.Title.Reveal(), "firstName": s.FirstName.Reveal(), "lastName": s.LastName.Reveal(),
		"dob": s.DateOfBirth.ISO(), "dateDeceased": s.DateDeceased.ISO(),
		"gender": s.Gender.Code(), "genderMF": s.GenderMF.Code(),
		"email": s.Email.Reveal(), "phone": s.Phone.Reveal(),
		"address1": s.Address1.Reveal(), "address2": s.Address2.Reveal(), "city": s.City.Reveal(),
		"state": s.State.Reveal(), "postalCode": s.PostalCode.Reveal(), "country": s.Country.Reveal(),
		"jobTitle": s.JobTitle.Reveal(), "organizationName": s.OrganizationName.Reveal(), "teamName": s.TeamName.Reveal(),
	}
	for i, n := range s.NationalIDs {
		m[fmt.Sprintf("nationalIds.%d", i)] = n.Name + "=" + n.Value.Reveal() + " " + strings.Join(n.CountryCodes, ",")
	}
	for i, c := range s.Contacts {
		m[fmt.Sprintf("contacts.%d", i)] = fmt.Sprint(c.ID, " ", c.Type, " ", c.Value.Reveal(), " ", c.PhoneUse, " ", c.Primary, " ", c.Confirmed)
	}
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

func TestSelfAsDocumented(t *testing.T) {
	s, err := decodeSelf([]byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"id": "7300000", "heightCm": "2", "heightFeet": "0", "heightInches": "1", "heightInchesTotal": "1",
		"weightKg": "87", "weightLbs": "191.8", "title": "Dr.", "firstName": "Sample", "lastName": "Person",
		"dob": "2000-01-01", "gender": "M", "genderMF": "m", "email": "sample@example.org",
		"address1": "1 Sample Street", "city": "Sample City", "state": "COUNTY", "postalCode": "ZZ99 3WZ", "country": "GB-ENG",
		"nationalIds.0": "NHS number=9991566171 GB-ENG,GB-WLS",
		"contacts.0":    "10700000 EMAIL sample@example.org  true true",
	}
	if diff := cmp.Diff(want, inClear(s)); diff != "" {
		t.Errorf("self (-want +got):\n%s", diff)
	}
	if string(s.Raw()) != documented {
		t.Error("Raw is not the answer as it came")
	}
	if number, ok := s.NHSNumber(); !ok || number.Reveal() != "9991566171" {
		t.Errorf("NHSNumber = %q, %t", number.Reveal(), ok)
	}
}

// One member in an odd shape costs that member and no other.
func TestSelfIsTolerant(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want map[string]string
	}{
		"nothing but patient":  {`{"patient":true}`, map[string]string{}},
		"patient as a string":  {`{"patient":"true","firstName":"A"}`, map[string]string{"firstName": "A"}},
		"numbers for strings":  {`{"patient":true,"id":7300000,"heightCm":183.5,"firstName":7}`, map[string]string{"id": "7300000", "heightCm": "183.5", "firstName": "7"}},
		"odd shapes":           {`{"patient":true,"firstName":{"x":1},"lastName":["y"],"city":"C","nationalIds":"x","contacts":7}`, map[string]string{"city": "C"}},
		"elements in bad form": {`{"patient":true,"contacts":[7,null,{"id":"1"}]}`, map[string]string{"contacts.0": "    false false", "contacts.1": "1    false false"}},
		"one instead of many":  {`{"patient":true,"nationalIds":{"name":"x","value":"v","countryCodes":"GB-SCT"}}`, map[string]string{"nationalIds.0": "x=v GB-SCT"}},
		"unknown codes":        {`{"patient":true,"gender":"X","userType":"NEW","contacts":[{"contactType":"FAX"}]}`, map[string]string{"gender": "X", "userType": "NEW", "contacts.0": " FAX   false false"}},
		"unknown members":      {`{"patient":true,"new":{"a":[1]},"city":"C"}`, map[string]string{"city": "C"}},
		"date and time":        {`{"patient":true,"dateDeceased":"2024-02-29T10:00:00Z"}`, map[string]string{"dateDeceased": "2024-02-29"}},
		"no date":              {`{"patient":true,"dob":"29/02/2024","dateDeceased":"2023-02-29"}`, map[string]string{}},
		"byte-order mark":      {"\xef\xbb\xbf" + `{"patient":true,"city":"C"}`, map[string]string{"city": "C"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := decodeSelf([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, inClear(s)); diff != "" {
				t.Errorf("self (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelfRefuses(t *testing.T) {
	for body, want := range map[string]error{
		"": errMalformedSelf, "null": errMalformedSelf, "[]": errMalformedSelf, "<html>": errMalformedSelf,
		`{"patient":true`: errMalformedSelf, `{"patient":true} x`: errMalformedSelf,
		`{}`: ErrNotAPatient, `{"patient":false}`: ErrNotAPatient, `{"patient":null}`: ErrNotAPatient, `{"patient":1}`: ErrNotAPatient,
	} {
		if s, err := decodeSelf([]byte(body)); !errors.Is(err, want) || s != nil {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
}

func TestNHSNumberIsPickedByNameAndCountry(t *testing.T) {
	id := func(name, value string, countries ...string) NationalID {
		return NationalID{Name: name, Value: NewPersonal(value), CountryCodes: countries}
	}
	for name, tc := range map[string]struct {
		ids  []NationalID
		want string
	}{
		"England":             {[]NationalID{id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"Wales, other case":   {[]NationalID{id("nhs  NUMBER", "999 156-6171", "gb-wls")}, "9991566171"},
		"none":                {nil, ""},
		"CHI looks alike":     {[]NationalID{id("CHI number", "9991566171", "GB-SCT")}, ""},
		"name without place":  {[]NationalID{id("NHS number", "9991566171")}, ""},
		"name in Scotland":    {[]NationalID{id("NHS number", "9991566171", "GB-SCT")}, ""},
		"place without name":  {[]NationalID{id("Local number", "9991566171", "GB-ENG")}, ""},
		"CHI first":           {[]NationalID{id("CHI Number", "9990000018", "GB-SCT"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"twice the same":      {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "999 156 6171", "GB-WLS")}, "9991566171"},
		"two that differ":     {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "9990000018", "GB-ENG")}, ""},
		"three that differ":   {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "9990000018", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, ""},
		"empty value":         {[]NationalID{id("NHS number", "", "GB-ENG")}, ""},
		"empty, then a value": {[]NationalID{id("NHS number", "", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
	} {
		t.Run(name, func(t *testing.T) {
			number, ok := (&Self{NationalIDs: tc.ids}).NHSNumber()
			if number.Reveal() != tc.want || ok != (tc.want != "") {
				t.Errorf("NHSNumber = %q, %t, want %q", number.Reveal(), ok, tc.want)
			}
		})
	}
}

// Every member of the answer is a canary; none of them is printed.
func TestSelfDoesNotPrint(t *testing.T) {
	body := strings.NewReplacer(`"2000-01-01"`, `"1977-07-17"`, `"Sample"`, `"canary1"`, `"Person"`, `"canary2"`, `"m"`, `"canary3"`, `"M"`, `"canary4"`,
		`"87"`, `"777.777"`, `"phone": ""`, `"phone": "canary5"`, `"orgLevelIds": null`, `"orgLevelIds": ["canary6"]`,
		`"ZZ99 3WZ"`, `"canary7"`, `"sample@example.org"`, `"canary8"`).Replace(documented)
	s, err := decodeSelf([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, v := range []any{
		s, *s, []Self{*s}, s.FirstName, s.DateOfBirth, &s.DateOfBirth, s.Gender, s.WeightKilograms, s.NationalIDs, s.Contacts, s.OrgLevelIDs,
		struct{ self Self }{*s}, struct{ Self *Self }{s}, struct{ d Date }{s.DateOfBirth}, struct{ g Gender }{s.Gender},
		struct{ m Measure }{s.WeightKilograms}, struct{ c []Contact }{s.Contacts}, struct{ l []LocalID }{s.OrgLevelIDs}, struct{ n []NationalID }{s.NationalIDs},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if j, err := json.Marshal(v); err == nil {
			out.Write(j)
		}
		slog.New(slog.NewTextHandler(&out, &untimed)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, &untimed)).Info("x", "v", v)
	}
	for _, secret := range []string{"canary", "636e61", fmt.Sprintf("%x", "canary"), "[99 97 110", "99 97 110 97", "777.777", "1977", "9991566171"} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("%q is printed: ...%s", secret, out.String()[max(0, i-80):i+20])
		}
	}
}

// untimed leaves the time out: its digits could be anything's.
var untimed = slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}

func TestPublicIDFromPurview(t *testing.T) {
	const (
		server = "https://pkb.example"
		id     = "1d4a8b2d-f885-499f-ba51-50600312f316"
	)
	answer := func(reference string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"` + reference + `"}}]}`
	}
	for name, tc := range map[string]struct {
		body string
		want error
	}{
		"as documented":  {answer("Patient/" + id), nil},
		"upper case":     {answer("Patient/" + strings.ToUpper(id)), nil},
		"absolute":       {answer(server + "/fhir/Patient/" + id), nil},
		"with a version": {answer("Patient/" + id + "/_history/1"), nil},
		"practitioner":   {answer("Practitioner/" + id), ErrNotAPatient},
		"team":           {answer("Organization/" + id), ErrNotAPatient},
		"other server":   {answer("https://other.example/fhir/Patient/" + id), errElsewhere},
		"numeric":        {answer("Patient/7300000"), errNotAUUID},
		"nobody":         {`{"resourceType":"Parameters"}`, fhir.ErrPurview},
		"other resource": {`{"resourceType":"Patient"}`, fhir.ErrResourceType},
		"page":           {`<html>`, fhir.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := publicIDFromPurview([]byte(tc.body), server)
			if !errors.Is(err, tc.want) || err == nil && got != id {
				t.Errorf("got %q, %v, want error %v", got, err, tc.want)
			}
		})
	}
}

func FuzzDecodeSelf(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"patient":true,"nationalIds":[[]],"contacts":{"id":{}}}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeSelf(body)
		if (err == nil) != (s != nil) {
			t.Fatalf("both, or neither, of %v and %v", s, err)
		}
		if s != nil && string(s.Raw()) != string(body) {
			t.Error("Raw is not what came")
		}
	})
}
