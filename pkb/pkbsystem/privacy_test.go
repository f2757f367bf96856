// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// Nothing secret, and nothing about the patient, is in an error, a log line or a value
// that is printed, while everything fails and every response speaks of the patient.
func TestNothingAboutThePatientIsPrinted(t *testing.T) {
	var telemetry strings.Builder
	r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Retries, c.Telemetry = 1, results{&telemetry} }))
	p := r.patient
	says := fmt.Sprintf("%s %s of %s, %s, %s, secret %s", p.FirstName, p.LastName, p.DateOfBirth, p.NHSNumber, p.Email, secret)
	outcome := string(must[[]byte](t)(json.Marshal(map[string]any{"resourceType": "OperationOutcome", "issue": []any{map[string]any{"severity": "error", "diagnostics": says, "code": says}}})))
	var search canary.Search
	for name, v := range map[string]string{"first": p.FirstName, "last": p.LastName, "born": p.DateOfBirth, "number": p.NHSNumber, "e-mail": p.Email, "secret": secret, "basic": basic("test-system-client", secret)[6:]} {
		if !search.Plant(name, v) {
			t.Fatalf("%s is too short to search for", name)
		}
	}
	refused := &url.Error{Op: "Get", URL: "https://pkb.example/?q=" + p.NHSNumber, Err: errors.New(says)}
	var printed strings.Builder
	errs, seen := 0, map[string]bool{}
	try := func(err error) {
		if err == nil {
			t.Error("no error came of it")
		}
		errs++
		if !seen[err.Error()] { // one of each: printing is what takes long
			printed.WriteString(canary.PrintError(err))
		}
		seen[err.Error()] = true
	}
	for _, endpoint := range []pkbtest.Endpoint{pkbtest.SystemToken, pkbtest.Facade, pkbtest.Messaging} {
		faults := []pkbtest.Fault{
			pkbtest.Respond(400, "text/html", says), pkbtest.Respond(401, "application/json", `{"error":"`+says+`","error_description":"`+says+`"}`),
			pkbtest.Respond(403, "application/fhir+json", outcome), pkbtest.Respond(500, "text/plain", says), pkbtest.Respond(200, "text/html", "<html>"+says),
			pkbtest.Respond(200, "application/fhir+json", outcome), pkbtest.Respond(200, "application/fhir+json", `{"access_token":"`+says), pkbtest.Drop(),
		}
		for _, f := range faults {
			for _, call := range []func(*pkbsystem.Client) error{
				func(c *pkbsystem.Client) error { _, err := c.FindByNHSNumber(t.Context(), r.number(t)); return err },
				func(c *pkbsystem.Client) error {
					_, err := c.Status(t.Context(), "NHS Number", r.number(t))
					return err
				},
				func(c *pkbsystem.Client) error { return c.AddPatient(t.Context(), r.addition()) },
			} {
				fresh := must[*pkbsystem.Client](t)(pkbsystem.New(r.config))
				r.pkb.ClearFaults()
				r.pkb.Next(endpoint, f, f) // once more for a retry
				if err := call(fresh); err != nil {
					try(err)
				}
			}
		}
	}
	r.pkb.ClearFaults()
	r.instead = func(*http.Request) (*http.Response, error) { return nil, refused }
	fresh := must[*pkbsystem.Client](t)(pkbsystem.New(r.config))
	try(fresh.AddPatient(t.Context(), r.addition()))
	r.instead = nil
	try(r.AddPatient(t.Context(), r.addition(func(d *identity.Demographics) { d.Gender = identity.Gender(says) })))
	_, err := r.FindByNHSNumber(t.Context(), numberOf(t, "9990000026"))
	try(err)
	statuses := must[[]pkbsystem.PatientStatus](t)(r.Status(t.Context(), "NHS Number", r.number(t)))
	type host struct { // as hosts hold them
		Client  *pkbsystem.Client
		Status  []pkbsystem.PatientStatus
		Add     pkbsystem.Addition
		private pkbsystem.PatientStatus
		Config  pkbsystem.Config
		HTTP    *http.Client
	}
	h := host{r.Client, statuses, r.addition(), statuses[0], r.config, r.HTTPClient()}
	for _, v := range []any{h, &h, h.Client, h.Status, h.Add, h.Config, h.Status[0], h.HTTP.Transport} {
		printed.WriteString(canary.Print(v) + canary.PrintHidden(v))
	}
	if errs < 40 || len(seen) < 15 {
		t.Errorf("only %d errors came of it, %d of which differ", errs, len(seen))
	}
	for where, text := range map[string]string{"errors and values": printed.String(), "log": r.log.String(), "telemetry": telemetry.String()} {
		if found := search.Find(text); len(found) > 0 {
			t.Errorf("%s: %v", where, found)
		}
	}
	if !strings.Contains(telemetry.String(), "uncertain") {
		t.Errorf("telemetry: %s", telemetry.String())
	}
}

// results writes what a Telemetry is told.
type results struct{ out *strings.Builder }

func (r results) Begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Result)) {
	return ctx, func(res observe.Result) { fmt.Fprintln(r.out, op, res.Outcome, res.Status, res.Code, res.Requests) }
}

func (results) Event(observe.EventKind, observe.Cause) {}

// Telemetry gets each operation once, with its outcome and its requests.
func TestTelemetry(t *testing.T) {
	var out strings.Builder
	r := newRig(t, withConfig(func(c *pkbsystem.Config) { c.Telemetry = results{&out} }))
	_ = r.find(t)
	_, _ = r.FindByNHSNumber(t.Context(), numberOf(t, "9990000026"))
	r.pkb.Next(pkbtest.Facade, pkbtest.Refuse("BAD_AUTHENTICATION"))
	_ = r.find(t)
	r.pkb.Next(pkbtest.Messaging, pkbtest.Drop(), pkbtest.Respond(422, "", ""))
	_ = r.AddPatient(t.Context(), r.addition())
	_ = r.AddPatient(t.Context(), r.addition())
	r.pkb.Next(pkbtest.Facade, pkbtest.Respond(503, "", ""), pkbtest.Respond(200, "text/html", "<html>"), pkbtest.Respond(403, "", ""))
	for range 3 {
		_, _ = r.Status(t.Context(), "NHS Number", r.number(t))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = r.FindByNHSNumber(ctx, r.number(t))
	want := []string{
		"system token ok 200  0", "system find ok 200  1", "system find ok 200  1",
		"system token ok 200  0", "system find ok 200  2",
		"system process-message uncertain 0  1", "system process-message misconfigured 422  1",
		"system status-query unavailable 503  1", "system status-query unreadable 200  1", "system status-query refused 403  1",
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if last := got[len(got)-1]; !strings.HasPrefix(last, "system find canceled 0") {
		t.Errorf("a caller who has left: %s", last)
	}
	if diff := cmp.Diff(want, got[:len(got)-1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A status says nothing of itself, and compares.
func TestPatientStatus(t *testing.T) {
	r := newRig(t)
	found := must[[]pkbsystem.PatientStatus](t)(r.Status(t.Context(), "NHS Number", r.number(t), numberOf(t, "9990000018"), r.number(t)))
	if !found[0].Equal(found[2]) || found[0].Equal(found[1]) || found[0].IsZero() || !(pkbsystem.PatientStatus{}).IsZero() {
		t.Error("they are not compared by what they hold")
	}
	if _, err := json.Marshal(found); err == nil {
		t.Error("it was encoded")
	}
	if !cmp.Equal(found[0], found[2]) {
		t.Error("go-cmp does not compare them")
	}
}
