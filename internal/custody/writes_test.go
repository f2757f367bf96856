// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// written is a store that keeps what is written to it.
type written struct {
	*tokenstore.Memory
	mu  sync.Mutex
	all []tokenstore.Record
}

func (s *written) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	stored, err := s.Memory.Save(ctx, r)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, stored)
	}
	return stored, err
}

// since returns what was written since the last time.
func (s *written) since() []tokenstore.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// ofALease are the fields that a write of a lease changes.
var ofALease = cmpopts.IgnoreFields(tokenstore.Record{}, "Version", "State", "Tried", "Lease")

// A lease is taken, kept and given back with the details and the sealed bytes as they
// are: a database logs nothing of them, and the key is not asked.
func TestALeaseChangesNothingElse(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		w := &written{Memory: s}
		k := keeper(t, w, i)
		link(t, k, i)
		for range 3 {
			before := record(t, s)
			w.since()
			i.slow(time.Minute) // with beats
			time.Sleep(life)
			token(t, k)
			all := w.since()
			if len(all) < 10 {
				t.Fatalf("%d writes, want some beats", len(all))
			}
			for _, lease := range all[:len(all)-1] {
				if diff := cmp.Diff(before, lease, ofALease); diff != "" || lease.Lease.Owner == "" || lease.Tried != 1 {
					t.Fatalf("a lease has changed more than that (-before +after):\n%s", diff)
				}
			}
			if last := all[len(all)-1]; string(last.Sealed) == string(before.Sealed) || last.Lease.Owner != "" {
				t.Error("the new tokens are not in the record")
			}
		}
		i.slow(0)
		i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
			return tokenwire.Outcome{Class: tokenwire.NotSent}
		}
		before := record(t, s)
		time.Sleep(life)
		_, _ = k.Token(t.Context(), user)
		if all := w.since(); len(all) < 2 || cmp.Diff(before, all[len(all)-1], ofALease) != "" || record(t, s).Lease.Owner != "" {
			t.Error("the lease that was given back has left something behind")
		}
	})
}

// The lease of a candidate's pair is not mistaken for the active pair's by whoever
// reads it.
func TestWhoseLeaseItIs(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		w := &written{Memory: s}
		unchecked := func(c *custody.Config) {
			c.Verify = func(_ context.Context, of custody.Candidate) (string, error) {
				if of.AccessToken == "access-1" {
					return patient, nil
				}
				return "", errNoAnswer
			}
		}
		k := keeper(t, w, i, unchecked)
		link(t, k, i)
		wantUnchecked(t, approve(t, k, i, "second"))
		time.Sleep(life)
		w.since()
		for range 3 { // refreshes the active pair, and the candidate's, to check it
			_, _ = k.Token(t.Context(), user)
			time.Sleep(time.Minute)
		}
		of := map[string]int{}
		for _, r := range w.since() {
			var d struct {
				Lease string `json:"lease_for"`
			}
			must(t, json.Unmarshal(r.Details, &d))
			if r.Lease.Owner != "" {
				of[d.Lease]++
			} else if d.Lease != "" {
				t.Errorf("no lease is held, and one is for %s", d.Lease)
			}
		}
		if of["second/1"] == 0 || of[""] == 0 || len(of) != 2 {
			t.Errorf("leases %v, want those of both pairs", of)
		}
	})
}

// An ordinary link is refreshed for a week, and no index has changed: the time of the
// next sweep moves when a sweep had something to do.
func TestRefreshesLeaveTheIndexesAlone(t *testing.T) {
	t.Parallel()
	days := atMost(7, 3)
	for name, tc := range map[string]struct {
		change func(*custody.Config)
		most   int // how often the time changes in so many days
	}{
		"an ordinary link":       {func(*custody.Config) {}, 1},
		"one that is kept warm":  {func(c *custody.Config) { c.KeepWarm = 24 * time.Hour }, days},
		"one whose session ends": {func(c *custody.Config) { c.SessionLife = 30 * 24 * time.Hour }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i, tc.change)
				link(t, k, i)
				was, changed, refreshes := record(t, s), 0, 0
				for end := time.Now().AddDate(0, 0, days); time.Now().Before(end); refreshes++ {
					time.Sleep(life)
					token(t, k)
					is := record(t, s)
					if is.TendAt.IsZero() || is.TendAt.After(time.Now().Add(8*24*time.Hour)) {
						t.Fatalf("after %d refreshes nobody will look at it until %v", refreshes, is.TendAt)
					}
					if !is.TendAt.Equal(was.TendAt) {
						changed++
					}
					if is.PublicID != was.PublicID || is.Claim != was.Claim {
						t.Fatal("a refresh has changed whose link it is")
					}
					was = is
				}
				if changed > tc.most || refreshes < 900*days/7 {
					t.Errorf("%d of %d refreshes have changed the time of the next sweep, want %d at most", changed, refreshes, tc.most)
				}
			})
		})
	}
}

