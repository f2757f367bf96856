// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// The documented response, with this package's made-up values.
const documentedSelf = `{
  "id": "7310001",
  "userType": null,
  "heightCm": "170", "heightFeet": "5", "heightInches": "7", "heightInchesTotal": "67",
  "weightKg": "70", "weightLbs": "154.3",
  "title": "Dr.", "firstName": "Sample", "lastName": "Person",
  "dob": "2000-01-01", "dateDeceased": null,
  "genderMF": "m", "gender": "M",
  "email": "sample@example.org", "phone": "",
  "address1": "1 Sample Street", "address2": "", "city": "Sample City", "state": "COUNTY",
  "postalCode": "ZZ99 3WZ", "country": "GB-ENG",
  "jobTitle": null, "organizationName": null, "teamName": null,
  "nationalIds": [
    {"value": "9991566171", "name": "NHS number", "countryCodes": ["GB-ENG", "GB-WLS"]}
  ],
  "orgLevelIds": null, "teamLevelIds": null,
  "contacts": [
    {"id": "17310001", "contactType": "EMAIL", "contactValue": "sample@example.org",
     "phoneUseType": null, "primary": true, "confirmed": true}
  ],
  "patient": true
}`

// keysOf returns the names of a JSON text in order, nested ones too.
func keysOf(text string) []string {
	var keys []string
	for _, m := range regexp.MustCompile(`"([A-Za-z0-9]+)"\s*:`).FindAllStringSubmatch(text, -1) {
		keys = append(keys, m[1])
	}
	return keys
}

func TestSelf(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{
		NHSNumber: "9991566171", Title: "Dr.", FirstName: "Sample", LastName: "Person",
		DateOfBirth: "2000-01-01", Gender: "M", Email: "sample@example.org",
	})
	token := a.link(p).Access
	status, h, body := a.call(http.MethodGet, "/json/users/self", token, "", "")
	if status != 200 || h.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s: %s", status, h.Get("Content-Type"), body)
	}
	var want, got any
	if err := json.Unmarshal([]byte(documentedSelf), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(keysOf(documentedSelf), keysOf(body)); diff != "" {
		t.Errorf("names in order (-want +got):\n%s", diff)
	}
	if status, _, _ := a.call(http.MethodPost, "/json/users/self", token, "", ""); status != 405 {
		t.Errorf("POST: %d", status)
	}
}

