// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var equateEmpty = cmpopts.EquateEmpty()

func pageSize(n int) func(*pkbtest.Config, *pkb.Config) {
	return func(c *pkbtest.Config, _ *pkb.Config) { c.PageSize = n }
}

// add gives the patient n appointments, app-1 and so on.
func (s *sender) add(t *testing.T, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		s.give(t, fmt.Sprintf(`{"resourceType":"Appointment","id":"app-%d","status":"booked","start":"2018-07-%02dT09:00:00Z"}`, i, i))
	}
}

func (s *sender) give(t *testing.T, resource string) {
	t.Helper()
	if err := s.pkb.AddResource(s.rig.patient, []byte(resource)); err != nil {
		t.Fatal(err)
	}
}

// appointments returns the ids that a search yields, and its error.
func (s *sender) appointments(ctx context.Context, when ...record.When) (ids []string, err error) {
	for a, err := range s.Record().Appointments(ctx, when...) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, a.ID())
	}
	return ids, nil
}

func TestPagesAreFollowed(t *testing.T) {
	s := newSender(t, pageSize(3))
	s.add(t, 7)
	ids, err := s.appointments(t.Context())
	if diff := cmp.Diff([]string{"app-1", "app-2", "app-3", "app-4", "app-5", "app-6", "app-7"}, ids); err != nil || diff != "" {
		t.Errorf("%v, ids (-want +got):\n%s", err, diff)
	}
	if len(s.sent) != 3 {
		t.Errorf("%d requests for 3 pages", len(s.sent))
	}
	// Who has enough does not pay for more.
	s.sent = nil
	for _, err := range s.Record().Appointments(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if len(s.sent) != 1 {
		t.Errorf("%d requests for one appointment", len(s.sent))
	}
	// Times narrow.
	day := func(d int) time.Time { return time.Date(2018, 7, d, 0, 0, 0, 0, time.UTC) }
	for want, when := range map[string][]record.When{
		"app-2 app-3": {record.During(day(2), day(4))}, "app-5": {record.On(day(5))}, "app-6 app-7": {record.After(day(6))},
		"app-1": {record.Before(day(2))}, "app-3 app-4": {record.From(day(3)), record.Until(day(5))},
	} {
		ids, err := s.appointments(t.Context(), when...)
		if got := strings.Join(ids, " "); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}

// A page that fails is an error. It never looks like the end of the list.
func TestAFailedPageIsNoEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  pkbtest.Fault
		status int
	}{
		"503":                    {pkbtest.Respond(503, "text/html", "<html>canary"), 503},
		"410":                    {pkbtest.Respond(410, "", ""), 410},
		"403":                    {pkbtest.Refuse("NO_CONSENT"), 403},
		"cut":                    {pkbtest.Drop(), 0},
		"a page":                 {pkbtest.Respond(200, "text/html", "<html>canary"), 200},
		"nothing":                {pkbtest.Respond(200, "application/fhir+json", ""), 200},
		"half":                   {pkbtest.Rewrite(func(_ http.Header, body []byte) []byte { return body[:len(body)/2] }), 200},
		"another type":           {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Appointment"}`), 200},
		"an outcome":             {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"NO_CONSENT","diagnostics":"canary"}]}`), 200},
		"an outcome in a bundle": {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Bundle","entry":[{"search":{"mode":"outcome"},"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"NO_CONSENT"}]}}]}`), 200},
		"a page too large":       {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"Bundle","x":"`+strings.Repeat("x", 1<<20)+`"}`), 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, pageSize(2), withConfig(func(c *pkb.Config) { c.MaxResponseBytes = 1 << 20 }))
			s.add(t, 5)
			s.pkb.Next(pkbtest.Facade, pkbtest.Pass(), tc.fault)
			ids, err := s.appointments(t.Context())
			var api *pkb.APIError
			if !errors.As(err, &api) || api.Status != tc.status || api.Operation != "Appointment search" || len(ids) != 2 {
				t.Fatalf("%d appointments, then %v, want status %d", len(ids), err, tc.status)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats the body: %v", err)
			}
			if strings.Contains(name, "outcome") && (api.Code != fhir.NoConsent || api.Outcome.IsZero()) {
				t.Errorf("the outcome is lost: %v", err)
			}
		})
	}
}

// What has expired can only be searched for again: nothing is wrong with the addresses.
func TestAnExpiredPageIsSearchedForAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		faults  []pkbtest.Fault
		status  int
		expired bool
	}{
		"410":                 {[]pkbtest.Fault{pkbtest.Pass(), pkbtest.Respond(410, "", "")}, 410, true},
		"404":                 {[]pkbtest.Fault{pkbtest.Pass(), pkbtest.Respond(404, "", "")}, 404, true},
		"410 on the third":    {[]pkbtest.Fault{pkbtest.Pass(), pkbtest.Pass(), pkbtest.Respond(410, "", "")}, 410, true},
		"403":                 {[]pkbtest.Fault{pkbtest.Pass(), pkbtest.Refuse("NO_CONSENT")}, 403, false},
		"404 of the search":   {[]pkbtest.Fault{pkbtest.Respond(404, "", "")}, 404, false},
		"410 of the search":   {[]pkbtest.Fault{pkbtest.Respond(410, "", "")}, 410, false},
		"400 with a next one": {[]pkbtest.Fault{pkbtest.Pass(), pkbtest.Respond(400, "", "")}, 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, pageSize(2))
			s.add(t, 6)
			s.pkb.Next(pkbtest.Facade, tc.faults...)
			_, err := s.appointments(t.Context())
			var (
				api    *pkb.APIError
				paging *record.PagingError
			)
			if !errors.As(err, &api) || api.Status != tc.status {
				t.Fatalf("%v, want an *APIError with status %d", err, tc.status)
			}
			if is := errors.As(err, &paging) && paging.Reason == "expired" && errors.Is(err, record.ErrPaging); is != tc.expired || (advice.For(err).Code == "page_expired") != tc.expired {
				t.Errorf("%v [%s], want expired %t", err, advice.For(err).Code, tc.expired)
			}
			if ids, err := s.appointments(t.Context()); err != nil || len(ids) != 6 {
				t.Errorf("searched for again: %d appointments, %v", len(ids), err)
			}
		})
	}
}

// A page cannot send the bearer to another server.
func TestNextPageElsewhere(t *testing.T) {
	for _, link := range []string{
		"https://evil.example/tenant/fhir?page=2", "//evil.example/tenant/fhir", "http://evil.example/tenant/fhir", "http://pkbtest.example:8080/tenant/fhir", "https://pkbtest.example:8443/tenant/fhir?x",
		"https://pkbtest.example.evil.example/tenant/fhir", "http://pkbtest.example/json/users/self", "https://pkbtest.example/json/users/self", "/tenant/fhirelse", "/tenant/fhir/../json/users/self",
		"/tenant/fhir/%2e%2e/json/users/self", "..", "/", "ftp://pkbtest.example/tenant/fhir", "javascript:alert(1)", "mailto:a@example.org",
	} {
		s := newSender(t, pageSize(2))
		s.add(t, 2)
		s.tamper = func(_ int, body string) string {
			return strings.Replace(body, `"link":[`, `"link":[{"relation":"next","url":`+string(quoted(link))+`},`, 1)
		}
		ids, err := s.appointments(t.Context())
		var paging *record.PagingError
		if !errors.Is(err, record.ErrPaging) || !errors.As(err, &paging) || paging.Reason != "elsewhere" || len(ids) != 2 {
			t.Errorf("%s: %d appointments, then %v", link, len(ids), err)
		}
		if len(s.sent) != 1 {
			t.Errorf("%s: the link was followed, with Authorization %t", link, s.sent[1].Header.Get("Authorization") != "")
		}
		if err != nil && strings.Contains(err.Error(), "evil") {
			t.Errorf("the error repeats the link: %v", err)
		}
	}
	for _, link := range []string{"https://user:pass@pkbtest.example/tenant/fhir?p=2", "https://pkbtest.example/tenant/fhir?%zz\x7f", ":", "http://[::1"} {
		s := newSender(t, pageSize(2))
		s.add(t, 2)
		s.tamper = func(_ int, body string) string {
			return strings.Replace(body, `"link":[`, `"link":[{"relation":"next","url":`+string(quoted(link))+`},`, 1)
		}
		var paging *record.PagingError
		if _, err := s.appointments(t.Context()); !errors.As(err, &paging) || paging.Reason != "unreadable" || len(s.sent) != 1 {
			t.Errorf("%s: %v after %d requests", link, err, len(s.sent))
		}
	}
}

func quoted(s string) []byte {
	text, _ := json.Marshal(s) // it never fails
	return text
}

// Links come in all the forms that URL references have, and as a server writes them
// that does not know that TLS ends at a proxy. All are asked for at the record's own
// address.
func TestNextPageRelative(t *testing.T) {
	for _, base := range []string{"/tenant/fhir", "", "https://PKBTEST.example:443/tenant/fhir", "http://pkbtest.example/tenant/fhir", "http://pkbtest.example:80/tenant/fhir", "http://PKBtest.example:443/tenant/fhir", "//pkbtest.example/tenant/fhir/", "../fhir"} {
		s := newSender(t, pageSize(2))
		s.add(t, 3)
		s.tamper = func(_ int, body string) string {
			if base == "" { // a query alone stays at the path of the page
				return strings.NewReplacer(`{"relation":"next","url":"https://pkbtest.example/tenant/fhir`, `{"relation":"next","url":"../fhir`).Replace(body)
			}
			return strings.ReplaceAll(body, `"relation":"next","url":"https://pkbtest.example/tenant/fhir`, `"relation":"next","url":"`+base)
		}
		if ids, err := s.appointments(t.Context()); err != nil || len(ids) != 3 {
			t.Errorf("%q: %d appointments, %v", base, len(ids), err)
		}
		for _, q := range s.sent {
			if !strings.HasPrefix(q.URL.String(), "https://pkbtest.example/tenant/fhir") || q.Header.Get("Authorization") == "" {
				t.Errorf("%q: the request went to %s, with Authorization %t", base, q.URL, q.Header.Get("Authorization") != "")
			}
		}
	}
}

// Pages that go round in a circle, or never end, are an error in the end.
func TestPagesWithoutEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		next     func(n int) string
		requests int
		reason   string
	}{
		"the same page": {func(int) string { return "?again" }, 2, "cycle"},
		"a circle":      {func(n int) string { return fmt.Sprintf("?p=%d", n%3) }, 4, "cycle"},
		"for ever":      {func(n int) string { return fmt.Sprintf("?p=%d", n) }, 10_000, "limit"},
	} {
		s := newSender(t)
		s.tamper = func(n int, _ string) string {
			return `{"resourceType":"Bundle","link":[{"relation":"next","url":"/tenant/fhir/Appointment` + tc.next(n) + `"}],"entry":[{"resource":{"resourceType":"Appointment","id":"a"}}]}`
		}
		ids, err := s.appointments(t.Context())
		var paging *record.PagingError
		if !errors.As(err, &paging) || paging.Reason != tc.reason || len(s.sent) != tc.requests || len(ids) != tc.requests {
			t.Errorf("%s: %v after %d requests and %d appointments", name, err, len(s.sent), len(ids))
		}
	}
}

// What the patient may not see is left out silently: that is no error.
func TestNothingFoundIsNoError(t *testing.T) {
	s := newSender(t)
	if ids, err := s.appointments(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("%d appointments, %v", len(ids), err)
	}
	s.give(t, `{"resourceType":"Appointment","id":"a","meta":{"security":[{"code":"MENTAL_HEALTH"}]}}`)
	s.pkb.Withhold(s.rig.patient, "MENTAL_HEALTH")
	if ids, err := s.appointments(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("%d appointments, %v", len(ids), err)
	}
	s.pkb.Withhold(s.rig.patient)
	if ids, err := s.appointments(t.Context()); err != nil || len(ids) != 1 {
		t.Errorf("%d appointments, %v", len(ids), err)
	}
}

// A page can hold anything. The named searches yield what they are named after, and an
// error for what they cannot; Search yields all of it.
func TestOtherEntries(t *testing.T) {
	s := newSender(t)
	s.tamper = func(int, string) string {
		return `{"resourceType":"Bundle","type":"new-type","entry":[
			{"resource":{"resourceType":"Appointment","id":"1","status":"brand-new","reason":"odd"},"search":{"mode":"match"}},
			{"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"new"}]},"search":{"mode":"outcome"}},
			{"resource":{"resourceType":"Unheard","id":"2","contained":[{"resourceType":"Appointment"}]}},
			{"resource":{"resourceType":"Appointment","id":"3"},"search":{"mode":"include"}},
			null, {}, {"resource":"odd"}, {"resource":{"id":"4"}}, [{"resource":{"resourceType":"Appointment","id":"in a list"}}],
			{"resource":{"resourceType":"appointment","id":"5"}}, {"resource":{"resourceType":["Appointment"],"id":"6"}},
			{"resource":{"resourceType":"Appointment","resourceType":"Appointment","id":"7"},"search":{"mode":"match"}},
			{"resource":{"resourceType":"Appointment","id":"8","participant":{"status":"accepted"},"start":7},"search":{"mode":"new-mode"}}]}`
	}
	const none = "an entry has no resource"
	var typed []string
	for a, err := range s.Record().Appointments(t.Context()) {
		if err == nil {
			typed = append(typed, a.ID())
			continue
		}
		var entry *record.EntryError
		if !errors.Is(err, record.ErrEntry) || !errors.As(err, &entry) || entry.Search != "Appointment" || !a.IsZero() {
			t.Fatalf("%v with %q", err, a.Raw())
		}
		typed = append(typed, entry.Resource.ID()+" "+strings.TrimPrefix(err.Error(), "record: Appointment search: an entry has "))
	}
	if diff := cmp.Diff([]string{
		"1", "2 a resource of type Unheard", " no resource", " no resource", " no resource", "4 a resource without a readable resourceType", " no resource",
		"5 a resource of type appointment", "6 a resource without a readable resourceType", "7 a resource without a readable resourceType", "8",
	}, typed); diff != "" {
		t.Errorf("a named search (-want +got):\n%s", diff)
	}
	var all []string
	for r, err := range s.Record().Search(t.Context(), "Appointment", nil) {
		if err != nil {
			all = append(all, strings.TrimPrefix(err.Error(), "record: Appointment search: "))
			continue
		}
		all = append(all, r.Type()+" "+r.ID())
	}
	if diff := cmp.Diff([]string{
		"Appointment 1", "OperationOutcome ", "Unheard 2", "Appointment 3", none, none, none, " 4", none, "appointment 5", " 6", " 7", "Appointment 8",
	}, all); diff != "" {
		t.Errorf("Search (-want +got):\n%s", diff)
	}
}

// A host that stops at an entry stops the search.
func TestEntryErrorCanEndASearch(t *testing.T) {
	s := newSender(t, pageSize(1))
	s.add(t, 3)
	s.tamper = func(n int, body string) string {
		if n == 1 {
			return strings.Replace(body, `"resourceType":"Appointment"`, `"resourceType":""`, 1)
		}
		return body
	}
	if ids, err := s.appointments(t.Context()); !errors.Is(err, record.ErrEntry) || len(ids) != 0 || len(s.sent) != 1 {
		t.Errorf("%d appointments, %v after %d requests", len(ids), err, len(s.sent))
	}
}

// What Search yields can be decoded as any type that it is of.
func TestWhatSearchYieldsCanBeDecoded(t *testing.T) {
	s := newSender(t)
	s.tamper = func(int, string) string {
		return `{"resourceType":"Bundle","entry":[
			{"search":{"mode":"outcome"},"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"suppressed"}]}},
			{"resource":{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Appointment","id":"inner"}}]}}]}`
	}
	var found []fhir.Resource[fhir.Any]
	for r, err := range s.Record().Search(t.Context(), "Appointment", nil) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, r)
	}
	outcome, err := fhir.As[fhir.OperationOutcome](found[0])
	if err != nil || len(outcome.Reveal().Issue) != 1 || outcome.Reveal().Issue[0].Code != "suppressed" {
		t.Errorf("As[OperationOutcome]: %+v, %v", outcome.Reveal(), err)
	}
	bundle, err := fhir.As[fhir.Bundle](found[1])
	if err != nil || len(bundle.Reveal().Entries) != 1 || bundle.Reveal().Entries[0].Resource.ID() != "inner" {
		t.Errorf("As[Bundle]: %+v, %v", bundle.Reveal(), err)
	}
	if _, err := fhir.As[fhir.Bundle](found[0]); !errors.Is(err, fhir.ErrResourceType) {
		t.Errorf("an OperationOutcome as a Bundle: %v", err)
	}
}

// Every kind of resource arrives as its type, from a search or a read.
func TestEveryKind(t *testing.T) {
	s := newSender(t)
	for _, kind := range pkbtest.MadeUpKinds() {
		owner := s.rig.patient
		if kind == "Organization" || kind == "Practitioner" || kind == "Questionnaire" || kind == "NamingSystem" {
			owner = nil
		}
		if err := s.pkb.AddResource(owner, pkbtest.MadeUpResource(kind, 7, s.rig.patient)); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	got := map[string]string{}
	note := func(kind, id string, err error) {
		if got[kind] = id; err != nil {
			got[kind] = err.Error()
		}
	}
	for _, category := range []record.Category{record.Laboratory, record.Measurement} {
		for r, err := range s.Record().Observations(ctx, category) {
			note(r.Type()+" "+r.Reveal().Status, r.ID(), err)
		}
	}
	for r, err := range s.Record().DiagnosticReports(ctx, record.Laboratory) {
		note(r.Type()+" "+r.Reveal().Code.Text, r.ID(), err)
	}
	for r, err := range s.Record().DocumentReferences(ctx, record.DocumentFilter{SourceOrganisation: "organization-7", Status: ""}) {
		note(r.Type()+" "+r.Reveal().Class.Text, r.ID(), err)
	}
	for r, err := range s.Record().Appointments(ctx) {
		note(r.Type()+" "+r.Reveal().Comment, r.ID(), err)
	}
	for r, err := range s.Record().Encounters(ctx) {
		note(r.Type()+" "+r.Reveal().Class.Code, r.ID(), err)
	}
	for r, err := range s.Record().Communications(ctx) {
		note(r.Type()+" "+r.Reveal().Payload[0].ContentString, r.ID(), err)
	}
	for r, err := range s.Record().Consents(ctx) {
		note(r.Type()+" "+r.Reveal().Except[0].Type, r.ID(), err)
	}
	for r, err := range s.Record().QuestionnaireResponses(ctx, record.ResponseFilter{BasedOn: "procedurerequest-7", Questionnaire: "questionnaire-7"}) {
		note(r.Type()+" "+r.Reveal().Item[0].LinkID, r.ID(), err)
	}
	for r, err := range s.Record().Questionnaires(ctx, "") {
		note("found "+r.Type()+" "+r.Reveal().Title, r.ID(), err)
	}
	for r, err := range s.Record().NamingSystems(ctx, "http://pkbtest.example/id/7") {
		note(r.Type()+" "+r.Reveal().Name, r.ID(), err)
	}
	questionnaire, err := s.Record().Questionnaire(ctx, "questionnaire-7")
	note(questionnaire.Type()+" "+questionnaire.Reveal().Item[1].Option[1].ValueString, questionnaire.ID(), err)
	request, err := s.Record().ProcedureRequest(ctx, "procedurerequest-7")
	note(request.Type()+" "+request.Reveal().Intent, request.ID(), err)
	organization, err := s.Record().Organization(ctx, "organization-7")
	note(organization.Type()+fmt.Sprint(" ", *organization.Reveal().Active), organization.ID(), err)
	practitioner, err := s.Record().Practitioner(ctx, "practitioner-7")
	note(practitioner.Type()+fmt.Sprint(" ", *practitioner.Reveal().Active), practitioner.ID(), err)
	patient, err := s.Record().Demographics(ctx)
	note(patient.Type()+" "+patient.Reveal().Gender.Code(), patient.ID(), err)

	want := map[string]string{
		"Observation unknown": "observation-7", "DiagnosticReport Full blood count": "diagnosticreport-7", "DocumentReference Correspondence": "documentreference-7",
		"Appointment made up": "appointment-7", "Encounter IMP": "encounter-7", "Communication made up": "communication-7", "Consent permit": "consent-7",
		"QuestionnaireResponse 1": "questionnaireresponse-7", "found Questionnaire How are you?": "questionnaire-7", "Questionnaire a lot": "questionnaire-7",
		"NamingSystem Numbers7": "namingsystem-7", "ProcedureRequest order": "procedurerequest-7", "Organization true": "organization-7", "Practitioner true": "practitioner-7",
		"Patient female": s.rig.patient.PublicID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func TestReadsThatFail(t *testing.T) {
	s := newSender(t)
	_, err := s.Record().Organization(t.Context(), "nowhere")
	var api *pkb.APIError
	if !errors.Is(err, pkb.ErrNotFound) || !errors.As(err, &api) || api.Status != 404 || api.Outcome.IsZero() {
		t.Errorf("Organization: %v", err)
	}
	// A search that is not there is a wrong address, not a missing resource.
	s.pkb.Next(pkbtest.Facade, pkbtest.Respond(404, "", ""))
	if _, err := s.appointments(t.Context()); errors.Is(err, pkb.ErrNotFound) || err == nil {
		t.Errorf("Appointments: %v", err)
	}
	for _, body := range []string{`{"resourceType":"Practitioner","id":"x"}`, `{"resourceType":"OperationOutcome"}`, `null`, `<html>`} {
		s.pkb.Next(pkbtest.Facade, pkbtest.Respond(200, "application/fhir+json", body))
		if _, err := s.Record().Organization(t.Context(), "x"); !errors.As(err, &api) || api.Status != 200 {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Somebody else's record is never taken for the patient's.
func TestAnotherPatientsRecord(t *testing.T) {
	s := newSender(t)
	other := s.pkb.AddPatient(pkbtest.Patient{})
	s.tamper = func(_ int, body string) string {
		return strings.ReplaceAll(body, s.rig.patient.PublicID, other.PublicID)
	}
	if r, err := s.Record().Demographics(t.Context()); !errors.Is(err, pkb.ErrWrongPatient) || r.Raw() != nil {
		t.Errorf("Demographics: %v", err)
	}
	if own, err := s.Record().HasNHSNumber(t.Context(), nhsNumber(s.rig.patient.NHSNumber)); !errors.Is(err, pkb.ErrWrongPatient) || own {
		t.Errorf("HasNHSNumber: %t, %v", own, err)
	}
	s.tamper = nil
	for number, want := range map[string]bool{s.rig.patient.NHSNumber: true, other.NHSNumber: false, "9990000018": false} {
		if own, err := s.Record().HasNHSNumber(t.Context(), nhsNumber(number)); err != nil || own != want {
			t.Errorf("HasNHSNumber: %t, %v, want %t", own, err, want)
		}
	}
	// Whose record is read is asked for once, and never the caller's to say.
	s.rig.link(t, "user-2", other)
	s.add(t, 1)
	for a, err := range s.rig.ForUser("user-2").Record().Appointments(t.Context()) {
		t.Errorf("another patient's appointment %s, or %v", a.ID(), err)
	}
}

// What travels in addresses is in no error, however deep one looks.
func TestErrorsHoldNoAddress(t *testing.T) {
	s := newSender(t)
	s.pkb.Next(pkbtest.Facade, pkbtest.Drop(), pkbtest.Drop())
	_, err1 := s.Record().HasNHSNumber(t.Context(), nhsNumber(s.rig.patient.NHSNumber))
	_, err2 := s.appointments(t.Context())
	for _, err := range []error{err1, err2} {
		if err == nil {
			t.Fatal("no error")
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, s.rig.patient.NHSNumber) || strings.Contains(text, s.rig.patient.PublicID) {
				t.Errorf("%T prints whom it was about: %s", err, text)
			}
		}
	}
}

// The link's own troubles come through a search as through every call.
func TestSearchWithoutALink(t *testing.T) {
	s := newSender(t)
	for who, want := range map[string]error{"": pkb.ErrAppUserID, "nobody": pkb.ErrNotLinked} {
		if err := drain(s.rig.ForUser(who).Record().Consents(t.Context())); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", who, err, want)
		}
	}
	s.pkb.InvalidateSessions(s.rig.patient)
	var relink *pkb.RelinkError
	if _, err := s.appointments(t.Context()); !errors.As(err, &relink) || relink.Cause != observe.CauseSessionInvalid {
		t.Errorf("%v, want the link ended", err)
	}
}

func TestSearchEndsWithItsContext(t *testing.T) {
	s := newSender(t, pageSize(1))
	s.add(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range s.Record().Appointments(ctx) {
		if err != nil {
			last = err
			break
		}
		n++
		cancel()
	}
	if n != 1 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d appointments, then %v", n, last)
	}
}

// A resource prints nothing wherever it is handed out.
func TestWhatIsReadDoesNotPrint(t *testing.T) {
	s := newSender(t)
	s.give(t, `{"resourceType":"Appointment","id":"a","comment":"canary"}`)
	for a, err := range s.Record().Appointments(t.Context()) {
		if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v %s", a, &a, []any{a}, struct{ a any }{a}), "canary") || a.Reveal().Comment != "canary" {
			t.Errorf("printed, or lost: %v", err)
		}
	}
	s.tamper = func(_ int, body string) string {
		return strings.Replace(body, `"resourceType":"Appointment"`, `"x":1`, 1)
	}
	for _, err := range s.Record().Appointments(t.Context()) {
		var entry *record.EntryError
		if !errors.As(err, &entry) || !strings.Contains(string(entry.Resource.Raw()), "canary") {
			t.Fatalf("%v, want an EntryError with the resource", err)
		}
		encoded, _ := json.Marshal(entry)
		if printed := fmt.Sprintf("%v %+v %#v %+v %s", err, err, err, *entry, encoded); strings.Contains(printed, "canary") {
			t.Errorf("the error prints the resource: %s", printed)
		}
	}
}

func TestLastDataPoint(t *testing.T) {
	s := newSender(t)
	if at, ok, err := s.Record().LastDataPoint(t.Context()); err != nil || ok || !at.IsZero() {
		t.Errorf("an empty record: %v, %t, %v", at, ok, err)
	}
	s.add(t, 1)
	at, ok, err := s.Record().LastDataPoint(t.Context())
	if err != nil || !ok || at.Sub(s.pkb.Now()).Abs() > time.Minute {
		t.Errorf("%v, %t, %v", at, ok, err)
	}
	for _, body := range []string{`<html>`, `{"resourceType":"OperationOutcome"}`, `{"resourceType":"Parameters","parameter":[{"lastRecordUpdate":"canary"}]}`} {
		s.pkb.Next(pkbtest.Facade, pkbtest.Respond(200, "application/fhir+json", body))
		var api *pkb.APIError
		if _, _, err := s.Record().LastDataPoint(t.Context()); !errors.As(err, &api) || api.Status != 200 || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// POST first; GET after one answer 405, and then for good.
func TestLastDataPointByGET(t *testing.T) {
	s := newSender(t, func(c *pkbtest.Config, _ *pkb.Config) { c.PurviewGETOnly = true })
	s.add(t, 1)
	for range 3 {
		if _, ok, err := s.Record().LastDataPoint(t.Context()); err != nil || !ok {
			t.Fatalf("%t, %v", ok, err)
		}
	}
	var methods []string
	for _, q := range s.sent {
		methods = append(methods, q.Method)
	}
	if diff := cmp.Diff([]string{"POST", "GET", "GET", "GET"}, methods); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
}
