// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/tokenstore"
)

// ofSweeps are the members of a record's details that a version without sweeps does
// not know.
var ofSweeps = []string{"notices", "noticed", "teller", "telling", "tell_at", "warned", "warned_level"}

// older is a store as a version without sweeps uses it: it has no column for TendAt,
// which its writes leave as it is, and takes the members of sweeps for somebody
// else's.
type older struct{ tokenstore.Store }

func (s older) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := s.Store.Load(ctx, user)
	r.TendAt = time.Time{}
	r.Details = renamed(r.Details, func(name string) string { return name + "?" })
	return r, err
}

func (s older) Save(ctx context.Context, r tokenstore.Record) (tokenstore.Record, error) {
	if is, err := s.Store.Load(ctx, r.AppUserID); err == nil {
		r.TendAt = is.TendAt
	} else {
		r.TendAt = time.Time{}
	}
	r.Details = renamed(r.Details, func(name string) string { return strings.TrimSuffix(name, "?") })
	r, err := s.Store.Save(ctx, r)
	r.TendAt = time.Time{}
	r.Details = renamed(r.Details, func(name string) string { return name + "?" })
	return r, err
}

// renamed renames the members of sweeps.
func renamed(details []byte, as func(string) string) []byte {
	return changed(details, func(all map[string]json.RawMessage) {
		for name, value := range maps.Clone(all) {
			if slices.Contains(ofSweeps, strings.TrimSuffix(name, "?")) {
				delete(all, name)
				all[as(name)] = value
			}
		}
	})
}

// changed changes the members of an object.
func changed(object []byte, change func(all map[string]json.RawMessage)) []byte {
	if len(object) == 0 {
		return object
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		panic(err) // a record of ours
	}
	change(all)
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return b
}

// S20: while replicas are updated one after the other, those of the version before
// know nothing of sweeps. Their writes lose no notice and no time at which a record is
// due, and what is owed is delivered once, whoever has written the record since.
func TestAVersionWithoutSweepsSideBySide(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var well atomic.Bool
		b := inbox{answer: func(context.Context, custody.Notice) error {
			if well.Load() {
				return nil
			}
			return errors.New("the queue is full")
		}}
		warns := func(c *custody.Config) {
			c.SessionLife, c.Warnings = 72*time.Hour, [2]time.Duration{36 * time.Hour, 6 * time.Hour}
		}
		k, before := keeper(t, s, i, b.config, warns), keeper(t, older{s}, i)
		stop := tending(t, k)
		link(t, k, i)
		for range 10 {
			time.Sleep(life)
			due := record(t, s).TendAt
			token(t, before)
			if at := record(t, s).TendAt; at.Before(due) || at.IsZero() {
				t.Fatalf("a refresh by the version before has left %v of %v", at, due)
			}
		}
		well.Store(true)
		time.Sleep(2 * time.Hour)
		delivered := func(from int, want ...string) {
			t.Helper()
			if got := b.kinds()[from:]; !slices.Equal(got, want) {
				t.Fatalf("the host was told %q, want %q", got, want)
			}
		}
		tried := b.count()
		if kinds := slices.Compact(b.kinds()); tried < 3 || !slices.Equal(kinds, []string{"made"}) || b.notices[0].ID != b.notices[tried-1].ID {
			t.Fatalf("told %q, the first as %q and the last as %q", kinds, b.notices[0].ID, b.notices[tried-1].ID)
		}
		for range 67 * 6 { // only the version before uses it
			time.Sleep(life)
			token(t, before)
		}
		delivered(tried, "ends soon", "ends soon")

		stop()
		must(t, k.Lose(t.Context(), user, token(t, k), frozen))
		must(t, before.Unlink(t.Context(), user))
		once(t, k)
		delivered(tried+2, "ended frozen")
		time.Sleep(49 * time.Hour)
		once(t, k)
		if _, err := s.Load(t.Context(), user); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("the tombstone that it left: %v", err)
		}
		if _, reuses := i.count(); reuses != 0 {
			t.Errorf("%d reused", reuses)
		}
	})
}

// S20: a record that a version without sweeps has made is not due, and owes nothing.
// It is looked after from the first write of this version on.
func TestARecordThatWasNeverDue(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		link(t, keeper(t, older{s}, i), i)
		k := keeper(t, s, i, b.config, func(c *custody.Config) { c.KeepWarm = 24 * time.Hour })
		if r := record(t, s); !r.TendAt.IsZero() || strings.Contains(string(r.Details), "notice") {
			t.Fatalf("due at %v, with %s", r.TendAt, r.Details)
		}
		if n := once(t, k); n != 0 {
			t.Errorf("looked at %d", n)
		}
		time.Sleep(life)
		token(t, k)
		if d := time.Until(record(t, s).TendAt); d < 23*time.Hour || d > 24*time.Hour {
			t.Errorf("after a refresh of this version it is due in %v", d)
		}
		time.Sleep(25 * time.Hour)
		once(t, k)
		wantPosts(t, i, 2)
		wantKinds(t, &b)
	})
}

