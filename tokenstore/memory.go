// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a Store that forgets everything when the process ends: for tests, and
// for a first look. The zero value is ready to use.
type Memory struct {
	mu sync.RWMutex
	// Pointers, because a printer that calls no methods does not follow them.
	records map[string]*Record
	// version is the last one given out, for any user: so none is ever used twice.
	version uint64
	closed  bool
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{} }

var (
	_ Store     = (*Memory)(nil)
	_ Lister    = (*Memory)(nil)
	_ Finder    = (*Memory)(nil)
	_ Counter   = (*Memory)(nil)
	_ Scheduler = (*Memory)(nil)
	_ Volatile  = (*Memory)(nil)
	_ io.Closer = (*Memory)(nil)
)

// Load implements Store.
func (m *Memory) Load(ctx context.Context, appUserID string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return Record{}, ErrClosed
	}
	r, ok := m.records[appUserID]
	if !ok {
		return Record{}, ErrNotFound
	}
	return r.Clone(), nil
}

// Save implements Store.
func (m *Memory) Save(ctx context.Context, rec Record) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	stored, err := rec.Prepare()
	if err != nil {
		return Record{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return Record{}, ErrClosed
	}
	var version uint64
	if kept := m.records[rec.AppUserID]; kept != nil {
		version = kept.Version
	}
	if version != rec.Version {
		return Record{}, ErrConflict
	}
	if m.records == nil {
		m.records = map[string]*Record{}
	}
	m.version++
	stored.Version = m.version
	m.records[rec.AppUserID] = &stored
	return stored.Clone(), nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, appUserID string, version uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[appUserID]
	switch {
	case m.closed:
		return ErrClosed
	case !ok:
		return ErrNotFound
	case r.Version != version:
		return ErrConflict
	}
	delete(m.records, appUserID)
	return nil
}

// List implements Lister. It sorts all ids at each call: a Memory is small.
func (m *Memory) List(ctx context.Context, after string, limit int) ([]Record, error) {
	return m.pick(ctx, limit, byID, func(r Record) bool { return r.AppUserID > after })
}

// Due implements Scheduler. It looks at all records.
func (m *Memory) Due(ctx context.Context, before time.Time, limit int) ([]Record, error) {
	by := func(a, b *Record) int { return cmp.Or(a.TendAt.Compare(b.TendAt), byID(a, b)) }
	return m.pick(ctx, limit, by, func(r Record) bool {
		return !r.TendAt.IsZero() && !r.TendAt.After(before)
	})
}

// FindPublicID implements Finder. It looks at all records.
func (m *Memory) FindPublicID(ctx context.Context, publicID string, limit int) ([]Record, error) {
	return m.pick(ctx, limit, byID, func(r Record) bool {
		return publicID != "" && (r.PublicID == publicID || r.Claim == publicID)
	})
}

func byID(a, b *Record) int { return strings.Compare(a.AppUserID, b.AppUserID) }

// pick returns the first records that are wanted, in an order.
func (m *Memory) pick(ctx context.Context, limit int, by func(a, b *Record) int, wanted func(Record) bool) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var all []*Record
	for _, r := range m.records {
		if wanted(*r) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, by)
	limit = max(limit, 0)
	page := make([]Record, 0, min(limit, len(all)))
	for _, r := range all[:min(limit, len(all))] {
		page = append(page, r.Clone())
	}
	return page, nil
}

// Count implements Counter.
func (m *Memory) Count(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return 0, ErrClosed
	}
	return len(m.records), nil
}

// Volatile implements Volatile: nothing outlives the process.
func (m *Memory) Volatile() bool { return true }

// Close forgets everything; all other methods then return ErrClosed.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.records = true, nil
	return nil
}

// Format implements fmt.Formatter: a Memory prints nothing of its records.
func (m *Memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "tokenstore.Memory") }
