// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// lastBody is the JSON that was sent last.
func (r *rig) lastBody(t *testing.T) (body map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.sent[len(r.sent)-1].Body), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// What users/self gave becomes the Patient of PKB's page, element by element.
func TestTheMappingOfAddPatient(t *testing.T) {
	r := newRig(t)
	a := r.addition(func(d *identity.Demographics) {
		d.FirstName, d.Address2 = "  Canarina  ", "Perch 2"
		d.Contacts = []identity.Contact{{Type: "EMAIL", Value: d.Email}, {Type: "email", Value: "second@birds.example"}, {Type: "FAX", Value: "1"}}
	})
	a.TeamAliases = []string{"physio", "cardiology"}
	if err := r.AddPatient(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	list := func(v ...any) []any { return v }
	type object = map[string]any
	want := object{
		"resourceType": "Patient",
		"extension": list(
			object{"url": "http://fhir.patientsknowbest.com/structuredefinition/team-alias", "valueString": "physio"},
			object{"url": "http://fhir.patientsknowbest.com/structuredefinition/team-alias", "valueString": "cardiology"}),
		"identifier": list(object{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": r.patient.NHSNumber}),
		"name":       list(object{"family": "Finkowski", "given": list("Canarina"), "prefix": list("Ms.")}),
		"telecom": list(
			object{"system": "phone", "value": "+44 7009 000100"},
			object{"system": "email", "value": "canarina@birds.example"}, object{"system": "email", "value": "second@birds.example"}),
		"gender": "female", "birthDate": "1941-03-17",
		"address": list(object{"line": list("1 Aviary Close", "Perch 2"), "city": "Sample City", "state": "COUNTY", "postalCode": "ZZ99 3WZ", "country": "GB-ENG"}),
	}
	if diff := cmp.Diff(want, r.lastBody(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{r.patient.PublicID: {"physio", "cardiology"}}, r.pkb.Members(r.organisation)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}

	// What is optional and absent is left out, and so is what could not be set.
	r.patient.Email = ""
	a = pkbsystem.Addition{Self: identity.NewSelf(identity.Demographics{
		ID: "7310001", FirstName: "Canarina", LastName: "Finkowski", DateOfBirth: "1941-03-17", Gender: identity.GenderIndeterminate,
		NationalIDs: r.demographics().NationalIDs, HeightCentimetres: "170", OrganizationName: "x", Email: "canarina@birds.example", Phone: "1",
	}), WithoutContacts: true}
	if err := r.AddPatient(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	want = object{
		"resourceType": "Patient", "identifier": want["identifier"], "gender": "other", "birthDate": "1941-03-17",
		"name": list(object{"family": "Finkowski", "given": list("Canarina")}),
	}
	if diff := cmp.Diff(want, r.lastBody(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeceasedAndGenders(t *testing.T) {
	r := newRig(t)
	for sent, want := range map[string]map[string]any{
		`"dateDeceased":null,"gender":"U"`:         {"gender": "unknown"},
		`"dateDeceased":"2026-01-02","gender":"M"`: {"gender": "male", "deceasedDateTime": "2026-01-02"},
		`"dateDeceased":true,"gender":"F"`:         {"gender": "female", "deceasedBoolean": true},
		`"gender":"I","genderMF":"m"`:              {"gender": "other"},
	} {
		self := must[identity.Self](t)(identity.DecodeSelf(fmt.Appendf(nil, `{"patient":true,"firstName":"A","lastName":"B","dob":"1941-03-17",%s,
			"nationalIds":[{"value":%q,"name":"NHS number","countryCodes":["GB-ENG"]}]}`, sent, r.patient.NHSNumber)))
		if err := r.AddPatient(t.Context(), pkbsystem.Addition{Self: self}); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for _, name := range []string{"gender", "deceasedDateTime", "deceasedBoolean"} {
			if v, ok := r.lastBody(t)[name]; ok {
				got[name] = v
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sent, diff)
		}
	}
}

// The verified identifier is one that PKB can tell whose it is, or nothing is sent.
func TestTheIdentifierOfAddPatient(t *testing.T) {
	nhs := func(v string) identity.NationalID {
		return identity.NationalID{Value: v, Name: "NHS number", CountryCodes: []string{"GB-ENG"}}
	}
	chi := identity.NationalID{Value: "9990000042", Name: "CHI number", CountryCodes: []string{"GB-SCT"}}
	bsn := identity.NationalID{Value: " 974189273 ", Name: "BSN", CountryCodes: []string{"NL"}}
	const system = "https://fhir.nhs.uk/Id/nhs-number"
	for name, tc := range map[string]struct {
		ids  []identity.NationalID
		want map[string]any // nil: refused
	}{
		"an NHS number, in groups": {[]identity.NationalID{nhs("999 000 0018")}, map[string]any{"system": system, "value": "9990000018"}},
		"it comes first":           {[]identity.NationalID{chi, bsn, nhs("9990000018")}, map[string]any{"system": system, "value": "9990000018"}},
		"twice the same":           {[]identity.NationalID{nhs("9990000018"), nhs("999-000-0018")}, map[string]any{"system": system, "value": "9990000018"}},
		"a CHI number":             {[]identity.NationalID{nhs(" "), chi}, map[string]any{"system": "urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53", "value": "9990000042"}},
		"a BSN":                    {[]identity.NationalID{bsn}, map[string]any{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "974189273"}},
		"none":                     {nil, nil},
		"two that differ":          {[]identity.NationalID{nhs("9990000018"), nhs("9990000026")}, nil},
		"a wrong check digit":      {[]identity.NationalID{nhs("9990000019"), chi}, nil},
		"not a number":             {[]identity.NationalID{nhs("N/A"), chi}, nil},
		"of no known kind":         {[]identity.NationalID{{Value: "9990000018", Name: "Number", CountryCodes: []string{"GB-ENG"}}}, nil},
		"of another country":       {[]identity.NationalID{{Value: "9990000018", Name: "NHS number", CountryCodes: []string{"FR"}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pkb.Next(pkbtest.Messaging, pkbtest.Respond(200, "", ""))
			err := r.AddPatient(t.Context(), r.addition(func(d *identity.Demographics) { d.NationalIDs = tc.ids }))
			if tc.want == nil {
				if input, _ := errors.AsType[*pkbsystem.InputError](err); input == nil || !cmp.Equal(input.Fields, []string{"NationalIDs"}) || len(r.sent) > 0 {
					t.Errorf("%v, after %d requests", err, len(r.sent))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tc.want}, r.lastBody(t)["identifier"]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A patient who lacks what PKB requires is refused here, by name and without values.
func TestAddPatientSendsNothingIncomplete(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*identity.Demographics)
		want   []string
	}{
		"nobody":                {func(d *identity.Demographics) { *d = identity.Demographics{} }, []string{"NationalIDs", "FirstName", "LastName", "DateOfBirth", "Gender"}},
		"no first name":         {func(d *identity.Demographics) { d.FirstName = " \t" }, []string{"FirstName"}},
		"no last name":          {func(d *identity.Demographics) { d.LastName = "" }, []string{"LastName"}},
		"a name that is broken": {func(d *identity.Demographics) { d.LastName = "Fink\xffowski" }, []string{"LastName"}},
		"no date of birth":      {func(d *identity.Demographics) { d.DateOfBirth = "" }, []string{"DateOfBirth"}},
		"no such date":          {func(d *identity.Demographics) { d.DateOfBirth = "1941-02-30" }, []string{"DateOfBirth"}},
		"a year":                {func(d *identity.Demographics) { d.DateOfBirth = "1941" }, []string{"DateOfBirth"}},
		"no gender":             {func(d *identity.Demographics) { d.Gender = "" }, []string{"Gender"}},
		"an older gender":       {func(d *identity.Demographics) { d.Gender, d.GenderMF = "", "f" }, []string{"Gender"}},
		"a gender of no list":   {func(d *identity.Demographics) { d.Gender = "X" }, []string{"Gender"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			err := r.AddPatient(t.Context(), r.addition(tc.change))
			input, _ := errors.AsType[*pkbsystem.InputError](err)
			if input == nil || !errors.Is(err, pkbsystem.ErrInput) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, input.Fields); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(r.sent) > 0 {
				t.Errorf("sent: %+v", r.sent)
			}
			if got := advice.For(err); got.Code != "patient_input" || got.Status != 422 {
				t.Errorf("%+v", got)
			}
		})
	}
	r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.TeamAliasURL = "" }))
	a := r.addition()
	a.TeamAliases = []string{"cardiology"}
	if err := r.AddPatient(t.Context(), a); !errors.Is(err, pkbsystem.ErrInput) || !strings.Contains(err.Error(), "TeamAliases") {
		t.Errorf("an alias without the extension's URL: %v", err)
	}
}

// Whether PKB may have the patient is the first thing to know about a failure. Nothing
// is sent twice, whatever happens and whatever Retries allows.
func TestAddPatientIsNeverRepeatedBlindly(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	type outcome struct {
		Posts     int
		Uncertain bool
		Code      string // of advice; "" for no error
	}
	atMessaging := func(f func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.URL.Path, "process-message") {
				return f(req)
			}
			return nil, nil
		}
	}
	for name, tc := range map[string]struct {
		fault   pkbtest.Fault
		instead func(*http.Request) (*http.Response, error)
		want    outcome
	}{
		"accepted":                    {nil, nil, outcome{1, false, ""}},
		"accepted, nothing in it":     {pkbtest.Respond(200, "", ""), nil, outcome{1, false, ""}},
		"created":                     {pkbtest.Respond(201, "", ""), nil, outcome{1, false, ""}},
		"accepted for later":          {pkbtest.Respond(202, "", ""), nil, outcome{1, false, ""}},
		"no content":                  {pkbtest.Respond(204, "", ""), nil, outcome{1, false, ""}},
		"with a warning":              {pkbtest.Respond(200, "", `{"resourceType":"OperationOutcome","issue":[{"severity":"warning"}]}`), nil, outcome{1, false, ""}},
		"an error with 200":           {pkbtest.Respond(200, "", `{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}`), nil, outcome{1, false, "system_request_refused"}},
		"refused":                     {pkbtest.Respond(422, "", `{"resourceType":"OperationOutcome","issue":[{"severity":"error"}]}`), nil, outcome{1, false, "system_request_refused"}},
		"too often":                   {pkbtest.Respond(429, "", ""), nil, outcome{1, false, "too_many_requests"}},
		"not permitted":               {pkbtest.Respond(403, "", ""), nil, outcome{1, false, "system_not_permitted"}},
		"redirected":                  {pkbtest.Respond(307, "", ""), nil, outcome{1, false, "no_such_address"}},
		"cut before anything is done": {pkbtest.Drop(), nil, outcome{1, true, "system_uncertain"}},
		"done, and the response lost": {pkbtest.DropAfter(), nil, outcome{1, true, "system_uncertain"}},
		"a proxy gives up":            {pkbtest.Respond(504, "text/html", "<html>"), nil, outcome{1, true, "system_uncertain"}},
		"unavailable":                 {pkbtest.Respond(503, "", ""), nil, outcome{1, true, "system_uncertain"}},
		"a bug":                       {pkbtest.Respond(500, "", ""), nil, outcome{1, true, "system_uncertain"}},
		"timed out at the server":     {pkbtest.Respond(408, "", ""), nil, outcome{1, true, "system_uncertain"}},
		"a page with 200":             {pkbtest.Respond(200, "text/html", "<html>"), nil, outcome{1, true, "system_uncertain"}},
		"cut in the response": {pkbtest.Rewrite(func(h http.Header, _ []byte) []byte { h.Set("Content-Length", "99"); return []byte("{") }), nil,
			outcome{1, true, "system_uncertain"}},
		"no connection": {nil, atMessaging(func(*http.Request) (*http.Response, error) { return nil, dial }), outcome{1, true, "system_uncertain"}}, // the rig reads every body
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Retries = 5 }))
			if tc.fault != nil {
				r.pkb.Next(pkbtest.Messaging, tc.fault)
			}
			r.instead = tc.instead
			err := r.AddPatient(t.Context(), r.addition())
			got := outcome{Uncertain: errors.Is(err, pkbsystem.ErrUncertain), Code: advice.For(err).Code}
			for _, q := range r.sent {
				if strings.Contains(q.Path, "process-message") {
					got.Posts++
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if err != nil {
				apiOf(t, err) // it has the details, uncertain or not
			}
		})
	}
}

// unread is a transport that fails before it reads the body, as net/http does when no
// connection can be made.
type unread struct {
	http.RoundTripper
	err error
}

func (u unread) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.Contains(req.URL.Path, "process-message") {
		return nil, u.err
	}
	return u.RoundTripper.RoundTrip(req)
}

// What did not leave is no uncertainty, and so is what never got a token.
func TestWhatNeverLeftIsNotUncertain(t *testing.T) {
	r := newRig(t)
	config := r.config
	config.HTTPClient = &http.Client{Transport: unread{r, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}}
	err := must[*pkbsystem.Client](t)(pkbsystem.New(config)).AddPatient(t.Context(), r.addition())
	if errors.Is(err, pkbsystem.ErrUncertain) || !errors.Is(err, syscall.ECONNREFUSED) || advice.For(err).Code != "unavailable" {
		t.Errorf("no connection: %v", err)
	}
	r.pkb.Next(pkbtest.SystemToken, pkbtest.Drop())
	if err := r.AddPatient(t.Context(), r.addition()); errors.Is(err, pkbsystem.ErrUncertain) || apiOf(t, err).Operation != "system token" {
		t.Errorf("no token: %v", err)
	}
	// The first token is refused, and there is no second: PKB has accepted nothing.
	r.pkb.Next(pkbtest.Messaging, pkbtest.Refuse("ACC_TOKEN_EXPIRED"))
	r.pkb.Next(pkbtest.SystemToken, pkbtest.Pass(), pkbtest.Drop())
	if err := r.AddPatient(t.Context(), r.addition()); errors.Is(err, pkbsystem.ErrUncertain) || apiOf(t, err).Operation != "system token" {
		t.Errorf("a token refused, and no other: %v", err)
	}
}

// A caller who leaves while PKB works on it does not know the outcome either.
func TestACallerWhoLeavesIsUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Now = nil }))
		r.pkb.Next(pkbtest.Messaging, pkbtest.Delay(time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.AddPatient(ctx, r.addition())
		if !errors.Is(err, pkbsystem.ErrUncertain) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if n := len(r.pkb.Members(r.organisation)); n != 1 {
			t.Errorf("%d members: pkbtest was to carry it out", n)
		}
	})
}

