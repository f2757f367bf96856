// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Config is the configuration of a Client. [New] checks it and reports every
// mistake at once.
type Config struct {
	// Environment is required: Sandbox(), Production() or BaseURL(...).
	Environment Environment
	// ClientID is required: the User Client id that PKB issued to you.
	ClientID string
	// ClientSecret is sent if PKB issued one with the client id. PKB documents none
	// for a User Client; the zero Secret means none.
	ClientSecret Secret
	// SecretInHeader sends the client secret as HTTP Basic instead of in the form.
	// The library never tries both: that would present a token twice.
	SecretInHeader bool
	// PKCE adds a proof key (RFC 7636, S256) to each authorization. No page of PKB
	// mentions PKCE; leave it off unless PKB asks for it.
	PKCE bool
	// RedirectURL is required: where PKB sends the patient back to, as registered
	// with PKB. It is https, http on loopback, or the custom scheme of a mobile
	// app, and at most 400 bytes of ASCII. An https scheme in capitals is
	// sent in lower case.
	RedirectURL string

	// Store is required: where links are kept.
	Store tokenstore.Store
	// Keys seal tokens before the store sees them. They are required, unless the
	// store lasts no longer than the process, such as tokenstore.Memory.
	Keys *keys.Keyring

	// HTTPClient sends all requests; nil means a default client. A nil Transport
	// means one with time-outs and TLS 1.2 or later. CheckRedirect and Jar are not
	// used. Requests to the token endpoint use a copy without Timeout, and without
	// the ResponseHeaderTimeout and kept connections of a *http.Transport. Any other
	// RoundTripper is used unchanged, and must not repeat requests: a refresh token
	// works once (EventTransportRepeats). The file transports.md has those tried.
	HTTPClient *http.Client
	// UserAgent is sent with all requests; empty means "pkb-go". It is printable
	// ASCII.
	UserAgent string
	// Logger gets what an operator should know; nil means none. No token and nothing
	// about a patient is logged; a link appears as a short hash of its app_user_id. Its
	// keys are those of package observe. A handler that fails, or takes a second, costs its line.
	Logger *slog.Logger

	// ApprovalLife is how long a patient has from the link in your app to the
	// callback; 0 means 10 minutes, the maximum. A callback is accepted for another
	// hour, because the clocks of replicas may differ.
	ApprovalLife time.Duration
	// RequestTimeout bounds one call for a patient with all its retries, whatever
	// the caller's context allows; 0 means 30 seconds.
	RequestTimeout time.Duration
	// Retries is the number of times a failed read is retried after a network error
	// or a 429, 502, 503 or 504; 0 means 2, and -1 none. The waits double from half
	// a second, with jitter, and are at least what Retry-After asks for. A wait
	// beyond RequestTimeout or the caller's deadline is not begun.
	Retries int
	// MaxCallsPerPatient is how many requests for one user may be under way at once
	// in this process; others wait, within their contexts. 0 means 4, as PKB itself
	// reads a record. PKB publishes no quota.
	MaxCallsPerPatient int
	// MaxResponseBytes bounds one response of PKB's APIs, in bytes after
	// decompression: of a search each page, which is in memory once. A larger one
	// is ErrTooLarge. 0 means 64 MiB; otherwise it is from 4 KiB to 1 GiB.
	MaxResponseBytes int64
	// TokenTimeout bounds one request to the token endpoint; 0 means 3 minutes, and
	// the maximum is 5. A response that arrives later is lost, and perhaps the link
	// with it: do not make it short. No caller waits longer than its own context.
	TokenTimeout time.Duration
	// TokenErrors define what error responses of the token endpoint mean. PKB
	// publishes none. Without an entry, RFC 6749 and PKB's response codes decide.
	// An unknown response concerns one link only, and ends it if the token endpoint
	// refuses it for an hour or longer while it serves others.
	TokenErrors []observe.TokenError
	// RefreshWithoutScope omits the scope parameter from refreshes. It is sent by
	// default: PKB's pages do not mention it, and RFC 6749 section 6 allows both.
	RefreshWithoutScope bool
	// HardMargin is the life an access token must have left to be used; 0 means 30
	// seconds. For a token that lives less than eight times that, it is an eighth
	// of its life.
	HardMargin time.Duration
	// AssumedTokenLife is the life of an access token whose response has no
	// expires_in; 0 means 10 minutes, the shorter of the two figures in PKB's
	// pages.
	AssumedTokenLife time.Duration

	// Identify, if set, decides whether the patient who approved is the person whom
	// the host knows as this user. It returns nil for yes, and ErrIdentityRefused,
	// or an error that wraps it, for no: the authorization is then discarded, and
	// an existing link keeps working. After any other error, or a panic, the
	// authorization waits: no call gets its tokens, and later calls ask Identify
	// again.
	//
	// It may be called several times at once, and twice for one authorization; ctx
	// has a deadline. Call PKB for this user only with what c holds: the user's
	// other calls wait for the verdict.
	Identify func(ctx context.Context, c Candidate) error

	// SessionLife is how long PKB's sessions last for your client id, if PKB has
	// told you. Link.EndsAt and EventEndsSoon are computed from it. 0 means
	// unknown: then only a session's last token reveals its end.
	SessionLife time.Duration
	// FirstWarning and LastWarning are how long before the end of a session
	// EventEndsSoon is sent, once each; 0 means 14 days and 2 days. FirstWarning is at
	// least LastWarning.
	FirstWarning, LastWarning time.Duration
	// Notify, if set, is called with what you must not miss: a link that was made or
	// has ended, a session that is about to end, an authorization that was given up.
	// A notice is saved with the link, and Client.Tend delivers it until Notify returns
	// nil: at least once, in order for each link, for several links at the same time.
	// After an error, a panic or 30 seconds it comes again, after a minute to an hour.
	// Write it into a queue or table of yours. Nil adds notices only to links that had some.
	Notify func(ctx context.Context, n observe.Notice) error
	// KeepWarm is after how long without a refresh Client.Tend refreshes a link that
	// nobody uses, so that you learn early that it has ended. 0 means never.
	KeepWarm time.Duration
	// RefreshReuseWindow is for a server that accepts a refresh token again within
	// this time of its first use: a refresh whose response was lost is then repeated
	// once, at once. Leave it at 0 with PKB, which ends the session when a token is
	// presented twice (PKB: CS Response Code, API_SESSION_INVALID).
	RefreshReuseWindow time.Duration
	// OnEvent is called with what happens to links in this process, such as
	// EventRelinkRequired: in order, on a goroutine of its own, so nothing waits for
	// it. What is more than 4,096 events behind is dropped, which is logged. Close
	// waits a second for it; do not call Close from it.
	OnEvent func(observe.Event)

	// Telemetry receives operations and events, for metrics and traces; nil costs
	// nothing, and one that fails, a figure. Package pkb/pkbotel has one for OpenTelemetry.
	Telemetry observe.Telemetry
	// InsecureDebugResponses makes APIError.Excerpt and TryLaterError.Excerpt
	// return the beginning of an error response, to see who responds in PKB's place.
	// An excerpt has only words of a fixed list. Never use it in production.
	InsecureDebugResponses bool

	// Now is the clock; nil means time.Now, which also replaces a call that panics.
	// Tests pass the clock of a pkbtest.Server.
	Now func() time.Time
}

