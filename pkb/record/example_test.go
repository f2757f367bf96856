// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

// demo returns a PKB for tests with one patient, and a client for it.
func demo() (*pkbtest.Server, *pkbtest.Patient, *pkb.Client) {
	server := pkbtest.New(pkbtest.Config{ClientID: "my-app", RedirectURIs: []string{"https://app.example/pkb/callback"}})
	patient := server.AddPatient(pkbtest.Patient{
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", FirstName: "Ada", LastName: "Example",
		DateOfBirth: "1980-02-29", NHSNumber: "9990000018",
	})
	client, err := demoClient(server, pkb.Config{})
	if err != nil {
		panic(err)
	}
	return server, patient, client
}

// demoClient returns a client of server, with what config has to say.
func demoClient(server *pkbtest.Server, config pkb.Config) (*pkb.Client, error) {
	config.Environment = pkb.BaseURL(server.URL())
	config.ClientID = server.ClientID()
	config.RedirectURL = "https://app.example/pkb/callback"
	config.Store = tokenstore.NewMemory()
	config.HTTPClient = &http.Client{Transport: server.Transport()}
	config.Now = server.Now
	return pkb.New(config)
}

// demoLink links app-user-1 to the patient of demo.
func demoLink(ctx context.Context, server *pkbtest.Server, patient *pkbtest.Patient, client *pkb.Client) {
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		panic(err)
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		panic(err)
	}
	if _, err := client.Complete(ctx, "app-user-1", pending, back.Query()); err != nil {
		panic(err)
	}
}

// demoRecord is demo with a link and a record that has one of each.
func demoRecord(ctx context.Context) (*pkbtest.Server, *pkb.Patient) {
	server, patient, client := demo()
	demoLink(ctx, server, patient, client)
	for _, resource := range []string{
		`{"resourceType": "Observation", "id": "obs-1", "status": "unknown", "effectiveDateTime": "2018-07-02",
			"category": [{"coding": [{"system": "http://fhir.patientsknowbest.com/codesystem/observation-category", "code": "LABORATORY"}]}],
			"code": {"text": "Haemoglobin"}, "valueQuantity": {"value": 140.50, "unit": "g/L"}}`,
		`{"resourceType": "DiagnosticReport", "id": "report-1", "code": {"text": "Full blood count"},
			"category": {"coding": [{"system": "http://fhir.patientsknowbest.com/codesystem/observation-category", "code": "LABORATORY"}]},
			"result": [{"reference": "Observation/obs-1"}]}`,
		`{"resourceType": "DocumentReference", "id": "doc-1", "created": "2018-07-02T09:00:00Z", "description": "Clinic letter"}`,
		`{"resourceType": "Appointment", "id": "app-1", "status": "booked", "start": "2018-07-20T09:00:00Z", "comment": "Bring your card"}`,
		`{"resourceType": "Encounter", "id": "enc-1", "status": "finished", "period": {"start": "2018-07-01", "end": "2018-07-03"}}`,
		`{"resourceType": "Communication", "id": "com-1", "sent": "2018-07-03T08:00:00Z", "payload": [{"contentString": "Your result is ready"}]}`,
		`{"resourceType": "Consent", "id": "con-1", "status": "active", "actor": [{"reference": {"reference": "Organization/org-1"}}]}`,
		`{"resourceType": "Organization", "id": "org-1", "name": "Test Hospital"}`,
		`{"resourceType": "Practitioner", "id": "prac-1", "name": [{"family": "Placeholder"}]}`,
		`{"resourceType": "Questionnaire", "id": "q-1", "title": "How are you?"}`,
		`{"resourceType": "ProcedureRequest", "id": "pr-1", "status": "active"}`,
		`{"resourceType": "QuestionnaireResponse", "id": "qr-1", "questionnaire": {"reference": "Questionnaire/q-1"},
			"basedOn": [{"reference": "ProcedureRequest/pr-1"}], "item": [{"linkId": "1", "answer": [{"valueBoolean": true}]}]}`,
		`{"resourceType": "NamingSystem", "id": "ns-1", "name": "TestHospitalNumber", "uniqueId": [{"value": "http://hospital.example/number"}]}`,
	} {
		if err := server.AddResource(patient, []byte(resource)); err != nil {
			panic(err)
		}
	}
	return server, client.ForUser("app-user-1")
}

// A search goes through all pages. What it yields prints nothing of itself.
func ExampleRecord_Observations() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	from := time.Date(2018, 7, 1, 0, 0, 0, 0, time.UTC)

	for obs, err := range patient.Record().Observations(ctx, record.Laboratory, record.During(from, from.AddDate(0, 1, 0))) {
		if err != nil { // a page that failed: what came before is not all
			fmt.Println(err)
			return
		}
		o := obs.Reveal()
		if q := o.ValueQuantity; q != nil { // nil where the value is of another type
			fmt.Println(obs, o.Code.Text, q.Value, q.Unit)
		}
	}
	// Output: [redacted] Haemoglobin 140.50 g/L
}

// Reports point to the observations that they are made of.
func ExampleRecord_DiagnosticReports() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	for report, err := range patient.Record().DiagnosticReports(ctx, record.Laboratory) {
		if err != nil {
			fmt.Println(err)
			return
		}
		ref, err := report.Reveal().Result[0].Parse()
		fmt.Println(report.Reveal().Code.Text, ref.Type, ref.ID, err)
	}
	// Output: Full blood count Observation obs-1 <nil>
}

