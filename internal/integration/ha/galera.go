// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// onGalera runs the app on three nodes, a replica on each, of which one is killed and
// brought back.
func onGalera(ctx context.Context, out io.Writer, s size) (c counts, err error) {
	nodes, err := services.StartGalera(ctx, 3)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	if err := refusesLag(ctx, nodes[0].DSN()); err != nil {
		return c, err
	}
	w, err := newWorld(out, s.patients)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, node := range nodes {
		if err := w.joinDatabase(ctx, services.MariaDBDriver, node.DSN()+"?wsrep_sync_wait=7", sqlstore.MySQL); err != nil {
			return c, err
		}
	}
	return w.storm(ctx, "Galera", w.judge.killed(nodes[1], s.phase, max(s.phase, suspected)))
}

// suspected is how long a dead node stays away at least: for longer than the others
// wait for it (Galera: evs.suspect_timeout is 5 s), during which they accept no writes.
const suspected = 7 * time.Second

// refusesLag checks that Migrate and Check refuse connections that read a node's past.
func refusesLag(ctx context.Context, dsn string) error {
	for _, param := range []string{"", "?wsrep_sync_wait=0", "?wsrep_sync_wait=1"} {
		db, err := sql.Open(services.MariaDBDriver, dsn+param)
		if err != nil {
			return err
		}
		store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.MySQL})
		if err != nil {
			return errors.Join(err, db.Close())
		}
		for what, err := range map[string]error{"Migrate": store.Migrate(ctx), "Check": store.Check(ctx)} {
			if !errors.Is(err, sqlstore.ErrSettings) {
				return errors.Join(fmt.Errorf("%s with %q: %v, want ErrSettings", what, param, err), db.Close())
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	return nil
}
