// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package columns

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// outbox writes each notice into a table of the host's once, in one transaction with
// what the host changes because of it.
func outbox(db *sql.DB) func(context.Context, observe.Notice) error {
	return func(ctx context.Context, n observe.Notice) error {
		body, err := json.Marshal(n)
		if err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err // the notice comes again
		}
		defer func() { _ = tx.Rollback() }()
		done, err := tx.ExecContext(ctx, `INSERT INTO outbox (app_user_id, notice_id, body) VALUES ($1, $2, $3)
			ON CONFLICT (app_user_id, notice_id) DO NOTHING`, n.AppUserID, n.ID, string(body))
		if err != nil {
			return err
		}
		if rows, err := done.RowsAffected(); err != nil || rows == 0 {
			return err // it came before, and all of this was done then
		}
		if n.Kind == observe.EventLinked || n.Kind == observe.EventRelinkRequired {
			if _, err := tx.ExecContext(ctx, `UPDATE users SET can_read = $2 WHERE app_user_id = $1`,
				n.AppUserID, n.Kind == observe.EventLinked); err != nil {
				return err
			}
		}
		return tx.Commit()
	}
}

// outboxTables are the two tables of the host, with its user.
var outboxTables = []string{
	`CREATE TABLE outbox (app_user_id VARCHAR(255) NOT NULL, notice_id VARCHAR(64) NOT NULL, body TEXT NOT NULL, PRIMARY KEY (app_user_id, notice_id))`,
	`CREATE TABLE users (app_user_id VARCHAR(255) PRIMARY KEY, can_read BOOLEAN NOT NULL)`,
	`INSERT INTO users VALUES ('app-user-1', FALSE)`,
}

func openSQLite(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func define(t *testing.T, db *sql.DB, statements []string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// kept returns the kinds of the notices in the outbox, in order, and whether the host
// reads for its user.
func kept(t *testing.T, db *sql.DB) (kinds []observe.EventKind, canRead bool) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT body FROM outbox ORDER BY notice_id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body string
		var n observe.Notice
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(body), &n); err != nil || n.AppUserID != "app-user-1" {
			t.Fatalf("%s: %v", body, err)
		}
		kinds = append(kinds, n.Kind)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(t.Context(), `SELECT can_read FROM users WHERE app_user_id = 'app-user-1'`).Scan(&canRead); err != nil {
		t.Fatal(err)
	}
	return kinds, canRead
}

// A notice that comes twice, because the process ended before its acceptance was
// saved, is in the outbox once, and what the host changed meanwhile stays.
func TestOutbox(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *sql.DB{
		"SQLite": openSQLite, "PostgreSQL": func(t *testing.T) *sql.DB { return services.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			define(t, db, outboxTables)
			write := outbox(db)
			died := false
			server := pkbtest.New(pkbtest.Config{})
			ada := server.AddPatient(pkbtest.Patient{})
			client, err := pkb.New(pkb.Config{
				Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: "https://app.example/pkb/callback",
				Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
				Notify: func(ctx context.Context, n observe.Notice) error {
					if err := write(ctx, n); err != nil || died {
						return err
					}
					died = true
					return errors.New("as if the process had ended here")
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := cluster.Link(t.Context(), server, ada, client, "app-user-1"); err != nil {
				t.Fatal(err)
			}
			tend(t, client)
			if kinds, canRead := kept(t, db); !slices.Equal(kinds, []observe.EventKind{observe.EventLinked}) || !canRead {
				t.Fatalf("kept %q; the host reads: %t", kinds, canRead)
			}

			// Somebody else's decision, which a repetition must not undo.
			if _, err := db.ExecContext(t.Context(), `UPDATE users SET can_read = FALSE`); err != nil {
				t.Fatal(err)
			}
			server.Advance(time.Hour)
			tend(t, client)
			if h := client.Health(t.Context()); h.Undelivered != 0 {
				t.Fatalf("%d undelivered: the notice has not come again", h.Undelivered)
			}
			if kinds, canRead := kept(t, db); !slices.Equal(kinds, []observe.EventKind{observe.EventLinked}) || canRead {
				t.Errorf("after a repetition %q are kept; the host reads: %t", kinds, canRead)
			}

			server.EndSessions(ada)
			if _, err := client.ForUser("app-user-1").Self(t.Context()); !errors.Is(err, pkb.ErrRelinkRequired) {
				t.Fatal(err)
			}
			tend(t, client)
			if kinds, canRead := kept(t, db); !slices.Equal(kinds, []observe.EventKind{observe.EventLinked, observe.EventRelinkRequired}) || canRead {
				t.Errorf("at the end %q are kept; the host reads: %t", kinds, canRead)
			}
		})
	}
}

// If the host's own change fails, the notice is not in the outbox either, and comes
// again.
func TestOutboxAndTheHostsChangeAreOne(t *testing.T) {
	db := openSQLite(t)
	define(t, db, append(slices.Clone(outboxTables), `CREATE TRIGGER no BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'no'); END`))
	n := observe.Notice{ID: "a-1", Kind: observe.EventLinked, AppUserID: "app-user-1"}
	if err := outbox(db)(t.Context(), n); err == nil {
		t.Error("accepted, though the host's change failed")
	}
	if kinds, _ := kept(t, db); len(kinds) != 0 {
		t.Errorf("kept %q", kinds)
	}
	define(t, db, []string{`DROP TRIGGER no`})
	if err := outbox(db)(t.Context(), n); err != nil {
		t.Error(err)
	}
	if kinds, canRead := kept(t, db); len(kinds) != 1 || !canRead {
		t.Errorf("kept %q; the host reads: %t", kinds, canRead)
	}
}

// hosting.md says how MariaDB writes it.
func TestOutboxInMariaDB(t *testing.T) {
	db := services.MariaDB(t)
	define(t, db, outboxTables)
	for _, want := range []int64{1, 0} {
		done, err := db.ExecContext(t.Context(), `INSERT IGNORE INTO outbox (app_user_id, notice_id, body) VALUES (?, ?, ?)`, "app-user-1", "a-1", "{}")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := done.RowsAffected(); err != nil || got != want {
			t.Errorf("%d rows, %v; want %d", got, err, want)
		}
	}
}

func tend(t *testing.T, client *pkb.Client) {
	t.Helper()
	if _, err := client.TendOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
}
