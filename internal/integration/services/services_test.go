// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package services_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/internal/integration/services"
)

var all = []struct {
	name   string
	env    string
	absent string // a DSN at which nothing listens
	open   func(testing.TB) *sql.DB
	// is what the server says about itself.
	is string
}{
	{"PostgreSQL", "PKB_POSTGRES_DSN", "postgres://nobody:canary@127.0.0.1:1/none", services.Postgres, "PostgreSQL"},
	{"MariaDB", "PKB_MARIADB_DSN", "nobody:canary@tcp(127.0.0.1:1)/", services.MariaDB, "MariaDB"},
}

func TestServerAnswersWithADatabaseOfItsOwn(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			one, two := s.open(t), s.open(t)

			var version string
			if err := one.QueryRowContext(t.Context(), "SELECT version()").Scan(&version); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(version, s.is) {
				t.Errorf("version() = %q: that is no %s, and tests would prove another server", version, s.is)
			}

			// The same table in both: neither sees the other's.
			for i, db := range []*sql.DB{one, two} {
				if _, err := db.ExecContext(t.Context(), "CREATE TABLE kept (n INTEGER)"); err != nil {
					t.Fatal(err)
				}
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO kept VALUES (%d)", i)); err != nil {
					t.Fatal(err)
				}
			}
			for i, db := range []*sql.DB{one, two} {
				var rows, n int
				if err := db.QueryRowContext(t.Context(), "SELECT count(*), max(n) FROM kept").Scan(&rows, &n); err != nil {
					t.Fatal(err)
				}
				if rows != 1 || n != i {
					t.Errorf("database %d holds %d rows, the highest %d; want its own row only", i, rows, n)
				}
			}
		})
	}
}

func TestDatabaseIsGoneAfterTheTest(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			names := map[string]string{
				"PostgreSQL": "SELECT current_database()",
				"MariaDB":    "SELECT database()",
			}
			exists := map[string]string{
				"PostgreSQL": "SELECT count(*) FROM pg_database WHERE datname = '%s'",
				"MariaDB":    "SELECT count(*) FROM information_schema.schemata WHERE schema_name = '%s'",
			}
			other := s.open(t)
			var name string
			t.Run("a test", func(t *testing.T) {
				if err := s.open(t).QueryRowContext(t.Context(), names[s.name]).Scan(&name); err != nil {
					t.Fatal(err)
				}
			})
			var left int
			if err := other.QueryRowContext(t.Context(), fmt.Sprintf(exists[s.name], name)).Scan(&left); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(name, "pkb_test_") || left != 0 {
				t.Errorf("after a test, database %q exists %d times; want pkb_test_..., 0 times", name, left)
			}
		})
	}
}

// verdict records how a test was ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

type ended struct{}

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	panic(ended{})
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	panic(ended{})
}

// askFor opens a database that cannot be had.
func askFor(t *testing.T, open func(testing.TB) *sql.DB) (v *verdict) {
	t.Helper()
	v = &verdict{TB: t}
	defer func() {
		if r := recover(); r != (ended{}) {
			t.Errorf("ended with %v; want a skip or a failure", r)
		}
	}()
	open(v)
	return v
}

func TestMissingServerSkipsOnALaptopAndFailsInCI(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Setenv(s.env, s.absent)

			t.Setenv("PKB_REQUIRE_SERVICES", "")
			v := askFor(t, s.open)
			if v.failed != "" || !strings.Contains(v.skipped, "docker run") || !strings.Contains(v.skipped, s.env) {
				t.Errorf("without the server: skipped %q, failed %q; want a skip that says how to get the server", v.skipped, v.failed)
			}

			t.Setenv("PKB_REQUIRE_SERVICES", "1")
			v = askFor(t, s.open)
			if v.skipped != "" || !strings.Contains(v.failed, "PKB_REQUIRE_SERVICES") {
				t.Errorf("with PKB_REQUIRE_SERVICES=1: skipped %q, failed %q; want a failure: CI must not pass by skipping", v.skipped, v.failed)
			}
			if strings.Contains(v.failed, "canary") {
				t.Errorf("the failure holds the password of the DSN: %q", v.failed)
			}
		})
	}
}

func TestMissingProgramSkipsOnALaptopAndFailsInCI(t *testing.T) {
	look := func(t testing.TB) *sql.DB {
		services.Program(t, "A thing", "apt-get install thing", "no-such-thing", "nor-this-one")
		return nil
	}
	t.Setenv("PKB_REQUIRE_SERVICES", "")
	if v := askFor(t, look); v.failed != "" || !strings.Contains(v.skipped, "apt-get install thing") {
		t.Errorf("without the program: skipped %q, failed %q; want a skip that says how to get it", v.skipped, v.failed)
	}
	t.Setenv("PKB_REQUIRE_SERVICES", "1")
	if v := askFor(t, look); v.skipped != "" || !strings.Contains(v.failed, "nor-this-one") {
		t.Errorf("with PKB_REQUIRE_SERVICES=1: skipped %q, failed %q; want a failure: CI must not pass by skipping", v.skipped, v.failed)
	}
	if path := services.Program(t, "Go", "go.dev", "no-such-thing", "go"); path == "" {
		t.Error("the second of two names was not looked for")
	}
}

func TestUnreadableDSNIsNotPrinted(t *testing.T) {
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Setenv(s.env, "://nobody:canary@%zz")
			v := askFor(t, s.open)
			if !strings.Contains(v.failed, s.env) || strings.Contains(v.failed, "canary") {
				t.Errorf("failed with %q; want the name of the variable, without its password", v.failed)
			}
		})
	}
}
