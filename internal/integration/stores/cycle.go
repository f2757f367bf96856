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
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/statements"
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
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", Pair: "4b0de7/1", Generation: 1,
		ExpiresAt: at, DueAt: at, LinkedAt: at, RefreshedAt: at,
		Lease: tokenstore.Lease{Owner: "5KQ2", Beat: 1, TTL: 15 * time.Second, TakenAt: at},
		KeyID: "2026-01", Details: []byte(`{"used":[]}`), Sealed: make([]byte, 2<<10),
	}
}

// cycle is what a refresh asks of a store: a load, the lease, the answer.
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
	load, update := bareStatements(d.dialect, "bare_links")
	b := &bare{id: []byte(cycleUser)}
	if b.load, err = db.PrepareContext(ctx, load); err != nil {
		return nil, err
	}
	b.update, err = db.PrepareContext(ctx, update)
	return b, err
}

func (b *bare) cycle(ctx context.Context) error {
	var r bareRow
	if err := r.scan(b.load.QueryRowContext(ctx, b.id)); err != nil {
		return err
	}
	for range 2 {
		r.generation++
		res, err := b.update.ExecContext(ctx, r.values()...)
		if err != nil {
			return err
		}
		if err := one(res); err != nil {
			return err
		}
		r.version++
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
	perSecond = median(o)
	return perSecond, perSecond / median(t), nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// count counts what the library's work sends through the driver.
func (d database) count(ctx context.Context, dsn string, r *result) (err error) {
	var sent statements.Counter
	db := d.open(dsn, &sent)
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // so that its statements are prepared after the first time
	store, err := d.store(ctx, db)
	if err != nil {
		return err
	}
	return r.count(ctx, store, func() int { return int(sent.Executed.Load() + sent.Prepared.Load()) })
}

// countedStore counts calls of a store.
type countedStore struct {
	*tokenstore.Memory
	calls atomic.Int64
}

// Load implements tokenstore.Store.
func (s *countedStore) Load(ctx context.Context, id string) (tokenstore.Record, error) {
	s.calls.Add(1)
	return s.Memory.Load(ctx, id)
}

// Save implements tokenstore.Store.
func (s *countedStore) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	s.calls.Add(1)
	return s.Memory.Save(ctx, r)
}

// FindPublicID implements tokenstore.Finder.
func (s *countedStore) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	s.calls.Add(1)
	return s.Memory.FindPublicID(ctx, publicID, limit)
}

// count lets a client link, refresh, and read a token for the first time, each
// twice, and notes by how much calls grew with the second.
func (r *result) count(ctx context.Context, store tokenstore.Store, calls func() int) error {
	server := pkbtest.New(pkbtest.Config{})
	keys, err := cluster.NewKeyring()
	if err != nil {
		return err
	}
	open := func() (*pkb.Client, error) {
		return pkb.New(pkb.Config{
			Environment: pkb.BaseURL(server.URL()), ClientID: server.ClientID(), RedirectURL: cluster.RedirectURL, Store: store, Keys: keys,
			HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
		})
	}
	client, err := open()
	if err != nil {
		return err
	}
	for _, user := range []string{"first", "second"} {
		address, pending, err := client.Authorize(ctx, user)
		if err != nil {
			return err
		}
		back, err := server.Approve(ctx, address, server.AddPatient(pkbtest.Patient{}))
		if err != nil {
			return err
		}
		before := calls()
		if _, err := client.Complete(ctx, user, pending, back.Query()); err != nil {
			return err
		}
		r.Complete = calls() - before
	}
	for range 2 {
		server.Advance(11 * time.Minute)
		before := calls()
		if _, err := client.Token(ctx, "first"); err != nil {
			return err
		}
		r.RoundTrips = calls() - before
	}
	for range 2 {
		cold, err := open()
		if err != nil {
			return err
		}
		before := calls()
		if _, err := cold.Token(ctx, "first"); err != nil {
			return err
		}
		r.Cold = calls() - before
	}
	return nil
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
	plain, place := make([]byte, 2<<10), seal.Place{Environment: "production", ClientID: "client", AppUserID: cycleUser, Pair: "4b0de7/7"}
	associated := []byte("production client app-user-1 4b0de7/7")
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
		err = errors.New("another record was returned")
	}
	return err
}
