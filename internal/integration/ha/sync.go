// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// stalls is how long the primary waits in vain for its standby: longer than a
// statement of the store may take, so that writes are done and not acknowledged.
const stalls = 7 * time.Second

// onSynchronousStandby runs the app on a primary that waits for its standby. The way
// between them is cut and mended, and cut again; then the primary is killed, and the
// standby promoted.
func onSynchronousStandby(ctx context.Context, out io.Writer, s size) (c counts, err error) {
	pair, err := services.StartPair(ctx)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, pair.Close()) }()
	if err := pair.Synchronous(ctx); err != nil {
		return c, err
	}
	w, err := newWorld(out, s.patients)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	dsn, err := pair.DSN()
	if err != nil {
		return c, err
	}
	for range 3 {
		if err := w.joinDatabase(ctx, services.PostgresDriver, dsn, sqlstore.Postgres); err != nil {
			return c, err
		}
	}
	return w.storm(ctx, "PostgreSQL, synchronous", func(ctx context.Context) error {
		pass(ctx, s.phase)
		pair.Between.Cut()
		pass(ctx, stalls)
		pair.Between.Mend()
		if err := pair.Follows(ctx); err != nil {
			return err
		}
		pass(ctx, s.phase)
		pair.Between.Cut()
		pass(ctx, stalls)
		pair.Primary.Kill()
		if err := pair.Promote(ctx); err != nil {
			return err
		}
		pass(ctx, 2*s.phase)
		return nil
	})
}
