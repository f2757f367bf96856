// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/oauth2"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/internal/integration/services"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

// refreshes is what a refresh costs in PostgreSQL, with many workers over many links.
type refreshes struct {
	// Throughput is how many refreshes a second the library does, as a multiple of what
	// the same statements alone do by hand, without a request and without a seal; Whole,
	// as a multiple of those with the request of x/oauth2 and with a seal.
	Throughput float64 `json:"throughput_ratio"`
	Whole      float64 `json:"throughput_ratio_with_request"`
	// WAL is how many bytes of the write-ahead log each takes, as a multiple of what the
	// statements by hand do.
	WAL float64 `json:"wal_ratio"`
	// Row is how many bytes a link's row has after three refreshes, and Row40, with
	// forty events in its timeline.
	Row   int `json:"row_bytes"`
	Row40 int `json:"row_bytes_40_events"`
}

// What a refresh may cost.
const (
	leastThroughput = 0.8
	mostWAL         = 1.2
	mostRow         = 1 << 10
	mostRow40       = 2 << 10
)

// small reports whether what is written is within its bounds, which does not depend on
// what else this machine does.
func (r *refreshes) small() bool {
	return r == nil || r.WAL > 0 && r.WAL <= mostWAL && r.Row > 0 && r.Row <= mostRow && r.Row40 > 0 && r.Row40 <= mostRow40
}

func (r *refreshes) ok() bool { return r.small() && (r == nil || r.Throughput >= leastThroughput) }

// endpoint is a PKB without latency: it responds to token requests, and to Purview.
type endpoint struct {
	serial atomic.Int64
	broken atomic.Bool // token requests get no token
}

// RoundTrip implements http.RoundTripper.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	status, body := http.StatusOK, ""
	switch {
	case strings.HasSuffix(r.URL.Path, "/apiToken.action") && e.broken.Load():
		status = http.StatusBadGateway
	case strings.HasSuffix(r.URL.Path, "/apiToken.action"):
		body = `{"access_token":"` + token() + `","token_type":"Bearer","expires_in":600,"refresh_token":"` + token() + `","scope":"PATIENT"}`
	default:
		body = fmt.Sprintf(`{"resourceType":"Parameters","parameter":[{"name":"purview","valueReference":{"reference":"Patient/1d4a8b2d-f885-499f-ba51-%012x"}}]}`, e.serial.Add(1))
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// token returns a token as long as PKB's are.
func token() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// fleet is a client with many links in a PostgreSQL.
type fleet struct {
	db     *sql.DB
	pkb    *endpoint
	client *pkb.Client
	ahead  atomic.Int64 // of its clock
	size   size
}

func newFleet(ctx context.Context, dsn string, s size) (f *fleet, err error) {
	f = &fleet{pkb: &endpoint{}, size: s}
	if f.db, err = sql.Open(services.PostgresDriver, dsn); err != nil {
		return nil, err
	}
	f.db.SetMaxOpenConns(s.workers)
	f.db.SetMaxIdleConns(s.workers)
	store, err := postgresDatabase.store(ctx, f.db)
	if err != nil {
		return f, err
	}
	return f, f.open(store)
}

func (f *fleet) open(store *sqlstore.Store) error {
	ring, err := cluster.NewKeyring()
	if err != nil {
		return err
	}
	f.client, err = pkb.New(pkb.Config{
		Environment: pkb.BaseURL("https://pkb.example"), ClientID: "client", RedirectURL: "https://app.example/pkb/callback", Store: store, Keys: ring,
		HTTPClient: &http.Client{Transport: f.pkb}, Now: func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) },
	})
	return err
}

func (f *fleet) close(ctx context.Context) error {
	var err error
	if f.client != nil {
		err = f.client.Close(ctx)
	}
	return errors.Join(err, f.db.Close())
}

func linkID(i int) string { return fmt.Sprintf("app-user-%06d", i) }

