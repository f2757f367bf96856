// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// cycleUser is whose record the cycles change.
const cycleUser = "app-user-1"

// sample is a record as large as a real one.
func sample() tokenstore.Record {
	at := time.Date(2026, 1, 1, 12, 0, 0, 123456000, time.UTC)
	return tokenstore.Record{
		AppUserID: cycleUser, Environment: "production", ClientID: "client", State: tokenstore.StateLinked,
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", Generation: 1,
		ExpiresAt: at, DueAt: at, LinkedAt: at, RefreshedAt: at,
		Lease: tokenstore.Lease{Owner: "replica", Fence: 1, RenewedAt: at, ExpiresAt: at},
		KeyID: "2026-01", Details: []byte(`{"used":[]}`), Sealed: make([]byte, 2<<10),
	}
}

// cycle is what a refresh asks of a store: a load, the intent, the answer.
func cycle(ctx context.Context, s tokenstore.Store) error {
	r, err := s.Load(ctx, cycleUser)
	if errors.Is(err, tokenstore.ErrNotFound) {
		r, err = s.Save(ctx, sample())
	}
	for i := 0; i < 2 && err == nil; i++ {
		r.Generation++
		r, err = s.Save(ctx, r)
	}
	return err
}

// bare is the same through database/sql alone.
type bare struct {
	load, update *sql.Stmt
	id           []byte
}

func newBare(ctx context.Context, d database, db *sql.DB) (*bare, error) {
	s, err := sqlstore.New(db, sqlstore.Config{Dialect: d.dialect, Table: "bare_links"})
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := s.Save(ctx, sample()); err != nil {
		return nil, err
	}
	n := 0
	param := func() string {
		if n++; d.dialect == sqlstore.Postgres {
			return fmt.Sprint("$", n)
		}
		return "?"
	}
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = c + " = " + param()
	}
	update := "UPDATE bare_links SET " + strings.Join(set, ", ") + " WHERE app_user_id = " + param() + " AND version = " + param()
	n = 0
	load := "SELECT " + strings.Join(columns, ", ") + " FROM bare_links WHERE app_user_id = " + param()
	b := &bare{id: []byte(cycleUser)}
	if b.load, err = db.PrepareContext(ctx, load); err != nil {
		return nil, err
	}
	b.update, err = db.PrepareContext(ctx, update)
	return b, err
}

// columns are those of the schema.
var columns = strings.Fields(`app_user_id version environment client_id state cause public_id generation
	expires_at ends_at due_at linked_at refreshed_at lease_owner lease_fence lease_renewed_at lease_expires_at
	intent_generation intent_attempt intent_sent_at key_id details sealed`)

func (b *bare) cycle(ctx context.Context) error {
	var id, details, sealed []byte
	var text [7]string
	var number [12]sql.NullInt64
	var version int64
	if err := b.load.QueryRowContext(ctx, b.id).Scan(&id, &version, &text[0], &text[1], &text[2], &text[3], &text[4], &number[0],
		&number[1], &number[2], &number[3], &number[4], &number[5], &text[5], &number[6], &number[7], &number[8],
		&number[9], &number[10], &number[11], &text[6], &details, &sealed); err != nil {
		return err
	}
	for range 2 {
		number[0].Int64++
		res, err := b.update.ExecContext(ctx, id, version+1, text[0], text[1], text[2], text[3], text[4], number[0],
			number[1], number[2], number[3], number[4], number[5], text[5], number[6], number[7], number[8],
			number[9], number[10], number[11], text[6], details, sealed, b.id, version)
		if err != nil {
			return err
		}
		if changed, err := res.RowsAffected(); err != nil || changed != 1 {
			return fmt.Errorf("%d rows changed: %w", changed, err)
		}
		version++
	}
	return nil
}

// bareMemory is a map behind a mutex, which copies what goes in and out.
type bareMemory struct {
	mu      sync.Mutex
	records map[string]tokenstore.Record
}

