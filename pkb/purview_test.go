// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// errAny stands for any error.
var errAny = errors.New("any")

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
		"practitioner":    {answer("Practitioner/" + id), identity.ErrNotAPatient},
		"team":            {answer("Organization/" + id), identity.ErrNotAPatient},
		"default port":    {answer(server + ":443/fhir/Patient/" + id), nil},
		"other case":      {answer("https://PKB.example/fhir/Patient/" + id), nil},
		"other port":      {answer(server + ":8443/fhir/Patient/" + id), errElsewhere},
		"behind a proxy":  {answer("http://pkb.example/fhir/Patient/" + id), nil},
		"other scheme":    {answer("ftp://pkb.example/fhir/Patient/" + id), errAny},
		"http elsewhere":  {answer("http://other.example/fhir/Patient/" + id), errElsewhere},
		"longer host":     {answer(server + ".other.example/fhir/Patient/" + id), errElsewhere},
		"nobody readable": {answer("urn:uuid:" + id), fhir.ErrPurview},
		"two":             {`{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/` + id + `"}},{"name":"purview","valueReference":{"reference":"Patient/` + id + `"}}]}`, fhir.ErrPurview},
		"other server":    {answer("https://other.example/fhir/Patient/" + id), errElsewhere},
		"numeric":         {answer("Patient/7300000"), errAny},
		"nobody":          {`{"resourceType":"Parameters"}`, fhir.ErrPurview},
		"other resource":  {`{"resourceType":"Patient"}`, fhir.ErrResourceType},
		"page":            {`<html>`, fhir.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := publicIDFromPurview([]byte(tc.body), server)
			if tc.want == errAny && err == nil || tc.want != errAny && !errors.Is(err, tc.want) || err == nil && got != id {
				t.Errorf("got %q, %v, want error %v", got, err, tc.want)
			}
		})
	}
}
