// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package services finds what tests need in addition to Go: a PostgreSQL, a MariaDB, an
// etcd, and programs of this machine.
//
// A test that asks for a server gets an empty database of its own on it, which
// is dropped when the test ends; what else is on the server is not touched.
// Where there is no server, the test is skipped with a line that says how to
// get one, or fails if PKB_REQUIRE_SERVICES=1, as it is in CI.
package services

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// The drivers, for sql.Open.
const (
	PostgresDriver = "pgx"
	MariaDBDriver  = "mysql"
)

// patience is how long a server may take to answer; and making or dropping a database
// may take as long as a checkpoint does while other tests write.
const (
	patience = 10 * time.Second
	making   = time.Minute
)

// service is one kind of server and how to work with it.
type service struct {
	name    string
	env     string // names the server
	local   string // the server that is meant when env is not set
	install string // how to get it
	driver  string
	drop    string // %s is the database
	// inDatabase returns dsn with another database in it, or "" when dsn is
	// not one.
	inDatabase func(dsn, database string) string
}

var postgres = service{
	name:    "PostgreSQL",
	env:     "PKB_POSTGRES_DSN",
	local:   "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable",
	install: "docker run --rm -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres",
	driver:  PostgresDriver,
	drop:    "DROP DATABASE IF EXISTS %s WITH (FORCE)",
	inDatabase: func(dsn, database string) string {
		if !strings.Contains(dsn, "://") {
			return dsn + " dbname=" + database
		}
		u, err := url.Parse(dsn)
		if err != nil {
			return ""
		}
		u.Path = "/" + database
		return u.String()
	},
}

var mariaDB = service{
	name:    "MariaDB",
	env:     "PKB_MARIADB_DSN",
	local:   "root@tcp(127.0.0.1:3306)/",
	install: "docker run --rm -p 3306:3306 -e MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1 mariadb",
	driver:  MariaDBDriver,
	drop:    "DROP DATABASE IF EXISTS %s",
	inDatabase: func(dsn, database string) string {
		c, err := mysql.ParseDSN(dsn)
		if err != nil {
			return ""
		}
		c.DBName = database
		return c.FormatDSN()
	},
}

// Postgres returns an empty PostgreSQL database that belongs to the test.
func Postgres(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, postgres, PostgresDSN(t))
}

// PostgresDSN is Postgres for a test whose processes open the database
// themselves, with PostgresDriver.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	return scratch(t, postgres)
}

// MariaDB returns an empty MariaDB database that belongs to the test.
func MariaDB(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, mariaDB, MariaDBDSN(t))
}

// MariaDBDSN is MariaDB for a test whose processes open the database
// themselves, with MariaDBDriver.
func MariaDBDSN(t testing.TB) string {
	t.Helper()
	return scratch(t, mariaDB)
}

// ScratchPostgres is PostgresDSN for a program that is not a test: drop removes
// the database again.
func ScratchPostgres(ctx context.Context) (dsn string, drop func() error, err error) {
	return postgres.orHow(ctx)
}

// ScratchMariaDB is MariaDBDSN for a program that is not a test: drop removes
// the database again.
func ScratchMariaDB(ctx context.Context) (dsn string, drop func() error, err error) {
	return mariaDB.orHow(ctx)
}

// orHow is scratch, with an error that says how to get the server.
func (s service) orHow(ctx context.Context) (dsn string, drop func() error, err error) {
	dsn, drop, err = s.scratch(ctx)
	if errors.Is(err, errNoAnswer) {
		err = fmt.Errorf("%w; get one with: %s (or name a server in %s)", err, s.install, s.env)
	}
	return dsn, drop, err
}

// errNoAnswer: there is no server.
var errNoAnswer = errors.New("is not reachable")

// scratch makes a database and returns its DSN.
func (s service) scratch(ctx context.Context) (dsn string, drop func() error, err error) {
	server := os.Getenv(s.env)
	if server == "" {
		server = s.local
	}
	name := "pkb_test_" + strings.ToLower(rand.Text())
	if dsn = s.inDatabase(server, name); dsn == "" {
		return "", nil, fmt.Errorf("%s is not a DSN of the driver %q", s.env, s.driver) // and may hold a password
	}
	admin, err := sql.Open(s.driver, server)
	if err != nil {
		return "", nil, fmt.Errorf("%s is not a DSN of the driver %q", s.env, s.driver)
	}
	answer, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := admin.PingContext(answer); err != nil {
		return "", nil, errors.Join(fmt.Errorf("%s %w: %w", s.name, errNoAnswer, err), admin.Close())
	}
	limited, done := context.WithTimeout(ctx, making)
	defer done()
	if _, err := admin.ExecContext(limited, "CREATE DATABASE "+name); err != nil {
		return "", nil, errors.Join(fmt.Errorf("%s is reachable, and refuses a database of our own: %w", s.name, err), admin.Close())
	}
	return dsn, func() error {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), making)
		defer cancel()
		_, err := admin.ExecContext(limited, strings.ReplaceAll(s.drop, "%s", name))
		if err != nil {
			err = fmt.Errorf("the database %s is left behind: %w", name, err)
		}
		return errors.Join(err, admin.Close())
	}, nil
}

// scratch makes a database for the test and returns its DSN.
func scratch(t testing.TB, s service) string {
	t.Helper()
	dsn, drop, err := s.scratch(t.Context())
	if errors.Is(err, errNoAnswer) {
		unavailable(t, s, err)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := drop(); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// unavailable ends a test that needs a server which does not answer.
func unavailable(t testing.TB, s service, err error) {
	t.Helper()
	if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
		t.Fatalf("PKB_REQUIRE_SERVICES=1 says that there must be a server (%s names it): %v", s.env, err)
	}
	t.Skipf("%s is not reachable; to run this test: %s (or name a server in %s)", s.name, s.install, s.env)
}

// Program returns the path of a program: the first of names that is there. how
// says how to get it. A test that needs one which is missing is skipped, or
// fails, as for a server.
func Program(t testing.TB, what, how string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
		t.Fatalf("PKB_REQUIRE_SERVICES=1 says that there must be %s: none of %s is in PATH", what, strings.Join(names, ", "))
	}
	t.Skipf("%s is missing; to run this test: %s", what, how)
	return ""
}

func open(t testing.TB, s service, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.driver, dsn)
	if err != nil {
		t.Fatalf("opening the test's database on %s: %v", s.name, err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