// Documents can be narrowed by when they were made.
func ExampleRecord_DocumentReferences() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	last := time.Date(2018, 7, 1, 0, 0, 0, 0, time.UTC)
	for document, err := range patient.Record().DocumentReferences(ctx, record.DocumentFilter{Created: []record.When{record.From(last)}}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(document.Reveal().Description)
	}
	// Output: Clinic letter
}

// Several times have to be true together. Encounters know fewer of them than
// appointments do, and a search that PKB does not offer is not sent.
func ExampleRecord_Appointments() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	day := time.Date(2018, 7, 1, 0, 0, 0, 0, time.UTC)
	for appointment, err := range patient.Record().Appointments(ctx, record.From(day), record.Until(day.AddDate(0, 1, 0))) {
		fmt.Println(appointment.Reveal().Status, appointment.Reveal().Comment, err)
	}
	for encounter, err := range patient.Record().Encounters(ctx, record.After(day), record.Before(day.AddDate(0, 1, 0)), record.On(day.AddDate(0, 0, 1))) {
		fmt.Println(encounter.Reveal().Period.End, err)
	}
	for _, err := range patient.Record().Encounters(ctx, record.During(day, day.AddDate(0, 1, 0))) {
		fmt.Println(errors.Is(err, record.ErrSearch), err)
	}
	for message, err := range patient.Record().Communications(ctx) {
		fmt.Println(message.Reveal().Payload[0].ContentString, err)
	}
	// Output:
	// booked Bring your card <nil>
	// 2018-07-03 <nil>
	// true record: not sent: Encounter by date: PKB offers only gt, lt, eq here
	// Your result is ready <nil>
}

// Who may see what, and who that is.
func ExampleRecord_Consents() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	for consent, err := range patient.Record().Consents(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		grantee, err := consent.Reveal().Actor[0].Reference.Parse()
		if err != nil {
			fmt.Println(err)
			return
		}
		team, err := patient.Record().Organization(ctx, grantee.ID)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(consent.Reveal().Status, *team.Reveal().Name)
	}
	clinician, err := patient.Record().Practitioner(ctx, "prac-1")
	fmt.Println(*clinician.Reveal().Name[0].Family, err)
	_, err = patient.Record().Practitioner(ctx, "nobody")
	fmt.Println(errors.Is(err, pkb.ErrNotFound))
	// Output:
	// active Test Hospital
	// Placeholder <nil>
	// true
}

// Questionnaires, the requests for them, and the answers.
func ExampleRecord_QuestionnaireResponses() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	for form, err := range patient.Record().Questionnaires(ctx, "") {
		fmt.Println(form.Reveal().Title, err)
	}
	for answers, err := range patient.Record().QuestionnaireResponses(ctx, record.ResponseFilter{Questionnaire: "q-1"}) {
		pain := answers.Reveal().Item[0].Answer[0].ValueBoolean // nil if absent
		fmt.Println(pain != nil && *pain, err)
	}
	form, err := patient.Record().Questionnaire(ctx, "q-1")
	fmt.Println(form.Reveal().Title, err)
	request, err := patient.Record().ProcedureRequest(ctx, "pr-1")
	fmt.Println(request.Reveal().Status, err)
	// Output:
	// How are you? <nil>
	// true <nil>
	// How are you? <nil>
	// active <nil>
}

// Search yields what stands beside the matches, too.
func ExampleRecord_Search() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	q := url.Values{"_include": {"QuestionnaireResponse:basedOn:ProcedureRequest"}}
	for r, err := range patient.Record().Search(ctx, "QuestionnaireResponse", q) {
		if err != nil {
			fmt.Println(err)
			return
		}
		request, err := fhir.As[fhir.ProcedureRequest](r)
		fmt.Println(r.Type(), r.ID(), request.Reveal().Status, err == nil)
	}
	// Output:
	// QuestionnaireResponse qr-1  false
	// ProcedureRequest pr-1 active true
}

// The system of an identifier can be looked up.
func ExampleRecord_NamingSystems() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	for system, err := range patient.Record().NamingSystems(ctx, "http://hospital.example/number") {
		fmt.Println(system.Reveal().Name, err)
	}
	// Output: TestHospitalNumber <nil>
}

// The patient's own Patient resource, which prints nothing of itself.
func ExampleRecord_Demographics() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	own, err := patient.Record().Demographics(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(own, *own.Reveal().Name[0].Family, own.Reveal().Gender.Code())
	number, err := identity.ParseNHSNumber("999 000 0018")
	if err != nil {
		fmt.Println(err)
		return
	}
	has, err := patient.Record().HasNHSNumber(ctx, number)
	fmt.Println(has, err)
	// Output:
	// [redacted] Example female
	// true <nil>
}

// A cheap question, before reading the record again.
func ExampleRecord_LastDataPoint() {
	ctx := context.Background()
	server, patient := demoRecord(ctx)
	at, ok, err := patient.Record().LastDataPoint(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ok, server.Now().Sub(at) < time.Minute)
	// Output: true true
}
