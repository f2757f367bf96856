// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

// tested are the databases, each opened for a test.
var tested = []struct {
	database
	open func(t testing.TB) *sql.DB
}{
	{sqliteDatabase, sqliteFile},
	{postgresDatabase, services.Postgres},
	{mariaDatabase, services.MariaDB},
}

func sqliteFile(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "links.db")+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// The processes that a test starts are this program again.
func TestMain(m *testing.M) { cluster.TestMain(m, increment) }

// open returns a store in an empty database, with the patience that a busy machine asks
// for.
func open(t testing.TB, db *sql.DB, c sqlstore.Config) *sqlstore.Store {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	s, err := sqlstore.New(db, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// The contract, on servers that run.
func TestContract(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			storetest.Run(t, func(t *testing.T) tokenstore.Store {
				return open(t, db, sqlstore.Config{Dialect: d.dialect})
			})
		})
	}
}

// And of one tenant's part of a table.
func TestContractWithPrefix(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			storetest.Run(t, func(t *testing.T) tokenstore.Store {
				all := open(t, db, sqlstore.Config{Dialect: d.dialect})
				for _, id := range []string{"tenant-a", "tenant-b/x", "tenant-a0"} {
					_, err := all.Save(t.Context(), tokenstore.Record{AppUserID: id, TendAt: time.Unix(1, 0)})
					if err != nil && !errors.Is(err, tokenstore.ErrConflict) {
						t.Fatal(err)
					}
				}
				s, err := tokenstore.WithPrefix(all, "tenant-a/")
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

// What is due is found by an index, however many links there are.
func TestDueReadsAnIndex(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			s := open(t, db, sqlstore.Config{Dialect: d.dialect})
			for i := range 400 {
				if _, err := s.Save(t.Context(), tokenstore.Record{AppUserID: fmt.Sprint(i), TendAt: time.Unix(1e9+int64(i), 0)}); err != nil {
					t.Fatal(err)
				}
			}
			explain := map[sqlstore.Dialect]string{
				sqlstore.Postgres: "EXPLAIN ", sqlstore.MySQL: "EXPLAIN FORMAT=JSON ", sqlstore.SQLite: "EXPLAIN QUERY PLAN ",
			}[d.dialect]
			if d.dialect == sqlstore.Postgres {
				if _, err := db.ExecContext(t.Context(), "ANALYZE pkb_links"); err != nil {
					t.Fatal(err)
				}
			}
			plan := strings.Join(lines(t, db, explain+"SELECT * FROM pkb_links WHERE tend_at <= 1000000004000000 ORDER BY tend_at, app_user_id LIMIT 100"), " ")
			if !strings.Contains(plan, "pkb_links_tend") {
				t.Errorf("the plan is %s", plan)
			}
		})
	}
}

