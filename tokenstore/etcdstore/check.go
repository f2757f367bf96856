// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package etcdstore

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/betawerk/pkb-go/tokenstore"
)

// largestValue is more than the value of any record has, in bytes: JSON of bytes is a
// third longer, and of a text up to six times as long. largestKeys is more than the keys
// of its Save have: the record's comes three times, and three index keys make room for
// three others.
const (
	largestValue = (tokenstore.MaxSealed+tokenstore.MaxDetails)*4/3 + 6*(texts*maxText+2*tokenstore.MaxPair) + 1<<10
	largestKeys  = 9 * (maxPrefix + 64 + tokenstore.MaxUserID + 64)
)

// Check finds out whether etcd can be read and written by this user, with requests as
// large as the largest record, and whether it has space: what the first link would
// meet. Call it when the program starts. It writes nothing. It returns ErrUnavailable,
// ErrFull, ErrRefused, ErrSettings with the flag to change, ErrDamaged, or another
// *Error.
func (s *Store) Check(ctx context.Context) error {
	// etcd looks at all that a transaction could do, and then does nothing: no key has
	// a revision below 0.
	puts := make([]clientv3.Op, atOnce)
	for i := range puts {
		puts[i] = clientv3.OpPut(fmt.Sprint(s.probes, i), "")
	}
	puts[0] = clientv3.OpPut(s.probes, strings.Repeat(" ", largestValue+largestKeys))
	_, err := ask(ctx, s, "check", writes, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(s.probes), "<", 0)).Then(puts...).Commit()
	})
	if err != nil {
		return err
	}
	for _, begin := range []string{s.people, s.times} {
		if _, err := s.walk(ctx, "check", begin, end(begin), 1, clientv3.WithKeysOnly()); err != nil {
			return err
		}
	}
	_, err = s.List(ctx, "", 1)
	return err
}
