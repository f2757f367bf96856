// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
func inClear(self Self) map[string]string {
	s := self.Reveal()
	m := map[string]string{
		"id": string(s.ID), "userType": s.UserType,
		"heightCm": string(s.HeightCentimetres), "heightFeet": string(s.HeightFeet),
		"heightInches": string(s.HeightInches), "heightInchesTotal": string(s.HeightInchesTotal),
		"weightKg": string(s.WeightKilograms), "weightLbs": string(s.WeightPounds),
		"title": s.Title, "firstName": s.FirstName, "lastName": s.LastName,
		"dob": string(s.DateOfBirth), "dateDeceased": string(s.DateDeceased),
		"gender": string(s.Gender), "genderMF": string(s.GenderMF),
		"email": s.Email, "phone": s.Phone,
		"address1": s.Address1, "address2": s.Address2, "city": s.City,
		"state": s.State, "postalCode": s.PostalCode, "country": s.Country,
		"jobTitle": s.JobTitle, "organizationName": s.OrganizationName, "teamName": s.TeamName,
	}
	for i, n := range s.NationalIDs {
		m[fmt.Sprintf("nationalIds.%d", i)] = n.Name + "=" + n.Value + " " + strings.Join(n.CountryCodes, ",")
	}
	for i, c := range s.Contacts {
		m[fmt.Sprintf("contacts.%d", i)] = fmt.Sprint(c.ID, " ", c.Type, " ", c.Value, " ", c.PhoneUse, " ", c.Primary, " ", c.Confirmed)
	}
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

func TestSelfAsDocumented(t *testing.T) {
	s, err := DecodeSelf([]byte(documented))
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
		"elements in bad form": {`{"patient":true,"contacts":[7,null,{"id":"1"}]}`, map[string]string{"contacts.0": "1    false false"}},
		"one instead of many":  {`{"patient":true,"nationalIds":{"name":"x","value":"v","countryCodes":"GB-SCT"}}`, map[string]string{"nationalIds.0": "x=v GB-SCT"}},
		"nulls in lists":       {`{"patient":true,"nationalIds":[null,{"name":"x","countryCodes":[null,"GB-ENG",{}]}],"contacts":[null,{"id":1,"primary":"true"}]}`, map[string]string{"nationalIds.0": "x= GB-ENG", "contacts.0": "1    true false"}},
		"escapes":              {`{"patient":true,"firstName":"Zo\u00eb \"Z\"","lastName":"Zoë","city":"a\/b"}`, map[string]string{"firstName": `Zoë "Z"`, "lastName": "Zoë", "city": "a/b"}},
		"not UTF-8":            {"{\"patient\":true,\"city\":\"a\xffb\"}", map[string]string{"city": "a\ufffdb"}},
		"unknown codes":        {`{"patient":true,"gender":"X","userType":"NEW","contacts":[{"contactType":"FAX"}]}`, map[string]string{"gender": "X", "userType": "NEW", "contacts.0": " FAX   false false"}},
		"unknown members":      {`{"patient":true,"new":{"a":[1]},"city":"C"}`, map[string]string{"city": "C"}},
		"date and time":        {`{"patient":true,"dob":"1984-02-29 00:00:00.0","dateDeceased":"2024-02-29T10:00:00Z"}`, map[string]string{"dob": "1984-02-29", "dateDeceased": "2024-02-29"}},
		"flags":                {`{"patient":"1","contacts":[{"id":1,"primary":1,"confirmed":"TRUE"},{"id":2,"primary":"no","confirmed":{}}]}`, map[string]string{"contacts.0": "1    true true", "contacts.1": "2    false false"}},
		"no date":              {`{"patient":true,"dob":"29/02/2024","dateDeceased":"2023-02-29"}`, map[string]string{}},
		"byte-order mark":      {"\xef\xbb\xbf" + `{"patient":true,"city":"C"}`, map[string]string{"city": "C"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := DecodeSelf([]byte(tc.body))
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
		"": errMalformed, "null": errMalformed, "[]": errMalformed, "<html>": errMalformed, `"patient"`: errMalformed, `true`: errMalformed,
		`{"patient":true`: errMalformed, `{"patient":true} x`: errMalformed, `[{"patient":true}]`: errMalformed,

		// What PKB reports about an account that is not a patient's.
		`{"patient":false}`: ErrNotAPatient, `{"patient":"false"}`: ErrNotAPatient, `{"patient":" FALSE "}`: ErrNotAPatient,
		`{"patient":0}`: ErrNotAPatient, `{"patient":"0"}`: ErrNotAPatient, `{"patient":"no"}`: ErrNotAPatient, `{"patient":"N"}`: ErrNotAPatient,
		`{"id":"7300000","userType":"CLINICIAN","firstName":"Ada","patient":false}`: ErrNotAPatient,

		// What somebody else reports, about nobody.
		`{}`: errNotAUser, `{"status":"maintenance"}`: errNotAUser, `{"error":"upstream unavailable"}`: errNotAUser, `{"error":{"patient":false}}`: errNotAUser,
		`{"patient":null}`: errNotAUser, `{"patient":""}`: errNotAUser, `{"patient":" "}`: errNotAUser, `{"patient":"null"}`: errNotAUser, `{"patient":"unknown"}`: errNotAUser,
		`{"patient":2}`: errNotAUser, `{"patient":-1}`: errNotAUser, `{"patient":[]}`: errNotAUser, `{"patient":[false]}`: errNotAUser, `{"patient":{}}`: errNotAUser,
		`{"Patient":false}`: errNotAUser, `{"firstName":"Ada"}`: errNotAUser,
		`{"resourceType":"OperationOutcome","issue":[]}`: errNotAUser, `{"resourceType":"Patient","id":"1"}`: errNotAUser,
	} {
		if s, err := DecodeSelf([]byte(body)); !errors.Is(err, want) || !s.IsZero() {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
	for _, body := range []string{`{"patient":true}`, `{"patient":"true"}`, `{"patient":" True"}`, `{"patient":1}`, `{"patient":"yes"}`} {
		if s, err := DecodeSelf([]byte(body)); err != nil || !s.Reveal().Patient {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Two lists of one name are one list: nothing is lost, and nothing left over.
func TestSelfWithAMemberTwice(t *testing.T) {
	s, err := DecodeSelf([]byte(`{"patient":true,"firstName":"A","firstName":{},"contacts":[{"id":"1","contactType":"EMAIL"}],"contacts":[{"id":"2"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"contacts.0": "2    false false"}, inClear(s)); diff != "" {
		t.Errorf("self (-want +got):\n%s", diff)
	}
}

func TestMeasure(t *testing.T) {
	for text, want := range map[string]float64{"183": 183, "191.8": 191.8, "0": 0, "-1": -1, "1e2": 100} {
		if got, ok := Measure(text).Float64(); !ok || got != want {
			t.Errorf("%q: %v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "tall", "1,83", "NaN", "Inf", "-infinity", "1e999", "183 cm"} {
		if got, ok := Measure(text).Float64(); ok || got != 0 {
			t.Errorf("%q: %v, %t, want no number", text, got, ok)
		}
	}
}

func TestDeceased(t *testing.T) {
	for sent, want := range map[string]bool{
		`true`: true, `"true"`: true, `"2024-02-29"`: true, `" 2024-02-29 "`: true, `"2024-02-29T10:00:00Z"`: true, `"2024-02-29 10:00:00.0"`: true,
		`"29/02/2024"`: true, `"29 February 2024"`: true, `"2024"`: true, `"2024-02"`: true, `"20240229"`: true, `"2024-02-30"`: true, `"20240229100000"`: true,
		`1709164800000`: true, `1709164800`: true, `20240229`: true, `2024`: true, `[2024,2,29]`: true, `{"year":2024,"month":2}`: true,

		`null`: false, `""`: false, `" "`: false, `false`: false, `"false"`: false, `"False"`: false, `"null"`: false, `"no"`: false, `"N/A"`: false, `"alive"`: false,
		`0`: false, `1`: false, `-1`: false, `"0"`: false, `[]`: false, `{}`: false, `[null]`: false, `{"date":null}`: false, `"-"`: false,
		`"0000-00-00 00:00:00"`: false, `"0000-00-00"`: false, `"0001-01-01"`: false, `"0001-01-01T00:00:00"`: false, `"00000000"`: false,
		`"1900-01-01"`: false, `"1900-01-01 00:00:00.0"`: false, `"01/01/1900"`: false, `"1970-01-01T00:00:00Z"`: false, `"01/01/1970"`: false, `"9999-12-31"`: false, `"31/12/9999"`: false,
		`-62135596800000`: false, `-2208988800000`: false, `253402300799000`: false,
	} {
		s, err := DecodeSelf([]byte(`{"patient":true,"dateDeceased":` + sent + `}`))
		if err != nil || s.Deceased() != want {
			t.Errorf("%s: %t, %v", sent, s.Deceased(), err)
		}
	}
	if s, err := DecodeSelf([]byte(`{"patient":true}`)); err != nil || s.Deceased() {
		t.Errorf("nothing sent: %t, %v", s.Deceased(), err)
	}
	for date, want := range map[Date]bool{"2024-02-29": true, "": false, "1900-01-01": false} {
		if s := NewSelf(Demographics{DateDeceased: date}); s.Deceased() != want {
			t.Errorf("a Self of %q: %t", date, s.Deceased())
		}
	}
}

// Every member in every odd shape: it is read or left out, and the rest is decoded.
func TestEveryMemberInOddShapes(t *testing.T) {
	texts := []string{"userType", "title", "firstName", "lastName", "email", "phone", "address1", "address2", "city", "state", "postalCode", "country", "jobTitle", "organizationName", "teamName"}
	trimmed := []string{"id", "heightCm", "heightFeet", "heightInches", "heightInchesTotal", "weightKg", "weightLbs", "gender", "genderMF"}
	dates := []string{"dob", "dateDeceased"}
	lists := []string{"nationalIds", "contacts"}
	type shape struct{ sent, text, trimmed, date string }
	for _, sh := range []shape{
		{`null`, "", "", ""}, {`""`, "", "", ""}, {`{}`, "", "", ""}, {`[]`, "", "", ""}, {`["x"]`, "", "", ""}, {`{"value":"x"}`, "", "", ""}, {`[null]`, "", "", ""},
		{`7`, "7", "7", ""}, {`-1.5e3`, "-1.5e3", "-1.5e3", ""}, {`12345678901234567890`, "12345678901234567890", "12345678901234567890", ""}, {`true`, "true", "true", ""}, {`false`, "false", "false", ""},
		{`" x "`, " x ", "x", ""}, {`"\u00e9"`, "é", "é", ""}, {`" 7\n"`, " 7\n", "7", ""}, {`"\ud800"`, "\ufffd", "\ufffd", ""},
		{`"1984-02-29"`, "1984-02-29", "1984-02-29", "1984-02-29"}, {`" 1984-02-29\t"`, " 1984-02-29\t", "1984-02-29", "1984-02-29"},
		{`"1984-02-29 00:00:00.0"`, "1984-02-29 00:00:00.0", "1984-02-29 00:00:00.0", "1984-02-29"}, {`"1984-02-29T00:00:00.000+0000"`, "1984-02-29T00:00:00.000+0000", "1984-02-29T00:00:00.000+0000", "1984-02-29"},
		{`"1984-02-29Z"`, "1984-02-29Z", "1984-02-29Z", "1984-02-29"}, {`"1984-02-29+01:00"`, "1984-02-29+01:00", "1984-02-29+01:00", "1984-02-29"},
		{`"1984"`, "1984", "1984", ""}, {`"1984-02"`, "1984-02", "1984-02", ""}, {`"1984-02-30"`, "1984-02-30", "1984-02-30", ""}, {`"29/02/1984"`, "29/02/1984", "29/02/1984", ""},
		{`"0000-00-00 00:00:00"`, "0000-00-00 00:00:00", "0000-00-00 00:00:00", ""}, {`"1984-02-29 or 1985"`, "1984-02-29 or 1985", "1984-02-29 or 1985", ""}, {`"1984-02-29\""`, "1984-02-29\"", "1984-02-29\"", ""},
	} {
		check := func(member, want string) {
			t.Helper()
			s, err := DecodeSelf([]byte(`{"` + member + `":` + sh.sent + `,"patient":true}`))
			if err != nil {
				t.Fatalf("%s: %s: %v", member, sh.sent, err)
			}
			wanted := map[string]string{}
			if want != "" {
				wanted[member] = want
			}
			if diff := cmp.Diff(wanted, inClear(s)); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", member, sh.sent, diff)
			}
		}
		for _, member := range texts {
			check(member, sh.text)
		}
		for _, member := range trimmed {
			check(member, sh.trimmed)
		}
		for _, member := range dates {
			check(member, sh.date)
		}
		if sh.sent[0] != '[' && sh.sent[0] != '{' {
			for _, member := range lists {
				check(member, "")
			}
		}
	}
}

// Every member of the answer is a canary; none of them is printed.
func TestSelfDoesNotPrint(t *testing.T) {
	const canaries = `{
  "id": "canary", "userType": "canary",
  "heightCm": "canary", "heightFeet": "canary", "heightInches": "canary", "heightInchesTotal": "canary",
  "weightKg": "canary", "weightLbs": 777.777,
  "title": "canary", "firstName": "canary", "lastName": "canary",
  "dob": "1977-07-17", "dateDeceased": "1977-07-17",
  "genderMF": "canary", "gender": "canary",
  "email": "canary", "phone": "canary",
  "address1": "canary", "address2": "canary", "city": "canary", "state": "canary", "postalCode": "canary", "country": "canary",
  "jobTitle": "canary", "organizationName": "canary", "teamName": "canary",
  "nationalIds": [{"value": "canary", "name": "canary", "countryCodes": ["canary"]}],
  "orgLevelIds": ["canary", {"canary": 1}], "teamLevelIds": {"value": "canary"},
  "contacts": [{"id": "canary", "contactType": "canary", "contactValue": "canary", "phoneUseType": "canary"}],
  "other": "canary", "patient": true
}`
	s, err := DecodeSelf([]byte(canaries))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		self Self
		ptr  *Self
		list []Self
	}
	number, err := ParseNHSNumber("9991566171")
	if err != nil {
		t.Fatal(err)
	}
	known := NewKnown(Person{NHSNumber: number, FirstName: "canary", LastName: "canary", DateOfBirth: "1977-07-17"})
	values := []any{
		s, &s, []Self{s}, []*Self{&s}, map[string]Self{"x": s}, struct{ Self Self }{s}, struct{ Self *Self }{&s},
		holder{s, &s, []Self{s}}, &holder{s, &s, []Self{s}},
		number, &number, struct{ n NHSNumber }{number}, []NHSNumber{number}, known, &known, struct{ K Known }{known}, struct{ k Known }{known}, struct{ k *Known }{&known},
	}
	for i, v := range values {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		if j, err := json.Marshal(v); err == nil {
			out.Write(j) // of a holder, which hides it: its fields are not exported
		}
		slog.New(slog.NewTextHandler(&out, &untimed)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, &untimed)).Info("x", "v", v)
		for _, secret := range []string{"canary", "63616e617279", "63616E617279", "99 97 110 97", "0x63, 0x61", "777.777", "1977-", "1977, 7", "9991566171"} {
			if at := strings.Index(out.String(), secret); at >= 0 {
				t.Errorf("value %d, %T: %q is printed: ...%s", i, v, secret, out.String()[max(0, at-80):at+len(secret)])
			}
		}
	}
}

// Encoding a wrapper is an error, and never a text that stands in for the data.
func TestEncodingIsRefused(t *testing.T) {
	number, err := ParseNHSNumber("9991566171")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Self{}, NewSelf(Demographics{FirstName: "Ada"}), number, NHSNumber{}, NewKnown(Person{FirstName: "Ada"})} {
		if b, err := json.Marshal(v); err == nil || !strings.Contains(err.Error(), "Reveal") {
			t.Errorf("%T: %s, %v", v, b, err)
		}
	}
	var n NHSNumber
	if err := json.Unmarshal([]byte(`"9991566171"`), &n); err == nil {
		t.Error("an NHS number was read from JSON")
	}
}

// What Reveal returns goes to JSON and back, with PKB's member names.
func TestDemographicsRoundTrip(t *testing.T) {
	s, err := DecodeSelf([]byte(documented))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	var back Demographics
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Reveal(), back); diff != "" {
		t.Errorf("-sent +back:\n%s", diff)
	}
	again, err := DecodeSelf(text)
	if err != nil || !again.Equal(s) || !cmp.Equal(NewSelf(back), s) {
		t.Errorf("%v: not the same Self", err)
	}
	var sent, kept map[string]any
	if err := errors.Join(json.Unmarshal([]byte(documented), &sent), json.Unmarshal(text, &kept)); err != nil {
		t.Fatal(err)
	}
	for name, value := range kept {
		if diff := cmp.Diff(withoutEmpty(sent[name]), withoutEmpty(value)); diff != "" {
			t.Errorf("%s (-sent +kept):\n%s", name, diff)
		}
	}
}

// withoutEmpty leaves out null and "", which a Demographics does not tell apart
// from an absent member.
func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			if e == nil || e == "" {
				delete(v, name)
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutEmpty(v[i])
		}
	}
	return v
}

// untimed leaves the time out: its digits could be anything's.
var untimed = slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}}

func FuzzDecodeSelf(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"patient":true,"nationalIds":[[]],"contacts":{"id":{}}}`))
	f.Add([]byte(`{"patient":true,"firstName":"\ud800","orgLevelIds":[null,[]],"dateDeceased":[]}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := DecodeSelf(body)
		if err != nil {
			// The errors are fixed ones: nothing of the body can be in them.
			if !s.IsZero() || err != errMalformed && err != errNotAUser && err != ErrNotAPatient { //nolint:errorlint // nothing may wrap them
				t.Fatalf("%v with %v", s, err)
			}
			return
		}
		if !s.Reveal().Patient || !json.Valid(s.Raw()) || !bytes.Contains(body, s.Raw()) {
			t.Error("Raw is not what came")
		}
		d := s.Reveal()
		for _, ids := range [][]json.RawMessage{d.OrgLevelIDs, d.TeamLevelIDs} {
			for _, id := range ids {
				if !json.Valid(id) {
					t.Error("a local id is not JSON")
				}
			}
		}
		if number, ok := s.NHSNumber(); ok != (len(number.Reveal()) == 10) {
			t.Error("an NHS number has ten digits")
		}
		if got := fmt.Sprintf("%+v", s); got != "[redacted]" {
			t.Errorf("prints %q", got)
		}
		// encoding/json finds the same.
		var members map[string]json.RawMessage
		if err := json.Unmarshal(s.Raw(), &members); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]string{"firstName": d.FirstName, "title": d.Title, "phone": d.Phone, "city": d.City} {
			var value any
			if raw := members[name]; len(raw) > 0 {
				if err := json.Unmarshal(raw, &value); err != nil && !strings.Contains(err.Error(), "out of range") {
					t.Fatal(err)
				}
				want, isText := value.(string)
				if raw := string(raw); !isText && strings.IndexAny(raw, "{[n") != 0 {
					want = raw
				}
				if got != want {
					t.Errorf("%s of %s is %q, want %q", name, body, got, want)
				}
			} else if got != "" {
				t.Errorf("%s of %s is %q, and it is not there", name, body, got)
			}
		}
		objects := 0
		switch raw := members["contacts"]; {
		case len(raw) > 0 && raw[0] == '{':
			objects = 1
		case len(raw) > 0 && raw[0] == '[':
			var elements []json.RawMessage
			if err := json.Unmarshal(raw, &elements); err != nil {
				t.Fatal(err)
			}
			for _, e := range elements {
				if e[0] == '{' {
					objects++
				}
			}
		}
		if len(d.Contacts) != objects {
			t.Errorf("%d contacts of %s, want %d", len(d.Contacts), body, objects)
		}
	})
}

// The answer of users/self is decoded at each call.
func BenchmarkDecodeSelf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeSelf([]byte(documented)); err != nil {
			b.Fatal(err)
		}
	}
}
