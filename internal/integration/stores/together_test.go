// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/internal/integration/statements"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// sentTogether runs a test with each driver of PostgreSQL, in each way that it sends;
// what the store sends is counted.
func sentTogether(t *testing.T, test func(t *testing.T, s *sqlstore.Store, db *sql.DB, sent *statements.Counter)) {
	t.Helper()
	for _, w := range trial.PostgresWays {
		t.Run(w.Driver+" "+w.Setting, func(t *testing.T) {
			t.Parallel()
			dsn, sent := w.DSN(services.PostgresDSN(t)), &statements.Counter{}
			counted := map[string]*sql.DB{"pgx": statements.Open(&stdlib.Driver{}, dsn, sent), "postgres": statements.Open(&pq.Driver{}, dsn, sent)}[w.Name]
			t.Cleanup(func() { _ = counted.Close() })
			db, err := sql.Open(w.Name, dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			test(t, open(t, counted, sqlstore.Config{Dialect: sqlstore.Postgres}), db, sent)
		})
	}
}

// saved saves n records without a lease, in which everything is odd.
func saved(t *testing.T, s *sqlstore.Store, n int) (all []tokenstore.Record) {
	t.Helper()
	for i := range n {
		sealed := make([]byte, 700)
		_, _ = rand.Read(sealed) // never fails
		r, err := s.Save(t.Context(), tokenstore.Record{
			AppUserID: fmt.Sprintf("user \"%d\" \\ Łódź", i), State: tokenstore.StateLinked, Environment: `a "quoted" \path`, ClientID: "line\nbreak\ttab",
			Cause: "\u2028 <&> \U0001F600", Claim: []string{"", `{"was":1}`}[i%2], PublicID: "null", Pair: "session/1", Generation: 1<<63 - 1,
			ExpiresAt: time.Unix(1e9, 123456000), Details: []byte("\x00\xff{}"), Sealed: sealed,
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// leased is the record with a lease.
func leased(r tokenstore.Record, owner string) tokenstore.Record {
	r = r.Clone()
	r.Lease = tokenstore.Lease{Owner: owner, Beat: 3, TTL: 15 * time.Second, TakenAt: time.Unix(1e9, 1000)}
	return r
}

// locked locks rows as a transaction of the host's does, until it is released.
func locked(t *testing.T, db *sql.DB, statement string, ids ...string) (release func()) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := tx.ExecContext(t.Context(), "SELECT 1 FROM pkb_links WHERE app_user_id = $1 FOR UPDATE", []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	return sync.OnceFunc(func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	})
}

// waiting waits until so many statements wait for a lock.
func waiting(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for {
		var now int
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&now)
		if err != nil {
			t.Fatal(err)
		}
		if now >= n {
			return
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// Leases that are taken while a statement hangs are sent together: each is what its
// caller has saved, of two for the same version one is, one for an old version is not,
// and a row that is locked holds up nobody else.
func TestLeasesTogether(t *testing.T) {
	sentTogether(t, func(t *testing.T, s *sqlstore.Store, db *sql.DB, sent *statements.Counter) {
		all := saved(t, s, 11)
		hangs, stuck, old, free := all[0], all[1], all[2], all[3:]
		newer, err := s.Save(t.Context(), old)
		if err != nil {
			t.Fatal(err)
		}
		release := locked(t, db, "SELECT 1", hangs.AppUserID, stuck.AppUserID)
		defer release()
		var late, callers sync.WaitGroup
		wait := func(r tokenstore.Record) {
			late.Go(func() {
				if _, err := s.Save(t.Context(), leased(r, "late")); err != nil {
					t.Error(err)
				}
			})
		}
		wait(hangs)
		waiting(t, db, 1)
		before := sent.Executed.Load()
		wait(stuck)
		got, errs, rivals := make([]tokenstore.Record, len(free)), make([]error, len(free)), make([]error, 2)
		for i, r := range free[1:] {
			callers.Go(func() { got[i+1], errs[i+1] = s.Save(t.Context(), leased(r, "mine")) })
		}
		for i := range rivals {
			callers.Go(func() {
				r, err := s.Save(t.Context(), leased(free[0], fmt.Sprint("rival ", i)))
				if rivals[i] = err; err == nil {
					got[0] = r
				}
			})
		}
		callers.Go(func() {
			if r, err := s.Save(t.Context(), leased(old, "old")); !errors.Is(err, tokenstore.ErrConflict) {
				t.Errorf("a lease for an old version: %v, %v", r, err)
			}
		})
		callers.Wait()
		if n := int(sent.Executed.Load() - before); n >= len(free)+3 {
			t.Errorf("%d statements for %d leases", n, len(free)+3)
		}
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		if a, b := rivals[0], rivals[1]; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), tokenstore.ErrConflict) {
			t.Errorf("two leases of one version: %v and %v", a, b)
		}
		release()
		late.Wait()
		for _, want := range append(got, newer) {
			is, err := s.Load(t.Context(), want.AppUserID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, is); diff != "" {
				t.Errorf("saved and there (-want +got):\n%s", diff)
			}
		}
		for _, was := range []tokenstore.Record{hangs, stuck} {
			if is, err := s.Load(t.Context(), was.AppUserID); err != nil || is.Lease.Owner != "late" {
				t.Errorf("after the lock: %v, %v", is.Lease.Owner, err)
			}
		}
	})
}

// A save that gives a lease back, with new tokens, is sent by itself, whatever else is on
// its way.
func TestTokensTravelAlone(t *testing.T) {
	dsn, sent := services.PostgresDSN(t), &statements.Counter{}
	db := statements.Open(&stdlib.Driver{}, dsn, sent)
	t.Cleanup(func() { _ = db.Close() })
	s := open(t, db, sqlstore.Config{Dialect: sqlstore.Postgres})
	all := saved(t, s, 4)
	release := locked(t, db, "SELECT 1", all[0].AppUserID)
	defer release()
	var callers sync.WaitGroup
	callers.Go(func() { _, _ = s.Save(t.Context(), leased(all[0], "late")) })
	waiting(t, db, 1)
	var others sync.WaitGroup
	for _, r := range all[1:] {
		others.Go(func() {
			if _, err := s.Save(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	others.Wait()
	release()
	callers.Wait()
	for _, text := range sent.Texts() {
		if strings.Contains(text, "SKIP LOCKED") {
			t.Errorf("sent together: %s", text)
		}
	}
}

// Records that are loaded while a statement hangs are loaded together: each caller gets
// the one that it asked for, one of its own, and hears of one that does not exist.
func TestLoadsTogether(t *testing.T) {
	sentTogether(t, func(t *testing.T, s *sqlstore.Store, db *sql.DB, sent *statements.Counter) {
		all := saved(t, s, 8)
		ids := []string{"nobody"}
		for _, r := range all {
			ids = append(ids, r.AppUserID, r.AppUserID)
		}
		release := locked(t, db, "LOCK TABLE pkb_links IN ACCESS EXCLUSIVE MODE")
		defer release()
		var callers sync.WaitGroup
		callers.Go(func() { _, _ = s.Load(t.Context(), "nobody") })
		waiting(t, db, 1)
		before := sent.Executed.Load()
		got, errs := make([]tokenstore.Record, len(ids)), make([]error, len(ids))
		for i, id := range ids {
			callers.Go(func() { got[i], errs[i] = s.Load(t.Context(), id) })
		}
		waiting(t, db, 2)
		release()
		callers.Wait()
		if n := int(sent.Executed.Load() - before); n >= len(ids) {
			t.Errorf("%d statements for %d records", n, len(ids))
		}
		if !errors.Is(errs[0], tokenstore.ErrNotFound) {
			t.Errorf("nobody: %v", errs[0])
		}
		for i, r := range all {
			for j := 2*i + 1; j <= 2*i+2; j++ {
				if diff := cmp.Diff(r, got[j]); diff != "" || errs[j] != nil {
					t.Errorf("%v, saved and loaded (-want +got):\n%s", errs[j], diff)
				}
			}
			got[2*i+1].Details[0]++
			if got[2*i+2].Details[0] != r.Details[0] {
				t.Error("two callers have the same bytes")
			}
		}
	})
}

// The statements for several rows read an index, whether the table was ever analysed or
// not.
func TestTogetherReadsAnIndex(t *testing.T) {
	dsn, sent := services.PostgresDSN(t), &statements.Counter{}
	db := statements.Open(&stdlib.Driver{}, dsn, sent)
	t.Cleanup(func() { _ = db.Close() })
	s := open(t, db, sqlstore.Config{Dialect: sqlstore.Postgres})
	all := saved(t, s, 3)
	others := strings.Join(lines(t, db, "SELECT column_name FROM information_schema.columns WHERE table_name = 'pkb_links' AND column_name <> 'app_user_id'"), ", ")
	fill := fmt.Sprintf("INSERT INTO pkb_links (app_user_id, %[1]s) SELECT convert_to(n::text, 'UTF8'), %[1]s FROM pkb_links, generate_series(1, 1500) AS n WHERE app_user_id = $1", others)
	if _, err := db.ExecContext(t.Context(), fill, []byte(all[0].AppUserID)); err != nil {
		t.Fatal(err)
	}
	release := locked(t, db, "LOCK TABLE pkb_links IN ACCESS EXCLUSIVE MODE")
	var callers sync.WaitGroup
	for _, r := range all {
		callers.Go(func() { _, _ = s.Load(t.Context(), r.AppUserID) })
		callers.Go(func() { _, _ = s.Save(t.Context(), leased(r, "mine")) })
	}
	waiting(t, db, 4)
	release()
	callers.Wait()
	sentTexts := sent.Texts()
	for _, prepare := range []string{"SELECT 1", "ANALYZE pkb_links"} {
		if _, err := db.ExecContext(t.Context(), prepare); err != nil {
			t.Fatal(err)
		}
		for part, args := range map[string][]any{"SKIP LOCKED": {"[]", ""}, "json_array_elements_text": {"[]"}} {
			i := slices.IndexFunc(sentTexts, func(text string) bool { return strings.Contains(text, part) })
			if i < 0 {
				t.Fatalf("nothing with %s was sent", part)
			}
			plan := strings.Join(lines(t, db, "EXPLAIN "+sentTexts[i], args...), "\n")
			if strings.Contains(plan, "Seq Scan on pkb_links") || !strings.Contains(plan, "Index Scan using pkb_links_pkey") {
				t.Errorf("after %s:\n%s", prepare, plan)
			}
		}
	}
}
