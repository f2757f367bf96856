// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import "testing"

func TestNHSNumberIsPickedByNameAndCountry(t *testing.T) {
	id := func(name, value string, countries ...string) NationalID {
		return NationalID{Name: name, Value: value, CountryCodes: countries}
	}
	for name, tc := range map[string]struct {
		ids  []NationalID
		want string
	}{
		"England":             {[]NationalID{id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"Wales, other case":   {[]NationalID{id("nhs  NUMBER", "999 156-6171", "gb-wls")}, "9991566171"},
		"none":                {nil, ""},
		"CHI looks alike":     {[]NationalID{id("CHI number", "9991566171", "GB-SCT")}, ""},
		"name without place":  {[]NationalID{id("NHS number", "9991566171")}, ""},
		"name in Scotland":    {[]NationalID{id("NHS number", "9991566171", "GB-SCT")}, ""},
		"place without name":  {[]NationalID{id("Local number", "9991566171", "GB-ENG")}, ""},
		"CHI first":           {[]NationalID{id("CHI Number", "9990000018", "GB-SCT"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"twice the same":      {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "999 156 6171", "GB-WLS")}, "9991566171"},
		"two that differ":     {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "9990000018", "GB-ENG")}, ""},
		"three that differ":   {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "9990000018", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, ""},
		"no space in name":    {[]NationalID{id("NHSnumber", "9991566171", "GB-ENG")}, "9991566171"},
		"not ten digits":      {[]NationalID{id("NHS number", "999156617", "GB-ENG")}, ""},
		"no digits":           {[]NationalID{id("NHS number", "not known", "GB-ENG")}, ""},
		"one of two readable": {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "see 12 May", "GB-ENG")}, ""},
		"N/A":                 {[]NationalID{id("NHS number", " N/A ", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"a word for none":     {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "Not known", "GB-ENG")}, "9991566171"},
		"zeros":               {[]NationalID{id("NHS number", "000 000 0000", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"zeros alone":         {[]NationalID{id("NHS number", "0000000000", "GB-ENG")}, ""},
		"pasted":              {[]NationalID{id("NHS number", "\ufeff999\u200d156\u200d6171\u200e", "GB-ENG")}, "9991566171"},
		"invisible":           {[]NationalID{id("NHS number", "\u200b", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
		"empty value":         {[]NationalID{id("NHS number", "", "GB-ENG")}, ""},
		"empty, then a value": {[]NationalID{id("NHS number", "", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
	} {
		t.Run(name, func(t *testing.T) {
			number, ok := NewSelf(Demographics{NationalIDs: tc.ids}).NHSNumber()
			if number.Reveal() != tc.want || ok != (tc.want != "") {
				t.Errorf("NHSNumber = %q, %t, want %q", number.Reveal(), ok, tc.want)
			}
		})
	}
}

// PKB's list, by name and country and by FHIR system; what does not fit is
// kept, and of no kind.
func TestNationalIDKinds(t *testing.T) {
	for name, tc := range map[string]struct {
		id   NationalID
		want NationalIDKind
	}{
		"NHS number":              {NationalID{Name: "NHS number", CountryCodes: []string{"GB-ENG", "GB-WLS"}}, KindNHSNumber},
		"one of its countries":    {NationalID{Name: "NHS Number", CountryCodes: []string{"XX", " gb-wls "}}, KindNHSNumber},
		"CHI":                     {NationalID{Name: "CHI Number", CountryCodes: []string{"GB-SCT"}}, KindCHINumber},
		"CHI in England":          {NationalID{Name: "CHI Number", CountryCodes: []string{"GB-ENG"}}, KindUnknown},
		"Health and Care":         {NationalID{Name: "Health and Care Number", CountryCodes: []string{"GB-NIR"}}, KindHealthAndCareNumber},
		"H&C":                     {NationalID{Name: "H&C number", CountryCodes: []string{"GB-NIR"}}, KindHealthAndCareNumber},
		"Ireland":                 {NationalID{Name: "Individual Health Identifier", CountryCodes: []string{"IE"}}, KindIndividualHealthIdentifier},
		"United States":           {NationalID{Name: "SSN", CountryCodes: []string{"US"}}, KindSSN},
		"Canada":                  {NationalID{Name: "SIN", CountryCodes: []string{"CA"}}, KindSIN},
		"Hong Kong":               {NationalID{Name: "HKID", CountryCodes: []string{"HK"}}, KindHKID},
		"Netherlands":             {NationalID{Name: "BSN", CountryCodes: []string{"NL"}}, KindBSN},
		"Germany":                 {NationalID{Name: "Krankenversichertennummer", CountryCodes: []string{"DE"}}, KindKrankenversichertennummer},
		"Kuwait":                  {NationalID{Name: "Civil ID", CountryCodes: []string{"KW"}}, KindCivilID},
		"a name that says more":   {NationalID{Name: "Old NHS number", CountryCodes: []string{"GB-ENG"}}, KindUnknown},
		"no name":                 {NationalID{CountryCodes: []string{"GB-ENG"}}, KindUnknown},
		"no country":              {NationalID{Name: "NHS number"}, KindUnknown},
		"a kind that PKB may add": {NationalID{Name: "Medicare number", CountryCodes: []string{"AU"}}, KindUnknown},
	} {
		if got := tc.id.Kind(); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	for _, k := range nationalIDKinds {
		// The list's own names and countries lead to its kinds, each to one.
		if got := (NationalID{Name: string(k.kind), CountryCodes: k.countries[:1]}).Kind(); got != k.kind {
			t.Errorf("%q by the list's name is of kind %q", k.kind, got)
		}
		if got := KindBySystem(" " + k.system + "\u00a0\n"); got != k.kind {
			t.Errorf("%q by its system with spaces is of kind %q", k.kind, got)
		}
		if got := KindBySystem(k.system); got != k.kind || k.kind.System() != k.system || len(k.kind.Countries()) != len(k.countries) {
			t.Errorf("%q by its system is of kind %q", k.kind, got)
		}
	}
	if KindBySystem("") != KindUnknown || KindBySystem("https://fhir.nhs.uk/Id/other") != KindUnknown || KindUnknown.System() != "" || KindUnknown.Countries() != nil {
		t.Error("what is on no list has a kind")
	}
	KindNHSNumber.Countries()[0] = "XX"
	if KindNHSNumber.Countries()[0] != "GB-ENG" {
		t.Error("a caller can change the list")
	}
}
