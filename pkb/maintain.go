// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/listing"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/tokenstore"
)

// pageSize is how many records are listed at a time.
const pageSize = 200

// records yields all records of the store, and at most one error, last.
func (c *Client) records(ctx context.Context) iter.Seq2[tokenstore.Record, error] {
	return func(yield func(tokenstore.Record, error) bool) {
		if c.closed.Load() {
			yield(tokenstore.Record{}, ErrClosed)
			return
		}
		lister, ok := c.cfg.Store.(tokenstore.Lister)
		if !ok {
			yield(tokenstore.Record{}, errNoList)
			return
		}
		list := func(after string) ([]tokenstore.Record, error) { return lister.List(ctx, after, pageSize) }
		for page, err := range listing.Pages(list, func(r tokenstore.Record) string { return r.AppUserID }) {
			if err != nil {
				yield(tokenstore.Record{}, public(&custody.StoreError{Op: "list", Err: err}))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// errNoList is the error for a store that is no tokenstore.Lister.
var errNoList = &ConfigError{Field: "Store", Problem: "cannot list links: it has no List method (tokenstore.Lister)"}

// ours reports whether a record is of this environment and client id.
func (c *Client) ours(r tokenstore.Record) bool {
	return r.Environment == c.cfg.Environment.Name && r.ClientID == c.cfg.ClientID
}

// ResealProgress is the progress of Reseal.
type ResealProgress struct {
	// Records counts those checked, out of Total; Total is 0 if the store is no
	// tokenstore.Counter.
	Records, Total int
	// Resealed counts those that another key had sealed; Failed those that do not
	// open, which are unchanged.
	Resealed, Failed int
	// Elapsed is the time since the start.
	Elapsed time.Duration
}

// Rate returns the records checked per second.
func (p ResealProgress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Records) / p.Elapsed.Seconds()
}

// Left estimates the remaining time; 0 if unknown.
func (p ResealProgress) Left() time.Duration {
	if p.Records == 0 || p.Total < p.Records {
		return 0
	}
	return time.Duration(float64(p.Elapsed) * float64(p.Total-p.Records) / float64(p.Records))
}

// Reseal seals all links of this environment and client id with the current sealing
// key, while this process and others use them. It yields its progress every few
// hundred records and at the end. If it is interrupted, call it again: it skips
// what is done.
//
// An error ends it: a *ConfigError if the store cannot list, ErrStore, ErrClosed,
// that of ctx, or, at the end, ErrKeys if records did not open.
func (c *Client) Reseal(ctx context.Context) iter.Seq2[ResealProgress, error] {
	return func(yield func(ResealProgress, error) bool) {
		start := c.cfg.Now()
		var p ResealProgress
		if c.closed.Load() {
			yield(p, ErrClosed)
			return
		}
		if counter, ok := c.cfg.Store.(tokenstore.Counter); ok {
			var err error
			if p.Total, err = counter.Count(ctx); err != nil {
				yield(p, public(&custody.StoreError{Op: "count", Err: err}))
				return
			}
		}
		for r, err := range c.records(ctx) {
			if err != nil {
				yield(p, err)
				return
			}
			if c.ours(r) && r.KeyID != seal.RingOf(c.cfg.Keys).KeyID() {
				done, err := c.keeper.Reseal(ctx, r.AppUserID)
				var sealed *custody.SealError
				switch {
				case errors.As(err, &sealed):
					p.Failed++
					c.cfg.Logger.Warn("pkb: a link cannot be resealed", "link", conceal.LinkName(r.AppUserID), "error", err)
				case err != nil && !errors.Is(err, custody.ErrForeign):
					yield(p, public(err))
					return
				case done:
					p.Resealed++
				}
			}
			p.Records++
			p.Elapsed = c.cfg.Now().Sub(start)
			if p.Records%pageSize == 0 && !yield(p, nil) {
				return
			}
		}
		var err error
		if p.Failed > 0 {
			err = newKeysError(fmt.Errorf("%d links do not open", p.Failed))
		}
		yield(p, err)
	}
}

// RetireKey removes a key from this client's keyring. It returns a *ConfigError if
// the key seals, or if a record in the store, of any environment or client id,
// names it. Once it returns nil, the key can be removed from the configuration;
// before, that would cost each patient whose record names it a new authorization.
//
// It also returns a *ConfigError if the store cannot list or the key is not on the
// keyring, and ErrStore or ErrClosed.
func (c *Client) RetireKey(ctx context.Context, id string) error {
	if c.closed.Load() {
		return ErrClosed
	}
	ring := seal.RingOf(c.cfg.Keys)
	if ring == nil {
		return &ConfigError{Field: "Keys", Problem: seal.ErrNoSuchKey.Error()}
	}
	if ring.KeyID() == id {
		return keyInUse("it is the one that seals")
	}
	named := 0
	for r, err := range c.records(ctx) {
		if err != nil {
			return err
		}
		if r.KeyID == id {
			named++
		}
	}
	if named > 0 {
		return keyInUse(fmt.Sprintf("%d records name it", named))
	}
	if err := ring.Remove(id); err != nil {
		return &ConfigError{Field: "Keys", Problem: err.Error()}
	}
	return nil
}

const inUse = "the key is in use: "

func keyInUse(why string) error {
	return &ConfigError{Field: "Keys", Problem: inUse + why}
}

// Purge removes the records of this environment and client id that hold no tokens,
// and returns how many: those unlinked two days ago or longer, which nothing under
// way can restore, and authorizations that were never completed. Call it regularly,
// such as daily; until then such records stay.
//
// It returns a *ConfigError if the store cannot list, ErrStore, ErrClosed or the
// error of ctx.
func (c *Client) Purge(ctx context.Context) (removed int, err error) {
	for r, err := range c.records(ctx) {
		if err != nil {
			return removed, err
		}
		if !c.ours(r) {
			continue
		}
		done, err := c.keeper.Purge(ctx, r)
		if err != nil {
			return removed, public(err)
		}
		if done {
			removed++
		}
	}
	return removed, nil
}
