// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sinks_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// column is a column of a database, as a host reaches it.
type column struct {
	name string
	// want is what comes of each kind of value, and keeps whether an NHS number can be
	// read back: from an array or JSON it is another type.
	want  map[kind]string
	keeps bool
	// repeats: see TestDatabases.
	repeats bool
	write   func(v any) error
	// read returns all that is there as text, and scan the row.
	read func() ([]string, error)
	scan func(into any) error
	wipe func() error
}

// takesText is how a column of text fares, and the rest are other columns.
var (
	takesText  = map[kind]string{wrapper: refuses, number: refuses + "; " + storesNumber + ": itself, pointer", token: refuses, candidate: refuses}
	takesArray = map[kind]string{wrapper: refuses, number: refuses + "; " + storesNumber + ": list of any, slice", token: refuses, candidate: refuses}
	takesNone  = map[kind]string{wrapper: refuses, number: refuses, token: refuses, candidate: refuses}
	takesJSON  = map[kind]string{
		wrapper: refuses + "; " + storesNone + ": unexported", token: refuses + "; " + storesNone + ": unexported", candidate: refuses + "; " + storesNone + ": unexported",
		number: refuses + "; " + storesNone + ": unexported; " + storesNumber + ": itself, pointer",
	}
)

// pgxWants says what comes of a column of PostgreSQL in a mode; -1 is CopyFrom. Without
// a look at the column's type, pgx takes no structs and no lists of ours.
func pgxWants(column string, mode pgx.QueryExecMode) map[kind]string {
	blind := mode == pgx.QueryExecModeExec || mode == pgx.QueryExecModeSimpleProtocol
	switch {
	case column == "jsonb" && !blind:
		return takesJSON
	case column == "text[]" && blind, column == "bytea" && mode == -1:
		return takesNone
	case column == "text[]":
		return takesArray
	}
	return takesText
}

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// missing ends a test whose server does not answer.
func missing(t *testing.T, what, env string, err error) {
	t.Helper()
	if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
		t.Fatalf("PKB_REQUIRE_SERVICES=1 says that there must be a %s (%s names it): %v", what, env, err)
	}
	t.Skipf("%s does not answer; start one, or name a server in %s, to run this test", what, env)
}

func orElse(env, local string) string {
	if dsn := os.Getenv(env); dsn != "" {
		return dsn
	}
	return local
}

const postgresEnv, mariaDBEnv = "PKB_POSTGRES_DSN", "PKB_MARIADB_DSN"

func postgresDSN() string {
	return orElse(postgresEnv, "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable")
}

// The tables are temporary: they are this connection's, and end with it.
const createPostgres = "CREATE TEMPORARY TABLE kept (c %s)"

// pgxColumns are a column of each type, in each mode, and by CopyFrom.
func pgxColumns(t *testing.T) (columns []column) {
	t.Helper()
	ctx := t.Context()
	for _, of := range []string{"text", "varchar(200)", "jsonb", "text[]", "bytea"} {
		for _, mode := range append(slices.Clone(modes), -1) {
			conn, err := pgx.Connect(ctx, postgresDSN())
			if err != nil {
				missing(t, "PostgreSQL", postgresEnv, err)
			}
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
			if _, err := conn.Exec(ctx, fmt.Sprintf(createPostgres, of)); err != nil {
				t.Fatal(err)
			}
			c := column{
				name: fmt.Sprintf("pgx %s, %v", of, mode), want: pgxWants(of, mode),
				keeps: of == "text" || of == "varchar(200)", repeats: of == "text[]" || of == "bytea",
				write: func(v any) error {
					_, err := conn.Exec(ctx, "INSERT INTO kept VALUES ($1)", mode, v)
					return err
				},
				read: func() ([]string, error) {
					rows, err := conn.Query(ctx, "SELECT coalesce(c::text, 'NULL') FROM kept")
					if err != nil {
						return nil, err
					}
					return pgx.CollectRows(rows, pgx.RowTo[string])
				},
				scan: func(into any) error { return conn.QueryRow(ctx, "SELECT c FROM kept", mode).Scan(into) },
				wipe: func() error {
					_, err := conn.Exec(ctx, "DELETE FROM kept")
					return err
				},
			}
			if mode == -1 {
				c.name = fmt.Sprintf("pgx %s, CopyFrom", of)
				c.write = func(v any) error {
					_, err := conn.CopyFrom(ctx, pgx.Identifier{"kept"}, []string{"c"}, pgx.CopyFromRows([][]any{{v}}))
					return err
				}
				c.scan = func(into any) error { return conn.QueryRow(ctx, "SELECT c FROM kept").Scan(into) }
			}
			columns = append(columns, c)
		}
	}
	return columns
}

