// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Config says who you are to PKB and where links are kept. [New] checks it and
// names every mistake at once.
type Config struct {
	// Environment is required: Sandbox(), Production() or BaseURL(...).
	Environment Environment
	// ClientID is required: the User Client id that PKB issued to you.
	ClientID string
	// ClientSecret is for the case that PKB issued one with it. PKB documents
	// none for a User Client; the zero Secret means none.
	ClientSecret Secret
	// SecretInHeader sends the client secret as HTTP Basic instead of in the
	// form. It is never tried both ways: that would present a token twice.
	SecretInHeader bool
	// PKCE adds a proof key (RFC 7636, S256) to each approval. No page of PKB
	// mentions PKCE; leave it off unless PKB says otherwise.
	PKCE bool
	// RedirectURL is required: where PKB sends the patient back to, as
	// registered with PKB. https, http on loopback, or the custom scheme of a
	// mobile app.
	RedirectURL string

	// Store is required: where links are kept.
	Store tokenstore.Store
	// Keys seal tokens before the store sees them. Required, unless the store
	// forgets everything with the process, as tokenstore.Memory does.
	Keys *keys.Keyring

	// HTTPClient sends all requests; nil means one of our own. Without a
	// Transport it gets ours, with time-outs and TLS 1.2 or better. Its
	// CheckRedirect and Jar are not used: tokens follow no redirect and meet no
	// cookies. Requests to the token endpoint use a copy: without Timeout, and of a
	// *http.Transport without ResponseHeaderTimeout and kept connections. Any other
	// RoundTripper is used as it is, and must not repeat requests by itself: that
	// presents a refresh token twice, which ends the session. One that does is
	// reported as EventTransportRepeats.
	HTTPClient *http.Client
	// UserAgent is sent with all requests; empty means "pkb-go".
	UserAgent string
	// Logger gets what an operator should know; nil means silence. No token and
	// nothing about a patient is logged; a link appears as a short hash of its
	// app_user_id. The package comment lists the keys.
	Logger *slog.Logger

	// ApprovalLife is how long a patient has from the link in your app to the
	// callback; 0 means 10 minutes, which is also the most. A callback is taken for an
	// hour longer, by which the clocks of two replicas may differ: that it is good for
	// one completion is kept in the record.
	ApprovalLife time.Duration
	// RequestTimeout bounds one call for a patient with all its repetitions,
	// whatever the caller's context says; 0 means 30 seconds.
	RequestTimeout time.Duration
	// Retries is how often a read is repeated that got no answer, or 429, 502,
	// 503 or 504; 0 means 2, and -1 never. The waits double from half a second
	// on, with jitter, and are at least what PKB asked for (Retry-After); where
	// that does not fit into RequestTimeout or the caller's context, the error
	// comes back at once, with it. Requests for tokens are never repeated so.
	Retries int
	// MaxCallsPerPatient is how many requests for one user may be under way at
	// once in this process; others wait, within their contexts. 0 means 4, which
	// a page of PKB's describes as its way to read a patient's record, not as a
	// quota; PKB publishes none.
	MaxCallsPerPatient int
	// TokenTimeout bounds one request to the token endpoint; 0 means 3 minutes,
	// and 5 are the most. A response that arrives later is lost, and with a refresh
	// token that works once, so may be the link: do not make it short. Nobody waits
	// for it longer than their own context. It is the only bound: neither
	// HTTPClient.Timeout nor a Transport's ResponseHeaderTimeout applies to these
	// requests.
	TokenTimeout time.Duration
	// TokenErrors say what error responses of the token endpoint mean. PKB
	// publishes none; without an entry, RFC 6749 and PKB's response codes decide,
	// and what neither knows concerns one link only: it ends when the token
	// endpoint refuses it for an hour or longer while it serves others.
	TokenErrors []observe.TokenError
	// RefreshWithoutScope leaves the parameter scope out of refreshes. By default
	// it is sent; PKB's pages say neither (RFC 6749 section 6 allows both).
	RefreshWithoutScope bool
	// HardMargin is the life an access token must have left to be used; 0 means
	// 30 seconds. Of a token that lives for less than eight times that, it is an eighth.
	HardMargin time.Duration
	// AssumedTokenLife is the life of an access token whose answer does not say
	// (expires_in); 0 means 10 minutes, the shorter of the two figures in PKB's
	// pages.
	AssumedTokenLife time.Duration

	// Identify, if set, is asked about each approval before its link counts:
	// whether the patient who approved is the person whom the host knows as
	// this user. It returns nil for yes, and ErrIdentityRefused, or an error
	// that wraps it, for no: then nothing is left of the approval, and a link
	// that worked works on. Any other error means that it could not be found
	// out, as does a panic; the session then waits, no call gets its tokens, and
	// Identify is asked again by the calls that follow. It may be called by several
	// goroutines and replicas at once, and twice for one approval; ctx has a deadline. Call
	// PKB for this user with nothing but what c holds: the user's other calls
	// wait for the verdict.
	Identify func(ctx context.Context, c Candidate) error

	// SessionLife is how long PKB's sessions last for your client id, if PKB
	// has told you: Link.EndsAt and EventEndsSoon come from it. 0 means that it
	// is not known; then only a session's last token tells its end.
	SessionLife time.Duration
	// EndsNotice is how long before the end of a session EventEndsSoon comes; 0
	// means 24 hours.
	EndsNotice time.Duration
	// RefreshReuseWindow is for a server that is known to take a refresh token again
	// within this time of its first use, as some do so that a lost response can be
	// had again: a refresh whose response was lost is then repeated once, at once.
	// 0 is PKB's way: a refresh token that comes twice ends the session (PKB: CS
	// Response Code, API_SESSION_INVALID), so such a refresh is not repeated while
	// the current access token serves. Leave it at 0 with PKB.
	RefreshReuseWindow time.Duration
	// OnEvent is told what happens to links in this process, such as
	// EventRelinkRequired: in order, one event at a time, on a goroutine of its own,
	// so that nothing waits for it. Of a host that falls more than 4,096 events
	// behind, the rest are dropped, which is logged. Close waits a second for it; do
	// not call Close from it.
	OnEvent func(observe.Event)

	// Telemetry is told of operations and events, for metrics and traces; nil
	// means nobody is, and costs nothing. Package pkb/pkbotel has one for
	// OpenTelemetry.
	Telemetry observe.Telemetry
	// InsecureDebugAnswers lets APIError.Excerpt and TryLaterError.Excerpt tell
	// the beginning of an answer of PKB's that is not a success, so that you can
	// see who answers in its place. Nothing prints or logs an excerpt by itself,
	// and of an answer it holds no more than words of a fixed list. Even so it is
	// for a moment, and for no production.
	InsecureDebugAnswers bool

	// Now is the clock; nil means time.Now, which also stands in for a call that
	// panics. Tests pass the clock of a pkbtest.Server, which they can move.
	Now func() time.Time
}

