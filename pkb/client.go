// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Client links users and calls PKB for them. Make one with [New] and share it:
// all its methods are safe for concurrent use.
type Client struct {
	cfg    Config
	http   *http.Client
	token  *tokenwire.Endpoint
	keeper *custody.Keeper
	turns  apicall.Turns
	// origins are those of PKB's APIs.
	origins []apicall.Origin

	// purviewByGET remembers that PKB answered 405 to a POST.
	purviewByGET atomic.Bool
	// lastDataPointByGET is the same for date-of-last-data-point.
	lastDataPointByGET atomic.Bool
	closed             atomic.Bool
	// checkingKeys has room for one.
	checkingKeys chan struct{}
}

// New checks cfg and returns a Client. It makes no request and does not touch
// the store. Its error names every mistake at once, each as a *ConfigError. What
// the store cannot do, and what is lost by that, is logged once.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	machine := cfg.Now == nil
	cfg = cfg.withDefaults()
	c := &Client{
		cfg: cfg, http: httpClient(cfg.HTTPClient, cfg.RequestTimeout),
		turns: apicall.Turns{Most: cfg.MaxCallsPerPatient}, checkingKeys: make(chan struct{}, 1),
	}
	for _, address := range []string{cfg.Environment.RESTURL, cfg.Environment.FHIRURL, cfg.Environment.PurviewURL, cfg.Environment.SelfURL} {
		if origin := apicall.OriginOf(address); !slices.Contains(c.origins, origin) {
			c.origins = append(c.origins, origin)
		}
	}
	c.token = &tokenwire.Endpoint{
		URL:          cfg.Environment.TokenURL,
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret.Reveal(),
		UserAgent:    cfg.UserAgent,
		HTTP:         c.http,
		Timeout:      cfg.TokenTimeout,
		Rules:        append(tokenRules(cfg.TokenErrors), ours()...),
	}
	if cfg.InsecureDebugAnswers {
		c.token.Excerpt = excerpt
	}
	if cfg.SecretInHeader {
		c.token.Style = tokenwire.InHeader
	}
	c.keeper = custody.New(custody.Config{
		OnEvent:       c.cfg.onEvent(),
		Follow:        c.cfg.follow(),
		Store:         cfg.Store,
		Ring:          ringOf(cfg.Keys),
		Environment:   cfg.Environment.Name,
		ClientID:      cfg.ClientID,
		Scope:         scopePatient,
		Refresh:       c.refresh,
		Verify:        c.verify,
		VerifyFirst:   cfg.Identify != nil,
		Foreseen:      []custody.Cause{custody.Cause(observe.CauseSessionExpired), custody.Cause(observe.CauseFrozen)},
		Now:           cfg.Now,
		Ticks:         machine,
		Logger:        cfg.Logger,
		HardMargin:    cfg.HardMargin,
		AssumedLife:   cfg.AssumedTokenLife,
		PostTimeout:   cfg.TokenTimeout,
		Hanging:       c.token.Abandoned,
		VerifyTimeout: 2*cfg.RequestTimeout + time.Second,
		SessionLife:   cfg.SessionLife,
		EndsNotice:    cfg.EndsNotice,
		Forgive:       cfg.RefreshReuseWindow,
	})
	if _, ok := cfg.Store.(tokenstore.Finder); !ok {
		cfg.Logger.Warn("pkb: the store cannot find a record by its public id (tokenstore.Finder): a record that another user is linked with is not refused (ErrSharedRecord)")
	}
	if _, ok := cfg.Store.(tokenstore.Lister); !ok {
		cfg.Logger.Warn("pkb: the store cannot list its records (tokenstore.Lister): Links, Reseal, RetireKey and Purge return a *ConfigError")
	}
	return c, nil
}

// Format implements fmt.Formatter: a Client prints without what is secret in
// it.
func (c *Client) Format(f fmt.State, _ rune) {
	if c == nil {
		fmt.Fprint(f, "(*pkb.Client)(nil)")
		return
	}
	fmt.Fprintf(f, "pkb.Client{Environment: %q, ClientID: %q}", c.cfg.Environment.Name, c.cfg.ClientID)
}

// httpClient returns a copy of the host's client, or one of our own, that
// follows no redirect and keeps no cookies: a token goes to the address it was
// meant for and nowhere else. Without a transport of the host's it has one with
// a time-out for every step, which the default one of net/http lacks; patience
// is the longest that anybody waits for an answer to begin.
func httpClient(host *http.Client, patience time.Duration) *http.Client {
	var hc http.Client
	if host != nil {
		hc = *host
	}
	if hc.Transport == nil {
		hc.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          100,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       90 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			ResponseHeaderTimeout: patience,
			// A connection that died unnoticed is found by a ping.
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		}
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	hc.Jar = nil
	return &hc
}

// accepts returns why nothing can be done for a user, if so.
func (c *Client) accepts(appUserID string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return checkAppUserID(appUserID)
}

const errNobody = appUserIDError("the app_user_id is empty: nobody is signed in")

// checkAppUserID refuses ids that no store has to take.
func checkAppUserID(id string) error {
	switch {
	case id == "":
		return errNobody
	case len(id) > tokenstore.MaxUserID:
		return appUserIDError(fmt.Sprintf("the app_user_id has %d bytes, and %d is the maximum", len(id), tokenstore.MaxUserID))
	case !utf8.ValidString(id):
		return appUserIDError("the app_user_id is not UTF-8")
	}
	return nil
}

// ringOf returns what seals with a keyring, nil for a nil Keyring.
func ringOf(k *keys.Keyring) *seal.Ring { return seal.RingOf(k) }
