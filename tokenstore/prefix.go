// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// maxPrefix is the longest prefix, in bytes.
const maxPrefix = 64

// within are the methods of a Store that can look at one prefix only, as sqlstore's
// can. Of others more is asked for, and what is not the prefix's is left out.
type within interface {
	DueWithin(ctx context.Context, prefix string, before time.Time, limit int) ([]Record, error)
	CountWithin(ctx context.Context, prefix string) (int, error)
}

// WithPrefix returns the part of a store in which every AppUserID begins with
// prefix, such as "tenant-a/": several tenants, environments or client ids share one
// table, and none sees another's links. Callers use their own ids, without the
// prefix. What a client seals is sealed with the prefix too, so that a row that is
// copied to another prefix does not open.
//
// A prefix ends with a slash and has no other, so that none is the beginning of
// another one; it has at most 64 bytes. Give every client of the table one: a
// client without sees all of them. If you wrap a store yourself, for metrics, wrap
// it before WithPrefix.
//
// The result implements Lister, Finder, Counter and Scheduler if store does.
func WithPrefix(store Store, prefix string) (Store, error) {
	name, ok := strings.CutSuffix(prefix, "/")
	_, nested := store.(interface{ Prefix() string })
	switch {
	case store == nil:
		return nil, errors.New("tokenstore: WithPrefix without a store")
	case nested:
		return nil, errors.New("tokenstore: the store has a prefix already")
	case !ok || name == "" || strings.Contains(name, "/"):
		return nil, fmt.Errorf("tokenstore: the prefix %q is ambiguous: it must end with a slash, and have no other", prefix)
	case len(prefix) > maxPrefix || !utf8.ValidString(prefix):
		return nil, fmt.Errorf("tokenstore: the prefix is not UTF-8, or longer than %d bytes", maxPrefix)
	}
	return (&part{store: store, prefix: prefix}).withOptions(), nil
}

// part is a store under a prefix.
type part struct {
	store  Store
	prefix string
}

// Prefix returns the prefix. A client seals with it.
func (p *part) Prefix() string { return p.prefix }

// Volatile implements Volatile.
func (p *part) Volatile() bool {
	v, ok := p.store.(Volatile)
	return ok && v.Volatile()
}

// Format implements fmt.Formatter: it prints nothing of the store.
func (p *part) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "tokenstore.WithPrefix") }

func (p *part) outside(appUserID string) (string, error) {
	if appUserID == "" || len(appUserID) > MaxUserID {
		return "", ErrInvalid
	}
	return p.prefix + appUserID, nil
}

func (p *part) inside(r Record) Record {
	r.AppUserID = strings.TrimPrefix(r.AppUserID, p.prefix)
	return r
}

// Load implements Store.
func (p *part) Load(ctx context.Context, appUserID string) (Record, error) {
	id, err := p.outside(appUserID)
	if err != nil {
		return Record{}, ErrNotFound
	}
	r, err := p.store.Load(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return p.inside(r), nil
}

// Save implements Store.
func (p *part) Save(ctx context.Context, rec Record) (Record, error) {
	id, err := p.outside(rec.AppUserID)
	if err != nil {
		return Record{}, err
	}
	rec.AppUserID = id
	saved, err := p.store.Save(ctx, rec)
	if err != nil {
		return Record{}, err
	}
	return p.inside(saved), nil
}

// Delete implements Store.
func (p *part) Delete(ctx context.Context, appUserID string, version uint64) error {
	id, err := p.outside(appUserID)
	if err != nil {
		return ErrNotFound
	}
	return p.store.Delete(ctx, id, version)
}

// own returns the records of the prefix, up to limit.
func (p *part) own(all []Record, limit int) []Record {
	page := make([]Record, 0, min(len(all), limit))
	for _, r := range all {
		if len(page) < limit && strings.HasPrefix(r.AppUserID, p.prefix) {
			page = append(page, p.inside(r))
		}
	}
	return page
}

// enough asks for more and more, until limit records of the prefix are returned, or
// there are no more.
func (p *part) enough(limit int, ask func(limit int) ([]Record, error)) ([]Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	for asked := limit; ; asked *= 2 {
		all, err := ask(asked)
		if err != nil {
			return nil, err
		}
		if page := p.own(all, limit); len(page) == limit || len(all) < asked {
			return page, nil
		}
	}
}

type lists struct{ *part }

// List implements Lister.
func (l lists) List(ctx context.Context, after string, limit int) ([]Record, error) {
	all, err := l.store.(Lister).List(ctx, l.prefix+after, limit)
	if err != nil {
		return nil, err
	}
	return l.own(all, limit), nil
}

type finds struct{ *part }

// FindPublicID implements Finder.
func (f finds) FindPublicID(ctx context.Context, publicID string, limit int) ([]Record, error) {
	return f.enough(limit, func(limit int) ([]Record, error) { return f.store.(Finder).FindPublicID(ctx, publicID, limit) })
}

type counts struct{ *part }

// Count implements Counter.
func (c counts) Count(ctx context.Context) (n int, err error) {
	if w, ok := c.store.(within); ok {
		return w.CountWithin(ctx, c.prefix)
	}
	for page, err := range pages(ctx, lists(c)) {
		if err != nil {
			return n, err
		}
		n += len(page)
	}
	return n, nil
}

type schedules struct{ *part }

// Due implements Scheduler.
func (s schedules) Due(ctx context.Context, before time.Time, limit int) ([]Record, error) {
	if w, ok := s.store.(within); ok {
		all, err := w.DueWithin(ctx, s.prefix, before, limit)
		if err != nil {
			return nil, err
		}
		return s.own(all, limit), nil
	}
	return s.enough(limit, func(limit int) ([]Record, error) { return s.store.(Scheduler).Due(ctx, before, limit) })
}

// withOptions returns p with the optional interfaces that its store has. A Counter
// that cannot count within a prefix needs a Lister.
func (p *part) withOptions() Store {
	_, lister := p.store.(Lister)
	_, finder := p.store.(Finder)
	_, counter := p.store.(Counter)
	_, scheduler := p.store.(Scheduler)
	_, counting := p.store.(within)
	which := 0
	for i, has := range []bool{lister, finder, counter && (lister || counting), scheduler} {
		if has {
			which |= 1 << i
		}
	}
	return shapes[which](p)
}

// shapes are the sets of optional interfaces, by the sum of 1 for Lister, 2 for
// Finder, 4 for Counter and 8 for Scheduler.
var shapes = [16]func(*part) Store{
	func(p *part) Store { return p },
	func(p *part) Store {
		return struct {
			*part
			Lister
		}{p, lists{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Finder
		}{p, finds{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Finder
		}{p, lists{p}, finds{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Counter
		}{p, counts{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Counter
		}{p, lists{p}, counts{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Finder
			Counter
		}{p, finds{p}, counts{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Finder
			Counter
		}{p, lists{p}, finds{p}, counts{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Scheduler
		}{p, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Scheduler
		}{p, lists{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Finder
			Scheduler
		}{p, finds{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Finder
			Scheduler
		}{p, lists{p}, finds{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Counter
			Scheduler
		}{p, counts{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Counter
			Scheduler
		}{p, lists{p}, counts{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Finder
			Counter
			Scheduler
		}{p, finds{p}, counts{p}, schedules{p}}
	},
	func(p *part) Store {
		return struct {
			*part
			Lister
			Finder
			Counter
			Scheduler
		}{p, lists{p}, finds{p}, counts{p}, schedules{p}}
	},
}
