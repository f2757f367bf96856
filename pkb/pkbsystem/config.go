// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbsystem

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// Config is the configuration of a Client. [New] checks it and reports every mistake
// at once.
type Config struct {
	// Environment is required: pkb.Sandbox(), pkb.Production() or pkb.BaseURL(...). Its
	// FHIRURL is used, and its Name in errors of New.
	Environment pkb.Environment
	// TokenURL is the system clients' token endpoint, which is not the environment's
	// TokenURL. Empty means https://oauth2.sandbox.patientsknowbest.com/api/oauth/token
	// with the sandbox's FHIRURL; it is required with any other, because PKB's pages
	// print only the sandbox's. Tokens of PKB's other token host (Keycloak, for
	// Customer and Aggregated) are not accepted by the calls of this package.
	TokenURL string
	// ClientID and ClientSecret are required: those that PKB issued for the System
	// Client. The secret is sent to TokenURL only, as HTTP Basic.
	ClientID     string
	ClientSecret pkb.Secret
	// EncodeCredentials percent-encodes the id and the secret before they are put into
	// HTTP Basic, as in RFC 6749 section 2.3.1. PKB's page encodes them in base64 only,
	// which is the default. It makes a difference for characters other than letters,
	// digits and "-._".
	EncodeCredentials bool
	// Scope is sent with a request for a token and must be among the scopes of the
	// response, so that a token for another organisation or purpose is refused here.
	// Empty, the default, sends none and accepts any: PKB's pages show the member
	// without a value.
	Scope string
	// Organisation is required: the PKB public id of the organisation on whose behalf
	// calls are made, a UUID. It is sent as X-Org-Public-Id.
	Organisation string

	// StatusURL is the address of $status-query; empty means FHIRURL +
	// "/Patient/$status-query".
	StatusURL string
	// AddPatientURL is the address of $process-message on PKB's Messaging API; empty
	// means that of the sandbox's layout: FHIRURL with "/phr-fhir" in place of its final
	// "/fhir", and "/Patient/$process-message".
	AddPatientURL string
	// TeamAliasURL is the URL of the extension that holds a team alias in
	// $process-message. No readable page of PKB has it. Without it Addition.TeamAliases
	// must be empty.
	TeamAliasURL string
	// StatusBatch is the number of identifiers in one request of Status; 0 means 500,
	// and the maximum is 5,000, which is PKB's.
	StatusBatch int

	// HTTPClient sends all requests; nil means a default client with time-outs and TLS
	// 1.2 or later. CheckRedirect and Jar are not used: no redirect is followed.
	HTTPClient *http.Client
	// UserAgent is sent with all requests; empty means "pkb-go".
	UserAgent string
	// RequestTimeout bounds one call with its retries and its request for a token; 0
	// means 30 seconds, and the maximum is 10 minutes.
	RequestTimeout time.Duration
	// Retries is the number of times a failed read or request for a token is retried
	// after a network error or a 429, 502, 503 or 504; 0 means 2, and -1 none. Waits
	// are as in pkb.Config.Retries. AddPatient is never retried this way.
	Retries int
	// MaxCalls is how many requests may be under way at once in this process; others
	// wait, within their contexts. 0 means 4. PKB publishes no quota.
	MaxCalls int
	// Logger gets a debug line for each retry; nil means none.
	Logger *slog.Logger
	// Telemetry receives the operations, for metrics and traces; nil costs nothing.
	// Package pkb/pkbotel has one for OpenTelemetry.
	Telemetry observe.Telemetry
	// Now is the clock; nil means time.Now. Tests pass the clock of a pkbtest.Server.
	Now func() time.Time
}

// Format implements fmt.Formatter: a Config prints without its secret.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "pkbsystem.Config{Environment: %q, ClientID: %q}", c.Environment.Name, c.ClientID)
}

// ConfigError is one mistake in a Config. New returns all of them, joined.
type ConfigError struct {
	// Field is the name of the field, such as "TokenURL".
	Field string
	// Problem is what is wrong and what the field must hold.
	Problem string
}

func (e *ConfigError) Error() string { return "pkbsystem.Config." + e.Field + ": " + e.Problem }

// Is reports whether target is what package advice knows the error by.
func (e *ConfigError) Is(target error) bool { return target == wording.ErrConfig }

// sandboxTokenURL is where the sandbox issues tokens to system clients (PKB: Client
// credentials).
const sandboxTokenURL = "https://oauth2.sandbox.patientsknowbest.com/api/oauth/token" //nolint:gosec // an address

