// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package etcdstore keeps links in the host's own etcd, through the client that the
// host has already:
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: tls, Username: user, Password: password})
//	store, err := etcdstore.New(client, etcdstore.Config{})
//	err = store.Check(ctx)
//
// TLS, users and endpoints are the client's. Name all members as its endpoints: it
// sends a call to the next one when a member is away.
//
// # What etcd promises, and what is asked of it
//
// Each read asks the majority of the members, so it sees every acknowledged write,
// whichever member it reaches. Each write is one transaction that compares the
// revision at which the record was last changed (ModRevision), which is the record's
// Version, and changes the record and its index keys together. A revision counts all
// writes of the cluster, so none is given to a record twice, not even after Delete.
// A cluster of three goes on when one member is lost, and of five when two are.
//
// A write whose outcome is unknown is never sent again: it is returned as
// ErrUnavailable, and the caller finds out, as it does with every Store. Reads, and
// what etcd refused unseen, are sent again for as long as Config.Timeout. Where the
// client itself sends a write twice, Save knows its own: each value names the Save
// that wrote it.
//
// # Keys
//
// All keys begin with Config.Prefix, "pkb/links/" if that is empty. After it:
//
//	r/ID          the record, as JSON
//	p/HASH/ID     empty: the record has a PublicID or a Claim with this hash
//	t/TIME/ID     empty: the record has this TendAt
//
// ID is the AppUserID as it is, and the rest of the key: every id is possible,
// "a/b" and a zero byte too, and keys are in the order of ids. HASH is 32 hexadecimal
// digits of the SHA-256 of the public id, which bounds the key and keeps public ids
// out of etcd's memory, where all keys are. TIME is 16 hexadecimal digits, in the
// order of time. An index key is a hint: the record that it names is read, and
// returned only if it is what was asked for.
//
// A value has 2 or 3 KiB, and at most 110 KiB when Sealed and Details are as large as
// they may be. etcd takes requests of 1.5 MiB (--max-request-bytes) and transactions
// of 128 operations (--max-txn-ops) unless it is told otherwise. This package needs just
// over a fifth of the first, for a record in which every text is full of what JSON
// escapes, and half of the second. Check finds out.
//
// # Compaction, space and backups
//
// No call reads an old revision, so compaction and defragmentation may run at any
// time. Compaction has to run: etcd keeps what was overwritten or deleted until then,
// sealed as it was, and each refresh writes its record twice. With
// --auto-compaction-mode=periodic --auto-compaction-retention=10m the history of ten
// minutes is kept. A cluster that has reached --quota-backend-bytes (2 GiB) takes no
// writes, and Save returns ErrFull, until it was compacted and defragmented and its
// alarm was disarmed (etcdctl alarm disarm). Reads and Delete go on.
//
// A snapshot that is restored brings back spent tokens, as any backup does: stop
// every process first. It also sets the revisions back, so that a version could be
// given out twice to whoever kept running: restore with --bump-revision and
// --mark-compacted (etcdutl 3.6).
//
// # Not enough
//
// A client's KV that keeps what it read, or reads with WithSerializable by itself, is
// a lagging replica. Two clusters that mirror each other (etcdctl make-mirror) are two
// primaries.
package etcdstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Config describes where in etcd the records are. The zero value is ready to use.
type Config struct {
	// Prefix begins every key; it ends with a slash and has at most 128 bytes. ""
	// means "pkb/links/". Nothing else may write below it.
	Prefix string
	// Timeout bounds each request to etcd; 0 means 5 seconds. Save and Delete send two,
	// or three if a member lags; a page sends one for each 64 records and more.
	Timeout time.Duration
}

const (
	defaultPrefix  = "pkb/links/"
	maxPrefix      = 128
	defaultTimeout = 5 * time.Second
)

// Store is a tokenstore.Store in etcd. Its methods are safe for concurrent use; errors
// are those of tokenstore, of the context, or an *Error. It holds nothing in memory,
// and does not close the client.
type Store struct {
	kv      clientv3.KV
	timeout time.Duration
	// closed reports whether the client was closed, if it is known.
	closed func() bool
	// What each kind of key begins with.
	records, people, times, probes string
}

