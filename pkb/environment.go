// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/apicall"
)

// Environment is one of PKB's installations: the addresses for authorization,
// tokens and the record. Start from [Sandbox], [Production] or [BaseURL], and set a
// single address where yours differs. Each is https, or http on loopback.
type Environment struct {
	// Name is kept with every link. A link made in one environment is never used in
	// another. It is at most 256 bytes of printable text.
	Name string
	// AuthorizeURL is opened in the patient's browser.
	AuthorizeURL string
	// TokenURL exchanges codes and refreshes tokens.
	TokenURL string
	// RESTURL is the base of the Custom REST API, ending in "/json".
	RESTURL string
	// FHIRURL is the base of the Facade FHIR API, ending in "/fhir".
	FHIRURL string

	// PurviewURL is the address of the Purview operation; empty means FHIRURL +
	// "/Consent/$purview". That path is inferred from the name of PKB's
	// OperationDefinition: no readable page of PKB has it.
	PurviewURL string
	// PurviewMethod is POST or GET. Empty means POST, and GET after the first
	// response 405: PKB's example of the call could not be read.
	PurviewMethod string
	// SelfURL is the address of users/self; empty means RESTURL + "/users/self".
	SelfURL string
}

// Sandbox returns PKB's sandbox, sandbox.patientsknowbest.com (PKB: Code grant;
// Facade endpoint; Patient Identifier and Demographic Retrieval).
func Sandbox() Environment {
	e := BaseURL("https://sandbox.patientsknowbest.com")
	e.Name = "sandbox"
	return e
}

// Production returns PKB's production environment in the UK,
// my.patientsknowbest.com. PKB's pages have that host for the Facade API. That it
// also serves the authorize, token and REST addresses is inferred from the sandbox:
// check with PKB before you rely on it.
func Production() Environment {
	e := BaseURL("https://my.patientsknowbest.com")
	e.Name = "production"
	return e
}

// BaseURL returns an environment with all of PKB's paths under one address: another
// region, a proxy, or the server of package pkbtest. [New] checks the address,
// which is also the environment's name.
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

func (env Environment) check(bad complain) {
	if env == (Environment{}) {
		bad("Environment", "is empty: use pkb.Sandbox(), pkb.Production() or pkb.BaseURL(address)")
		return
	}
	if env.Name == "" {
		bad("Environment.Name", "is empty: it is a name of your choice, kept with every link")
	} else if len(env.Name) > maxName || !utf8.ValidString(env.Name) || strings.ContainsFunc(env.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		bad("Environment.Name", "has more than %d bytes, or characters that cannot be printed or are not UTF-8", maxName)
	}
	for _, a := range []struct {
		field, url string
		optional   bool
	}{
		{"AuthorizeURL", env.AuthorizeURL, false},
		{"TokenURL", env.TokenURL, false},
		{"RESTURL", env.RESTURL, false},
		{"FHIRURL", env.FHIRURL, false},
		{"PurviewURL", env.PurviewURL, true},
		{"SelfURL", env.SelfURL, true},
	} {
		if a.optional && a.url == "" {
			continue
		}
		if problem := apicall.CheckAddress(a.url); problem != "" {
			bad("Environment."+a.field, "%s", problem)
		}
	}
	switch env.PurviewMethod {
	case "", http.MethodPost, http.MethodGet:
	default:
		bad("Environment.PurviewMethod", "is neither POST nor GET; leave it empty to try POST first")
	}
}
