// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// checks are the contract. Names are stable.
var checks = []check{
	{
		"missing record", "a user without a link must not look like one whose link cannot be read",
		func(p *probe) {
			_, err := p.store.Load(p.ctx, p.id("missing"))
			p.want("Load of a record that was never saved", err, tokenstore.ErrNotFound)
			p.want("Delete of a record that was never saved", p.store.Delete(p.ctx, p.id("missing"), 1), tokenstore.ErrNotFound)
		},
	},
	{
		"round trip", "a field that comes back changed is a token that does not open, a lease that never ends, or a link sent to the wrong environment",
		func(p *probe) {
			want := full(p.id("full"))
			saved := p.create(want)
			if saved.Version == 0 {
				p.errorf("Save returned version 0")
			}
			want.Version = saved.Version
			p.same("what Save returned", want, saved)
			p.holds("what Load returned", want)

			least := p.create(tokenstore.Record{AppUserID: p.id("empty")})
			p.holds("an empty record", tokenstore.Record{AppUserID: p.id("empty"), Version: least.Version})

			// And from all fields set to none.
			emptied := tokenstore.Record{AppUserID: want.AppUserID, Version: want.Version, State: tokenstore.StateUnlinked}
			saved, err := p.store.Save(p.ctx, emptied)
			p.must("emptying a record", err)
			emptied.Version = saved.Version
			p.holds("a record that was emptied", emptied)
		},
	},
	{ // S52
		"large values", "a token response that does not fit is a successor that is lost after its predecessor was spent",
		func(p *probe) {
			r := full(p.id("large"))
			r.Sealed = bytes.Repeat([]byte{0, 0xff, '\'', '\\'}, tokenstore.MaxSealed/4)
			r.Details = bytes.Repeat([]byte("ü"), tokenstore.MaxDetails/2)
			r.Pair, r.Candidate = strings.Repeat("~", tokenstore.MaxPair), strings.Repeat("x", tokenstore.MaxPair)
			r.Version = p.create(r).Version
			p.holds("the largest record", r)
		},
	},
	{
		"limits", "a record that is cut instead of refused loses its tokens unnoticed",
		func(p *probe) {
			long := p.id(strings.Repeat("x", tokenstore.MaxUserID+64))
			pair := strings.Repeat("x", tokenstore.MaxPair+1)
			for what, r := range map[string]tokenstore.Record{
				"no id": {}, "an id that is too long": {AppUserID: long}, "an id that is not UTF-8": {AppUserID: p.id("\xff")},
				"too large a blob":   {AppUserID: p.id("blob"), Sealed: make([]byte, tokenstore.MaxSealed+1)},
				"too large a detail": {AppUserID: p.id("details"), Details: make([]byte, tokenstore.MaxDetails+1)},
				"too long a pair":    {AppUserID: p.id("pair"), Pair: pair}, "too long a candidate": {AppUserID: p.id("candidate"), Candidate: pair},
				"a pair that is not ASCII": {AppUserID: p.id("umlaut"), Pair: "ü"}, "a candidate with a NUL": {AppUserID: p.id("nul"), Candidate: "a\x00"},
			} {
				if _, err := p.store.Save(p.ctx, r); err == nil {
					p.errorf("Save took %s", what)
				}
				if r.AppUserID == "" {
					continue
				}
				if _, err := p.store.Load(p.ctx, r.AppUserID); err == nil {
					p.errorf("%s was stored", what)
				}
			}
		},
	},
	{ // S51
		"times", "a time that is rounded or shifted makes a token look valid that is not, or a lease ended that has not",
		func(p *probe) {
			east := time.FixedZone("east", 5*3600+1800)
			for i, at := range []time.Time{
				time.UnixMicro(1), time.Unix(0, 0).Add(-time.Microsecond), time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
				time.Date(2026, 10, 25, 1, 30, 0, 1000, time.UTC), time.Date(2026, 7, 1, 12, 0, 0, 500000000, east),
				time.Date(2026, 2, 28, 23, 59, 59, 999999000, time.UTC),
			} {
				r := tokenstore.Record{AppUserID: p.id(fmt.Sprint("time", i)), ExpiresAt: at, Lease: tokenstore.Lease{TTL: 1234567, TakenAt: at}}
				r.Version = p.create(r).Version
				got := p.load(r.AppUserID)
				if !got.ExpiresAt.Equal(at) || got.ExpiresAt.Location() != time.UTC {
					p.errorf("saved %v, loaded %v", at, got.ExpiresAt)
				}
				if got.Lease.TTL != 1234*time.Microsecond || !got.Lease.TakenAt.Equal(at) {
					p.errorf("saved a lease of 1.234567ms taken at %v, loaded %v and %v", at, got.Lease.TTL, got.Lease.TakenAt)
				}
				if !got.EndsAt.IsZero() {
					p.errorf("a zero time came back as %v", got.EndsAt)
				}
			}
		},
	},
	{ // S53
		"ids", "two users whose ids are folded into one share one patient's record",
		func(p *probe) {
			ids := []string{
				"a", "A", "a ", " a", "a\t", "a\x00", "a\x00b", "é", "e\u0301", "ß", "ss", "İ", "i", "ı", "K", "\u212a", "Ａ",
				"日本", "👩‍⚕️", "👩", "\u202eabc", "\ufeffa", "%", "_", "a%", "'; DROP TABLE x; --", `"`, `\`, `\\`, "{}", "null", "0", "00", "1e1", "a:b", "a/b", "../a",
				"\u00e5", "\u212b", "ff", "ﬀ", strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("x", 300) + "a", strings.Repeat("x", 300) + "b",
			}
			ids = append(ids, strings.Repeat("ü", (tokenstore.MaxUserID-len(p.prefix))/2))
			for i, id := range ids {
				p.create(tokenstore.Record{AppUserID: p.id(id), PublicID: fmt.Sprint(i)})
			}
			for i, id := range ids {
				if got := p.load(p.id(id)); got.PublicID != fmt.Sprint(i) || got.AppUserID != p.id(id) {
					p.errorf("the record of id %q is that of %q", id, strings.TrimPrefix(got.AppUserID, p.prefix))
				}
			}
		},
	},
	{
		"stale write", "a write over somebody else's loses the successor of a spent refresh token",
		func(p *probe) {
			first := p.create(full(p.id("stale")))
			second, err := p.store.Save(p.ctx, first)
			p.must("saving on the current version", err)
			if second.Version == first.Version {
				p.errorf("the version did not change with Save")
			}
			stale := first
			stale.Cause = "stale"
			_, err = p.store.Save(p.ctx, stale)
			p.want("Save on an old version", err, tokenstore.ErrConflict)
			stale.Version = second.Version + 1000
			_, err = p.store.Save(p.ctx, stale)
			p.want("Save on a version that never was", err, tokenstore.ErrConflict)
			stale.Version = 0
			_, err = p.store.Save(p.ctx, stale)
			p.want("creating a record that exists", err, tokenstore.ErrConflict)
			p.holds("after refused writes", second)

			stale.AppUserID, stale.Version = p.id("never"), 7
			_, err = p.store.Save(p.ctx, stale)
			p.want("Save with a version where there is no record", err, tokenstore.ErrConflict)
			_, err = p.store.Load(p.ctx, stale.AppUserID)
			p.want("Load after it", err, tokenstore.ErrNotFound)
		},
	},
	{
		"delete", "a delete that ignores the version takes away a link that was just made",
		func(p *probe) {
			first := p.create(full(p.id("delete")))
			second, err := p.store.Save(p.ctx, first)
			p.must("saving", err)
			p.want("Delete on an old version", p.store.Delete(p.ctx, first.AppUserID, first.Version), tokenstore.ErrConflict)
			p.want("Delete on version 0", p.store.Delete(p.ctx, first.AppUserID, 0), tokenstore.ErrConflict)
			p.holds("after refused deletes", second)
			p.must("Delete on the current version", p.store.Delete(p.ctx, first.AppUserID, second.Version))
			_, err = p.store.Load(p.ctx, first.AppUserID)
			p.want("Load after Delete", err, tokenstore.ErrNotFound)
			p.want("Delete again", p.store.Delete(p.ctx, first.AppUserID, second.Version), tokenstore.ErrNotFound)
			_, err = p.store.Save(p.ctx, second)
			p.want("Save after Delete", err, tokenstore.ErrConflict)
		},
	},
	{
		"versions are never used twice", "a process that slept through an unlink and a new link would write the old patient's tokens over the new one's",
		func(p *probe) {
			seen := map[uint64]bool{}
			var old []tokenstore.Record
			for range 10 {
				r := p.create(full(p.id("again")))
				for range 3 {
					if seen[r.Version] {
						p.errorf("version %d was given out twice", r.Version)
					}
					seen[r.Version] = true
					old = append(old, r)
					var err error
					r, err = p.store.Save(p.ctx, r)
					p.must("saving", err)
				}
				for _, o := range old {
					if _, err := p.store.Save(p.ctx, o); !errors.Is(err, tokenstore.ErrConflict) {
						p.errorf("a version from before the deletion was accepted: %v", err)
						return
					}
				}
				seen[r.Version] = true
				p.must("deleting", p.store.Delete(p.ctx, r.AppUserID, r.Version))
			}
		},
	},
	{
		"independence", "a caller that reuses its buffer would change tokens in the store",
		func(p *probe) {
			r := full(p.id("shared"))
			want := r.Clone()
			saved := p.create(r)
			want.Version = saved.Version
			scribble := func(r tokenstore.Record) {
				clear(r.Sealed)
				clear(r.Details)
			}
			scribble(r)
			p.holds("after the caller changed what it had saved", want)
			scribble(saved)
			p.holds("after the caller changed what Save returned", want)
			scribble(p.load(want.AppUserID))
			p.holds("after the caller changed what Load returned", want)
		},
	},
	{
		"no lost update", "of two replicas that refresh at once, one must learn that it was late",
		func(p *probe) {
			const workers, each = 16, 25
			id := p.id("counter")
			p.create(tokenstore.Record{AppUserID: id})
			var wg sync.WaitGroup
			var mu sync.Mutex
			winners := map[uint64]int{}
			for range workers {
				wg.Go(func() {
					for done := 0; done < each; {
						r, err := p.store.Load(p.ctx, id)
						if err != nil {
							p.errorf("Load while others write: %v", err)
							return
						}
						base := r.Version
						r.Generation++
						_, err = p.store.Save(p.ctx, r)
						switch {
						case err == nil:
							done++
							mu.Lock()
							winners[base]++
							mu.Unlock()
						case !errors.Is(err, tokenstore.ErrConflict):
							p.errorf("Save while others write: %v, want ErrConflict or success", err)
							return
						}
					}
				})
			}
			wg.Wait()
			if got := p.load(id).Generation; got != workers*each {
				p.errorf("%d of %d acknowledged updates are there", got, workers*each)
			}
			for version, n := range winners {
				if n > 1 {
					p.errorf("%d writes were accepted on version %d", n, version)
				}
			}
		},
	},
	{
		"one creator", "two callbacks at once would both make the link",
		func(p *probe) {
			for round := range 10 {
				var wg sync.WaitGroup
				var mu sync.Mutex
				made := 0
				for i := range 8 {
					wg.Go(func() {
						_, err := p.store.Save(p.ctx, tokenstore.Record{AppUserID: p.id(fmt.Sprint("create", round)), Cause: fmt.Sprint(i)})
						switch {
						case err == nil:
							mu.Lock()
							made++
							mu.Unlock()
						case !errors.Is(err, tokenstore.ErrConflict):
							p.errorf("creating at once: %v, want ErrConflict or success", err)
						}
					})
				}
				wg.Wait()
				if made != 1 {
					p.errorf("Save succeeded for %d of 8 creators", made)
				}
			}
		},
	},
	{
		"delete against save", "an unlink that a late refresh undoes",
		func(p *probe) {
			for round := range 20 {
				r := p.create(tokenstore.Record{AppUserID: p.id(fmt.Sprint("race", round))})
				var wg sync.WaitGroup
				var saveErr, deleteErr error
				wg.Go(func() { _, saveErr = p.store.Save(p.ctx, r) })
				wg.Go(func() { deleteErr = p.store.Delete(p.ctx, r.AppUserID, r.Version) })
				wg.Wait()
				_, err := p.store.Load(p.ctx, r.AppUserID)
				switch {
				case saveErr == nil && deleteErr == nil:
					p.errorf("both succeeded on one version")
				case deleteErr == nil:
					p.want("Load after an acknowledged Delete", err, tokenstore.ErrNotFound)
				case saveErr == nil:
					p.want("the Delete that lost", deleteErr, tokenstore.ErrConflict)
				default:
					p.errorf("both failed: %v, %v", saveErr, deleteErr)
				}
			}
		},
	},
	{
		"read your writes", "a replica that reads an outdated record sends a spent refresh token",
		func(p *probe) {
			id := p.id("reads")
			r := p.create(tokenstore.Record{AppUserID: id})
			for range 50 {
				var err error
				r.Generation++
				r, err = p.store.Save(p.ctx, r)
				p.must("saving", err)
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						if got, err := p.store.Load(p.ctx, id); err != nil || got.Generation != r.Generation || got.Version != r.Version {
							p.errorf("loaded generation %d after %d was acknowledged (%v)", got.Generation, r.Generation, err)
						}
					})
				}
				wg.Wait()
			}
		},
	},
	{
		"cancellation", "a caller that has given up must not write, and must not break the store for others",
		func(p *probe) {
			r := p.create(full(p.id("cancel")))
			ctx, cancel := context.WithCancel(p.ctx)
			cancel()
			_, err := p.store.Load(ctx, r.AppUserID)
			p.want("Load", err, context.Canceled)
			changed := r
			changed.Cause = "cancelled"
			_, err = p.store.Save(ctx, changed)
			p.want("Save", err, context.Canceled)
			p.want("Delete", p.store.Delete(ctx, r.AppUserID, r.Version), context.Canceled)
			p.holds("after cancelled calls", r)
			// A context that a store has derived may end a moment later than its parent.
			for i := range 100 {
				id := p.id(fmt.Sprint("cancelled ", i))
				_, err := p.store.Save(ctx, tokenstore.Record{AppUserID: id})
				_, missing := p.store.Load(p.ctx, id)
				if !errors.Is(err, context.Canceled) || !errors.Is(missing, tokenstore.ErrNotFound) {
					p.errorf("Save of a new record for a caller who had given up: %v; Load then: %v", err, missing)
					return
				}
			}
		},
	},
	{
		"cancellation in the middle", "half a write is a pair whose halves belong to two sessions",
		func(p *probe) {
			r := p.create(tokenstore.Record{AppUserID: p.id("storm"), Cause: "0", PublicID: "0"})
			// A database may execute what it was sent after its client has given up,
			// and after the Load that follows: until the version changes.
			sent := map[string]bool{}
			for i := 1; i <= 60; i++ {
				ctx, cancel := context.WithTimeout(p.ctx, time.Duration(i%12)*50*time.Microsecond)
				next := r
				next.Cause, next.PublicID = fmt.Sprint(i), fmt.Sprint(i)
				sent[next.Cause] = true
				_, err := p.store.Save(ctx, next)
				cancel()
				now := p.load(r.AppUserID)
				known := sent[now.Cause]
				if now.Version == r.Version {
					known = now.Cause == r.Cause
				}
				if now.Cause != now.PublicID || err == nil && now.Cause != next.Cause || !known {
					p.errorf("after Save with a short deadline (%v) the record has %q and %q", err, now.Cause, now.PublicID)
					return
				}
				if now.Version != r.Version {
					clear(sent)
				}
				r = now
			}
		},
	},
	{
		"errors keep quiet", "an error text with a user's id or tokens ends in a log",
		func(p *probe) {
			id := p.id("quiet-canary")
			r := p.create(tokenstore.Record{AppUserID: id, Sealed: []byte("sealed-canary")})
			_, missing := p.store.Load(p.ctx, id+"-missing")
			_, stale := p.store.Save(p.ctx, tokenstore.Record{AppUserID: id, Version: r.Version + 1, Sealed: []byte("sealed-canary")})
			_, large := p.store.Save(p.ctx, tokenstore.Record{AppUserID: id, Version: r.Version, Sealed: bytes.Repeat([]byte("sealed-canary"), 10000)})
			for _, err := range []error{missing, stale, large, p.store.Delete(p.ctx, id, r.Version+1)} {
				if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "canary") || strings.Contains(text, p.prefix) {
					p.errorf("an error repeats the id or the blob")
				}
			}
		},
	},
	{
		"list", "a sweep that skips a link lets it end; one that sees it twice does its work twice",
		func(p *probe) {
			lister, ok := p.store.(tokenstore.Lister)
			if !ok {
				p.skip("Lister", "Client.Links, Reseal, RetireKey, Purge and tokenstore.Copy cannot be used")
			}
			var want []string
			for _, s := range []string{"b", "a", "B", "a\x00", "é", "z", "👩", "aa", "\uffff", "c'", "ab"} {
				want = append(want, p.id(s))
				p.create(full(p.id(s)))
			}
			slices.Sort(want)
			for _, limit := range []int{1, 2, 3, 5, 100} {
				got := p.walk(lister, limit)
				if !slices.Equal(got, want) {
					p.errorf("List in pages of %d: got %q, want %q", limit, trimAll(got, p.prefix), trimAll(want, p.prefix))
				}
			}
			if page, err := lister.List(p.ctx, p.id("b"), 1); err == nil && len(page) == 1 {
				p.holds("what List returned", page[0])
			}
		},
	},
	{
		"find", "a patient's record that two users have linked shows one of them somebody else's data, unnoticed",
		func(p *probe) {
			finder, ok := p.store.(tokenstore.Finder)
			if !ok {
				p.skip("Finder", "two users who link the same patient's record are not detected")
			}
			shared, other := p.id("shared"), p.id("other")
			var want []string
			for i, state := range []tokenstore.State{
				tokenstore.StateUnlinked, tokenstore.StateLinked, tokenstore.StateRelinkRequired, tokenstore.StatePending, tokenstore.StateUncertain, "",
			} {
				linked, claims, both := full(p.id(fmt.Sprint(9-i, "b"))), full(p.id(fmt.Sprint(9-i, "a"))), full(p.id(fmt.Sprint(9-i, "c")))
				linked.PublicID, claims.Claim, both.PublicID, both.Claim = shared, shared, shared, shared
				for _, r := range []tokenstore.Record{linked, claims, both} {
					r.State = state
					p.create(r)
					want = append(want, r.AppUserID)
				}
			}
			slices.Sort(want)
			r, claims := full(p.id("d")), full(p.id("e"))
			r.PublicID, claims.Claim = other, other
			r, claims = p.create(r), p.create(claims)
			find := func(publicID string, limit int) (ids []string) {
				found, err := finder.FindPublicID(p.ctx, publicID, limit)
				p.must("FindPublicID", err)
				for _, r := range found {
					p.holds("what FindPublicID returned", r)
					ids = append(ids, r.AppUserID)
				}
				return ids
			}
			for limit, want := range map[int][]string{1: want[:1], 2: want[:2], len(want): want, 100: want} {
				if got := find(shared, limit); !slices.Equal(got, want) {
					p.errorf("FindPublicID, at most %d: got %q, want %q", limit, trimAll(got, p.prefix), trimAll(want, p.prefix))
				}
			}
			for what, id := range map[string]string{"in capitals": strings.ToUpper(shared), "with a space": shared + " ", "empty": ""} {
				if got := find(id, 10); len(got) > 0 {
					p.errorf("FindPublicID of the id %s found %q", what, trimAll(got, p.prefix))
				}
			}
			// It sees the latest write.
			r.PublicID, claims.Claim = "", ""
			for _, r := range []tokenstore.Record{r, claims} {
				_, err := p.store.Save(p.ctx, r)
				p.must("saving", err)
			}
			if got := find(other, 10); len(got) > 0 {
				p.errorf("FindPublicID found %q by a public id that they no longer have", trimAll(got, p.prefix))
			}
		},
	},
	{
		"count", "a progress that counts other records than those that are listed never ends, or ends too early",
		func(p *probe) {
			counter, ok := p.store.(tokenstore.Counter)
			if !ok {
				p.skip("Counter", "Client.Reseal and tokenstore.Copy do not show how much is left")
			}
			before, err := counter.Count(p.ctx)
			p.must("Count", err)
			for i := range 3 {
				p.create(tokenstore.Record{AppUserID: p.id(fmt.Sprint("count", i))})
			}
			if after, err := counter.Count(p.ctx); err != nil || after < before+3 && after < 3 {
				p.errorf("Count is %d, and was %d before three records were made (%v)", after, before, err)
			}
		},
	},
	{
		"due", "a link that no sweep finds ends without a warning; one that every sweep finds costs its work each time",
		func(p *probe) {
			scheduler, ok := p.store.(tokenstore.Scheduler)
			if !ok {
				p.skip("Scheduler", "Client.Tend lists all records at each sweep, which suits small stores only")
			}
			// Long ago, so that few records of others come before.
			at := func(micros int) time.Time {
				return time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(micros) * time.Microsecond)
			}
			due := func(before, limit int) (ids []string) {
				found, err := scheduler.Due(p.ctx, at(before), limit)
				p.must("Due", err)
				if len(found) > limit {
					p.errorf("Due returned %d records, at most %d were wanted", len(found), limit)
				}
				for _, r := range found {
					if strings.HasPrefix(r.AppUserID, p.prefix) {
						p.holds("what Due returned", r)
						ids = append(ids, r.AppUserID)
					}
				}
				return ids
			}
			var saved []tokenstore.Record
			for _, of := range []struct {
				id string
				at time.Time
			}{{"c", at(1)}, {"b", at(2)}, {"a", at(2)}, {"B", at(2)}, {"later", at(1000)}, {"never", time.Time{}}} {
				r := full(p.id(of.id))
				r.TendAt, r.DueAt = of.at, at(0)
				saved = append(saved, p.create(r))
			}
			want := []string{p.id("c"), p.id("B"), p.id("a"), p.id("b")}
			if got := due(2, 1000); !slices.Equal(got, want) {
				p.errorf("Due: got %q, want %q", trimAll(got, p.prefix), trimAll(want, p.prefix))
			}
			if got := due(1, 1000); !slices.Equal(got, want[:1]) {
				p.errorf("Due a microsecond before: got %q, want %q", trimAll(got, p.prefix), trimAll(want[:1], p.prefix))
			}
			if got, err := scheduler.Due(p.ctx, at(2), 2); err != nil || len(got) != 2 {
				p.errorf("Due, at most 2: got %d records, %v", len(got), err)
			}
			for _, r := range saved { // also so that the next run finds none of them
				r.TendAt = time.Time{}
				_, err := p.store.Save(p.ctx, r)
				p.must("saving", err)
			}
			if got := due(2, 1000); len(got) > 0 {
				p.errorf("Due still returns %q, which nothing is due for", trimAll(got, p.prefix))
			}
		},
	},
	{
		"closed store", "a store that returns records after Close has no database behind them",
		func(p *probe) {
			c, ok := p.store.(io.Closer)
			if !ok {
				return // closing is the host's business then
			}
			r := p.create(full(p.id("closed")))
			p.must("Close", c.Close())
			_, err := p.store.Load(p.ctx, r.AppUserID)
			p.want("Load", err, tokenstore.ErrClosed)
			_, err = p.store.Save(p.ctx, r)
			p.want("Save", err, tokenstore.ErrClosed)
			p.want("Delete", p.store.Delete(p.ctx, r.AppUserID, r.Version), tokenstore.ErrClosed)
		},
	},
}

func trimAll(ids []string, prefix string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = strings.TrimPrefix(id, prefix)
	}
	return out
}