// ofTomorrow rewrites what a record owes: its notice is of a kind that this version
// does not know and carries something more, and the one that this version knows comes
// after it.
func ofTomorrow(t *testing.T, s tokenstore.Store) {
	t.Helper()
	r := record(t, s)
	r.Details = changed(r.Details, func(all map[string]json.RawMessage) {
		var owed []map[string]any
		must(t, json.Unmarshal(all["notices"], &owed))
		first := maps.Clone(owed[0])
		first["kind"], first["of_tomorrow"] = 9, json.RawMessage(tomorrow)
		owed[0]["n"] = 2
		var err error
		all["notices"], err = json.Marshal([]any{first, owed[0]})
		must(t, err)
		all["noticed"] = json.RawMessage("2")
	})
	_, err := s.Save(t.Context(), r)
	must(t, err)
}

// S20: a notice of a kind that only a later version knows waits for that version, with
// all that is in it, and what came after it waits too, since the host is told in
// order. It holds up nothing else.
func TestNoticeOfALaterVersion(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		var b inbox
		warm := func(c *custody.Config) { c.KeepWarm = 2 * time.Hour }
		link(t, keeper(t, s, i, b.config), i)
		ofTomorrow(t, s)
		k := keeper(t, s, i, b.config, warm)
		tending(t, k)
		tending(t, keeper(t, s, i, b.config, warm))
		time.Sleep(20 * time.Hour)
		wantKinds(t, &b)
		if h := k.Health(); h.Undelivered != 1 {
			t.Errorf("%d undelivered, want the one that waits for a later version", h.Undelivered)
		}
		if posts, reuses := i.count(); posts < 9 || reuses != 0 {
			t.Errorf("%d refreshes in ten times KeepWarm, %d reused", posts, reuses)
		}
		if got := string(record(t, s).Details); !strings.Contains(got, `"of_tomorrow":`+tomorrow) {
			t.Errorf("what the later version wrote of it is lost: %s", got)
		}

		tending(t, keeper(t, knowing{s}, i, b.config))
		time.Sleep(3 * time.Hour)
		wantKinds(t, &b, "ends soon", "made")
		if h := k.Health(); h.Undelivered != 0 {
			t.Errorf("%d undelivered, and it has been delivered", h.Undelivered)
		}
	})
}

// knowing is a store as a version uses it that knows notices of kind 9: they stand
// here for those of kind 3.
type knowing struct{ *tokenstore.Memory }

func (s knowing) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	r, err := s.Memory.Load(ctx, user)
	r.Details = []byte(strings.ReplaceAll(string(r.Details), `"kind":9`, `"kind":3`))
	return r, err
}

// named is an element of a list as whoever has more to say of it writes it: an object.
func named(t *testing.T, list string, element json.RawMessage) json.RawMessage {
	t.Helper()
	if element[0] == '{' {
		return element
	}
	var of []json.RawMessage
	must(t, json.Unmarshal(element, &of))
	object := map[string]any{}
	switch list {
	case "marks":
		object["s"], object["is"] = of[0], of[1]
	case "past":
		var since int64
		must(t, json.Unmarshal(of[1], &since))
		object["kind"], object["at"] = of[0], time.UnixMilli(since).UTC() // the first: since 1970
	}
	b, err := json.Marshal(object)
	must(t, err)
	return b
}

// S20: so do the members that a later version has added to what is in a list, and to
// the response that is kept, through the writes of this one.
func TestMembersWithinMembersSurvive(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		full := inbox{answer: func(context.Context, custody.Notice) error { return errors.New("the queue is full") }}
		k := keeper(t, s, i, full.config)
		began := time.Now().Truncate(time.Millisecond)
		link(t, k, i)
		r := record(t, s)
		add := func(value json.RawMessage) json.RawMessage {
			return changed(value, func(all map[string]json.RawMessage) { all["of_tomorrow"] = json.RawMessage(tomorrow) })
		}
		lists := []string{"marks", "past", "notices"}
		r.Details = changed(r.Details, func(all map[string]json.RawMessage) {
			for _, list := range lists {
				var each []json.RawMessage
				must(t, json.Unmarshal(all[list], &each))
				each[0] = add(named(t, list, each[0]))
				all[list], _ = json.Marshal(each)
			}
		})
		plain, err := vault(t).Open(place(r), r.Sealed)
		must(t, err)
		plain = changed(plain, func(all map[string]json.RawMessage) { all["active"] = add(all["active"]) })
		r.Sealed, r.KeyID, err = vault(t).Seal(place(r), plain)
		must(t, err)
		_, err = s.Save(t.Context(), r)
		must(t, err)

		must(t, k.Lose(t.Context(), user, token(t, k), sessionExpired)) // seals, and adds to two of the lists
		once(t, k)
		r = record(t, s)
		var all map[string][]map[string]json.RawMessage
		_ = json.Unmarshal(r.Details, &all) // what is no list is an error, and the lists are there
		for _, list := range lists {
			if each := all[list]; len(each) == 0 || string(each[0]["of_tomorrow"]) != tomorrow {
				t.Errorf("%s: %s", list, each)
			}
		}
		past, err := k.Past(t.Context(), user)
		if must(t, err); len(past) < 4 || past[0].Kind != custody.Approved || !past[0].At.Equal(began) || past[1].At.Before(began) {
			t.Errorf("a past that began at %v: %v", began, past)
		}
		plain, err = vault(t).Open(place(r), r.Sealed)
		must(t, err)
		var sealed struct {
			Active struct {
				Tomorrow json.RawMessage `json:"of_tomorrow"`
			} `json:"active"`
			Cause string `json:"cause"`
		}
		must(t, json.Unmarshal(plain, &sealed))
		if string(sealed.Active.Tomorrow) != tomorrow || sealed.Cause == "" {
			t.Errorf("sealed: %s", plain)
		}
	})
}