func TestSelfOverrides(t *testing.T) {
	for name, tc := range map[string]struct {
		patient pkbtest.Patient
		want    map[string]any
	}{
		"a value":       {pkbtest.Patient{Self: map[string]any{"phone": "01632 960001"}}, map[string]any{"phone": "01632 960001"}},
		"null":          {pkbtest.Patient{Self: map[string]any{"title": nil}}, map[string]any{"title": nil}},
		"a new one":     {pkbtest.Patient{Self: map[string]any{"new": 1.5}}, map[string]any{"new": 1.5, "patient": true}},
		"no NHS number": {pkbtest.Patient{NoNHSNumber: true}, map[string]any{"nationalIds": nil}},
		"no patient":    {pkbtest.Patient{NotPatient: true}, map[string]any{"patient": false}},
		"gender":        {pkbtest.Patient{Gender: "I"}, map[string]any{"gender": "I", "genderMF": nil}},
		"own UserID":    {pkbtest.Patient{UserID: "42"}, map[string]any{"id": "42"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, pkbtest.Config{})
			_, _, body := a.call(http.MethodGet, "/json/users/self", a.link(a.server.AddPatient(tc.patient)).Access, "", "")
			var self map[string]any
			if err := json.Unmarshal([]byte(body), &self); err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			for name := range tc.want {
				got[name] = self[name]
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPurview(t *testing.T) {
	const params = `{"resourceType":"Parameters"}`
	get, post := pkbtest.Config{PurviewGETOnly: true}, pkbtest.Config{PurviewPOSTOnly: true}
	for name, tc := range map[string]struct {
		cfg                       pkbtest.Config
		method, contentType, body string
		status                    int
		allow                     string
	}{
		"POST":                  {method: "POST", contentType: "application/fhir+json", body: params, status: 200},
		"POST with charset":     {method: "POST", contentType: "application/fhir+json; charset=utf-8", body: params, status: 200},
		"POST of nothing":       {method: "POST", status: 200},
		"GET":                   {method: "GET", status: 200},
		"PUT":                   {method: "PUT", contentType: "application/fhir+json", body: params, status: 405, allow: "GET, POST"},
		"GET only, GET":         {cfg: get, method: "GET", status: 200},
		"GET only, POST":        {cfg: get, method: "POST", contentType: "application/fhir+json", body: params, status: 405, allow: "GET"},
		"POST only, POST":       {cfg: post, method: "POST", status: 200},
		"POST only, GET":        {cfg: post, method: "GET", status: 405, allow: "POST"},
		"a form":                {method: "POST", contentType: "application/x-www-form-urlencoded", body: "a=b", status: 400},
		"text":                  {method: "POST", contentType: "text/plain", body: params, status: 415},
		"no type":               {method: "POST", body: params, status: 400},
		"no JSON":               {method: "POST", contentType: "application/fhir+json", body: "{", status: 400},
		"another resource":      {method: "POST", contentType: "application/fhir+json", body: `{"resourceType":"Patient"}`, status: 400},
		"a type without a body": {method: "POST", contentType: "application/fhir+json", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, tc.cfg)
			p := a.server.AddPatient(pkbtest.Patient{PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316"})
			status, h, body := a.call(tc.method, "/fhir/Consent/$purview", a.link(p).Access, tc.contentType, tc.body)
			if status != tc.status || h.Get("Allow") != tc.allow || h.Get("Content-Type") != "application/fhir+json" {
				t.Fatalf("status %d, Allow %q, %s: %s", status, h.Get("Allow"), h.Get("Content-Type"), body)
			}
			if status != 200 {
				if !strings.HasPrefix(body, `{"resourceType":"OperationOutcome"`) {
					t.Errorf("no OperationOutcome: %s", body)
				}
				return
			}
			want := `{
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "purview",
            "valueReference": {
                "reference": "Patient/1d4a8b2d-f885-499f-ba51-50600312f316"
            }
        }
    ]
}`
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPurviewOverrides(t *testing.T) {
	for name, references := range map[string][]string{
		"none": {}, "a professional": {"Practitioner/x"}, "two": {"Patient/x", "Patient/y"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, pkbtest.Config{})
			_, _, body := a.call(http.MethodGet, "/fhir/Consent/%24purview", a.link(a.server.AddPatient(pkbtest.Patient{Purview: references})).Access, "", "")
			var got struct {
				Parameter []struct{ ValueReference struct{ Reference string } }
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			refs := []string{}
			for _, p := range got.Parameter {
				refs = append(refs, p.ValueReference.Reference)
			}
			if diff := cmp.Diff(references, refs); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(references) == 0 && strings.Contains(body, "parameter") {
				t.Errorf("an empty list is no FHIR: %s", body)
			}
		})
	}
}

func TestFreeze(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	got := a.link(p)
	a.server.Freeze(p, true)
	for name, call := range map[string]func(string) (int, string){"self": a.self, "Purview": a.purview} {
		if status, code := call(got.Access); status != 403 || code != "ACCESS_FROZEN_OUTWARD" {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	a.server.Freeze(p, false)
	if status, code := a.self(got.Access); status != 200 {
		t.Errorf("thawed: %d %s", status, code)
	}
}

func TestBearer(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	good := a.link(a.server.AddPatient(pkbtest.Patient{})).Access
	for header, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer x": 401, "Basic " + good: 401, good: 401, "Bearer " + good: 200, "bearer " + good: 200,
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, a.server.URL()+"/json/users/self", nil)
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := a.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: status %d, want %d", strings.Replace(header, good, "GOOD", 1), resp.StatusCode, want)
		}
	}
	if status, code := a.self("x"); status != 401 || code != "BAD_AUTHENTICATION" {
		t.Errorf("an unknown token: %d %s", status, code)
	}
}

func TestMadeUpPatients(t *testing.T) {
	s, again := pkbtest.New(pkbtest.Config{}), pkbtest.New(pkbtest.Config{})
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 300 {
		p := s.AddPatient(pkbtest.Patient{})
		if diff := cmp.Diff(p, again.AddPatient(pkbtest.Patient{})); diff != "" {
			t.Fatalf("two servers make up different patients:\n%s", diff)
		}
		if !uuid.MatchString(p.PublicID) || !validNHSNumber(p.NHSNumber) || p.FirstName == "" || p.LastName == "" {
			t.Fatalf("%+v", p)
		}
		for _, id := range []string{p.PublicID, p.NHSNumber, p.UserID} {
			if seen[id] {
				t.Errorf("%s is given twice", id)
			}
			seen[id] = true
		}
	}
}

func validNHSNumber(number string) bool {
	if len(number) != 10 || !strings.HasPrefix(number, "999") {
		return false
	}
	sum := 0
	for i, d := range number { // the check digit, of weight 1, makes it a multiple of 11
		sum += int(d-'0') * (10 - i)
	}
	return sum%11 == 0
}

func TestAddPatientAgainReplaces(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	token := a.link(p).Access
	p.Purview = []string{"Practitioner/x"} // changing what was returned changes nothing
	if _, _, body := a.call(http.MethodGet, "/fhir/Consent/$purview", token, "", ""); strings.Contains(body, "Practitioner") {
		t.Errorf("changed from outside: %s", body)
	}
	a.server.AddPatient(*p)
	if _, _, body := a.call(http.MethodGet, "/fhir/Consent/$purview", token, "", ""); !strings.Contains(body, "Practitioner/x") {
		t.Errorf("not replaced: %s", body)
	}
}

func TestUnknownPaths(t *testing.T) {
	a := newApp(t, pkbtest.Config{BasePath: "/tenant"})
	for path, want := range map[string]string{"/": "text/html; charset=utf-8", "/fhir/Nothing/1": "application/fhir+json", "/json/v1/users/self": "text/html; charset=utf-8"} {
		if status, h, _ := a.call(http.MethodGet, path, "", "", ""); status != 404 || h.Get("Content-Type") != want {
			t.Errorf("%s: %d %s", path, status, h.Get("Content-Type"))
		}
	}
	resp, err := a.http.Get("https://anything.example/json/users/self")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("outside the base path: %d", resp.StatusCode)
	}
	if n := a.server.Count(""); n != 4 {
		t.Errorf("%d requests to unknown paths counted, want 4", n)
	}
	paths := []string{}
	for _, q := range a.server.Requests() {
		paths = append(paths, q.Path)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"/json/users/self", "/tenant/", "/tenant/fhir/Nothing/1", "/tenant/json/v1/users/self"}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
