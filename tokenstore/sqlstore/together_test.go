// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/tokenstore"
)

// desk is a database that notes which errands came together, and lets go of a statement
// when the test says so.
type desk struct {
	together
	mu sync.Mutex
	// one are the errands that came by themselves, and many, those that came together.
	one  []string
	many [][]string
	// hold is closed for the statements that are held.
	hold chan struct{}
	// answer is what a statement for several does.
	answer func(context.Context, []*errand) error
}

func newDesk() *desk {
	d := &desk{hold: make(chan struct{}), answer: func(_ context.Context, errands []*errand) error {
		for _, e := range errands {
			e.done = true
		}
		return nil
	}}
	d.send = func(ctx context.Context, errands []*errand) error {
		var ids []string
		for _, e := range errands {
			ids = append(ids, e.rec.AppUserID)
		}
		d.mu.Lock()
		d.many = append(d.many, ids)
		d.mu.Unlock()
		return d.answer(ctx, errands)
	}
	return d
}

// bring brings an errand; held means that its statement does not return before the test
// says so.
func (d *desk) bring(ctx context.Context, id string, held bool) error {
	return d.do(&errand{ctx: ctx, rec: tokenstore.Record{AppUserID: id}}, func() error {
		d.mu.Lock()
		d.one = append(d.one, id)
		d.mu.Unlock()
		if held {
			<-d.hold
		}
		return nil
	})
}

// occupy sends as many statements as are sent by themselves, and holds them.
func (d *desk) occupy(t *testing.T) (release func()) {
	t.Helper()
	var held sync.WaitGroup
	for range alone {
		held.Go(func() {
			if err := d.bring(t.Context(), "held", true); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	return func() { close(d.hold); held.Wait() }
}

// come brings n errands one after the other, each in a goroutine of its own, and
// returns what they came to.
func (d *desk) come(ctx context.Context, n int) (wait func() []error) {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = d.bring(ctx, fmt.Sprint(i), false) })
		synctest.Wait()
	}
	return func() []error { all.Wait(); return errs }
}

func heldOnly() []string {
	ids := make([]string, alone)
	for i := range ids {
		ids[i] = "held"
	}
	return ids
}

// Whoever comes alone does not wait.
func TestOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := newDesk(), time.Now()
		for _, id := range []string{"a", "b", "c"} {
			if err := d.bring(t.Context(), id, false); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, d.one); diff != "" || d.many != nil || time.Since(began) != 0 {
			t.Errorf("together %v, after %v, by themselves (-want +got):\n%s", d.many, time.Since(began), diff)
		}
	})
}

// What comes while a statement is on its way goes together, as soon as that has ended.
func TestTogetherOnceAStatementEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := newDesk(), time.Now()
		release := d.occupy(t)
		wait := d.come(t.Context(), 3)
		if d.many != nil {
			t.Errorf("sent at once: %v", d.many)
		}
		release()
		if err := errors.Join(wait()...); err != nil || time.Since(began) != 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		if diff := cmp.Diff([][]string{{"0", "1", "2"}}, d.many); diff != "" {
			t.Errorf("together (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(heldOnly(), d.one); diff != "" {
			t.Errorf("by themselves (-want +got):\n%s", diff)
		}
		synctest.Wait()
		if d.under != 0 || d.next != nil {
			t.Errorf("%d on their way, and %v waits", d.under, d.next)
		}
	})
}

// A statement that does not return holds nobody up for longer than togetherAfter.
func TestTogetherThoughAStatementHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := newDesk(), time.Now()
		release := d.occupy(t)
		for range 3 { // each time
			if err := errors.Join(d.come(t.Context(), 2)()...); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 3*togetherAfter {
			t.Errorf("after %v", took)
		}
		if diff := cmp.Diff([][]string{{"0", "1"}, {"0", "1"}, {"0", "1"}}, d.many); diff != "" {
			t.Errorf("together (-want +got):\n%s", diff)
		}
		release()
	})
}

// A statement is for mostTogether rows at most: the server reads no more of its list.
func TestFullStatementsLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, began := newDesk(), time.Now()
		release := d.occupy(t)
		wait := d.come(t.Context(), 2*mostTogether+1)
		if len(d.many) != 2 || len(d.many[0]) != mostTogether || len(d.many[1]) != mostTogether || time.Since(began) != 0 {
			t.Errorf("together: %v, after %v", d.many, time.Since(began))
		}
		release()
		if err := errors.Join(wait()...); err != nil {
			t.Error(err)
		}
		if len(d.many) != 3 || len(d.many[2]) != 1 {
			t.Errorf("together: %v", d.many)
		}
	})
}