// bytesOf is what a record takes in a store, its fixed columns aside.
func bytesOf(r tokenstore.Record) (n int) {
	for _, text := range []string{
		r.AppUserID, r.Environment, r.ClientID, string(r.State), r.Cause, r.PublicID, r.Claim, r.Pair, r.Candidate, r.Lease.Owner, r.KeyID, string(r.Details), string(r.Sealed),
	} {
		n += len(text)
	}
	return n
}

// fixed is what the other columns take: twelve numbers, the lengths of the others, and
// what a database adds to each row.
const fixed = 12*8 + 13*2 + 32

// pkbTokens makes tokens as long as PKB's.
func pkbTokens(i *issuer) {
	i.disturb = func(_ int, answer func() tokenwire.Outcome) tokenwire.Outcome {
		out := answer()
		out.Body = []byte(strings.Replace(string(out.Body), `"token_type"`, `"of_32_bytes":"`+strings.Repeat("x", 2*32-len(out.Grant.AccessToken)-len(out.Grant.RefreshToken)-18)+`","token_type"`, 1))
		return out
	}
}

// A row is small: after three refreshes, and with the forty events of an eventful
// link.
func TestRowsAreSmall(t *testing.T) {
	t.Parallel()
	const uuid = "1d4a8b2d-f885-499f-ba51-50600312f316"
	partner := func(c *custody.Config) {
		c.Environment, c.ClientID = "production", "client-of-a-partner"
		c.Verify = func(context.Context, custody.Candidate) (string, error) { return uuid, nil }
	}
	session := func(n int) string {
		return strings.Repeat("0123456789ab", 2)[:22] + string(rune('a'+n%20)) + string(rune('a'+n/20))
	}
	is := func(t *testing.T, s tokenstore.Store, most int) {
		t.Helper()
		r := record(t, s)
		if n := bytesOf(r) + fixed; n > most {
			t.Errorf("a row of %d bytes (%d of details, %d sealed), want %d at most:\n%s", n, len(r.Details), len(r.Sealed), most, r.Details)
		}
	}
	ask := func(t *testing.T, k *custody.Keeper) { time.Sleep(life); _, _ = k.Token(t.Context(), user) }
	t.Run("three refreshes", func(t *testing.T) {
		bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
			pkbTokens(i)
			k := keeper(t, s, i, partner)
			must(t, approve(t, k, i, session(0)))
			for range 3 {
				ask(t, k)
			}
			is(t, s, 1<<10)
		})
	})
	for name, round := range map[string]func(t *testing.T, k *custody.Keeper, i *issuer, n int){
		"responses that are lost": func(t *testing.T, k *custody.Keeper, i *issuer, n int) {
			i.disturb = func(int, func() tokenwire.Outcome) tokenwire.Outcome {
				return tokenwire.Outcome{Class: tokenwire.Ambiguous}
			}
			ask(t, k)
			pkbTokens(i)
			ask(t, k)
		},
		"sessions that end": func(t *testing.T, k *custody.Keeper, i *issuer, n int) {
			for range 3 {
				ask(t, k)
			}
			_ = k.Lose(t.Context(), user, token(t, k), sessionExpired)
			must(t, approve(t, k, i, session(n)))
		},
		"authorizations": func(t *testing.T, k *custody.Keeper, i *issuer, n int) { must(t, approve(t, k, i, session(n))) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				pkbTokens(i)
				k := keeper(t, s, i, partner)
				must(t, approve(t, k, i, session(0)))
				n := 1
				for past := []custody.Happened(nil); len(past) < 40; n++ {
					round(t, k, i, n)
					var err error
					past, err = k.Past(t.Context(), user)
					must(t, err)
				}
				ask(t, k)
				is(t, s, 2<<10)
			})
		})
	}
}
