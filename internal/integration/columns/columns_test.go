// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package columns

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// person is a row of the host's own table.
type person struct {
	AppUserID   string
	PublicID    identity.PublicID  // text
	NHSNumber   identity.NHSNumber // text: ten digits, NULL for none
	DateOfBirth identity.Date      // text; "" for none
}

func savePerson(ctx context.Context, db *sql.DB, p person) error {
	_, err := db.ExecContext(ctx, `INSERT INTO people (app_user_id, public_id, nhs_number, date_of_birth) VALUES ($1, $2, $3, $4)`,
		p.AppUserID, p.PublicID, p.NHSNumber, p.DateOfBirth)
	return err
}

func loadPerson(ctx context.Context, db *sql.DB, appUserID string) (p person, err error) {
	err = db.QueryRowContext(ctx, `SELECT app_user_id, public_id, nhs_number, date_of_birth FROM people WHERE app_user_id = $1`, appUserID).
		Scan(&p.AppUserID, &p.PublicID, &p.NHSNumber, &p.DateOfBirth)
	return p, err
}

// findPerson finds by the number, without taking it out of its wrapper.
func findPerson(ctx context.Context, conn *pgx.Conn, number identity.NHSNumber) (person, error) {
	rows, err := conn.Query(ctx, `SELECT app_user_id, public_id, nhs_number, date_of_birth FROM people WHERE nhs_number = $1`, number)
	if err != nil {
		return person{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[person])
}

const table = `CREATE TABLE people (app_user_id VARCHAR(255) PRIMARY KEY, public_id VARCHAR(36) NOT NULL,
	nhs_number VARCHAR(10), date_of_birth VARCHAR(10) NOT NULL, born DATE, uuid %s)`

func createTable(uuid string) string { return fmt.Sprintf(table, uuid) }

func people(t *testing.T) []person {
	t.Helper()
	number, err := identity.ParseNHSNumber("999 000 0018")
	if err != nil {
		t.Fatal(err)
	}
	return []person{
		{"app-user-1", "1d4a8b2d-f885-499f-ba51-50600312f316", number, "1980-02-29"},
		{"app-user-2", "2d4a8b2d-f885-499f-ba51-50600312f316", identity.NHSNumber{}, ""},
	}
}

func TestColumns(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *sql.DB{
		"SQLite": func(t *testing.T) *sql.DB {
			db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "people.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		},
		"PostgreSQL": func(t *testing.T) *sql.DB { return services.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			if _, err := db.ExecContext(t.Context(), createTable("VARCHAR(36)")); err != nil {
				t.Fatal(err)
			}
			for _, want := range people(t) {
				if err := savePerson(t.Context(), db, want); err != nil {
					t.Fatal(err)
				}
				got, err := loadPerson(t.Context(), db, want.AppUserID)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			}
			var null bool
			if err := db.QueryRowContext(t.Context(), `SELECT nhs_number IS NULL FROM people WHERE app_user_id = 'app-user-2'`).Scan(&null); err != nil || !null {
				t.Errorf("no number is NULL: %t, %v", null, err)
			}
		})
	}
}

// MariaDB writes its parameters in another way.
func TestColumnsInMariaDB(t *testing.T) {
	db := services.MariaDB(t)
	if _, err := db.ExecContext(t.Context(), createTable("VARCHAR(36)")); err != nil {
		t.Fatal(err)
	}
	for _, want := range people(t) {
		if _, err := db.ExecContext(t.Context(), `INSERT INTO people (app_user_id, public_id, nhs_number, date_of_birth) VALUES (?, ?, ?, ?)`,
			want.AppUserID, want.PublicID, want.NHSNumber, want.DateOfBirth); err != nil {
			t.Fatal(err)
		}
		var got person
		err := db.QueryRowContext(t.Context(), `SELECT app_user_id, public_id, nhs_number, date_of_birth FROM people WHERE app_user_id = ?`, want.AppUserID).
			Scan(&got.AppUserID, &got.PublicID, &got.NHSNumber, &got.DateOfBirth)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestColumnsThroughPgx(t *testing.T) {
	dsn := services.PostgresDSN(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			config, err := pgx.ParseConfig(dsn)
			if err != nil {
				t.Fatal(err)
			}
			config.DefaultQueryExecMode = mode
			conn, err := pgx.ConnectConfig(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
			if _, err := conn.Exec(t.Context(), "DROP TABLE IF EXISTS people; "+createTable("UUID"), pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			for _, want := range people(t) {
				if _, err := conn.Exec(t.Context(), `INSERT INTO people (app_user_id, public_id, nhs_number, date_of_birth, uuid) VALUES ($1, $2, $3, $4, $5)`,
					want.AppUserID, want.PublicID, want.NHSNumber, want.DateOfBirth, want.PublicID); err != nil {
					t.Fatal(err)
				}
				var id identity.PublicID
				if err := conn.QueryRow(t.Context(), `SELECT uuid FROM people WHERE app_user_id = $1`, want.AppUserID).Scan(&id); err != nil || id != want.PublicID {
					t.Errorf("a column of type uuid: %q, %v", id, err)
				}
				if want.NHSNumber.IsZero() {
					continue
				}
				got, err := findPerson(t.Context(), conn, want.NHSNumber)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			}
		})
	}
}

// What hosting.md says of a column of type DATE.
func TestDateColumn(t *testing.T) {
	db := services.Postgres(t)
	if _, err := db.ExecContext(t.Context(), createTable("UUID")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO people (app_user_id, public_id, date_of_birth, born) VALUES ('a', '', '', $1)`, identity.Date("1980-02-29")); err != nil {
		t.Fatal(err)
	}
	row := db.QueryRowContext(t.Context(), `SELECT born FROM people`)
	born, err := readDate(row)
	if err != nil || born != "1980-02-29" {
		t.Errorf("a DATE is read as %q, %v", born, err)
	}
	var day identity.Date
	if err := db.QueryRowContext(t.Context(), `SELECT born FROM people`).Scan(&day); err == nil {
		t.Errorf("a DATE is read into a Date as %q: hosting.md says that it is an error", day)
	}
	var known sql.Null[identity.Date]
	if err := db.QueryRowContext(t.Context(), `SELECT CAST(NULL AS text)`).Scan(&known); err != nil || known.Valid {
		t.Errorf("NULL is read as %v, %v", known, err)
	}
}

// readDate reads a column of type DATE, which a driver returns as a time.
func readDate(row *sql.Row) (identity.Date, error) {
	var t time.Time
	if err := row.Scan(&t); err != nil {
		return "", err
	}
	return identity.Date(t.Format(time.DateOnly)), nil
}

// What is refused is refused as a parameter too, and nothing is written.
func TestRefusedAsParameter(t *testing.T) {
	observation, err := fhir.NewResource(fhir.Observation{Status: "unknown"})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "refused.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, value := range []any{identity.NewSelf(identity.Demographics{FirstName: "Ada"}), observation, pkb.NewSecret("token")} {
		var kept string
		if err := db.QueryRowContext(t.Context(), `SELECT $1`, value).Scan(&kept); err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("a %T is written as %q", value, kept)
		}
	}
	var kept []byte
	if err := db.QueryRowContext(t.Context(), `SELECT $1`, []byte(observation.Raw())).Scan(&kept); err != nil || string(kept) != string(observation.Raw()) {
		t.Errorf("Raw is kept as %q, %v", kept, err)
	}
}
