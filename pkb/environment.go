// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import "strings"

// Environment is one of PKB's installations: where the patient approves, where
// tokens come from, and where the record is.
//
// Start from [Sandbox], [Production] or [BaseURL], and set a single address
// where yours differs. Every address must be https; plain http is accepted for
// loopback only.
type Environment struct {
	// Name is kept with every link. A link made in one environment is never
	// sent to another one.
	Name string
	// AuthorizeURL is opened in the patient's browser.
	AuthorizeURL string
	// TokenURL exchanges codes and refreshes tokens.
	TokenURL string
	// RESTURL is the base of the Custom REST API, ending in "/json".
	RESTURL string
	// FHIRURL is the base of the Facade FHIR API, ending in "/fhir".
	FHIRURL string

	// PurviewURL is the address of the Purview operation; empty means
	// FHIRURL + "/Consent/$purview", which is inferred from the name of PKB's
	// OperationDefinition: no readable page of PKB prints the path.
	PurviewURL string
	// PurviewMethod is POST or GET. Empty means POST, and GET from the first
	// answer 405 on: PKB's example of the call could not be read.
	PurviewMethod string
	// SelfURL is the address of users/self; empty means
	// RESTURL + "/users/self".
	SelfURL string
}

// Sandbox is PKB's sandbox, sandbox.patientsknowbest.com (PKB: Code grant;
// Facade endpoint; Patient Identifier and Demographic Retrieval).
func Sandbox() Environment {
	e := BaseURL("https://sandbox.patientsknowbest.com")
	e.Name = "sandbox"
	return e
}

// Production is PKB's production in the UK, my.patientsknowbest.com. PKB prints
// that host for the Facade API; that authorize, token and REST addresses are on
// it too is inferred from the sandbox: check with PKB before you rely on it.
func Production() Environment {
	e := BaseURL("https://my.patientsknowbest.com")
	e.Name = "production"
	return e
}

// BaseURL is an installation with all of PKB's paths under one address: another
// region, a proxy, or the server of package pkbtest. [New] checks the address.
// The environment is named after it.
func BaseURL(base string) Environment {
	base = strings.TrimRight(base, "/")
	return Environment{
		Name:         base,
		AuthorizeURL: base + "/apiAuthorize.action",
		TokenURL:     base + "/apiToken.action",
		RESTURL:      base + "/json",
		FHIRURL:      base + "/fhir",
	}
}
