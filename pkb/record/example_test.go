// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

// demo returns a test server with one patient, and a client for it.
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

// demoClient returns a client of server, with the other fields of config.
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

// A report refers to its observations.
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

// A search for documents can be narrowed to a time.
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

// Several times are ANDed. PKB accepts fewer of them for encounters than for
// appointments, and a search that it does not offer is not sent.
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

// Consents refer to organisations and practitioners.
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

// Questionnaires, the requests for them, and their responses.
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

// Search also yields included resources.
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

// An entry that cannot be read does not end a search.
func ExampleEntryError() {
	ctx := context.Background()
	server, patient := demoRecord(ctx)
	server.Next(pkbtest.Facade, pkbtest.Rewrite(func(_ http.Header, page []byte) []byte {
		return bytes.Replace(page, []byte(`"entry":[`), []byte(`"entry":[{"resource":{"id":"?"}},`), 1)
	}))
	for appointment, err := range patient.Record().Appointments(ctx) {
		var entry *record.EntryError
		if errors.As(err, &entry) {
			fmt.Println(err)
			continue // entry.Resource has what was received
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(appointment.ID())
	}
	// Output:
	// record: Appointment search: an entry has a resource without a readable resourceType
	// app-1
}

// Pages expire at PKB, if they are not read in time.
func ExamplePagingError() {
	ctx := context.Background()
	server, patient := demoRecord(ctx)
	server.Next(pkbtest.Facade, pkbtest.Rewrite(func(_ http.Header, page []byte) []byte {
		return bytes.Replace(page, []byte(`"link":[`), []byte(`"link":[{"relation":"next","url":"?page=2"},`), 1)
	}), pkbtest.Respond(410, "", ""))

	for range 3 { // no more: something else is wrong then
		var (
			found []string
			last  error
		)
		for appointment, err := range patient.Record().Appointments(ctx) {
			if last = err; err == nil {
				found = append(found, appointment.ID())
			}
		}
		var paging *record.PagingError
		if errors.As(last, &paging) && paging.Reason == "expired" {
			fmt.Println(last)
			continue // what was found is not all
		}
		fmt.Println(found, last)
		break
	}
	// Output:
	// record: the search is not complete: the next page has expired
	// [app-1] <nil>
}

// NamingSystems describes the system of an identifier.
func ExampleRecord_NamingSystems() {
	ctx := context.Background()
	_, patient := demoRecord(ctx)
	for system, err := range patient.Record().NamingSystems(ctx, "http://hospital.example/number") {
		fmt.Println(system.Reveal().Name, err)
	}
	// Output: TestHospitalNumber <nil>
}

// Demographics reads the patient's own Patient resource.
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

// LastDataPoint is a cheap check before reading the record again.
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

// A Source of canned responses tests code that reads a record without HTTP.
func ExampleNew() {
	r := record.New("https://pkb.example/fhir", canned(`{"resourceType": "Questionnaire", "id": "q-1", "title": "How are you?"}`))
	found, err := r.Questionnaire(context.Background(), "q-1")
	fmt.Println(found.Reveal().Title, err)
	// Output: How are you? <nil>
}

// canned is a response to every request.
type canned string

func (c canned) PublicID(context.Context) (identity.PublicID, error) {
	return "1d4a8b2d-f885-499f-ba51-50600312f316", nil
}

func (c canned) Get(_ context.Context, _ observe.Operation, _ string, decode func(io.Reader) (string, error)) error {
	_, err := decode(strings.NewReader(string(c)))
	return err
}

func (c canned) Call(_ context.Context, _ observe.Operation, _ string, decode func([]byte) (string, error)) error {
	_, err := decode([]byte(c))
	return err
}

func (c canned) Gone(error) bool { return false }

func (c canned) Unusable(_ observe.Operation, problem string, _ error, _ fhir.Resource[fhir.OperationOutcome]) error {
	return errors.New(problem)
}
