// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// The id that PKB has for the number is the one that the patient's own token gives.
func TestFindByNHSNumber(t *testing.T) {
	r := newRig(t)
	r.pkb.AddPatient(pkbtest.Patient{})
	found, err := r.FindByNHSNumber(t.Context(), r.number(t))
	if err != nil || found != identity.PublicID(r.patient.PublicID) {
		t.Errorf("FindByNHSNumber: %v, %v", found, err)
	}
	if _, err := r.FindByNHSNumber(t.Context(), numberOf(t, "9990000018")); !errors.Is(err, pkbsystem.ErrNoPatient) {
		t.Errorf("a number that nobody has: %v", err)
	}
	hidden := newRig(t, func(o *pkbtest.Organisation, _ *pkbsystem.Config) { o.NoAccess = []string{r.patient.PublicID} })
	if err := hidden.find(t); !errors.Is(err, pkbsystem.ErrNoPatient) {
		t.Errorf("a patient that is not shown to the organisation: %v", err)
	}
}

// A number that cannot be anybody's is not sent.
func TestFindSendsNoImpossibleNumber(t *testing.T) {
	r := newRig(t)
	for _, n := range []identity.NHSNumber{{}, numberOf(t, "9990000019")} {
		_, err := r.FindByNHSNumber(t.Context(), n)
		input, _ := errors.AsType[*pkbsystem.InputError](err)
		if !errors.Is(err, pkbsystem.ErrInput) || input == nil || !cmp.Equal(input.Fields, []string{"NHSNumber"}) {
			t.Errorf("%v", err)
		}
	}
	if len(r.sent) > 0 {
		t.Errorf("sent: %v", r.sent)
	}
}

// bundle rewrites the search result of pkbtest.
func bundle(change func(page map[string]any)) pkbtest.Fault {
	return pkbtest.Rewrite(func(_ http.Header, body []byte) []byte {
		var page map[string]any
		if err := json.Unmarshal(body, &page); err != nil {
			return body
		}
		change(page)
		out, _ := json.Marshal(page)
		return out
	})
}

func entry(of map[string]any) map[string]any {
	return map[string]any{"resource": of, "search": map[string]any{"mode": "match"}}
}

