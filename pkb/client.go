// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/betawerk/pkb-go/internal/apicall"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
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
	// telemetry is cfg.Telemetry.
	telemetry telemetry
	// origins are those that receive a bearer.
	origins []apicall.Origin

	// purviewByGET and lastDataPointByGET remember a response 405 to a POST.
	purviewByGET, lastDataPointByGET atomic.Bool

	closed atomic.Bool
	// checkingKeys has capacity 1.
	checkingKeys chan struct{}
}

// busy is the error text of a request that got no turn in time.
const busy = "no turn in time: as many requests for this patient were under way as Config.MaxCallsPerPatient allows"

// New checks cfg and returns a Client. It sends no request and does not touch the
// store. Its error joins every mistake in cfg, each a *ConfigError. It logs what
// the store cannot do, and what that costs.
func New(cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	systemClock := cfg.Now == nil
	cfg = cfg.withDefaults()
	c := &Client{
		cfg: cfg, http: apicall.Client(cfg.HTTPClient, cfg.RequestTimeout),
		turns: apicall.Turns{Most: cfg.MaxCallsPerPatient, Busy: busy}, checkingKeys: make(chan struct{}, 1),
		telemetry: telemetry{to: cfg.Telemetry},
	}
	c.telemetry.contained.failed = func(err error) {
		cfg.Logger.Error("pkb: Config.Telemetry failed", "error", hush(err, err.Error())) // a text of ours
	}
	for _, address := range []string{cfg.Environment.RESTURL, cfg.Environment.FHIRURL, cfg.Environment.PurviewURL, cfg.Environment.SelfURL} {
		if origin := apicall.OriginOf(address); !slices.Contains(c.origins, origin) {
			c.origins = append(c.origins, origin)
		}
	}
	c.token = c.newEndpoint()
	c.keeper = c.newKeeper(systemClock)
	if _, ok := cfg.Store.(tokenstore.Finder); !ok {
		cfg.Logger.Warn("pkb: the store cannot find a record by its public id (tokenstore.Finder): ErrSharedRecord is not detected")
	}
	if _, ok := cfg.Store.(tokenstore.Lister); !ok {
		cfg.Logger.Warn("pkb: the store cannot list its records (tokenstore.Lister): Links, Reseal, RetireKey and Purge return a *ConfigError")
	}
	if _, ok := cfg.Store.(tokenstore.Scheduler); !ok {
		cfg.Logger.Warn("pkb: the store cannot find what is due (tokenstore.Scheduler): Tend lists all records every five minutes, if it can, and otherwise returns a *ConfigError")
	}
	if cfg.Notify != nil || cfg.KeepWarm > 0 {
		cfg.Logger.Info("pkb: Config.Notify and Config.KeepWarm need Client.Tend, or TendOnce from time to time, in at least one process")
	}
	return c, nil
}

// newEndpoint returns PKB's token endpoint.
func (c *Client) newEndpoint() *tokenwire.Endpoint {
	endpoint := &tokenwire.Endpoint{
		URL:          c.cfg.Environment.TokenURL,
		ClientID:     c.cfg.ClientID,
		ClientSecret: c.cfg.ClientSecret.Reveal,
		UserAgent:    c.cfg.UserAgent,
		HTTP:         c.http,
		Timeout:      c.cfg.TokenTimeout,
		Rules:        append(tokenRules(c.cfg.TokenErrors), ours()...),
	}
	if c.cfg.InsecureDebugResponses {
		endpoint.Excerpt = excerpt
	}
	if c.cfg.SecretInHeader {
		endpoint.Style = tokenwire.InHeader
	}
	return endpoint
}

// newKeeper returns what keeps the links; without systemClock the clock is the
// host's.
func (c *Client) newKeeper(systemClock bool) *custody.Keeper {
	onNotice, onSweep := c.onTending()
	return custody.New(custody.Config{
		OnEvent:       c.onEvent(),
		Follow:        c.telemetry.follower(),
		Store:         c.cfg.Store,
		Ring:          seal.RingOf(c.cfg.Keys),
		Environment:   c.cfg.Environment.Name,
		ClientID:      c.cfg.ClientID,
		Scope:         scopePatient,
		Refresh:       c.refresh,
		Verify:        c.verify,
		VerifyFirst:   c.cfg.Identify != nil,
		Foreseen:      []custody.Cause{custody.Cause(observe.CauseSessionExpired), custody.Cause(observe.CauseFrozen)},
		Now:           c.cfg.Now,
		Ticks:         systemClock,
		Logger:        c.cfg.Logger,
		HardMargin:    c.cfg.HardMargin,
		AssumedLife:   c.cfg.AssumedTokenLife,
		PostTimeout:   c.cfg.TokenTimeout,
		Hanging:       c.token.Abandoned,
		VerifyTimeout: 2*c.cfg.RequestTimeout + time.Second,
		SessionLife:   c.cfg.SessionLife,
		Warnings:      [2]time.Duration{c.cfg.FirstWarning, c.cfg.LastWarning},
		Notify:        c.cfg.notify(),
		OnNotice:      onNotice,
		OnSweep:       onSweep,
		KeepWarm:      c.cfg.KeepWarm,
		Forgive:       c.cfg.RefreshReuseWindow,
	})
}

// Close closes the Client before the process ends: from now on every call returns
// ErrClosed. It waits until authorizations and refreshes under way have saved their
// tokens, or until ctx ends: a refresh that is cut off between PKB's response and
// the save costs the patient a new authorization. The error then has the number
// that are left, and wraps that of ctx; they go on while the process does, and
// Close may be called again to wait for them.
//
// Stop serving requests first, as with http.Server.Shutdown. Then call Close, with
// at least Config.TokenTimeout, and close the store last.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	err := c.keeper.Close(ctx)
	if left := c.keeper.Health().Busy; err != nil && left > 0 {
		return &unfinishedError{left: left, cause: err}
	}
	return nil
}

// unfinishedError is the error of a Close that ran out of time.
type unfinishedError struct {
	left  int
	cause error
}

func (e *unfinishedError) Error() string {
	return fmt.Sprintf("pkb: %d authorizations or refreshes are still under way, and their tokens may be lost", e.left)
}

func (e *unfinishedError) Unwrap() error { return e.cause }

// Format implements fmt.Formatter: a Client prints without its secrets.
func (c *Client) Format(f fmt.State, _ rune) {
	if c == nil {
		fmt.Fprint(f, "(*pkb.Client)(nil)")
		return
	}
	fmt.Fprintf(f, "pkb.Client{Environment: %q, ClientID: %q}", c.cfg.Environment.Name, c.cfg.ClientID)
}

// accepts returns an error if the client is closed or the id cannot be one.
func (c *Client) accepts(appUserID string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	return checkAppUserID(appUserID)
}

const errNobody = appUserIDError("the app_user_id is empty")

// checkAppUserID refuses ids that a store need not accept.
func checkAppUserID(id string) error {
	switch {
	case id == "":
		return errNobody
	case len(id) > tokenstore.MaxUserID:
		return appUserIDError(fmt.Sprintf("the app_user_id has %d bytes; the maximum is %d", len(id), tokenstore.MaxUserID))
	case !utf8.ValidString(id):
		return appUserIDError("the app_user_id is not UTF-8")
	}
	return nil
}
