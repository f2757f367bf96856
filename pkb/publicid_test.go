// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/fhir"
)

func TestParsePublicID(t *testing.T) {
	const id = PublicID("1d4a8b2d-f885-499f-ba51-50600312f316")
	for _, s := range []string{string(id), strings.ToUpper(string(id)), " " + string(id) + "\n"} {
		if got, err := ParsePublicID(s); err != nil || got != id {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, number := range map[string]bool{
		"": false, "7300000": true, "canary": false, "1d4a8b2df885499fba5150600312f316": false, "Patient/" + string(id): false,
		"urn:uuid:" + string(id): false, "{" + string(id) + "}": false, string(id)[:35]: false, string(id) + "0": false,
		"1d4a8b2d-f885-499f-ba51-50600312f31g": false, "1d4a8b2d_f885_499f_ba51_50600312f316": false,
	} {
		got, err := ParsePublicID(s)
		switch {
		case !errors.Is(err, errNotAUUID) || got != "":
			t.Errorf("%q: %q, %v, want an error", s, got, err)
		case strings.Contains(err.Error(), "user id of users/self") != number:
			t.Errorf("%q: %v", s, err)
		case s != "" && strings.Contains(err.Error(), s):
			t.Errorf("%q is in the error", s)
		}
	}
}

func TestPublicIDFromPurview(t *testing.T) {
	const (
		server = "https://pkb.example"
		id     = "1d4a8b2d-f885-499f-ba51-50600312f316"
	)
	answer := func(reference string) string {
		return `{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"` + reference + `"}}]}`
	}
	for name, tc := range map[string]struct {
		body string
		want error
	}{
		"as documented":   {answer("Patient/" + id), nil},
		"upper case":      {answer("Patient/" + strings.ToUpper(id)), nil},
		"absolute":        {answer(server + "/fhir/Patient/" + id), nil},
		"with a version":  {answer("Patient/" + id + "/_history/1"), nil},
		"practitioner":    {answer("Practitioner/" + id), ErrNotAPatient},
		"team":            {answer("Organization/" + id), ErrNotAPatient},
		"default port":    {answer(server + ":443/fhir/Patient/" + id), nil},
		"other case":      {answer("https://PKB.example/fhir/Patient/" + id), nil},
		"other port":      {answer(server + ":8443/fhir/Patient/" + id), errElsewhere},
		"other scheme":    {answer("http://pkb.example/fhir/Patient/" + id), errElsewhere},
		"longer host":     {answer(server + ".other.example/fhir/Patient/" + id), errElsewhere},
		"nobody readable": {answer("urn:uuid:" + id), fhir.ErrPurview},
		"two":             {`{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/` + id + `"}},{"name":"purview","valueReference":{"reference":"Patient/` + id + `"}}]}`, fhir.ErrPurview},
		"other server":    {answer("https://other.example/fhir/Patient/" + id), errElsewhere},
		"numeric":         {answer("Patient/7300000"), errNotAUUID},
		"nobody":          {`{"resourceType":"Parameters"}`, fhir.ErrPurview},
		"other resource":  {`{"resourceType":"Patient"}`, fhir.ErrResourceType},
		"page":            {`<html>`, fhir.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := publicIDFromPurview([]byte(tc.body), server)
			if !errors.Is(err, tc.want) || err == nil && got != id {
				t.Errorf("got %q, %v, want error %v", got, err, tc.want)
			}
		})
	}
}

func FuzzParsePublicID(f *testing.F) {
	for _, seed := range []string{"1D4A8B2D-F885-499F-BA51-50600312F316", "7300000", "", "urn:uuid:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParsePublicID(s)
		if err != nil {
			return
		}
		if again, err := ParsePublicID(string(id)); err != nil || again != id || !strings.EqualFold(strings.TrimSpace(s), string(id)) {
			t.Errorf("%q: %q, then %q, %v", s, id, again, err)
		}
	})
}