// each does something for all links, with all workers.
func (f *fleet) each(do func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, f.size.workers)
	var workers sync.WaitGroup
	for w := range errs {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < f.size.links && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = do(i)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// link makes the links.
func (f *fleet) link(ctx context.Context) error {
	return f.each(func(i int) error {
		_, err := f.client.Import(ctx, linkID(i), &oauth2.Token{
			AccessToken: token(), RefreshToken: token(), Expiry: time.Now().Add(10 * time.Minute),
		})
		return err
	})
}

// refresh refreshes each link once.
func (f *fleet) refresh(ctx context.Context) error {
	f.pass(11 * time.Minute)
	return f.each(func(i int) error {
		_, err := f.client.Token(ctx, linkID(i))
		return err
	})
}

func (f *fleet) pass(d time.Duration) { f.ahead.Add(int64(d)) }

// number returns the number that a query returns.
func (f *fleet) number(ctx context.Context, query string, args ...any) (n int, err error) {
	err = f.db.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// row is how many bytes a row has, none of which is compressed or elsewhere.
func (f *fleet) row(ctx context.Context, i int) (int, error) {
	return f.number(ctx, "SELECT pg_column_size(l.*) FROM pkb_links AS l WHERE app_user_id = $1", []byte(linkID(i)))
}

// eventful gives a link a timeline of forty events: now and then PKB's response is
// lost, and the next refresh succeeds.
func (f *fleet) eventful(ctx context.Context, i int) error {
	for {
		past, err := f.client.Timeline(ctx, linkID(i))
		if err != nil || len(past) == 40 {
			return err
		}
		f.pkb.broken.Store(true)
		f.pass(11 * time.Minute)
		if _, err := f.client.Token(ctx, linkID(i)); !errors.Is(err, pkb.ErrTryLater) {
			return fmt.Errorf("a refresh without a response: %w", err)
		}
		f.pkb.broken.Store(false)
		f.pass(11 * time.Minute)
		if _, err := f.client.Token(ctx, linkID(i)); err != nil {
			return err
		}
	}
}

// pass is what it took to refresh each link once.
type pass struct {
	perSecond float64
	wal       float64 // bytes for each
	cpu       float64 // microseconds of this process's processors for each
}

func (f *fleet) measure(ctx context.Context, do func() error) (p pass, err error) {
	const position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::BIGINT"
	before, err := f.number(ctx, position)
	if err != nil {
		return p, err
	}
	used, began := cpu(), time.Now()
	if err := do(); err != nil {
		return p, err
	}
	n := float64(f.size.links)
	p.perSecond, p.cpu = n/time.Since(began).Seconds(), float64((cpu()-used).Microseconds())/n
	after, err := f.number(ctx, position)
	p.wal = float64(after-before) / n
	return p, err
}

// cpu is the time of processors that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no reason to fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tryRefreshes compares refreshes with the same statements by hand, by turns, on a
// server of its own: the log of a server is one for all that is written to it.
func tryRefreshes(ctx context.Context, out io.Writer, s size) (r *refreshes, err error) {
	server, err := services.StartPostgres(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	f, err := newFleet(ctx, server.DSN(), s)
	if f != nil {
		defer func() { err = errors.Join(err, f.close(context.WithoutCancel(ctx))) }()
	}
	if err != nil {
		return nil, err
	}
	if err := f.settle(ctx); err != nil {
		return nil, err
	}
	if err := f.link(ctx); err != nil {
		return nil, err
	}
	r = &refreshes{}
	for range 3 {
		if err := f.refresh(ctx); err != nil {
			return nil, err
		}
	}
	if r.Row, err = f.row(ctx, 0); err != nil {
		return nil, err
	}
	if err := f.compare(ctx, out, r); err != nil {
		return nil, err
	}
	if err := f.eventful(ctx, 0); err != nil {
		return nil, err
	}
	r.Row40, err = f.row(ctx, 0)
	fmt.Fprintf(out, "a row: %d bytes after three refreshes, %d with forty events\n", r.Row, r.Row40)
	return r, err
}

// settle has the server do nothing of its own accord while it is measured, and keep
// what is large as it is, so that its size can be seen.
func (f *fleet) settle(ctx context.Context) error {
	for _, statement := range []string{
		"ALTER SYSTEM SET autovacuum = off", "ALTER SYSTEM SET checkpoint_timeout = '1d'", "ALTER SYSTEM SET max_wal_size = '16GB'",
		"SELECT pg_reload_conf()",
		"ALTER TABLE pkb_links ALTER COLUMN details SET STORAGE EXTERNAL, ALTER COLUMN sealed SET STORAGE EXTERNAL",
	} {
		if _, err := f.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// turns is how often each is measured.
const turns = 9

// compare measures by turns. After a checkpoint PostgreSQL logs each page whole at the
// first write to it: both go through all of theirs before they are measured.
func (f *fleet) compare(ctx context.Context, out io.Writer, r *refreshes) error {
	hand, err := newByHand(ctx, f)
	if err != nil {
		return err
	}
	x, err := newExchanger(f.pkb)
	if err != nil {
		return err
	}
	by := func(exchange func(context.Context) error) func() error {
		return func() error {
			return f.each(func(i int) error { return hand.refresh(ctx, []byte(linkID(i)), exchange) })
		}
	}
	ways := []func() error{func() error { return f.refresh(ctx) }, by(x.exchange), by(func(context.Context) error { return nil })}
	if _, err := f.db.ExecContext(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	passes := make([][]pass, len(ways))
	for turn := range 2 + turns {
		for i, do := range ways {
			p, err := f.measure(ctx, do)
			if err != nil {
				return err
			}
			if turn >= 2 {
				passes[i] = append(passes[i], p)
			}
		}
	}
	ours, whole, bare := medians(passes[0]), medians(passes[1]), medians(passes[2])
	r.Throughput, r.Whole, r.WAL = ratio(passes[0], passes[2]), ratio(passes[0], passes[1]), ours.wal/bare.wal
	fmt.Fprintf(out, "\n%d workers over %d links, refreshes a second: ours %.0f, by hand with the request of x/oauth2 %.0f, the statements alone %.0f\n",
		f.size.workers, f.size.links, ours.perSecond, whole.perSecond, bare.perSecond)
	fmt.Fprintf(out, "this process used %.0f, %.0f and %.0f µs of processors for each; the server's are not in it\n", ours.cpu, whole.cpu, bare.cpu)
	fmt.Fprintf(out, "%.0f bytes of WAL each, %.0f by hand\n", ours.wal, bare.wal)
	return f.hot(ctx, out)
}

// medians are those of several passes, each figure for itself.
func medians(of []pass) pass {
	each := func(figure func(pass) float64) float64 {
		var all []float64
		for _, p := range of {
			all = append(all, figure(p))
		}
		return median(all)
	}
	return pass{
		each(func(p pass) float64 { return p.perSecond }), each(func(p pass) float64 { return p.wal }), each(func(p pass) float64 { return p.cpu }),
	}
}

// ratio is the median of the throughputs of turns, each as a multiple of what its peer did
// in the same turn: whatever else a machine does, it does to both.
func ratio(of, to []pass) float64 {
	var all []float64
	for i := range of {
		all = append(all, of[i].perSecond/to[i].perSecond)
	}
	return median(all)
}

// hot prints which part of the updates has touched no index.
func (f *fleet) hot(ctx context.Context, out io.Writer) error {
	f.db.SetMaxIdleConns(0) // a session reports when it ends
	defer f.db.SetMaxIdleConns(f.size.workers)
	rows, err := f.db.QueryContext(ctx, "SELECT relname, 100.0 * n_tup_hot_upd / n_tup_upd, pg_table_size(relid), pg_indexes_size(relid) FROM pg_stat_user_tables WHERE n_tup_upd > 0 ORDER BY relname DESC")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has the error
	for rows.Next() {
		var name string
		var hot float64
		var table, indexes int
		if err := rows.Scan(&name, &hot, &table, &indexes); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %.0f %% HOT updates, %d kB and %d kB of indexes\n", name, hot, table>>10, indexes>>10)
	}
	return rows.Err()
}