// lines are the rows that a query returns, as text.
func lines(t *testing.T, db *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]string, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Join(values, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Ten replicas that start at once, under names of the host's own.
func TestMigrateAtOnce(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			c := sqlstore.Config{Dialect: d.dialect, Table: "app_links"}
			if d.dialect == sqlstore.Postgres {
				if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA "Health"`); err != nil {
					t.Fatal(err)
				}
				c.Schema = "Health"
			}
			var replicas sync.WaitGroup
			for range 10 {
				replicas.Go(func() {
					s, err := sqlstore.New(db, c)
					if err == nil {
						err = s.Migrate(t.Context())
					}
					if err == nil {
						err = s.Migrate(t.Context())
					}
					if err != nil {
						t.Errorf("Migrate beside nine others: %v", err)
					}
				})
			}
			replicas.Wait()
			if _, err := open(t, db, c).Save(t.Context(), tokenstore.Record{AppUserID: "a"}); err != nil {
				t.Errorf("Save afterwards: %v", err)
			}
		})
	}
}

// A pool of one connection serves any number of callers.
func TestPoolOfOne(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			db.SetMaxOpenConns(1)
			s := open(t, db, sqlstore.Config{Dialect: d.dialect, Timeout: time.Minute})
			var callers sync.WaitGroup
			for i := range 32 {
				callers.Go(func() {
					r, err := s.Save(t.Context(), tokenstore.Record{AppUserID: fmt.Sprint(i)})
					if err == nil {
						_, err = s.List(t.Context(), "", 5)
					}
					if err == nil {
						err = s.Delete(t.Context(), r.AppUserID, r.Version)
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			callers.Wait()
		})
	}
}

// What goes wrong has a name, and touches no link.
func TestFailures(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			s, err := sqlstore.New(db, sqlstore.Config{Dialect: d.dialect})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), "a"); !errors.Is(err, sqlstore.ErrNoTable) {
				t.Errorf("Load without a table: %v, want ErrNoTable", err)
			}
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			readOnly := map[sqlstore.Dialect]string{
				sqlstore.Postgres: "SET default_transaction_read_only = on",
				sqlstore.MySQL:    "SET SESSION TRANSACTION READ ONLY",
				sqlstore.SQLite:   "PRAGMA query_only = on",
			}
			db.SetMaxOpenConns(1) // the setting is the connection's
			if _, err := db.ExecContext(t.Context(), readOnly[d.dialect]); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Save(t.Context(), tokenstore.Record{AppUserID: "a"}); !errors.Is(err, sqlstore.ErrReadOnly) {
				t.Errorf("Save on a read-only connection: %v, want ErrReadOnly", err)
			}
			if _, err := s.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrNotFound) {
				t.Errorf("Load on a read-only connection: %v, want ErrNotFound", err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), "a"); !errors.Is(err, tokenstore.ErrClosed) {
				t.Errorf("Load after Close: %v, want ErrClosed", err)
			}
		})
	}
}

func BenchmarkStores(b *testing.B) {
	for _, d := range tested {
		b.Run(d.name, func(b *testing.B) {
			storetest.Benchmark(b, func(b *testing.B) tokenstore.Store {
				return open(b, d.open(b), sqlstore.Config{Dialect: d.dialect})
			})
		})
	}
}

// The command, in short: nothing is lost, a refresh takes three trips, and writes
// little. How long it takes is the command's to judge, on a machine that does nothing
// else: here it only must not be far off.
func TestTry(t *testing.T) {
	services.PostgresDSN(t) // skips the test where there is none
	services.MariaDBDSN(t)
	var out strings.Builder
	f, err := try(t.Context(), &out, size{processes: 3, workers: 8, increments: 5, links: 200, measure: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]result{"memory": f.Memory, "SQLite": f.SQLite, "PostgreSQL": f.Postgres, "MariaDB": f.MariaDB} {
		if !r.ok() || r.Checks < 15 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r := f.refreshes
	if r == nil && os.Getenv("PKB_REQUIRE_SERVICES") != "1" {
		t.Skip("PostgreSQL is not installed here: the writes of a refresh cannot be measured")
	}
	if r == nil || !r.small() || r.Throughput < leastThroughput/4 {
		t.Errorf("%+v\n%s", r, &out)
	}
}

// A server that is killed while it is written to has what it acknowledged.
func TestKilledServer(t *testing.T) {
	for _, d := range tested {
		if d.private == nil {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			d.open(t) // skips the test where there is no server at all
			lost, err := killed(t.Context(), t.Output(), d.database)
			if errors.Is(err, services.ErrNotInstalled) && os.Getenv("PKB_REQUIRE_SERVICES") != "1" {
				t.Skipf("%v: a server of our own cannot be killed", err)
			}
			if err != nil || lost != 0 {
				t.Errorf("%d acknowledged writes are lost, %v", lost, err)
			}
		})
	}
}

// client returns a client of a PKB, on a store of its own.
func client(t *testing.T, server *pkbtest.Server, store tokenstore.Store, keys *keys.Keyring) *pkb.Client {
	t.Helper()
	c, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL,
		Store: store, Keys: keys, HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func link(t *testing.T, server *pkbtest.Server, patient *pkbtest.Patient, c *pkb.Client, id string) {
	t.Helper()
	if err := cluster.Link(t.Context(), server, patient, c, id); err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T) *keys.Keyring {
	t.Helper()
	keys := &keys.Keyring{}
	if err := keys.AddKey("k", bytes.Repeat([]byte{1}, 32)); err != nil {
		t.Fatal(err)
	}
	return keys
}

// After Unlink no row has a byte of what was sealed, and after Purge there is
// no row.
func TestErasure(t *testing.T) {
	for _, d := range tested {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)
			store := open(t, db, sqlstore.Config{Dialect: d.dialect})
			server := pkbtest.New(pkbtest.Config{})
			c := client(t, server, store, key(t))
			link(t, server, server.AddPatient(pkbtest.Patient{}), c, "leaves")
			rows := func(where string) (n int) {
				t.Helper()
				if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pkb_links "+where).Scan(&n); err != nil {
					t.Fatal(err)
				}
				return n
			}
			const holds = "WHERE LENGTH(sealed) > 0 OR public_id <> '' OR key_id <> ''"
			if rows(holds) != 1 {
				t.Fatal("a link has no tokens in its row")
			}
			if err := c.Unlink(t.Context(), "leaves"); err != nil {
				t.Fatal(err)
			}
			if rows(holds) != 0 || rows("") != 1 {
				t.Errorf("after Unlink: %d rows with something in them, of %d", rows(holds), rows(""))
			}
			server.Advance(49 * time.Hour) // longer than any authorization that was begun before
			if n, err := c.Purge(t.Context()); err != nil || n != 1 || rows("") != 0 {
				t.Errorf("Purge = %d, %v, and %d rows are left", n, err, rows(""))
			}
		})
	}
}

// A host moves from SQLite to each other database: copied while links are
// refreshed, and once more when nothing runs. No link is lost, and no token
// presented twice.
func TestMove(t *testing.T) {
	for _, to := range tested[1:] {
		t.Run("SQLite to "+to.name, func(t *testing.T) {
			t.Parallel()
			from := open(t, sqliteFile(t), sqlstore.Config{Dialect: sqlstore.SQLite})
			target := open(t, to.open(t), sqlstore.Config{Dialect: to.dialect})
			server, keys := pkbtest.New(pkbtest.Config{}), key(t)
			patient := server.AddPatient(pkbtest.Patient{})
			old := client(t, server, from, keys)
			const links = 60
			id := func(i int) string { return fmt.Sprintf("user-%d", i) }
			for i := range links {
				link(t, server, patient, old, id(i))
			}
			server.Advance(11 * time.Minute)
			var traffic sync.WaitGroup
			for i := range links {
				traffic.Go(func() {
					if _, err := old.Token(t.Context(), id(i)); err != nil {
						t.Error(err)
					}
				})
			}
			copyAll := func() (last tokenstore.CopyProgress) {
				t.Helper()
				for p, err := range tokenstore.Copy(t.Context(), from, target) {
					if err != nil {
						t.Fatal(err)
					}
					last = p
				}
				return last
			}
			copyAll()
			traffic.Wait()
			if err := old.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			copyAll()
			if p := copyAll(); p.Copied != 0 || p.Records != links {
				t.Errorf("the last Copy = %+v, want nothing left to copy", p)
			}
			moved := client(t, server, target, keys)
			server.Advance(11 * time.Minute)
			for i := range links {
				if _, err := moved.ForUser(id(i)).Purview(t.Context()); err != nil {
					t.Errorf("%s, moved: %v", id(i), err)
				}
			}
			if n := server.ReusedRefreshTokens(); n != 0 || server.Refreshes() != 2*links {
				t.Errorf("%d refreshes, %d tokens presented twice, want %d and 0", server.Refreshes(), n, 2*links)
			}
		})
	}
}