var (
	_ tokenstore.Store     = (*Store)(nil)
	_ tokenstore.Lister    = (*Store)(nil)
	_ tokenstore.Finder    = (*Store)(nil)
	_ tokenstore.Counter   = (*Store)(nil)
	_ tokenstore.Scheduler = (*Store)(nil)
)

// New returns a store in the etcd of kv, which is a *clientv3.Client, or a part of one,
// such as namespace.NewKV returns. It sends nothing yet: Check finds out whether etcd
// is as it must be. That a client was closed is known of a *clientv3.Client only; of
// another KV it looks like an etcd that is not available.
func New(kv clientv3.KV, c Config) (*Store, error) {
	if client, ok := kv.(*clientv3.Client); kv == nil || ok && client == nil {
		return nil, errors.New("etcdstore: no client; make one with clientv3.New, and keep it open for as long as the store is used")
	}
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if !strings.HasSuffix(c.Prefix, "/") || len(c.Prefix) > maxPrefix {
		return nil, fmt.Errorf("etcdstore: Prefix is %q; end it with a slash, and use %d bytes at most", c.Prefix, maxPrefix)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("etcdstore: Timeout is %v; it bounds each request, leave it 0 for %v", c.Timeout, defaultTimeout)
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	closed := func() bool { return false }
	if client, ok := kv.(*clientv3.Client); ok {
		closed = func() bool { return client.Ctx().Err() != nil }
	}
	return &Store{
		kv: kv, timeout: c.Timeout, closed: closed,
		records: c.Prefix + "r/", people: c.Prefix + "p/", times: c.Prefix + "t/", probes: c.Prefix + "check/",
	}, nil
}

// String implements fmt.Stringer: a Store prints nothing of its etcd.
func (s *Store) String() string { return "etcdstore.Store" }

// Format implements fmt.Formatter.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Load implements tokenstore.Store.
func (s *Store) Load(ctx context.Context, appUserID string) (tokenstore.Record, error) {
	return s.read(ctx, "load", appUserID)
}

// Save implements tokenstore.Store. A record that exists is read first, from
// whichever member is near, to know its index keys.
func (s *Store) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	next, err := rec.Prepare()
	if err != nil {
		return tokenstore.Record{}, err
	}
	write := rand.Text()
	value, err := encode(next, write)
	if err != nil {
		return tokenstore.Record{}, err
	}
	var before []string
	if rec.Version != 0 {
		held, err := s.held(ctx, "save", rec.AppUserID, rec.Version)
		if errors.Is(err, tokenstore.ErrNotFound) {
			err = tokenstore.ErrConflict
		}
		if err != nil {
			return tokenstore.Record{}, err
		}
		before = s.index(held)
	}
	ops := append([]clientv3.Op{clientv3.OpPut(s.records+rec.AppUserID, string(value))}, reindex(before, s.index(next))...)
	done, err := s.swap(ctx, "save", rec.AppUserID, rec.Version, ops)
	if err != nil {
		return tokenstore.Record{}, err
	}
	if done.Succeeded {
		next.Version = version(done.Header.GetRevision())
		return next, nil
	}
	// The client has sent it twice if the first response was a status of its own
	// context, which a proxy can return, too.
	for _, kv := range kept(done) {
		if wroteBy(write, kv) {
			next.Version = version(kv.ModRevision)
			return next, nil
		}
	}
	return tokenstore.Record{}, tokenstore.ErrConflict
}

// Delete implements tokenstore.Store.
func (s *Store) Delete(ctx context.Context, appUserID string, version uint64) error {
	held, err := s.held(ctx, "delete", appUserID, version)
	if err != nil {
		return err
	}
	ops := append([]clientv3.Op{clientv3.OpDelete(s.records + appUserID)}, reindex(s.index(held), nil)...)
	done, err := s.swap(ctx, "delete", appUserID, version, ops)
	switch {
	case err != nil:
		return err
	case done.Succeeded:
		return nil
	case len(kept(done)) == 0:
		return tokenstore.ErrNotFound
	}
	return tokenstore.ErrConflict
}