// withDefaults returns c with each zero replaced by its default.
func (c Config) withDefaults() Config {
	fhir := strings.TrimRight(c.Environment.FHIRURL, "/")
	c.Environment.FHIRURL = fhir
	if c.TokenURL == "" && apicall.SameServer(pkb.Sandbox().FHIRURL, fhir) {
		c.TokenURL = sandboxTokenURL
	}
	if c.StatusURL == "" {
		c.StatusURL = fhir + "/Patient/$status-query"
	}
	if base, ok := strings.CutSuffix(fhir, "/fhir"); ok && c.AddPatientURL == "" {
		c.AddPatientURL = base + "/phr-fhir/Patient/$process-message"
	}
	if c.UserAgent == "" {
		c.UserAgent = "pkb-go"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.StatusBatch = orDefault(c.StatusBatch, 500)
	c.RequestTimeout = orDefault(c.RequestTimeout, 30*time.Second)
	c.Retries = orDefault(c.Retries, 2)
	c.MaxCalls = orDefault(c.MaxCalls, 4)
	return c
}

func orDefault[T int | time.Duration](value, unset T) T {
	if value == 0 {
		return unset
	}
	return value
}

// complain notes what is wrong with a field.
type complain func(field, format string, args ...any)

// check is for a Config with its defaults.
func (c Config) check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if c.Environment == (pkb.Environment{}) {
		bad("Environment", "is empty: use pkb.Sandbox(), pkb.Production() or pkb.BaseURL(address)")
		return errors.Join(errs...)
	}
	c.checkAddresses(bad)
	c.checkClient(bad)
	c.checkBounds(bad)
	return errors.Join(errs...)
}

func (c Config) checkAddresses(bad complain) {
	switch {
	case c.TokenURL == "":
		bad("TokenURL", "is empty: PKB's pages print only the sandbox's token endpoint for system clients; ask PKB for this environment's")
	case c.TokenURL == c.Environment.TokenURL:
		bad("TokenURL", "is the endpoint for patients' tokens: system clients have one of their own")
	}
	if c.AddPatientURL == "" {
		bad("AddPatientURL", "is empty, and Environment.FHIRURL does not end in /fhir, from which it would follow")
	}
	for _, a := range []struct{ field, url string }{
		{"Environment.FHIRURL", c.Environment.FHIRURL}, {"TokenURL", c.TokenURL}, {"StatusURL", c.StatusURL}, {"AddPatientURL", c.AddPatientURL},
	} {
		if problem := apicall.CheckAddress(a.url); problem != "" && (a.url != "" || a.field == "Environment.FHIRURL") {
			bad(a.field, "%s", problem)
		}
	}
	if c.TeamAliasURL != "" {
		if u, err := url.Parse(c.TeamAliasURL); err != nil || !u.IsAbs() {
			bad("TeamAliasURL", "is not the absolute URL of an extension")
		}
	}
}

func (c Config) checkClient(bad complain) {
	if c.ClientID == "" || strings.Contains(c.ClientID, ":") && !c.EncodeCredentials || !apicall.Printable(c.ClientID) {
		bad("ClientID", "is empty, has a colon, which HTTP Basic does not allow, or has spaces or characters that are not printable ASCII")
	}
	if secret := c.ClientSecret.Reveal(); secret == "" || !apicall.Printable(secret) {
		bad("ClientSecret", "is empty, or has spaces or characters that are not printable ASCII, such as the line end of a file")
	}
	if c.Scope != "" && !apicall.Printable(c.Scope) {
		bad("Scope", "is not one scope: it has spaces or characters that are not printable ASCII")
	}
	if id, err := identity.ParsePublicID(c.Organisation); err != nil || string(id) != c.Organisation {
		bad("Organisation", "is not a PKB public id: a UUID in lower case, which PKB has for your organisation")
	}
	if strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }) {
		bad("UserAgent", "has characters that are not printable ASCII")
	}
}

// maxStatusBatch is how many identifiers $status-query takes (PKB: Status query).
const maxStatusBatch = 5000

func (c Config) checkBounds(bad complain) {
	if c.StatusBatch < 1 || c.StatusBatch > maxStatusBatch {
		bad("StatusBatch", "is %d: the maximum is %d; 0 means the default", c.StatusBatch, maxStatusBatch)
	}
	if c.RequestTimeout < 0 || c.RequestTimeout > 10*time.Minute {
		bad("RequestTimeout", "is %v: the maximum is 10 minutes; 0 means the default", c.RequestTimeout)
	}
	if c.Retries < -1 || c.Retries > 10 {
		bad("Retries", "is %d: the maximum is 10; 0 means the default, and -1 none", c.Retries)
	}
	if c.MaxCalls < 1 || c.MaxCalls > 1000 {
		bad("MaxCalls", "is %d: the maximum is 1000; 0 means the default", c.MaxCalls)
	}
}