// Format implements fmt.Formatter: a Config prints without what is secret in
// it.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "pkb.Config{Environment: %q, ClientID: %q, RedirectURL: %q}", c.Environment.Name, c.ClientID, c.RedirectURL)
}

// ConfigError is one mistake in a Config. New returns all of them, joined.
type ConfigError struct {
	// Field is the field's name, as in "Environment.TokenURL".
	Field string
	// Problem says what is wrong and what belongs there.
	Problem string
}

func (e *ConfigError) Error() string { return "pkb.Config." + e.Field + ": " + e.Problem }

// check returns every mistake in c.
func (c *Config) check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}

	env := c.Environment
	if env == (Environment{}) {
		bad("Environment", "is empty: use pkb.Sandbox(), pkb.Production() or pkb.BaseURL(address)")
	} else {
		if env.Name == "" {
			bad("Environment.Name", "is empty: give the environment a name of your own; it is kept with every link")
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
			if problem := checkServerURL(a.url); problem != "" {
				bad("Environment."+a.field, "%s", problem)
			}
		}
		switch env.PurviewMethod {
		case "", http.MethodPost, http.MethodGet:
		default:
			bad("Environment.PurviewMethod", "is neither POST nor GET; leave it empty to try POST first")
		}
	}

	if c.ClientID == "" {
		bad("ClientID", "is empty: it is the User Client id that PKB issued to you")
	} else if !printable(c.ClientID) {
		bad("ClientID", "has spaces or characters that are not printable ASCII: was it copied with something around it?")
	}
	if c.SecretInHeader && c.ClientSecret.IsZero() {
		bad("SecretInHeader", "is set, and there is no ClientSecret")
	}
	if problem := checkRedirectURL(c.RedirectURL); problem != "" {
		bad("RedirectURL", "%s", problem)
	}

	switch v, _ := c.Store.(tokenstore.Volatile); {
	case c.Store == nil:
		bad("Store", "is nil: use your database, or tokenstore.NewMemory() for a first look")
	case c.Keys != nil && len(c.Keys.KeyIDs()) == 0:
		bad("Keys", "has no key: make one once with keys.Generate(\"2026-01\"), and use keys.Parse(thatText), or Keyring.AddKey")
	case c.Keys == nil && (v == nil || !v.Volatile()):
		bad("Keys", "is nil, and the store outlives the process: make a key once with keys.Generate(\"2026-01\"), "+
			"keep it with your other secrets, and pass keys.Parse(thatText)")
	}

	for _, d := range []struct {
		field string
		value time.Duration
		most  time.Duration
	}{
		{"ApprovalLife", c.ApprovalLife, 10 * time.Minute},
		{"RequestTimeout", c.RequestTimeout, 10 * time.Minute},
		{"TokenTimeout", c.TokenTimeout, 5 * time.Minute},
		{"HardMargin", c.HardMargin, 5 * time.Minute},
		{"AssumedTokenLife", c.AssumedTokenLife, time.Hour},
		{"SessionLife", c.SessionLife, 10 * 365 * 24 * time.Hour},
		{"EndsNotice", c.EndsNotice, 365 * 24 * time.Hour},
		{"RefreshReuseWindow", c.RefreshReuseWindow, time.Hour},
	} {
		if d.value < 0 || d.value > d.most {
			bad(d.field, "is %v: it can be up to %v; 0 means the default", d.value, d.most)
		}
	}
	if c.Retries < -1 || c.Retries > 10 {
		bad("Retries", "is %d: it can be up to 10; 0 means the default, and -1 none", c.Retries)
	}
	if c.MaxCallsPerPatient < 0 || c.MaxCallsPerPatient > 1000 {
		bad("MaxCallsPerPatient", "is %d: it can be up to 1000; 0 means the default", c.MaxCallsPerPatient)
	}
	for i, e := range c.TokenErrors {
		if problem := tokenErrorProblem(e); problem != "" {
			bad(fmt.Sprintf("TokenErrors[%d]", i), "%s", problem)
		}
	}
	return errors.Join(errs...)
}