// sqlColumn is a column through database/sql.
func sqlColumn(t *testing.T, name, driver, dsn, env, create, insert string, before ...string) column {
	t.Helper()
	ctx := t.Context()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(ctx)
	if err != nil {
		missing(t, strings.Fields(name)[0], env, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, statement := range append(before, create) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	return column{
		name: name, want: takesText, keeps: true,
		write: func(v any) error {
			_, err := conn.ExecContext(ctx, insert, v)
			return err
		},
		read: func() (all []string, err error) {
			rows, err := conn.QueryContext(ctx, "SELECT c FROM kept")
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, rows.Close()) }()
			for rows.Next() {
				var text sql.NullString
				if err := rows.Scan(&text); err != nil {
					return nil, err
				}
				if !text.Valid {
					text.String = "NULL"
				}
				all = append(all, text.String)
			}
			return all, rows.Err()
		},
		scan: func(into any) error { return conn.QueryRowContext(ctx, "SELECT c FROM kept").Scan(into) },
		wipe: func() error {
			_, err := conn.ExecContext(ctx, "DELETE FROM kept")
			return err
		},
	}
}

func mariaDBColumn(t *testing.T, interpolate bool) column {
	t.Helper()
	config, err := mysql.ParseDSN(orElse(mariaDBEnv, "root@tcp(127.0.0.1:3306)/"))
	if err != nil {
		t.Fatalf("%s is not a DSN of the driver", mariaDBEnv)
	}
	config.InterpolateParams = interpolate
	scratch := "pkb_test_" + strings.ToLower(rand.Text())
	admin, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+scratch)
		if err = errors.Join(err, admin.Close()); err != nil {
			t.Log(err) // there was none, or the server has gone
		}
	})
	name := "MariaDB go-sql-driver, prepared"
	if interpolate {
		name = "MariaDB go-sql-driver, interpolated"
	}
	return sqlColumn(t, name, "mysql", config.FormatDSN(), mariaDBEnv, "CREATE TEMPORARY TABLE kept (c VARCHAR(200))", "INSERT INTO kept VALUES (?)",
		"CREATE DATABASE "+scratch, "USE "+scratch)
}

// What comes of a value in a column, beside an error.
const (
	storesNumber = "stores the number"
	storesName   = "stores what it prints as" // pgx stores the text of what has a String method
	storesNone   = "stores an empty object"   // a host's struct with unexported fields, as encoding/json writes it
)

// send writes one value to the column and says what came of it.
func (c column) send(t *testing.T, v any, found planted) (outcome string, failed error) {
	t.Helper()
	if err := c.wipe(); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	failed = c.write(v)
	all, err := c.read()
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	text := strings.Join(all, "\n")
	if hexed, ok := strings.CutPrefix(text, `\x`); ok {
		if plain, err := hex.DecodeString(hexed); err == nil {
			text = string(plain)
		}
	}
	switch leaked := found.secrets.Find(text); {
	case failed != nil && len(all) == 0:
		return refuses, failed
	case failed != nil, strings.Contains(text, "redacted"):
		return leaks, fmt.Errorf("it stores %s: %w", text, failed)
	case slices.Equal(leaked, []string{"NHS number"}):
		return storesNumber, nil
	case len(leaked) > 0, len(found.ids.Find(text)) > 0:
		return leaks, fmt.Errorf("it stores %s", text)
	case strings.Contains(text, "pkb.Client{"), strings.Contains(text, "pkbsystem.Client{"), strings.Contains(text, "pkb.Patient{link="):
		return storesName, nil
	case strings.Trim(text, `{}[]": Vk`) == "":
		return storesNone, nil
	}
	return leaks, fmt.Errorf("it stores %s", text)
}

