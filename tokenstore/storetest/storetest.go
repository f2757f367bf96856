// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the contract of a tokenstore.Store, as a test suite.
//
// Test a store of your own like this:
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store { return openMyStore(t) })
//	}
//
// And a store whose database has several nodes:
//
//	func TestMyCluster(t *testing.T) {
//		cluster := startMyCluster(t, 3)
//		storetest.CheckSpread(t, 3, func(t *testing.T, node int) tokenstore.Store { return openMyStore(t, cluster[node]) },
//			func(node int) (restore func() error, err error) { return cluster[node].Start, cluster[node].Kill() })
//	}
//
// There is nothing to opt out of: a store that fails a check loses links. Each
// failure describes what it would do to a patient's link. The check of an optional
// interface that the store lacks is skipped, with what does not work without it.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/betawerk/pkb-go/tokenstore"
)

// Run checks the stores that open returns. Each check opens its own. The stores may
// share their data, and may hold other records than those of the suite, which uses
// fresh random ids and leaves some behind.
func Run(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			problems, skipped := c.run(t.Context(), open(t))
			for _, problem := range problems {
				t.Errorf("%s\nwhy it matters: %s", problem, c.why)
			}
			if skipped != "" {
				t.Skip(skipped)
			}
		})
	}
}

// Result is the result of one check of the contract.
type Result struct {
	// Name is the check's; names are stable.
	Name string
	// Why describes what a store that fails the check would do to a patient's link.
	Why string
	// Problems are what is wrong, empty if nothing is.
	Problems []string
	// Skipped is "", or the optional interface that the store lacks, and what does
	// not work without it.
	Skipped string
}

// Check is Run for programs that are not tests, such as one that tries a database
// before it is used. It returns a Result for each check, or the error of open.
func Check(ctx context.Context, open func() (tokenstore.Store, error)) ([]Result, error) {
	results := make([]Result, 0, len(checks))
	for _, c := range checks {
		s, err := open()
		if err != nil {
			return results, err
		}
		problems, skipped := c.run(ctx, s)
		results = append(results, Result{Name: c.name, Why: c.why, Problems: problems, Skipped: skipped})
	}
	return results, nil
}

type check struct {
	name string
	// why is what happens to a patient's link without the check.
	why  string
	test func(*probe)
}

// probe runs one check on a store and collects what is wrong.
type probe struct {
	ctx      context.Context
	store    tokenstore.Store
	prefix   string
	mu       sync.Mutex
	problems []string
	skipped  string
}

// run returns what is wrong with s, or what it lacks. The check has a goroutine of its own, so that
// must can end it from within.
func (c check) run(ctx context.Context, s tokenstore.Store) (problems []string, skipped string) {
	p := &probe{ctx: ctx, store: s, prefix: "storetest-" + rand.Text() + "-"}
	var wg sync.WaitGroup
	wg.Go(func() { c.test(p) })
	wg.Wait()
	return p.problems, p.skipped
}

// skip ends a check of an optional interface that the store lacks.
func (p *probe) skip(lacks, without string) {
	p.skipped = "the store is no tokenstore." + lacks + ", which is optional; without it, " + without
	runtime.Goexit()
}

// id returns a user id that nobody else uses.
func (p *probe) id(suffix string) string { return p.prefix + suffix }

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *probe) must(what string, err error) {
	if err != nil {
		p.errorf("%s: %v", what, err)
		runtime.Goexit()
	}
}

// want checks that err is target.
func (p *probe) want(what string, err, target error) {
	if !errors.Is(err, target) {
		p.errorf("%s: got error %v, want %v", what, err, target)
	}
}

func (p *probe) create(r tokenstore.Record) tokenstore.Record {
	r.Version = 0
	saved, err := p.store.Save(p.ctx, r)
	p.must("creating a record", err)
	return saved
}

func (p *probe) load(id string) tokenstore.Record {
	r, err := p.store.Load(p.ctx, id)
	p.must("loading a record that was saved", err)
	return r
}

// holds checks that the store's record is want.
func (p *probe) holds(what string, want tokenstore.Record) {
	p.same(what, want, p.load(want.AppUserID))
}

func (p *probe) same(what string, want, got tokenstore.Record) {
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		p.errorf("%s: the record differs (-want +got):\n%s", what, diff)
	}
}

// walk returns the ids of the check's records, in the order in which List returns them.
func (p *probe) walk(lister tokenstore.Lister, limit int) (ids []string) {
	for after := p.prefix; ; {
		page, err := lister.List(p.ctx, after, limit)
		p.must("List", err)
		if len(page) > limit {
			p.errorf("List(%d) returned %d records", limit, len(page))
		}
		for _, r := range page {
			if strings.HasPrefix(r.AppUserID, p.prefix) {
				ids = append(ids, r.AppUserID)
			}
		}
		if len(page) == 0 || !strings.HasPrefix(page[len(page)-1].AppUserID, p.prefix) {
			return ids
		}
		last := page[len(page)-1].AppUserID
		if last <= after {
			p.errorf("List returned a page that does not end after the id that it was to begin after")
			return ids
		}
		after = last
	}
}

// full returns a record with something in every field.
func full(id string) tokenstore.Record {
	at := func(s int) time.Time {
		return time.Date(2026, 3, 29, 0, 59, s, 123456000, time.UTC) // London's clocks change one minute later
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return tokenstore.Record{
		AppUserID: id, Environment: "sandbox", ClientID: "client-ü", State: tokenstore.StateRelinkRequired, Cause: "session_expired",
		PublicID: "1d4a8b2d-f885-499f-ba51-50600312f316", Claim: "2e5b9c3e-0996-4aa0-8b62-61711423a427",
		Pair: "4b0de7/12", Candidate: "9f31ac/1", Tried: 2, Generation: math.MaxInt64,
		ExpiresAt: at(1), EndsAt: at(2), DueAt: at(3), TendAt: at(7), LinkedAt: at(4), RefreshedAt: at(5),
		Lease:   tokenstore.Lease{Owner: "5KQ2", Beat: math.MaxInt64, TTL: 15*time.Second + 123456*time.Microsecond, TakenAt: at(6)},
		KeyID:   "2026-01",
		Details: []byte(`{"a":"<&'\"ü` + "\u2028" + `"}`),
		Sealed:  every,
	}
}
