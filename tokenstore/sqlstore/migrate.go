// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"
)

// Every statement of the schemas can be run again and then changes nothing, so that
// no table has to remember which were run.
var (
	//go:embed schema/postgres_001_links.sql
	postgres001 string
	//go:embed schema/mysql_001_links.sql
	mysql001 string
	//go:embed schema/sqlite_001_links.sql
	sqlite001 string

	schemas = map[Dialect][]string{
		Postgres: {postgres001},
		MySQL:    {mysql001},
		SQLite:   {sqlite001},
	}
)

// defaultTable is the table's name in the schemas.
const defaultTable = "pkb_links"

// Schema returns the SQL that Migrate runs, for hosts that migrate their database
// with a tool of their own. It can be run again at any time.
func (s *Store) Schema() string {
	sql := strings.Join(schemas[s.dialect], "\n")
	if s.bare == defaultTable && s.schema == "" {
		return sql
	}
	return strings.NewReplacer(
		defaultTable+"_tend", s.bare+"_tend", defaultTable+"_public", s.bare+"_public", defaultTable+"_claim", s.bare+"_claim",
		defaultTable, s.table,
	).Replace(sql)
}

// Migrate creates the table and its indexes if they do not exist. Any number of
// replicas may call it at the same time, each time they start. The user of the
// *sql.DB needs the right to create tables. It ends with Check.
func (s *Store) Migrate(ctx context.Context) error {
	for statement := range strings.SplitSeq(withoutComments(s.Schema()), ";") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := s.define(ctx, statement); err != nil {
			return err
		}
	}
	return s.Check(ctx)
}

// define runs one statement of a schema. Two processes that create the same table at
// the same time may fail, even with IF NOT EXISTS; the second time it exists.
func (s *Store) define(ctx context.Context, statement string) error {
	for try := 1; ; try++ {
		err := s.do(ctx, "migrate", func(ctx context.Context) error {
			_, err := s.db.ExecContext(ctx, statement)
			return err
		})
		var e *Error
		if err == nil || !errors.As(err, &e) || try == tries || !atTheSameTime[e.Code] {
			return err
		}
		select {
		case <-time.After(mathrand.N(50 * time.Millisecond)):
		case <-ctx.Done():
			return fmt.Errorf("sqlstore: migrate: %w", ctx.Err())
		}
	}
}

// atTheSameTime are PostgreSQL's codes for another session creating the same table.
var atTheSameTime = map[string]bool{"23505": true, "42710": true, "42P07": true, "XX000": true}

func withoutComments(sql string) string {
	var out strings.Builder
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "--") {
			out.WriteString(line)
		}
	}
	return out.String()
}