func (b *bareMemory) cycle() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.records == nil {
		b.records = map[string]tokenstore.Record{cycleUser: sample()}
	}
	r := b.records[cycleUser].Clone()
	for range 2 {
		now := b.records[cycleUser]
		if now.Version != r.Version {
			return tokenstore.ErrConflict
		}
		r.Version++
		r.Generation++
		b.records[cycleUser] = r.Clone()
		r = r.Clone()
	}
	return nil
}

// compare lets ours and theirs run by turns, and returns ours a second, and the
// ratio of the median turns.
func compare(total time.Duration, ours, theirs func() error) (perSecond, ratio float64, err error) {
	const turns = 10
	rate := func(f func() error) (float64, error) {
		n, start := 0, time.Now()
		for time.Since(start) < total/turns {
			if err := f(); err != nil {
				return 0, err
			}
			n++
		}
		return float64(n) / time.Since(start).Seconds(), nil
	}
	var o, t []float64
	for range turns {
		a, err := rate(ours)
		if err != nil {
			return 0, 0, err
		}
		b, err := rate(theirs)
		if err != nil {
			return 0, 0, err
		}
		o, t = append(o, a), append(t, b)
	}
	slices.Sort(o)
	slices.Sort(t)
	return o[turns/2], o[turns/2] / t[turns/2], nil
}

// trips counts what one refresh sends through the driver.
func (d database) trips(ctx context.Context, dsn string) (n int, err error) {
	var calls atomic.Int64
	db, err := d.open(dsn, &calls)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // so that its statements are prepared after the first time
	store, err := d.store(ctx, db)
	if err != nil {
		return 0, err
	}
	return refreshTrips(ctx, store, func() int { return int(calls.Load()) })
}

// countedStore counts calls of a store.
type countedStore struct {
	tokenstore.Store
	calls atomic.Int64
}

// Load implements tokenstore.Store.
func (s *countedStore) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	s.calls.Add(1)
	return s.Store.Load(ctx, id)
}

// Save implements tokenstore.Store.
func (s *countedStore) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	s.calls.Add(1)
	return s.Store.Save(ctx, r)
}

// refreshTrips lets a client refresh twice, and returns by how much count grew
// with the second.
func refreshTrips(ctx context.Context, store tokenstore.Store, count func() int) (int, error) {
	server := pkbtest.New(pkbtest.Config{})
	text, err := pkb.GenerateKey("stores")
	if err != nil {
		return 0, err
	}
	keys, err := pkb.ParseKeyring(text)
	if err != nil {
		return 0, err
	}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL, Store: store, Keys: keys,
		HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
	})
	if err != nil {
		return 0, err
	}
	if err := cluster.Link(ctx, server, server.AddPatient(pkbtest.Patient{}), client, "refreshing"); err != nil {
		return 0, err
	}
	before := 0
	for range 2 {
		server.Advance(11 * time.Minute)
		before = count()
		if _, err := client.Token(ctx, "refreshing"); err != nil {
			return 0, err
		}
	}
	return count() - before, nil
}

// sealRatio is how long sealing and opening a record of 2 KiB takes, as a
// multiple of what the cipher takes.
func sealRatio(total time.Duration) (float64, error) {
	key := make([]byte, seal.KeySize)
	ring := &seal.Ring{}
	if err := ring.Add("2026-01", key); err != nil {
		return 0, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return 0, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return 0, err
	}
	plain, place := make([]byte, 2<<10), seal.Place{Environment: "production", ClientID: "client", AppUserID: cycleUser, Generation: 7}
	associated := []byte("production client app-user-1 7")
	_, ratio, err := compare(total,
		func() error {
			blob, _, err := ring.Seal(place, plain)
			if err != nil {
				return err
			}
			opened, err := ring.Open(place, blob)
			return same(plain, opened, err)
		},
		func() error {
			nonce := make([]byte, gcm.NonceSize())
			_, _ = rand.Read(nonce) // never fails
			blob := gcm.Seal(nil, nonce, plain, associated)
			opened, err := gcm.Open(nil, nonce, blob, associated)
			return same(plain, opened, err)
		})
	return 1 / ratio, err
}

func same(want, got []byte, err error) error {
	if err == nil && !bytes.Equal(want, got) {
		err = errors.New("another record came back")
	}
	return err
}