// Format implements fmt.Formatter: a Config prints without its secrets.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "pkb.Config{Environment: %q, ClientID: %q, RedirectURL: %q}", c.Environment.Name, c.ClientID, c.RedirectURL)
}

// ConfigError is one mistake in a Config. New returns all of them, joined.
type ConfigError struct {
	// Field is the name of the field, such as "Environment.TokenURL".
	Field string
	// Problem is what is wrong and what the field must hold.
	Problem string
}

func (e *ConfigError) Error() string { return "pkb.Config." + e.Field + ": " + e.Problem }

func (c *Config) check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	c.Environment.check(bad)
	c.checkApplication(bad)
	c.checkStore(bad)
	c.checkBounds(bad)
	return errors.Join(errs...)
}

// complain notes what is wrong with a field.
type complain func(field, format string, args ...any)

func (c *Config) checkApplication(bad complain) {
	if c.ClientID == "" {
		bad("ClientID", "is empty: it is the User Client id that PKB issued to you")
	} else if !apicall.Printable(c.ClientID) || len(c.ClientID) > maxName {
		bad("ClientID", "has spaces or characters that are not printable ASCII, or more than %d bytes", maxName)
	}
	if c.SecretInHeader && c.ClientSecret.IsZero() {
		bad("SecretInHeader", "is set without a ClientSecret")
	}
	if _, problem := redirectURI(c.RedirectURL); problem != "" {
		bad("RedirectURL", "%s", problem)
	}
	if c.HTTPClient != nil {
		if problem := transportProblem(c.HTTPClient.Transport); problem != "" {
			bad("HTTPClient", "%s", problem)
		}
	}
	if !apicall.Printable(strings.ReplaceAll(c.UserAgent, " ", "")) || len(c.UserAgent) > maxName {
		bad("UserAgent", "has characters that are not printable ASCII, or more than %d bytes: it is a header of each request", maxName)
	}
}