func patient(id string, numbers ...string) map[string]any {
	var ids []any
	for _, n := range numbers {
		ids = append(ids, map[string]any{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": n})
	}
	return map[string]any{"resourceType": "Patient", "id": id, "identifier": ids}
}

const (
	oneID   = "1d4a8b2d-f885-499f-ba51-50600312f316"
	otherID = "0c71b08b-38f8-4973-aaff-e4103151cd42"
)

// Whatever a server responds, nobody is confirmed by it who does not have the number.
func TestFindConfirmsNobodyElse(t *testing.T) {
	number := newRig(t).patient.NHSNumber
	entries := func(all ...map[string]any) pkbtest.Fault {
		return bundle(func(page map[string]any) { page["entry"] = all })
	}
	outcome := func(severity string) map[string]any {
		return map[string]any{"resource": map[string]any{"resourceType": "OperationOutcome", "issue": []any{map[string]any{"severity": severity, "diagnostics": number}}}}
	}
	for name, tc := range map[string]struct {
		fault pkbtest.Fault
		found string // or "", and
		what  string // the error has this
	}{
		"the patient":                    {entries(entry(patient(oneID, number))), oneID, ""},
		"written in groups":              {entries(entry(patient(oneID, number[:3]+" "+number[3:6]+" "+number[6:]))), oneID, ""},
		"in upper case":                  {entries(entry(patient(strings.ToUpper(oneID), number))), oneID, ""},
		"twice the same":                 {entries(entry(patient(oneID, number)), entry(patient(oneID, number))), oneID, ""},
		"and a remark":                   {entries(outcome("information"), entry(patient(oneID, number))), oneID, ""},
		"and one that is included":       {entries(entry(patient(oneID, number)), map[string]any{"resource": patient(otherID), "search": map[string]any{"mode": "include"}}), oneID, ""},
		"two patients":                   {entries(entry(patient(oneID, number)), entry(patient(otherID, number))), "", "several patients"},
		"another number":                 {entries(entry(patient(oneID, "9990000018"))), "", "without the number"},
		"two numbers":                    {entries(entry(patient(oneID, number, "9990000018"))), "", "without the number"},
		"no number: the search was lost": {entries(entry(patient(oneID))), "", "without the number"},
		"the user id in place of the id": {entries(entry(patient("7310001", number))), "", "not a public id"},
		"more pages":                     {bundle(func(page map[string]any) { page["link"] = []any{map[string]any{"relation": "next", "url": "/next"}} }), "", "more than one page"},
		"an error among the results":     {entries(outcome("error"), entry(patient(oneID, number))), "", "an error instead of a part"},
		"a page with 200":                {pkbtest.Respond(200, "text/html", "<html>"), "", "a page, not data"},
		"an outcome with 200":            {pkbtest.Respond(200, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"code":"NO_CONSENT"}]}`), "", "NO_CONSENT"},
		"not JSON":                       {pkbtest.Respond(200, "application/fhir+json", `nothing`), "", "not a Bundle"},
		"empty":                          {pkbtest.Respond(200, "application/fhir+json", ``), "", "not a Bundle"},
		"redirected":                     {pkbtest.Respond(302, "", ""), "", "302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pkb.Next(pkbtest.Facade, tc.fault)
			found, err := r.FindByNHSNumber(t.Context(), r.number(t))
			if tc.what == "" {
				if err != nil || string(found) != tc.found {
					t.Errorf("%v, %v; want %s", found, err, tc.found)
				}
				return
			}
			if found != "" {
				t.Errorf("found %s", found)
			}
			if got := apiOf(t, err); got.Operation != "system find" || !strings.Contains(got.Text, tc.what) {
				t.Errorf("%+v, want %q", got, tc.what)
			}
		})
	}
}

// A refusal is told from an outage, and advice knows what to do about each.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pkbtest.Organisation, *pkbsystem.Config)
		faults []pkbtest.Fault
		status int
		code   string // of advice
	}{
		"granted nothing":          {func(o *pkbtest.Organisation, _ *pkbsystem.Config) { o.GrantsNothing = true }, nil, 403, "system_not_permitted"},
		"another's organisation":   {withConfig(func(c *pkbsystem.Config) { c.Organisation = otherID }), nil, 403, "system_not_permitted"},
		"no consent":               {nil, []pkbtest.Fault{pkbtest.Refuse("NO_CONSENT")}, 403, "system_not_permitted"},
		"not for system clients":   {nil, []pkbtest.Fault{pkbtest.Refuse("USER_TYPE_NOT_PERM")}, 403, "system_not_permitted"},
		"the token, twice":         {nil, []pkbtest.Fault{pkbtest.Refuse("BAD_AUTHENTICATION"), pkbtest.Refuse("BAD_AUTHENTICATION")}, 401, "system_token_refused"},
		"the search":               {nil, []pkbtest.Fault{pkbtest.Respond(400, "", "")}, 400, "system_request_refused"},
		"busy":                     {nil, []pkbtest.Fault{pkbtest.Respond(429, "", "")}, 429, "too_many_requests"},
		"down":                     {nil, []pkbtest.Fault{pkbtest.Respond(503, "", "")}, 503, "unavailable"},
		"a bug":                    {nil, []pkbtest.Fault{pkbtest.Respond(500, "", "")}, 500, "unavailable"},
		"cut":                      {nil, []pkbtest.Fault{pkbtest.Drop()}, 0, "unavailable"},
		"nothing at this address":  {nil, []pkbtest.Fault{pkbtest.Respond(404, "", "")}, 404, "no_such_address"},
		"redirected to a log-in":   {nil, []pkbtest.Fault{pkbtest.Respond(302, "", "")}, 302, "no_such_address"},
		"a page in PKB's place":    {nil, []pkbtest.Fault{pkbtest.Respond(200, "text/html", "<html>")}, 200, "unexpected_response"},
		"an outcome with a reason": {nil, []pkbtest.Fault{pkbtest.Respond(200, "", `{"resourceType":"OperationOutcome"}`)}, 200, "system_request_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tc.change != nil {
				r = newRig(t, tc.change)
			}
			r.pkb.Next(pkbtest.Facade, tc.faults...)
			err := r.find(t)
			if got := apiOf(t, err); got.Status != tc.status {
				t.Errorf("%+v, want status %d", got, tc.status)
			}
			if got := advice.For(err).Code; got != tc.code {
				t.Errorf("advice has the code %s, want %s", got, tc.code)
			}
		})
	}
}

// Reads are retried, no earlier than PKB asks.
func TestReadsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Retries, c.RequestTimeout = 2, time.Minute }))
		r.pkb.Next(pkbtest.Facade,
			pkbtest.Rewrite(func(h http.Header, _ []byte) []byte { h.Set("X-Ignored", "1"); return []byte("cut") }), // no retry: it is unreadable
		)
		if err := r.find(t); err == nil {
			t.Error("a response that is not JSON was accepted")
		}
		begin := time.Now()
		r.pkb.Next(pkbtest.Facade, after(503, "7"), pkbtest.Drop())
		if err := r.find(t); err != nil {
			t.Errorf("after two failures: %v", err)
		}
		if waited := time.Since(begin); waited < 7*time.Second {
			t.Errorf("PKB asked to wait for 7 s, and was asked again after %v", waited)
		}
		if n := r.pkb.Count(pkbtest.Facade); n != 4 {
			t.Errorf("%d requests, want 1 and 3", n)
		}
		if log := r.log.String(); strings.Contains(log, r.patient.NHSNumber) || !strings.Contains(log, "pkb: retrying") {
			t.Errorf("the log: %s", log)
		}
	})
}

// after responds with a status and asks to wait.
func after(status int, seconds string) pkbtest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", seconds)
			w.WriteHeader(status)
		})
	}
}