// held returns the record of appUserID at a version, or ErrConflict if it has another
// one, or ErrNotFound.
func (s *Store) held(ctx context.Context, op, appUserID string, version uint64) (tokenstore.Record, error) {
	// A revision of a key is one value, whichever member holds it, so a member that
	// lags has this one, or another version.
	r, err := s.read(ctx, op, appUserID, clientv3.WithSerializable())
	if err == nil && r.Version != version || errors.Is(err, tokenstore.ErrNotFound) {
		r, err = s.read(ctx, op, appUserID)
	}
	if err == nil && r.Version != version {
		err = tokenstore.ErrConflict
	}
	return r, err
}

// read returns the record of appUserID, or ErrNotFound.
func (s *Store) read(ctx context.Context, op, appUserID string, options ...clientv3.OpOption) (tokenstore.Record, error) {
	got, err := ask(ctx, s, op, reads, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.kv.Get(ctx, s.records+appUserID, options...)
	})
	switch {
	case err != nil:
		return tokenstore.Record{}, err
	case len(got.Kvs) == 0:
		return tokenstore.Record{}, tokenstore.ErrNotFound
	}
	return s.decode(op, got.Kvs[0])
}

// swap runs ops if the record of appUserID is at a version, where 0 means that there
// is none. Otherwise it changes nothing, and kept has the record.
func (s *Store) swap(ctx context.Context, op, appUserID string, version uint64, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	key := s.records + appUserID
	held := int64(version) //nolint:gosec // one that does not fit was never given out
	return ask(ctx, s, op, writes, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", held)).
			Then(ops...).
			Else(clientv3.OpGet(key)).
			Commit()
	})
}

// kept returns the record, if there is one, that a transaction has left as it is.
func kept(done *clientv3.TxnResponse) (kvs []*mvccpb.KeyValue) {
	for _, response := range done.Responses {
		kvs = append(kvs, response.GetResponseRange().GetKvs()...)
	}
	return kvs
}

// reindex returns what turns one set of index keys into another. What stays the same
// is not written: a refresh changes none of them.
func reindex(before, after []string) (ops []clientv3.Op) {
	for _, key := range before {
		if !slices.Contains(after, key) {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	for _, key := range after {
		if !slices.Contains(before, key) {
			ops = append(ops, clientv3.OpPut(key, ""))
		}
	}
	return ops
}

// version turns a revision of etcd, which begins at 1, into a Version.
func version(revision int64) uint64 { return uint64(revision) } //nolint:gosec // it counts from 1

// effect is what a request does, which decides whether it may be sent again.
type effect bool

const (
	reads  effect = false
	writes effect = true
)

// ask sends one request within the store's time-out. It sends again what etcd refused
// before looking at it, and reads; never a write that may have been done.
func ask[R any](ctx context.Context, s *Store, op string, does effect, send func(context.Context) (R, error)) (response R, err error) {
	limited, cancel := bounded(ctx, s.timeout)
	defer cancel()
	for try := 1; ; try++ {
		err := cmp.Or(ctx.Err(), limited.Err()) // the second follows the first a moment later
		if s.closed() {
			err = tokenstore.ErrClosed
		}
		if err == nil {
			response, err = send(limited)
		}
		switch {
		case err == nil:
			return response, nil
		case ctx.Err() != nil:
			return response, ctx.Err()
		case s.closed():
			return response, tokenstore.ErrClosed
		case limited.Err() != nil:
			return response, s.late(op, err)
		}
		e := explain(op, err)
		again := errors.Is(e, ErrBusy) || does == reads && errors.Is(e, ErrUnavailable)
		if !again || !pause(limited, try) {
			return response, e
		}
	}
}

// late returns the error of a request that the store's time-out has ended. The client
// calls that cancelled, which it would be if the caller had given up.
func (s *Store) late(op string, err error) error {
	e := &Error{Op: op, kind: ErrUnavailable, text: fmt.Sprintf("no response within %v", s.timeout)}
	if !errors.Is(err, context.Canceled) {
		e.cause = err
	}
	return e
}

// bounded returns ctx with a time-out, neither of which is sent to etcd as a deadline: a
// member that notices one first responds so, and the client takes that for a reason to
// send a write again, though it may have been done.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	// A member that has lost the others reports that at once instead of waiting.
	limited, cancel := context.WithCancel(context.WithoutCancel(clientv3.WithRequireLeader(ctx)))
	left := context.AfterFunc(ctx, cancel)
	timer := time.AfterFunc(timeout, cancel)
	return limited, func() {
		left()
		timer.Stop()
		cancel()
	}
}