// transportProblem returns what is wrong with a transport, or "".
func transportProblem(rt http.RoundTripper) string {
	switch t := rt.(type) {
	case *oauth2.Transport:
		return "has an oauth2.Transport, which replaces the patient's token in each request by one of its own: pass a client without it"
	case *http.Transport:
		if t == nil {
			return "has a nil *http.Transport: leave Transport unset for the default one"
		}
	}
	return ""
}

// maxName bounds what is kept or sent as a name, in bytes.
const maxName = 256

func (c *Config) checkStore(bad complain) {
	switch v, _ := c.Store.(tokenstore.Volatile); {
	case c.Store == nil:
		bad("Store", "is nil: use your database, or tokenstore.NewMemory() to try the library")
	case c.Keys != nil && len(c.Keys.KeyIDs()) == 0:
		bad("Keys", "has no key: make one with keys.Generate(\"2026-01\") and pass it to keys.Parse, or use Keyring.AddKey")
	case c.Keys == nil && (v == nil || !v.Volatile()):
		bad("Keys", "is nil, and the store outlives the process: make a key once with keys.Generate(\"2026-01\"), "+
			"keep it with your other secrets, and pass it to keys.Parse")
	}
}

func (c *Config) checkBounds(bad complain) {
	for _, d := range c.durations() {
		if *d.value < 0 || *d.value > d.most {
			bad(d.field, "is %v: the maximum is %v; 0 means the default", *d.value, d.most)
		}
	}
	if c.FirstWarning > 0 && c.FirstWarning < c.LastWarning {
		bad("FirstWarning", "is %v, and LastWarning is %v: the first comes before the last", c.FirstWarning, c.LastWarning)
	}
	if c.KeepWarm > 0 && c.KeepWarm < time.Hour {
		bad("KeepWarm", "is %v: the minimum is an hour; 0 means never", c.KeepWarm)
	}
	if c.Retries < -1 || c.Retries > 10 {
		bad("Retries", "is %d: the maximum is 10; 0 means the default, and -1 none", c.Retries)
	}
	if c.MaxCallsPerPatient < 0 || c.MaxCallsPerPatient > 1000 {
		bad("MaxCallsPerPatient", "is %d: the maximum is 1000; 0 means the default", c.MaxCallsPerPatient)
	}
	if b := c.MaxResponseBytes; b != 0 && (b < 4<<10 || b > 1<<30) {
		bad("MaxResponseBytes", "is %d: it is from 4096 (4 KiB) to 1073741824 (1 GiB); 0 means the default", b)
	}
	for i, e := range c.TokenErrors {
		if problem := tokenErrorProblem(e); problem != "" {
			bad(fmt.Sprintf("TokenErrors[%d]", i), "%s", problem)
		}
	}
}

// lastWarning is the default of LastWarning.
func lastWarning(first time.Duration) time.Duration {
	if def := 2 * 24 * time.Hour; first == 0 || first > def {
		return def
	}
	return first
}

type duration struct {
	field       string
	value       *time.Duration
	unset, most time.Duration
}

