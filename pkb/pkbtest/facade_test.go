// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// page is a Bundle, as far as these tests look at it.
type page struct {
	ResourceType, Type string
	Total              int
	Link               []struct{ Relation, URL string }
	Entry              []struct {
		FullURL  string
		Resource struct{ ResourceType, ID string }
		Search   struct{ Mode string }
	}
}

func (p page) next() string {
	for _, l := range p.Link {
		if l.Relation == "next" {
			return l.URL
		}
	}
	return ""
}

func (p page) ids() (ids []string) {
	for _, e := range p.Entry {
		ids = append(ids, e.Resource.ID)
	}
	return ids
}

func (a *app) bundle(path, token string) page {
	a.Helper()
	status, h, body := a.call(http.MethodGet, path, token, "", "")
	var p page
	if err := json.Unmarshal([]byte(body), &p); err != nil || status != 200 || p.ResourceType != "Bundle" || h.Get("Content-Type") != "application/fhir+json" {
		a.Fatalf("%s: %d %s", path, status, body)
	}
	return p
}

func (a *app) add(p *pkbtest.Patient, resource string) {
	a.Helper()
	if err := a.server.AddResource(p, []byte(resource)); err != nil {
		a.Fatal(err)
	}
}

func TestFacadePages(t *testing.T) {
	a := newApp(t, pkbtest.Config{PageSize: 2, BasePath: "/tenant"})
	p := a.server.AddPatient(pkbtest.Patient{})
	token := a.link(p).Access
	for i := range 5 {
		a.add(p, fmt.Sprintf(`{"resourceType":"Appointment","id":"%d"}`, i))
	}
	a.add(p, `{"resourceType":"Appointment","id":"4","status":"replaced"}`)
	path, ids := "/fhir/Appointment?patient=Patient/"+p.PublicID, []string{}
	for n := 0; path != ""; n++ {
		got := a.bundle(path, token)
		ids = append(ids, got.ids()...)
		if got.Total != 5 || got.Type != "searchset" || n > 3 {
			t.Fatalf("page %d of %d", n, got.Total)
		}
		path = strings.TrimPrefix(got.next(), a.server.URL())
		if status, _, _ := a.call(http.MethodGet, path, a.link(a.server.AddPatient(pkbtest.Patient{})).Access, "", ""); path != "" && status != 410 {
			t.Errorf("another patient's next page: %d", status)
		}
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if status, _, _ := a.call(http.MethodGet, "/fhir?_getpages=x&_getpagesoffset=-1", token, "", ""); status != 410 {
		t.Errorf("a made-up page: %d", status)
	}
	if n := a.server.Count(pkbtest.Facade); n < 6 {
		t.Errorf("%d requests counted", n)
	}
}

// What PKB's CapabilityStatement requires or does not know is refused.
func TestFacadeRefuses(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{})
	token := a.link(p).Access
	own := "patient=Patient/" + p.PublicID
	for path, want := range map[string]int{
		"/fhir/Observation?" + own:                                    400,
		"/fhir/Observation?category=x":                                400,
		"/fhir/Observation?category=x&" + own:                         200,
		"/fhir/Observation?category=x,y&" + own:                       400,
		"/fhir/Observation?category=x&category=y&" + own:              400,
		"/fhir/Observation?category=x&_count=1&" + own:                400,
		"/fhir/Observation?category=x&date=ge2018&date=le2019&" + own: 200,
		"/fhir/Observation?category=x&date=sa2018&" + own:             400,
		"/fhir/Observation?category=x&date=soon&" + own:               400,
		"/fhir/Encounter?date=ge2018&" + own:                          400,
		"/fhir/Encounter?date=gt2018&" + own:                          200,
		"/fhir/DocumentReference?indexed=2018&indexed=2018&" + own:    400,
		"/fhir/DocumentReference?indexed=ge2018&" + own:               400,
		"/fhir/Patient?identifier=urn:x%7C1":                          400,
		"/fhir/NamingSystem":                                          400,
		"/fhir/Observation/1":                                         404,
		"/fhir/Medication":                                            404,
		"/fhir/Organization":                                          404,
		"/fhir/Organization/1":                                        404,
		"/fhir/Patient/" + p.PublicID:                                 200,
		"/fhir/Patient/00000000-0000-4000-8000-000000000000":          403,
		"/fhir/Observation?category=x&patient=Patient/somebody-else":  200,
		"/fhir/Observation?category=%zz&" + own:                       400,
		"/fhir":                                                       410,
	} {
		if status, _, body := a.call(http.MethodGet, path, token, "", ""); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
		if status, _, _ := a.call(http.MethodGet, path, "", "", ""); status != 401 && want != 404 {
			t.Errorf("%s without a token: %d", path, status)
		}
	}
	if status, h, _ := a.call(http.MethodDelete, "/fhir/Patient/"+p.PublicID, token, "", ""); status != 405 || h.Get("Allow") != "GET" {
		t.Errorf("DELETE: %d", status)
	}
	for _, body := range []string{"", "null", "[]", "{}", `{"resourceType":7}`, "{"} {
		if err := a.server.AddResource(p, []byte(body)); err == nil {
			t.Errorf("AddResource takes %q", body)
		}
	}
}

