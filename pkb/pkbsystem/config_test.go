// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
)

func sandbox() pkbsystem.Config {
	return pkbsystem.Config{Environment: pkb.Sandbox(), ClientID: "c", ClientSecret: pkb.NewSecret("s"), Organisation: otherID}
}

// fields returns the fields that New complains about.
func fields(err error) (names []string) {
	var walk func(error)
	walk = func(err error) {
		if e, ok := err.(*pkbsystem.ConfigError); ok { //nolint:errorlint // each is looked at
			names = append(names, e.Field)
		}
		if all, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // as above
			for _, e := range all.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	slices.Sort(names)
	return names
}

// New reports every mistake at once, by its field, and never the secret.
func TestConfigIsChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pkbsystem.Config)
		want   []string
	}{
		"the sandbox": {func(*pkbsystem.Config) {}, nil},
		"production":  {func(c *pkbsystem.Config) { c.Environment = pkb.Production() }, []string{"TokenURL"}},
		"production, with its host": {func(c *pkbsystem.Config) {
			c.Environment, c.TokenURL = pkb.Production(), "https://oauth2.pkb.example/t"
		}, nil},
		"nothing":                     {func(c *pkbsystem.Config) { *c = pkbsystem.Config{} }, []string{"Environment"}},
		"no credentials":              {func(c *pkbsystem.Config) { c.ClientID, c.ClientSecret, c.Organisation = "", pkb.Secret{}, "" }, []string{"ClientID", "ClientSecret", "Organisation"}},
		"a secret with its line end":  {func(c *pkbsystem.Config) { c.ClientSecret = pkb.NewSecret("birdseed\n") }, []string{"ClientSecret"}},
		"an id with a colon":          {func(c *pkbsystem.Config) { c.ClientID = "a:b" }, []string{"ClientID"}},
		"an encoded colon":            {func(c *pkbsystem.Config) { c.ClientID, c.EncodeCredentials = "a:b", true }, nil},
		"an organisation by name":     {func(c *pkbsystem.Config) { c.Organisation = "General Hospital" }, []string{"Organisation"}},
		"an organisation by number":   {func(c *pkbsystem.Config) { c.Organisation = "7310001" }, []string{"Organisation"}},
		"an organisation that shouts": {func(c *pkbsystem.Config) { c.Organisation = strings.ToUpper(otherID) }, []string{"Organisation"}},
		"two scopes":                  {func(c *pkbsystem.Config) { c.Scope = "a b" }, []string{"Scope"}},
		"the patients' endpoint":      {func(c *pkbsystem.Config) { c.TokenURL = c.Environment.TokenURL }, []string{"TokenURL"}},
		"plain http": {func(c *pkbsystem.Config) {
			c.TokenURL, c.StatusURL, c.AddPatientURL, c.Environment.FHIRURL = "http://a.example/t", "http://a.example/s", "http://a.example/m", "http://a.example/fhir"
		}, []string{"AddPatientURL", "Environment.FHIRURL", "StatusURL", "TokenURL"}},
		"http on loopback": {func(c *pkbsystem.Config) {
			c.Environment, c.TokenURL = pkb.BaseURL("http://127.0.0.1:1"), "http://127.0.0.1:1/t"
		}, nil},
		"credentials in an address": {func(c *pkbsystem.Config) { c.TokenURL = "https://c:s@a.example/t" }, []string{"TokenURL"}},
		"a query in an address":     {func(c *pkbsystem.Config) { c.StatusURL = "https://a.example/s?x=1" }, []string{"StatusURL"}},
		"no FHIR address":           {func(c *pkbsystem.Config) { c.Environment.FHIRURL, c.TokenURL = "", "https://a.example/t" }, []string{"AddPatientURL", "Environment.FHIRURL", "StatusURL"}},
		"an address of another layout": {func(c *pkbsystem.Config) {
			c.Environment.FHIRURL, c.TokenURL = "https://a.example/stu3", "https://a.example/t"
		}, []string{"AddPatientURL"}},
		"and where to add": {func(c *pkbsystem.Config) {
			c.Environment.FHIRURL, c.TokenURL, c.AddPatientURL = "https://a.example/stu3", "https://a.example/t", "https://b.example/m"
		}, nil},
		"an extension by name":      {func(c *pkbsystem.Config) { c.TeamAliasURL = "team-alias" }, []string{"TeamAliasURL"}},
		"a user agent of two lines": {func(c *pkbsystem.Config) { c.UserAgent = "a\r\nX-Org-Public-Id: b" }, []string{"UserAgent"}},
		"bounds": {func(c *pkbsystem.Config) {
			c.StatusBatch, c.RequestTimeout, c.Retries, c.MaxCalls = 5001, time.Hour, 11, 1001
		}, []string{"MaxCalls", "RequestTimeout", "Retries", "StatusBatch"}},
		"negative bounds": {func(c *pkbsystem.Config) {
			c.StatusBatch, c.RequestTimeout, c.Retries, c.MaxCalls = -1, -1, -2, -1
		}, []string{"MaxCalls", "RequestTimeout", "Retries", "StatusBatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := sandbox()
			tc.change(&c)
			_, err := pkbsystem.New(c)
			if diff := cmp.Diff(tc.want, fields(err)); diff != "" {
				t.Errorf("%v\n(-want +got):\n%s", err, diff)
			}
			if err != nil && (strings.Contains(err.Error(), "birdseed") || advice.For(err).Code != "config") {
				t.Errorf("%v: %+v", err, advice.For(err))
			}
			if first, ok := errors.AsType[*pkbsystem.ConfigError](err); err != nil && (!ok || !strings.HasPrefix(first.Error(), "pkbsystem.Config.")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// In the sandbox nothing has to be known but the credentials and the organisation: the
// addresses are those of PKB's pages.
func TestTheSandboxsAddresses(t *testing.T) {
	var asked []string
	c := sandbox()
	c.HTTPClient, c.Retries = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		asked = append(asked, req.URL.String())
		if req.URL.Host == "oauth2.sandbox.patientsknowbest.com" {
			return respond(200, "application/json", `{"access_token":"a"}`), nil
		}
		return respond(503, "", ""), nil
	})}, -1
	client := must[*pkbsystem.Client](t)(pkbsystem.New(c))
	number := numberOf(t, "9990000018")
	_, _ = client.FindByNHSNumber(t.Context(), number)
	_, _ = client.Status(t.Context(), "NHS Number", number)
	_ = client.AddPatient(t.Context(), newRig(t).addition())
	want := []string{
		"https://oauth2.sandbox.patientsknowbest.com/api/oauth/token",
		"https://sandbox.patientsknowbest.com/fhir/Patient?identifier=https://fhir.nhs.uk/Id/nhs-number%7C9990000018",
		"https://sandbox.patientsknowbest.com/fhir/Patient/$status-query",
		"https://sandbox.patientsknowbest.com/phr-fhir/Patient/$process-message",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
