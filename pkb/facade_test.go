// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

// Whatever a page says, the next request goes to the FHIR API and nowhere else.
func FuzzNextPage(f *testing.F) {
	for _, link := range []string{
		"", "?page=2", "/tenant/fhir?_getpages=a&_getpagesoffset=20", "https://PKB.example:443/tenant/fhir/Observation?page=2#x", "//evil.example/tenant/fhir",
		"../json/users/self", "/tenant/fhir/..%2fjson", `\\evil.example`, "https://pkb.example@evil.example/tenant/fhir", "http:/tenant/fhir", "https://[::1", "%zz",
	} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		const base = "https://pkb.example/tenant/fhir"
		next, err := facade{base}.next(base+"/Observation?category=x", link)
		if err != nil {
			if !errors.Is(err, ErrPaging) || next != "" || link != "" && len(link) > 8 && strings.Contains(err.Error(), link) {
				t.Fatalf("%q: %v with %q", link, err, next)
			}
			return
		}
		u, err := url.Parse(next)
		if err != nil || u.Scheme != "https" || u.Host != "pkb.example" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q leads to %q, %v", link, next, err)
		}
		if clean := path.Clean(u.Path) + "/"; !strings.HasPrefix(clean, "/tenant/fhir/") {
			t.Errorf("%q leads to %q, which is outside", link, next)
		}
		if !strings.HasPrefix(next, base) {
			t.Errorf("%q is written %q", link, next)
		}
	})
}
