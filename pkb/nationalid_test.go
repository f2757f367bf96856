// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import "testing"

func TestNHSNumberIsPickedByNameAndCountry(t *testing.T) {
	id := func(name, value string, countries ...string) NationalID {
		return NationalID{Name: name, Value: NewPersonal(value), CountryCodes: countries}
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
		"one of two readable": {[]NationalID{id("NHS number", "9991566171", "GB-ENG"), id("NHS number", "not known", "GB-ENG")}, ""},
		"empty value":         {[]NationalID{id("NHS number", "", "GB-ENG")}, ""},
		"empty, then a value": {[]NationalID{id("NHS number", "", "GB-ENG"), id("NHS number", "9991566171", "GB-ENG")}, "9991566171"},
	} {
		t.Run(name, func(t *testing.T) {
			number, ok := (&Self{NationalIDs: tc.ids}).NHSNumber()
			if number.Reveal() != tc.want || ok != (tc.want != "") {
				t.Errorf("NHSNumber = %q, %t, want %q", number.Reveal(), ok, tc.want)
			}
		})
	}
}