func (c *Config) durations() []duration {
	return []duration{
		{"ApprovalLife", &c.ApprovalLife, 10 * time.Minute, 10 * time.Minute},
		{"RequestTimeout", &c.RequestTimeout, 30 * time.Second, 10 * time.Minute},
		{"TokenTimeout", &c.TokenTimeout, 3 * time.Minute, 5 * time.Minute},
		{"HardMargin", &c.HardMargin, 30 * time.Second, 5 * time.Minute},
		{"AssumedTokenLife", &c.AssumedTokenLife, 10 * time.Minute, time.Hour},
		{"SessionLife", &c.SessionLife, 0, 10 * 365 * 24 * time.Hour},
		{"FirstWarning", &c.FirstWarning, max(14*24*time.Hour, c.LastWarning), 365 * 24 * time.Hour},
		{"LastWarning", &c.LastWarning, lastWarning(c.FirstWarning), 365 * 24 * time.Hour},
		{"KeepWarm", &c.KeepWarm, 0, 365 * 24 * time.Hour},
		{"RefreshReuseWindow", &c.RefreshReuseWindow, 0, time.Hour},
	}
}

// withDefaults returns c with each zero replaced by its default.
func (c Config) withDefaults() Config {
	if c.Environment.PurviewURL == "" {
		c.Environment.PurviewURL = strings.TrimRight(c.Environment.FHIRURL, "/") + "/Consent/$purview"
	}
	if c.Environment.SelfURL == "" {
		c.Environment.SelfURL = strings.TrimRight(c.Environment.RESTURL, "/") + "/users/self"
	}
	if c.UserAgent == "" {
		c.UserAgent = "pkb-go"
	}
	c.RedirectURL, _ = redirectURI(c.RedirectURL)
	if c.Retries == 0 {
		c.Retries = 2
	}
	if c.MaxCallsPerPatient == 0 {
		c.MaxCallsPerPatient = 4
	}
	if c.MaxResponseBytes == 0 {
		c.MaxResponseBytes = 64 << 20
	}
	if c.Logger != nil {
		c.Logger = slog.New(quietLog{c.Logger.Handler(), &containment{}})
	} else {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Now = orSystem(c.Now)
	for _, d := range c.durations() {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	return c
}

// orSystem returns the host's clock, or the system clock if there is none or it
// panics.
func orSystem(host func() time.Time) func() time.Time {
	system := time.Now
	if host == nil {
		return system
	}
	return func() (t time.Time) {
		defer func() {
			if recover() != nil {
				t = system()
			}
		}()
		return host()
	}
}

// maxRedirectURI bounds a redirect URI in bytes: it is kept in the cookie of an
// authorization.
const maxRedirectURI = 400

// redirectURI returns a redirect URI as it is sent, and what is wrong with it, or "".
func redirectURI(s string) (uri, problem string) {
	if s == "" {
		return "", "is empty: it is the address PKB sends the patient back to, as registered with PKB"
	}
	if len(s) > maxRedirectURI {
		return "", fmt.Sprintf("has %d bytes: the maximum is %d", len(s), maxRedirectURI)
	}
	if !apicall.Printable(s) || strings.ContainsAny(s, "\"<>\\^`{|}") {
		return "", "has a space or another character that an address cannot have: percent-encode it, and write a host in its ASCII form (xn--...)"
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return "", "is not a full address, such as https://app.example/pkb/callback"
	}
	if problem := redirectParts(s, u); problem != "" {
		return "", problem
	}
	if u.Scheme == "https" || u.Scheme == "http" { // the scheme is what decides whether a cookie is Secure
		return u.Scheme + s[len(u.Scheme):], ""
	}
	return s, ""
}

// redirectParts returns what is wrong with the parts of a redirect URI, or "".
func redirectParts(s string, u *url.URL) string {
	query, err := url.ParseQuery(u.RawQuery)
	switch {
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return "has a fragment (#...): OAuth redirect URIs have none"
	case u.User != nil:
		return "has a user name or password: remove it"
	case err != nil:
		return "has a query that cannot be read, with a semicolon or a bad percent sign: no callback to it could be read either"
	case query.Has("code") || query.Has("state") || query.Has("error"):
		return "has a parameter that PKB adds (code, state, error): remove it"
	}
	switch u.Scheme {
	case "https":
		if u.Hostname() == "" {
			return "has no host"
		}
	case "http":
		if !apicall.IsLoopback(u.Hostname()) {
			return "is plain http: a code must be received over https (http is accepted for loopback, such as localhost)"
		}
	case "javascript", "data", "file", "vbscript", "about", "blob":
		return "has a scheme that cannot receive a callback"
	}
	return ""
}