func TestFacadeFilters(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p, q := a.server.AddPatient(pkbtest.Patient{}), a.server.AddPatient(pkbtest.Patient{})
	token := a.link(p).Access
	own := "patient=Patient/" + p.PublicID
	const category = `"category":[{"coding":[{"system":"s","code":"LAB"}]}],`
	a.add(p, `{"resourceType":"Observation","id":"july",`+category+`"effectiveDateTime":"2018-07"}`)
	a.add(p, `{"resourceType":"Observation","id":"noon",`+category+`"effectiveDateTime":"2018-07-15T12:00:00Z"}`)
	a.add(p, `{"resourceType":"Observation","id":"open",`+category+`"effectivePeriod":{"start":"2018-08-01"}}`)
	a.add(p, `{"resourceType":"Observation","id":"hidden","meta":{"security":[{"code":"SEXUAL_HEALTH"}]},`+category+`"effectiveDateTime":"2018-07-15"}`)
	a.add(p, `{"resourceType":"Observation","id":"other","category":[{"coding":[{"system":"t","code":"LAB"}]}]}`)
	a.add(q, `{"resourceType":"Observation","id":"anothers",`+category+`"effectiveDateTime":"2018-07-15"}`)
	a.server.Withhold(p, "SEXUAL_HEALTH")
	for query, want := range map[string]string{
		"":                   "july noon open",
		"&date=2018-07-15":   "july noon",
		"&date=ge2018-07-20": "july open",
		"&date=gt2018-07-31": "open",
		"&date=lt2018-07-15": "july",
		"&date=le2018-07-15": "july noon",
		"&date=ge2018-07-15T13:00:00Z&date=lt2018-07-31": "july",
		"&date=lt2018-06": "",
	} {
		if got := strings.Join(a.bundle("/fhir/Observation?category=s%7CLAB&"+own+query, token).ids(), " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if got := a.bundle("/fhir/Observation?category=LAB&"+own, token).ids(); len(got) != 4 {
		t.Errorf("a category of any system: %v", got)
	}
	if got := a.bundle("/fhir/Observation?category=LAB&patient=Patient/"+q.PublicID, token); got.Entry != nil {
		t.Error("another patient's observations")
	}
	a.server.Withhold(p)
	if got := a.bundle("/fhir/Observation?category=s%7CLAB&"+own, token).ids(); !slices.Contains(got, "hidden") {
		t.Error("what is withheld no more stays hidden")
	}

	a.add(p, `{"resourceType":"QuestionnaireResponse","id":"qr","basedOn":[{"reference":"ProcedureRequest/pr"}]}`)
	a.add(p, `{"resourceType":"ProcedureRequest","id":"pr"}`)
	got := a.bundle("/fhir/QuestionnaireResponse?_include=QuestionnaireResponse:basedOn:ProcedureRequest&_include=QuestionnaireResponse:subject:Patient&based-on=ProcedureRequest/pr", token)
	var all []string
	for _, e := range got.Entry {
		all = append(all, e.Search.Mode+" "+e.Resource.ResourceType)
	}
	if diff := cmp.Diff([]string{"match QuestionnaireResponse", "include ProcedureRequest", "include Patient"}, all); diff != "" || got.Total != 1 {
		t.Errorf("total %d, entries (-want +got):\n%s", got.Total, diff)
	}
	number := a.bundle("/fhir/Patient?identifier="+url.QueryEscape("https://fhir.nhs.uk/Id/nhs-number|"+p.NHSNumber), token)
	if diff := cmp.Diff([]string{p.PublicID}, number.ids()); diff != "" {
		t.Errorf("by NHS number (-want +got):\n%s", diff)
	}
	if number = a.bundle("/fhir/Patient?identifier="+url.QueryEscape("https://fhir.nhs.uk/Id/nhs-number|"+q.NHSNumber), token); number.Entry != nil {
		t.Error("another patient by NHS number")
	}
}

func TestFacadeLastDataPoint(t *testing.T) {
	a := newApp(t, pkbtest.Config{})
	p := a.server.AddPatient(pkbtest.Patient{NHSNumber: "9991566171"})
	token := a.link(p).Access
	const path = "/fhir/Patient/$date-of-last-data-point"
	if status, _, body := a.call(http.MethodGet, path, token, "", ""); status != 200 || body != `{"resourceType":"Parameters"}` {
		t.Errorf("an empty record: %d %s", status, body)
	}
	a.add(p, `{"resourceType":"Observation","id":"1"}`)
	status, _, body := a.call(http.MethodPost, path, token, "application/fhir+json", `{"resourceType":"Parameters"}`)
	var got struct {
		Parameter []struct {
			Name string
			Part []struct {
				Name             string
				LastRecordUpdate time.Time
				ValueIdentifier  struct{ System, Value string }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Parameter) != 1 || len(got.Parameter[0].Part) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	part := got.Parameter[0].Part[0]
	if got.Parameter[0].Name != "lastDataPointsResult" || part.Name != "patientIdentifier" || part.ValueIdentifier.Value != "9991566171" || a.server.Now().Sub(part.LastRecordUpdate).Abs() > time.Minute {
		t.Errorf("response %s", body)
	}
}

// What is made up depends on the seed and nothing else, and is its patient's.
func TestMadeUpResources(t *testing.T) {
	p := pkbtest.New(pkbtest.Config{}).AddPatient(pkbtest.Patient{})
	for _, kind := range pkbtest.MadeUpKinds() {
		one, again, other := pkbtest.MadeUpResource(kind, 1, p), pkbtest.MadeUpResource(kind, 1, p), pkbtest.MadeUpResource(kind, 2, p)
		var resource struct{ ResourceType, ID string }
		if err := json.Unmarshal(one, &resource); err != nil || resource.ResourceType != kind || resource.ID != strings.ToLower(kind)+"-1" {
			t.Errorf("%s: %s", kind, one)
		}
		if !bytes.Equal(one, again) || bytes.Equal(one, other) {
			t.Errorf("%s does not depend on the seed alone", kind)
		}
	}
	if pkbtest.MadeUpResource("Medication", 1, p) != nil {
		t.Error("a kind that is not made up")
	}
}

// Whoever reads the observations of fifteen seeds has read a value of every kind.
func TestMadeUpObservationsHaveEveryKindOfValue(t *testing.T) {
	p := pkbtest.New(pkbtest.Config{}).AddPatient(pkbtest.Patient{})
	kinds := []string{
		"valueQuantity", "valueString", "component", "valueCodeableConcept", "valueRatio", "valueRange", "valueBoolean", "valuePeriod", "valueTime", "valueDateTime",
		"valueSampledData", "valueAttachment", "dataAbsentReason", "valueQuantity", "component",
	}
	for seed := range uint64(45) {
		var tree map[string]any
		if err := json.Unmarshal(pkbtest.MadeUpResource("Observation", seed, p), &tree); err != nil {
			t.Fatal(err)
		}
		var has []string
		for name := range tree {
			if strings.HasPrefix(name, "value") || name == "component" || name == "dataAbsentReason" {
				has = append(has, name)
			}
		}
		if diff := cmp.Diff([]string{kinds[seed%15]}, has); diff != "" {
			t.Errorf("seed %d (-want +got):\n%s", seed, diff)
		}
		if (tree["effectiveDateTime"] != nil) == (tree["effectivePeriod"] != nil) {
			t.Errorf("seed %d has no time, or two", seed)
		}
		if code, _ := tree["code"].(map[string]any); code["text"] == nil {
			t.Errorf("seed %d does not say what it measures", seed)
		}
	}
}
