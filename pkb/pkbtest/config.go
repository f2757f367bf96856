// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"slices"
	"strings"
	"time"
)

// Config configures a Server. The zero Config is useful: a
// public client called "test-client" with the token life that PKB's examples
// show. Durations of zero or less mean the default.
type Config struct {
	// ClientID is the one client id the server knows. Default "test-client".
	ClientID string
	// ClientName is what the log-in and consent pages call the client: its owner
	// and product name. Default: ClientID.
	ClientName string
	// ClientSecret is asked for at the token endpoint, either as client_secret
	// in the form or with HTTP Basic. Default "": a public client, which sends
	// client_id in the form and is refused if it sends a secret.
	ClientSecret string
	// SystemClientID and SystemClientSecret are those of the one system client, which
	// AddOrganisation gives something to call for. Defaults "test-system-client" and
	// "test-system-secret".
	SystemClientID, SystemClientSecret string
	// TeamAliasURL is the URL of the extension with a team alias. PKB's pages that
	// could be read do not have it; the default is made up:
	// "http://fhir.patientsknowbest.com/structuredefinition/team-alias".
	TeamAliasURL string
	// RedirectURIs are the registered redirect URIs. A request may add query
	// parameters to one of them. For http on localhost, 127.0.0.1 and [::1] any
	// port matches (RFC 8252; inferred). With exactly one, an app may leave
	// redirect_uri out. Default: https://app.example and http on localhost and
	// 127.0.0.1, each with /pkb/callback and /callback.
	RedirectURIs []string
	// TokenLife is the life of an access token, also of a system client, sent as expires_in in whole
	// seconds. Default 10 minutes, at least 1 second.
	TokenLife time.Duration
	// SessionLife is the time after the code's exchange during which tokens are issued and
	// accepted.
	// Default 24 hours; PKB sets it per client id and publishes no figure.
	SessionLife time.Duration
	// CodeLife is the life of an authorization code. Default 1 minute.
	CodeLife time.Duration
	// RequirePKCE refuses an authorize request without an S256 code_challenge.
	// Default false; a challenge that is sent is always honoured.
	RequirePKCE bool
	// PurviewGETOnly makes Purview respond with 405 to every method other than GET.
	// Default false: GET and POST both work. Do not set PurviewPOSTOnly too: no
	// method would be left.
	PurviewGETOnly bool
	// PurviewPOSTOnly makes Purview respond with 405 to every method other than POST.
	// Default false.
	PurviewPOSTOnly bool
	// PageSize is the number of matches on one page of a search.
	// Default 20; PKB publishes no figure.
	PageSize int
	// Addr is where Start listens, in the form "host:port". Default "127.0.0.1:0": a free
	// port that only this computer reaches. New does not use it.
	Addr string
	// BasePath is a path under which everything is served, such as "/tenant".
	// Default "".
	BasePath string
	// ControlAPI serves the control API under /sandbox/, as the package comment
	// describes. Whoever reaches the server can then end sessions and make it
	// fail, without any credential. Default false: these addresses do not exist.
	ControlAPI bool
	// KeepRequests is the number of newest requests that Requests returns.
	// Default 10,000. Counts are not bounded by it.
	KeepRequests int
}

func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = "test-client"
	}
	if c.ClientName == "" {
		c.ClientName = c.ClientID
	}
	if c.SystemClientID == "" {
		c.SystemClientID = "test-system-client"
	}
	if c.SystemClientSecret == "" {
		c.SystemClientSecret = "test-system-secret"
	}
	if c.TeamAliasURL == "" {
		c.TeamAliasURL = "http://fhir.patientsknowbest.com/structuredefinition/team-alias"
	}
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	if len(c.RedirectURIs) == 0 {
		for _, path := range []string{"/pkb/callback", "/callback"} {
			c.RedirectURIs = append(c.RedirectURIs, "https://app.example"+path, "http://localhost"+path, "http://127.0.0.1"+path)
		}
	}
	if c.TokenLife <= 0 {
		c.TokenLife = 10 * time.Minute
	}
	c.TokenLife = max(c.TokenLife.Truncate(time.Second), time.Second)
	if c.SessionLife <= 0 {
		c.SessionLife = 24 * time.Hour
	}
	if c.CodeLife <= 0 {
		c.CodeLife = time.Minute
	}
	if c.PageSize <= 0 {
		c.PageSize = 20
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.KeepRequests <= 0 {
		c.KeepRequests = 10_000
	}
	if c.BasePath = strings.Trim(c.BasePath, "/"); c.BasePath != "" {
		c.BasePath = "/" + c.BasePath
	}
	return c
}