// databases are the kinds, with their columns.
var databases = map[string]func(*testing.T) []column{
	"pgx": pgxColumns,
	"PostgreSQL": func(t *testing.T) []column {
		return []column{sqlColumn(t, "PostgreSQL through database/sql", "pgx", postgresDSN(), postgresEnv, fmt.Sprintf(createPostgres, "text"), "INSERT INTO kept VALUES ($1)")}
	},
	"MariaDB": func(t *testing.T) []column { return []column{mariaDBColumn(t, false), mariaDBColumn(t, true)} },
	"SQLite": func(t *testing.T) []column {
		return []column{sqlColumn(t, "SQLite", "sqlite", ":memory:", "nothing", "CREATE TABLE kept (c TEXT)", "INSERT INTO kept VALUES (?)")}
	},
}

// No column takes a wrapper, in whatever form, but for an NHS number; nothing is stored
// as [redacted].
func TestDatabases(t *testing.T) {
	all, found := values(t)
	for name, columns := range databases {
		t.Run(name, func(t *testing.T) {
			for _, c := range columns(t) {
				for _, v := range all {
					outcomes := make(map[string]string)
					for _, f := range v.forms {
						outcome, failed := c.send(t, f.v, found)
						outcomes[f.name] = outcome
						if outcome == leaks {
							t.Errorf("%s: %s, %s: %v", c.name, v.name, f.name, failed)
						}
						// A number that does not fit its column is repeated by the database and
						// by pgx: it has come out of Value, which is what a column asks for.
						if outcome == refuses && !(c.repeats && v.kind == number) && len(found.secrets.Find(failed.Error())) > 0 {
							t.Errorf("%s: %s, %s: the error has the %v: %v", c.name, v.name, f.name, found.secrets.Find(failed.Error()), failed)
						}
					}
					got := summary(outcomes)
					t.Logf("%-40s %-28s %s", c.name, v.name, got)
					if want := c.want[v.kind]; got != want && v.kind != machine {
						t.Errorf("%s: %s: %s, want %s", c.name, v.name, got, want)
					}
				}
			}
		})
	}
}

// An NHS number comes back as it went in, through every driver and mode; none is NULL.
func TestNHSNumberIsKept(t *testing.T) {
	nhs, err := identity.ParseNHSNumber(digits)
	if err != nil {
		t.Fatal(err)
	}
	for name, columns := range databases {
		t.Run(name, func(t *testing.T) {
			kept := 0
			for _, c := range columns(t) {
				if !strings.HasPrefix(c.want[number], refuses+"; "+storesNumber+": itself") || !c.keeps {
					continue
				}
				kept++
				for _, written := range []identity.NHSNumber{nhs, {}} {
					if err := errors.Join(c.wipe(), c.write(written)); err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
					var read identity.NHSNumber
					var text sql.NullString
					if err := errors.Join(c.scan(&read), c.scan(&text)); err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
					if !read.Equal(written) || text.String != written.Reveal() || text.Valid == written.IsZero() {
						t.Errorf("%s: a number comes back as another", c.name)
					}
					// What is no number is no text of ours: other wrappers are not read at all.
					for _, other := range []any{new(pkb.Secret), new(identity.Self), new(fhir.Resource[fhir.Observation])} {
						if err := c.scan(other); !written.IsZero() && err == nil {
							t.Errorf("%s: a %T is read from a column", c.name, other)
						}
					}
				}
			}
			if kept == 0 {
				t.Error("no column keeps a number")
			}
		})
	}
}
