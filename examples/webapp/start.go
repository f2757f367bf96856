// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// host is the running app.
type host struct {
	// url is what a person opens. behind is where this replica listens, if that is
	// somewhere else.
	url, behind string
	// broken receives the error of a server that ended by itself.
	broken chan error
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

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return h, err
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
		return h, err
	}
	// Cookies belong to one host name: people start where PKB sends them back.
	h.url = redirect.Scheme + "://" + redirect.Host + "/"
	if _, port, _ := net.SplitHostPort(listener.Addr().String()); redirect.Port() != port {
		h.behind = " (this replica listens on " + listener.Addr().String() + ")"
	}

	env, named := s.environment()
	if !named {
		if env, err = h.bundledPKB(&s); err != nil {
			return h, err
		}
	} else if s.db == "" {
		s.db = "webapp.db"
	}
	if s.clientID == "" {
		s.clientID = testClientID
	}

	db, dialect, err := openDatabase(s.db)
	if err != nil {
		return h, err
	}
	h.onClose(func(context.Context) error { return db.Close() })
	links, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
	if err != nil {
		return h, err
	}
	if err := links.Migrate(ctx); err != nil {
		return h, err
	}
	sessions := &sessions{db: db, now: time.Now}
	if err := sessions.migrate(ctx); err != nil {
		return h, err
	}
	if s.keys == "" {
		s.keys = "webapp.keys"
		if dialect == sqlstore.SQLite {
			s.keys = s.db + ".keys"
		}
	}
	keys, err := keyring(s.keys)
	if err != nil {
		return h, err
	}

	client, err := pkb.New(pkb.Config{
		Environment: env, ClientID: s.clientID, RedirectURL: s.redirect,
		Store: links, Keys: keys, Logger: log, UserAgent: "pkb-go-webapp", ApprovalLife: s.approval,
	})
	if err != nil {
		return h, err
	}
	h.onClose(client.Close)

	app := &app{client: client, sessions: sessions, log: log, secure: redirect.Scheme == "https", now: time.Now}
	server := &http.Server{
		Handler: app.handler(max(redirect.EscapedPath(), "/")), ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
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
	return h, nil
}

// testClientID is the client id that examples/sandbox knows.
const testClientID = "sandbox"

// bundledPKB starts a PKB for tests with made-up patients. It forgets them when
// it ends, so the links to them are not kept either, unless -db is given.
func (h *host) bundledPKB(s *settings) (pkb.Environment, error) {
	server, err := pkbtest.Start(pkbtest.Config{
		ClientID: testClientID, ClientName: "Example Health", RedirectURIs: []string{s.redirect},
		TokenLife: 2 * time.Minute, // short, so that refreshes can be watched
	})
	if err != nil {
		return pkb.Environment{}, err
	}
	h.onClose(func(context.Context) error { server.Close(); return nil })
	server.AddScenarios()
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
