// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// keepWarm is how soon a patient learns that PKB has ended a link that nobody uses.
const keepWarm = 7 * 24 * time.Hour

// host is the running app.
type host struct {
	// url is what a person opens. behind is where this replica listens, if that is
	// somewhere else.
	url, behind string
	// broken receives the error of a server that ended by itself.
	broken chan error
	// tests is the PKB for tests, if it was started here.
	tests *pkbtest.Server
	// closers run backwards.
	closers []func(context.Context) error
}

// close ends what start began, the last first.
func (h *host) close(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(h.closers) {
		errs = append(errs, c(ctx))
	}
	return errors.Join(errs...)
}

func (h *host) onClose(c func(context.Context) error) { h.closers = append(h.closers, c) }

// start puts the app together and serves it.
func start(ctx context.Context, s settings, log *slog.Logger) (h *host, err error) {
	h = &host{broken: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close(context.WithoutCancel(ctx)))
		}
	}()
	listener, redirect, err := h.listen(ctx, &s)
	if err != nil {
		return h, err
	}
	env, err := h.environment(&s)
	if err != nil {
		return h, err
	}
	d, err := h.open(ctx, &s, env)
	if err != nil {
		return h, err
	}
	cfg := pkb.Config{
		Environment: env, ClientID: s.clientID, RedirectURL: s.redirect,
		Store: d.links, Keys: d.keys, Logger: log, UserAgent: "pkb-go-webapp", ApprovalLife: s.approval,
		Notify: d.inbox.take, KeepWarm: keepWarm,
	}
	if s.links > 0 {
		if err := h.makeUp(ctx, &s, d, env.Name); err != nil {
			return h, err
		}
	}
	if h.tests != nil {
		cfg.SessionLife = pastSession
	}
	client, err := pkb.New(cfg)
	if err != nil {
		return h, err
	}
	h.onClose(client.Close) // after tend has ended, and before the database closes
	h.tend(ctx, client, log)
	authorize, err := url.Parse(env.AuthorizeURL)
	if err != nil {
		return h, err
	}
	h.serve(listener, &app{
		client: client, sessions: d.sessions, overview: d.overview, inbox: d.inbox, log: log, secure: redirect.Scheme == "https", now: time.Now,
		url: h.url, pkb: authorize.Scheme + "://" + authorize.Host,
	}, max(redirect.EscapedPath(), "/"))
	return h, nil
}

// listen listens, and finds out what people open.
func (h *host) listen(ctx context.Context, s *settings) (net.Listener, *url.URL, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return nil, nil, err
	}
	h.onClose(func(context.Context) error {
		_ = listener.Close() // the server may have closed it
		return nil
	})
	if s.redirect == "" {
		s.redirect = "http://" + listener.Addr().String() + "/pkb/callback"
	}
	redirect, err := url.Parse(s.redirect)
	if err != nil {
		return nil, nil, err
	}
	// Cookies belong to one host name: people start where PKB sends them back.
	h.url = redirect.Scheme + "://" + redirect.Host + "/"
	if _, port, _ := net.SplitHostPort(listener.Addr().String()); redirect.Port() != port {
		h.behind = " (this replica listens on " + listener.Addr().String() + ")"
	}
	return listener, redirect, nil
}

// environment returns the PKB of the flags, or starts one.
func (h *host) environment(s *settings) (env pkb.Environment, err error) {
	env, named := s.environment()
	if !named {
		if env, err = h.bundledPKB(s); err != nil {
			return env, err
		}
	}
	s.db = cmp.Or(s.db, "webapp.db")
	s.clientID = cmp.Or(s.clientID, testClientID)
	return env, nil
}

// makeUp makes the links of -links.
func (h *host) makeUp(ctx context.Context, s *settings, d *data, env string) error {
	p, err := newPast(h.tests, env, s, d.keys)
	if err != nil {
		return err
	}
	d.sessions.accounts = slices.Concat(accounts, madeUpAccounts(s.links))
	return makeUp(ctx, p, d, s.links)
}

// data is what the replicas share.
type data struct {
	db       *sql.DB
	dialect  sqlstore.Dialect
	links    *sqlstore.Store
	sessions *sessions
	overview *overview
	inbox    *inbox
	keys     *keys.Keyring
}

// open opens the database, with its tables, and the keys.
func (h *host) open(ctx context.Context, s *settings, env pkb.Environment) (*data, error) {
	db, dialect, err := openDatabase(s.db)
	if err != nil {
		return nil, err
	}
	h.onClose(func(context.Context) error { return db.Close() })
	links, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect, Table: linksTable})
	if err != nil {
		return nil, err
	}
	d := &data{
		db: db, dialect: dialect, links: links, sessions: &sessions{db: db, now: time.Now, accounts: accounts},
		overview: &overview{db: db, environment: env.Name, clientID: s.clientID, now: time.Now},
		inbox:    &inbox{db: db, now: time.Now},
	}
	for _, migrate := range []func(context.Context) error{links.Migrate, d.sessions.migrate, d.overview.migrate, d.inbox.migrate} {
		if err := migrate(ctx); err != nil {
			return nil, err
		}
	}
	if s.keys == "" {
		s.keys = "webapp.keys"
		if dialect == sqlstore.SQLite {
			s.keys = s.db + ".keys"
		}
	}
	d.keys, err = keyring(s.keys)
	return d, err
}

// serve begins to serve.
func (h *host) serve(listener net.Listener, a *app, callback string) {
	server := &http.Server{
		Handler: a.handler(callback), ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.broken <- err
		}
	}()
	h.onClose(func(ctx context.Context) error {
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
}

// testClientID is the client id that examples/sandbox knows.
const testClientID = "sandbox"

// bundledPKB starts a PKB for tests with made-up patients. It forgets them when
// it ends, so the links to them are not kept either, unless -db is given.
func (h *host) bundledPKB(s *settings) (pkb.Environment, error) {
	server, err := pkbtest.Start(pkbtest.Config{
		ClientID: testClientID, ClientName: "Example Health", RedirectURIs: []string{s.redirect},
		TokenLife:   2 * time.Minute, // short, so that refreshes can be watched
		SessionLife: pastSession,
	})
	if err != nil {
		return pkb.Environment{}, err
	}
	h.onClose(func(context.Context) error { server.Close(); return nil })
	server.AddScenarios()
	h.tests = server
	if s.db == "" {
		dir, err := os.MkdirTemp("", "pkb-webapp-")
		if err != nil {
			return pkb.Environment{}, err
		}
		h.onClose(func(context.Context) error { return os.RemoveAll(dir) })
		s.db = filepath.Join(dir, "webapp.db")
	}
	return testPKB(server.URL()), nil
}
