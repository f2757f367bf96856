// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/betawerk/pkb-go/internal/listing"
)

// CopyProgress is the progress of a Copy.
type CopyProgress struct {
	// Records counts the records of the source that were read, out of Total. Total
	// is 0 if the source is no Counter.
	Records, Total int
	// Copied counts the records that were absent or different in the target and now
	// are equal; each was read back.
	Copied int
}

// ErrTarget: the target of a Copy is in use, since a record is further on in it than
// in the source, or it holds records that the source does not: links that were
// unlinked and purged since they were copied, or others. Nothing was removed or
// written over. Stop whoever uses the target, empty it and begin again.
var ErrTarget = errors.New("tokenstore: the target is in use")

// Copy copies the records of from to to, which holds nothing else, and yields its
// progress every few hundred records and at the end. Sealed data is copied
// unchanged: the target needs the same keys.
//
// To move to another store without losing a link: copy while from is in use, however
// long that takes. Then stop every process that uses from, copy once more, which
// copies what has changed and takes moments, and start again with to. Nothing may
// use from after that: a refresh token works once. A Copy that was interrupted can
// be started again.
//
// An error ends the sequence: a store's, that of ctx, ErrTarget, which
// requires a target that is a Lister.
func Copy(ctx context.Context, from interface {
	Store
	Lister
}, to Store,
) iter.Seq2[CopyProgress, error] {
	return func(yield func(CopyProgress, error) bool) {
		var p CopyProgress
		if counter, ok := from.(Counter); ok {
			var err error
			if p.Total, err = counter.Count(ctx); err != nil {
				yield(p, fmt.Errorf("tokenstore: counting the source: %w", err))
				return
			}
		}
		for page, err := range pages(ctx, from) {
			if err != nil {
				yield(p, fmt.Errorf("tokenstore: listing the source: %w", err))
				return
			}
			for _, r := range page {
				copied, err := copyOne(ctx, r, to)
				if err != nil {
					yield(p, err)
					return
				}
				p.Records++
				if copied {
					p.Copied++
				}
			}
			if !yield(p, nil) {
				return
			}
		}
		yield(p, noExtra(ctx, from, to))
	}
}

// noExtra checks that every record of to is in from.
func noExtra(ctx context.Context, from, to Store) error {
	target, ok := to.(Lister)
	if !ok {
		return nil
	}
	for page, err := range pages(ctx, target) {
		if err != nil {
			return fmt.Errorf("tokenstore: listing the target: %w", err)
		}
		for _, r := range page {
			switch _, err := from.Load(ctx, r.AppUserID); {
			case errors.Is(err, ErrNotFound):
				return fmt.Errorf("%w: it holds records that the source does not", ErrTarget)
			case err != nil:
				return fmt.Errorf("tokenstore: reading the source: %w", err)
			}
		}
	}
	return nil
}

// pages yields all records of a store.
func pages(ctx context.Context, l Lister) iter.Seq2[[]Record, error] {
	list := func(after string) ([]Record, error) { return l.List(ctx, after, copyPage) }
	return listing.Pages(list, func(r Record) string { return r.AppUserID })
}

// copyPage is how many records are read at a time.
const copyPage = 200

// copyOne makes to's record equal to r, and reads it back.
func copyOne(ctx context.Context, r Record, to Store) (copied bool, err error) {
	for try := 1; ; try++ {
		there, err := to.Load(ctx, r.AppUserID)
		switch {
		case errors.Is(err, ErrNotFound):
			there = Record{}
		case err != nil:
			return false, fmt.Errorf("tokenstore: reading the target: %w", err)
		case sameRecord(there, r):
			return copied, nil
		case copied:
			return false, errors.New("tokenstore: the target returned a different record from the one it was given")
		case there.Generation > r.Generation, there.Generation == r.Generation && there.RefreshedAt.After(r.RefreshedAt):
			return false, fmt.Errorf("%w: it has a newer record than the source", ErrTarget)
		}
		next := r
		next.Version = there.Version
		_, err = to.Save(ctx, next)
		switch {
		case err == nil:
			copied = true
		case !errors.Is(err, ErrConflict) || try > 3:
			return false, fmt.Errorf("tokenstore: writing the target: %w", err)
		}
	}
}

// sameRecord compares all but the version, which differs from store to store.
func sameRecord(a, b Record) bool {
	a, errA := a.Prepare() // times in the same form
	b, errB := b.Prepare()
	return errA == nil && errB == nil &&
		a.AppUserID == b.AppUserID && a.Environment == b.Environment && a.ClientID == b.ClientID &&
		a.State == b.State && a.Cause == b.Cause && a.PublicID == b.PublicID && a.Claim == b.Claim &&
		a.Pair == b.Pair && a.Candidate == b.Candidate && a.Tried == b.Tried && a.Generation == b.Generation &&
		a.ExpiresAt.Equal(b.ExpiresAt) && a.EndsAt.Equal(b.EndsAt) && a.DueAt.Equal(b.DueAt) && a.TendAt.Equal(b.TendAt) &&
		a.LinkedAt.Equal(b.LinkedAt) && a.RefreshedAt.Equal(b.RefreshedAt) &&
		a.Lease == b.Lease && a.KeyID == b.KeyID &&
		bytes.Equal(a.Details, b.Details) && bytes.Equal(a.Sealed, b.Sealed)
}