// What a statement for several has not done is done by itself, and what it may have
// done is not done again.
func TestWhatWasNotDoneTogether(t *testing.T) {
	gone := &Error{Op: "save", kind: ErrUnavailable}
	for _, test := range []struct {
		name   string
		answer func(errands []*errand) error
		err    error
		one    []string
	}{
		{"done", func(errands []*errand) error { errands[0].done, errands[1].done = true, true; return nil }, nil, nil},
		{"one of them", func(errands []*errand) error { errands[1].done = true; return nil }, nil, []string{"0"}},
		{"none", func([]*errand) error { return nil }, nil, []string{"0", "1"}},
		{"refused", func(errands []*errand) error { errands[0].done = true; return &Error{Op: "save", kind: ErrRefused} }, nil, []string{"0", "1"}},
		{"undone", func([]*errand) error { return &Error{Op: "save", kind: ErrBusy} }, nil, []string{"0", "1"}},
		{"no response", func(errands []*errand) error { errands[0].done = true; return gone }, gone, nil},
		{"a panic", func([]*errand) error { panic("driver") }, nil, []string{"0", "1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.answer = func(_ context.Context, errands []*errand) error { return test.answer(errands) }
				release := d.occupy(t)
				wait := d.come(t.Context(), 2)
				release()
				for _, err := range wait() {
					if !errors.Is(err, test.err) {
						t.Errorf("got %v, want %v", err, test.err)
					}
				}
				got := d.one[alone:]
				if len(got) == 2 && got[0] > got[1] {
					got[0], got[1] = got[1], got[0]
				}
				if diff := cmp.Diff(test.one, append([]string(nil), got...)); diff != "" || len(d.many) != 1 {
					t.Errorf("together %v, by themselves (-want +got):\n%s", d.many, diff)
				}
			})
		})
	}
}

type key struct{}

// A caller who leaves takes nobody along, not even the first, whose context the
// statement has the values of.
func TestCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		sent, finish := make(chan context.Context, 1), make(chan struct{})
		d.answer = func(ctx context.Context, errands []*errand) error {
			sent <- ctx
			<-finish
			for _, e := range errands {
				e.done = true
			}
			return ctx.Err()
		}
		release := d.occupy(t)
		first, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "first"))
		left := d.come(first, 1)
		stays := d.come(t.Context(), 1)
		release()
		ctx := <-sent
		leave()
		if err := left()[0]; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller who left: %v", err)
		}
		if ctx.Err() != nil || ctx.Value(key{}) != "first" {
			t.Errorf("the statement's context: %v, %v", ctx.Err(), ctx.Value(key{}))
		}
		close(finish)
		if err := stays()[0]; err != nil {
			t.Errorf("the caller who stayed: %v", err)
		}
		if diff := cmp.Diff(heldOnly(), d.one); diff != "" {
			t.Errorf("by themselves (-want +got):\n%s", diff)
		}
	})
}

// Nothing is sent for callers who leave before.
func TestCallersLeaveBefore(t *testing.T) {
	for _, stay := range []int{0, 2} {
		t.Run(fmt.Sprint(stay, " stay"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				release := d.occupy(t)
				ctx, leave := context.WithCancel(t.Context())
				left := d.come(ctx, 3)
				stays := d.come(t.Context(), stay)
				leave()
				for _, err := range left() {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("a caller who left: %v", err)
					}
				}
				release()
				if err := errors.Join(stays()...); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				var want [][]string
				if stay > 0 {
					want = [][]string{{"0", "1"}}
				}
				if diff := cmp.Diff(want, d.many); diff != "" || d.under != 0 {
					t.Errorf("%d on their way, together (-want +got):\n%s", d.under, diff)
				}
				if diff := cmp.Diff(heldOnly(), d.one); diff != "" {
					t.Errorf("by themselves (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Only a save that takes or keeps a lease may travel with others: one that gives the
// lease back has the new tokens.
func TestWhatTravelsTogether(t *testing.T) {
	leased := tokenstore.Record{AppUserID: "a", Version: 7, Lease: tokenstore.Lease{Owner: "me"}, Sealed: []byte("s")}
	for _, test := range []struct {
		name    string
		dialect Dialect
		rec     func(r *tokenstore.Record)
		want    bool
	}{
		{"takes a lease", Postgres, func(*tokenstore.Record) {}, true},
		{"gives it back", Postgres, func(r *tokenstore.Record) { r.Lease = tokenstore.Lease{} }, false},
		{"a text that JSON would change", Postgres, func(r *tokenstore.Record) { r.Cause = "\xff" }, false},
		{"a claim that JSON would change", Postgres, func(r *tokenstore.Record) { r.Claim = "\xff" }, false},
		{"MySQL", MySQL, func(*tokenstore.Record) {}, false},
		{"SQLite", SQLite, func(*tokenstore.Record) {}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := leased
			test.rec(&r)
			if got := (&Store{dialect: test.dialect}).lease(r) != ""; got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