// withDefaults returns c with every zero replaced by what it means.
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
	if c.Retries == 0 {
		c.Retries = 2
	}
	if c.MaxCallsPerPatient == 0 {
		c.MaxCallsPerPatient = 4
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = slog.New(quietLog{c.Logger.Handler()})
	c.Now = orMachine(c.Now)
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{
		{&c.ApprovalLife, 10 * time.Minute},
		{&c.RequestTimeout, 30 * time.Second},
		{&c.TokenTimeout, 3 * time.Minute},
		{&c.HardMargin, 30 * time.Second},
		{&c.AssumedTokenLife, 10 * time.Minute},
		{&c.EndsNotice, 24 * time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	return c
}

// orMachine returns the host's clock; the machine's, where there is none or it
// panics.
func orMachine(host func() time.Time) func() time.Time {
	machine := time.Now
	if host == nil {
		return machine
	}
	return func() (t time.Time) {
		defer func() {
			if recover() != nil {
				t = machine()
			}
		}()
		return host()
	}
}

// checkServerURL says what is wrong with an address of PKB's; "" if nothing.
func checkServerURL(s string) string {
	if s == "" {
		return "is empty: it is a full https address"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not a full https address, like https://sandbox.patientsknowbest.com"
	case u.User != nil:
		return "has a user name or password in it: take it out"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or fragment: take it off"
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "is plain http: tokens travel over https only (http is accepted for loopback, as 127.0.0.1)"
	}
	return ""
}

// checkRedirectURL says what is wrong with a redirect URI; "" if nothing.
func checkRedirectURL(s string) string {
	if s == "" {
		return "is empty: it is where PKB sends the patient back to, as registered with PKB"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "":
		return "is not a full address, like https://app.example/pkb/callback"
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return "has a fragment (#...): OAuth redirect URIs have none"
	case u.User != nil:
		return "has a user name or password in it: take it out"
	case u.Query().Has("code") || u.Query().Has("state") || u.Query().Has("error"):
		return "has a parameter that PKB adds itself (code, state, error): take it off"
	}
	switch u.Scheme {
	case "https":
		if u.Host == "" {
			return "has no host"
		}
	case "http":
		if !isLoopback(u.Hostname()) {
			return "is plain http: a code must come back over https (http is accepted for loopback, as localhost)"
		}
	case "javascript", "data", "file", "vbscript", "about", "blob":
		return "has a scheme that cannot receive a callback"
	}
	return ""
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
