// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/fhir"
)

const urn = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"

// entry is an entry of a Bundle in JSON.
func entry(fullURL, resource string) string {
	if fullURL == "" {
		return `{"resource":` + resource + `}`
	}
	return `{"fullUrl":"` + fullURL + `","resource":` + resource + `}`
}

func bundle(t *testing.T, entries ...string) fhir.Bundle {
	t.Helper()
	b, err := fhir.DecodeBundle([]byte(`{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`))
	if err != nil || len(b.Entries) != len(entries) {
		t.Fatalf("%d entries, %v", len(b.Entries), err)
	}
	return b
}

// name is what tells the resources of these tests apart.
func name(r fhir.Resource[fhir.Any]) string {
	_, rest, _ := strings.Cut(string(r.Raw()), `"language":"`)
	found, _, _ := strings.Cut(rest, `"`)
	return found
}

const (
	observed = `{"resourceType":"Observation","id":"1","language":"obs","contained":[{"resourceType":"Patient","id":"p","language":"inner"},{"resourceType":"Device","id":"d"},{"resourceType":"Device","id":"d","language":"other"}]}`
	patient1 = `{"resourceType":"Patient","id":"1","language":"ada"}`
)

// Each form of a reference finds the resource that it is one to, and no other.
func TestResolve(t *testing.T) {
	version := func(v string) string {
		return `{"resourceType":"Patient","id":"1","language":"ada` + v + `","meta":{"versionId":"` + v + `"}}`
	}
	const server = "https://pkb.example/fhir/"
	home := entry(server+"Observation/1", observed)
	for title, tc := range map[string]struct {
		entries []string // the first has the reference
		want    map[string]string
	}{
		"addresses": {
			[]string{home, entry(server+"Patient/1", patient1), entry("https://other.example/Patient/1", `{"resourceType":"Patient","id":"1","language":"bo"}`), entry(server+"Patient/12", `{"resourceType":"Patient","id":"12","language":"cy"}`)},
			map[string]string{
				"Patient/1": "ada", " Patient/1 ": "ada", server + "Patient/1": "ada", "http://pkb.example/fhir/Patient/1": "ada", "https://other.example/Patient/1": "bo", "Patient/12": "cy",
				"Patient/2": "", "Practitioner/1": "", "patient/1": "", "https://pkb.example/Patient/1": "", "https://third.example/fhir/Patient/1": "", "Observation/1": "obs", "": "", "Patient": "", "Patient/1#p": "", "Patient?identifier=1": "",
				"Patient/1/_history/1": "", // the version of the entry is not known
			},
		},
		"versions": {
			[]string{home, entry(server+"Patient/1", version("2")), entry(server+"Patient/1", version("3"))},
			map[string]string{"Patient/1/_history/2": "ada2", server + "Patient/1/_history/3": "ada3", "Patient/1/_history/4": "", "Patient/1": ""}, // of two the library does not choose
		},
		"one version": {
			[]string{home, entry(server+"Patient/1/_history/3", version("3")), entry(server+"Patient/1", version("3"))},
			map[string]string{"Patient/1": "ada3", "Patient/1/_history/3": "ada3", "Patient/1/_history/2": ""},
		},
		"urns": {
			[]string{entry(urn, observed), entry("urn:uuid:5e2a3a5b-0000-4000-8000-000000000001", patient1), entry("urn:oid:1.2.3", `{"resourceType":"Device","id":"1","language":"device"}`), entry(server+"Patient/1", `{"resourceType":"Patient","id":"1","language":"bo"}`)},
			map[string]string{
				"urn:uuid:5e2a3a5b-0000-4000-8000-000000000001": "ada", "URN:UUID:5E2A3A5B-0000-4000-8000-000000000001": "ada", "urn:oid:1.2.3": "device", urn: "obs", "urn:uuid:": "", "urn:oid:1.2": "",
				"Patient/1":          "", // relative to what is no address
				server + "Patient/1": "bo",
			},
		},
		"contained": {
			[]string{home, entry(server+"Patient/p", `{"resourceType":"Patient","id":"p","language":"outer"}`)},
			map[string]string{"#p": "inner", "Patient/p": "outer", "#": "obs", "#x": "", "#d": ""},
		},
		"no address of the source": {
			[]string{entry("", observed), entry(server+"Patient/1", patient1), entry("", `{"resourceType":"Patient","id":"2","language":"bo"}`)},
			map[string]string{"Patient/1": "ada", "Patient/2": "bo", "Patient/3": "", server + "Patient/1": "ada", server + "Patient/2": ""},
		},
		"no address of the target": {
			[]string{home, entry("", patient1), entry("https://other.example/Patient/1", `{"resourceType":"Patient","id":"1","language":"bo"}`)},
			map[string]string{"Patient/1": "ada", server + "Patient/1": "ada", "https://other.example/Patient/1": "bo"},
		},
		"no address at all": {
			[]string{entry("", observed), entry("", patient1), entry("", patient1), entry("", `{"id":"1","language":"no type"}`)},
			map[string]string{"Patient/1": "ada", "Observation/1": "obs", "Device/1": ""},
		},
		"two servers, and no address of the source": {
			[]string{entry("", observed), entry(server+"Patient/1", patient1), entry("https://other.example/Patient/1", `{"resourceType":"Patient","id":"1","language":"bo"}`)},
			map[string]string{"Patient/1": ""},
		},
		"an address that is none": {
			[]string{home, entry("Patient/1", patient1), entry("1", patient1)},
			map[string]string{"Patient/1": ""},
		},
	} {
		b := bundle(t, tc.entries...)
		got := map[string]string{}
		for reference := range tc.want {
			r, ok := b.Resolve(b.Entries[0], fhir.Ref{Reference: reference})
			if got[reference] = name(r); ok == r.IsZero() {
				t.Errorf("%s: %q: %t with %s", title, reference, ok, r.Type())
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", title, diff)
		}
	}
}

func TestResolveContained(t *testing.T) {
	r, err := fhir.Decode[fhir.Observation]([]byte(observed))
	if err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{"#p": "inner", " #p ": "inner", "#": "obs", "#d": "", "#P": "", "Patient/p": "", "p": "", "": "", urn: ""} {
		if got, ok := r.Resolve(fhir.Ref{Reference: reference}); name(got) != want || ok != (want != "") {
			t.Errorf("%q: %q, %t, want %q", reference, name(got), ok, want)
		}
	}
	if _, ok := (fhir.Resource[fhir.Observation]{}).Resolve(fhir.Ref{Reference: "#"}); ok {
		t.Error("the zero Resource contains something")
	}
	if _, ok := (fhir.Bundle{}).Resolve(fhir.Entry{}, fhir.Ref{Reference: "Patient/1"}); ok {
		t.Error("an empty Bundle has a resource")
	}
}
