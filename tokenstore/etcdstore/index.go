// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/betawerk/pkb-go/tokenstore"
)

// index returns the index keys of a record. A release that adds a kind of key leaves
// keys behind when the one before it writes, which is why keys are hints.
func (s *Store) index(r tokenstore.Record) (keys []string) {
	for _, publicID := range []string{r.PublicID, r.Claim} {
		if publicID == "" {
			continue
		}
		if key := s.person(publicID) + r.AppUserID; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if !r.TendAt.IsZero() {
		keys = append(keys, s.time(r.TendAt)+r.AppUserID)
	}
	return keys
}

// person begins the index keys of a public id.
func (s *Store) person(publicID string) string {
	sum := sha256.Sum256([]byte(publicID))
	return s.people + hex.EncodeToString(sum[:16]) + "/"
}

// time begins the index keys of a time. Times before 1970 are negative, and come
// first all the same.
func (s *Store) time(at time.Time) string {
	return fmt.Sprintf("%s%016x/", s.times, uint64(at.UnixMicro())^(1<<63))
}

// List implements tokenstore.Lister.
func (s *Store) List(ctx context.Context, after string, limit int) (page []tokenstore.Record, err error) {
	for from := s.records + after + "\x00"; len(page) < limit; {
		most := min(limit-len(page), atOnce)
		got, err := s.walk(ctx, "list", from, end(s.records), most)
		if err != nil {
			return nil, err
		}
		for _, kv := range got.Kvs {
			r, err := s.decode("list", kv)
			if err != nil {
				return nil, err
			}
			page = append(page, r)
		}
		if len(got.Kvs) < most {
			break
		}
		from = string(got.Kvs[most-1].Key) + "\x00"
	}
	return page, nil
}

// FindPublicID implements tokenstore.Finder.
func (s *Store) FindPublicID(ctx context.Context, publicID string, limit int) ([]tokenstore.Record, error) {
	if publicID == "" {
		return nil, nil
	}
	begin := s.person(publicID)
	return s.pick(ctx, hints{
		op: "find", from: begin, to: end(begin), limit: limit,
		id: func(key string) string { return key[len(begin):] },
		is: func(r tokenstore.Record, _ string) bool { return r.PublicID == publicID || r.Claim == publicID },
	})
}

// Due implements tokenstore.Scheduler.
func (s *Store) Due(ctx context.Context, before time.Time, limit int) ([]tokenstore.Record, error) {
	return s.due(ctx, "", before, limit)
}

// DueWithin is Due for the records whose AppUserID begins with prefix, for
// tokenstore.WithPrefix. It reads the keys of all that is due, and the records of
// prefix only.
func (s *Store) DueWithin(ctx context.Context, prefix string, before time.Time, limit int) ([]tokenstore.Record, error) {
	return s.due(ctx, prefix, before, limit)
}

func (s *Store) due(ctx context.Context, prefix string, before time.Time, limit int) ([]tokenstore.Record, error) {
	digits := len(s.time(before))
	return s.pick(ctx, hints{
		op: "due", from: s.times, to: end(s.time(before)), limit: limit, prefix: prefix,
		id: func(key string) string { return key[min(digits, len(key)):] },
		is: func(r tokenstore.Record, key string) bool {
			return !r.TendAt.IsZero() && s.time(r.TendAt)+r.AppUserID == key
		},
	})
}

// Count implements tokenstore.Counter.
func (s *Store) Count(ctx context.Context) (int, error) { return s.CountWithin(ctx, "") }

// CountWithin is Count for the records whose AppUserID begins with prefix, for
// tokenstore.WithPrefix.
func (s *Store) CountWithin(ctx context.Context, prefix string) (int, error) {
	begin := s.records + prefix
	got, err := ask(ctx, s, "count", reads, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.kv.Get(ctx, begin, clientv3.WithRange(end(begin)), clientv3.WithCountOnly())
	})
	if err != nil {
		return 0, err
	}
	return int(min(got.Count, math.MaxInt32)), nil
}

// atOnce is how many records one request reads at most. It bounds a response, and is
// half of what etcd takes in one transaction.
const atOnce = 64

// keysAtOnce is how many index keys one request reads at most.
const keysAtOnce = 512

// end returns the first key after all that begin with begin, whose last byte is not
// 0xff: it is a slash, or of UTF-8.
func end(begin string) string {
	last := len(begin) - 1
	return begin[:last] + string([]byte{begin[last] + 1}) // string of a byte alone is UTF-8 of it
}

// walk reads keys in their order, with their values unless told otherwise.
func (s *Store) walk(ctx context.Context, op, from, to string, limit int, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	options = append(options, clientv3.WithRange(to), clientv3.WithLimit(int64(limit)))
	return ask(ctx, s, op, reads, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.kv.Get(ctx, from, options...)
	})
}

// hints are index keys to follow.
type hints struct {
	op, from, to string
	limit        int
	// prefix begins the ids that are wanted.
	prefix string
	// id is the AppUserID in a key, and is reports whether the record has what the
	// key hints at.
	id func(key string) string
	is func(r tokenstore.Record, key string) bool
}

// pick returns the records that hints lead to, in the order of their keys.
func (s *Store) pick(ctx context.Context, h hints) (found []tokenstore.Record, err error) {
	for from := h.from; len(found) < h.limit; {
		most := min(max(h.limit-len(found), atOnce), keysAtOnce)
		if h.prefix != "" {
			most = keysAtOnce // most of them may be of others
		}
		got, err := s.walk(ctx, h.op, from, h.to, most, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		var keys []string
		for _, kv := range got.Kvs {
			if key := string(kv.Key); strings.HasPrefix(h.id(key), h.prefix) {
				keys = append(keys, key)
			}
		}
		for some := range slices.Chunk(keys, atOnce) {
			if len(found) >= h.limit {
				break
			}
			records, err := s.follow(ctx, h, some)
			if err != nil {
				return nil, err
			}
			found = append(found, records...)
		}
		if len(got.Kvs) < most {
			break
		}
		from = string(got.Kvs[most-1].Key) + "\x00"
	}
	return found[:min(len(found), max(h.limit, 0))], nil
}

// follow reads the records that keys lead to, all at one moment.
func (s *Store) follow(ctx context.Context, h hints, keys []string) (found []tokenstore.Record, err error) {
	gets := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		gets[i] = clientv3.OpGet(s.records + h.id(key))
	}
	got, err := ask(ctx, s, h.op, reads, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).Then(gets...).Commit()
	})
	if err != nil {
		return nil, err
	}
	for i, response := range got.Responses {
		for _, kv := range response.GetResponseRange().GetKvs() {
			r, err := s.decode(h.op, kv)
			if err != nil {
				return nil, err
			}
			if h.is(r, keys[i]) {
				found = append(found, r)
			}
		}
	}
	return found, nil
}
