// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package apicall

import "testing"

func TestSameServer(t *testing.T) {
	for base, addresses := range map[string]map[string]bool{
		"https://pkb.example/fhir": {
			"https://pkb.example/": true, "https://PKB.example:443/x": true, "http://pkb.example/x": true, "http://pkb.example:80/x": true, "http://pkb.example:443/x": true,
			"https://pkb.example:8443/": false, "http://pkb.example:8080/": false, "https://pkb.example:80/": false, "http://evil.example/": false,
			"https://pkb.example.evil.example/": false, "ftp://pkb.example/": false, "//pkb.example/": false, "/fhir": false, "": false, "http://%zz": false, "https:///": false,
		},
		"https://pkb.example:8443": {
			"https://pkb.example:8443/": true, "http://pkb.example:8443/": true, "http://pkb.example/": true, "https://pkb.example/": false, "http://pkb.example:8080/": false,
		},
		"http://127.0.0.1:8080": {"http://127.0.0.1:8080/": true, "https://127.0.0.1:8080/": false, "http://127.0.0.1/": false},
		"":                      {"": false, "/": false, "http:///": false},
		"%zz":                   {"%zz": false},
	} {
		for address, want := range addresses {
			if got := SameServer(base, address); got != want {
				t.Errorf("%q at the server of %q: %t, want %t", address, base, got, want)
			}
		}
	}
}
