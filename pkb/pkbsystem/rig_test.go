// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

const (
	tokenURL = "https://oauth2.pkb.example/tenant/api/oauth/token"
	secret   = "birdseed+7f3a/9c1e==" // of characters that percent-encoding would change
)

// request is what left for PKB, with what pkbtest does not keep.
type request struct {
	Method, Host, Path, Authorization, Organisation, Body string
}

// rig is a PKB, an organisation, a patient, and a system client, all in memory. The
// token endpoint has a host of its own, and PKB is served under a path prefix.
type rig struct {
	*pkbsystem.Client
	pkb          *pkbtest.Server
	organisation *pkbtest.Organisation
	patient      *pkbtest.Patient
	config       pkbsystem.Config
	log          bytes.Buffer

	mu   sync.Mutex
	sent []request
	// instead, if set, responds in place of PKB unless it returns nil.
	instead func(*http.Request) (*http.Response, error)
}

func newRig(t testing.TB, change ...func(*pkbtest.Organisation, *pkbsystem.Config)) *rig {
	t.Helper()
	r := &rig{pkb: pkbtest.New(pkbtest.Config{BasePath: "/tenant", SystemClientSecret: secret})}
	r.patient = r.pkb.AddPatient(pkbtest.Patient{FirstName: "Canarina", LastName: "Finkowski", DateOfBirth: "1941-03-17", Email: "canarina@birds.example"})
	o := pkbtest.Organisation{TeamAliases: []string{"cardiology", "physio"}}
	r.config = pkbsystem.Config{
		Environment: pkb.BaseURL(r.pkb.URL()), TokenURL: tokenURL, ClientID: "test-system-client", ClientSecret: pkb.NewSecret(secret),
		TeamAliasURL: "http://fhir.patientsknowbest.com/structuredefinition/team-alias",
		HTTPClient:   &http.Client{Transport: r}, Now: r.pkb.Now, Retries: -1,
		Logger: slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o, &r.config)
	}
	r.organisation = r.pkb.AddOrganisation(o)
	if r.config.Organisation == "" {
		r.config.Organisation = r.organisation.PublicID
	}
	var err error
	if r.Client, err = pkbsystem.New(r.config); err != nil {
		t.Fatal(err)
	}
	return r
}

func withConfig(f func(*pkbsystem.Config)) func(*pkbtest.Organisation, *pkbsystem.Config) {
	return func(_ *pkbtest.Organisation, c *pkbsystem.Config) { f(c) }
}

// RoundTrip implements http.RoundTripper.
func (r *rig) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	r.mu.Lock()
	r.sent = append(r.sent, request{
		req.Method, req.URL.Host, req.URL.Path, req.Header.Get("Authorization"), strings.Join(req.Header.Values("X-Org-Public-Id"), ","), string(body),
	})
	instead := r.instead
	r.mu.Unlock()
	if instead != nil {
		if resp, err := instead(req); resp != nil || err != nil {
			return resp, err
		}
	}
	return r.pkb.Transport().RoundTrip(req)
}

// number is the patient's NHS number.
func (r *rig) number(t testing.TB) identity.NHSNumber { return numberOf(t, r.patient.NHSNumber) }

func numberOf(t testing.TB, digits string) identity.NHSNumber {
	t.Helper()
	n, err := identity.ParseNHSNumber(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// find looks for the patient.
func (r *rig) find(t testing.TB) error {
	_, err := r.FindByNHSNumber(t.Context(), r.number(t))
	return err
}

// demographics are the patient's, as users/self has them.
func (r *rig) demographics() identity.Demographics {
	return identity.Demographics{
		Title: "Ms.", FirstName: r.patient.FirstName, LastName: r.patient.LastName, DateOfBirth: identity.Date(r.patient.DateOfBirth), Gender: identity.GenderFemale,
		Email: r.patient.Email, Phone: "+44 7009 000100", Address1: "1 Aviary Close", City: "Sample City", State: "COUNTY", PostalCode: "ZZ99 3WZ", Country: "GB-ENG",
		NationalIDs: []identity.NationalID{{Value: r.patient.NHSNumber, Name: "NHS number", CountryCodes: []string{"GB-ENG"}}},
	}
}

func (r *rig) addition(change ...func(*identity.Demographics)) pkbsystem.Addition {
	d := r.demographics()
	for _, f := range change {
		f(&d)
	}
	return pkbsystem.Addition{Self: identity.NewSelf(d)}
}

// respond makes a response that no server sent.
func respond(status int, contentType, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {contentType}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		Status: fmt.Sprint(status), StatusCode: status, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// api is what a test wants of an error.
type api struct {
	Operation string
	Status    int
	Code      string
	Text      string
}

func apiOf(t testing.TB, err error) api {
	t.Helper()
	e, ok := errors.AsType[*pkb.APIError](err)
	if !ok {
		t.Fatalf("%v is no *pkb.APIError", err)
	}
	return api{e.Operation, e.Status, string(e.Code), err.Error()}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