// Over TCP the server closes the connection after it has read the request: net/http
// does not send it again either.
func TestACutConnectionOverTCP(t *testing.T) {
	server := must[*pkbtest.Server](t)(pkbtest.Start(pkbtest.Config{}))
	defer server.Close()
	o := server.AddOrganisation(pkbtest.Organisation{})
	system := must[*pkbsystem.Client](t)(pkbsystem.New(pkbsystem.Config{
		Environment: pkb.BaseURL(server.URL()), TokenURL: server.URL() + "/api/oauth/token", Organisation: o.PublicID,
		ClientID: "test-system-client", ClientSecret: pkb.NewSecret("test-system-secret"), Retries: 5,
	}))
	r := newRig(t)
	for range 3 { // on kept connections too
		if err := system.AddPatient(t.Context(), r.addition()); err != nil {
			t.Fatal(err)
		}
		before := server.Count(pkbtest.Messaging)
		server.Next(pkbtest.Messaging, pkbtest.DropAfter())
		if err := system.AddPatient(t.Context(), r.addition()); !errors.Is(err, pkbsystem.ErrUncertain) || !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		if n := server.Count(pkbtest.Messaging) - before; n != 1 {
			t.Errorf("sent %d times", n)
		}
	}
	if n := len(server.Members(o)); n != 1 {
		t.Errorf("%d patients were made of one who was sent repeatedly", n)
	}
}

// The team rule is PKB's to check, and a refusal has its reason.
func TestTeams(t *testing.T) {
	r := newRig(t)
	for _, tc := range []struct {
		teams  []string
		status int
	}{{nil, 0}, {[]string{"cardiology"}, 0}, {[]string{"physio", "cardiology"}, 0}, {[]string{"physio"}, 422}, {[]string{"cardiology", "unknown"}, 422}} {
		a := r.addition()
		a.TeamAliases = tc.teams
		err := r.AddPatient(t.Context(), a)
		if tc.status == 0 {
			if err != nil {
				t.Errorf("%v: %v", tc.teams, err)
			}
			continue
		}
		e, _ := errors.AsType[*pkb.APIError](err)
		if e == nil || e.Status != tc.status || e.Outcome.IsZero() {
			t.Errorf("%v: %v", tc.teams, err)
		}
	}
}
