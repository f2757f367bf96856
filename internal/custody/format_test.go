// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// later turns a record into what a later version of the same format would have
// written: with members that this one does not know.
func later(t testing.TB, s tokenstore.Store) {
	t.Helper()
	r := record(t, s)
	add := func(object []byte) []byte {
		var all map[string]json.RawMessage
		must(t, json.Unmarshal(object, &all))
		all["of_tomorrow"] = json.RawMessage(tomorrow)
		b, err := json.Marshal(all)
		must(t, err)
		return b
	}
	r.Details = add(r.Details)
	plain, err := vault(t).Open(place(r), r.Sealed)
	must(t, err)
	r.Sealed, r.KeyID, err = vault(t).Seal(place(r), add(plain))
	must(t, err)
	_, err = s.Save(t.Context(), r)
	must(t, err)
}

const tomorrow = `{"deep":[1,2.50,"ü",null]}`

// wantTomorrow checks that the members of the later version are still there.
func wantTomorrow(t testing.TB, s tokenstore.Store, sealed bool) {
	t.Helper()
	r := record(t, s)
	is := func(of string, object []byte) {
		t.Helper()
		var got struct {
			Tomorrow json.RawMessage `json:"of_tomorrow"`
		}
		if err := json.Unmarshal(object, &got); err != nil || string(got.Tomorrow) != tomorrow {
			t.Errorf("%s: %s, %v: what a later version wrote is lost", of, got.Tomorrow, err)
		}
	}
	is("details", r.Details)
	if !sealed {
		return
	}
	plain, err := vault(t).Open(place(r), r.Sealed)
	must(t, err)
	is("sealed", plain)
}

// S20: two versions side by side: what a later one has written and this one does not
// know survives every write of this one.
func TestMembersOfALaterVersionSurvive(t *testing.T) {
	for name, tc := range map[string]struct {
		do func(t *testing.T, k *custody.Keeper, i *issuer)
		// bare: the write leaves no tokens, and with them no sealed part.
		bare bool
	}{
		"a refresh": {do: func(t *testing.T, k *custody.Keeper, _ *issuer) { time.Sleep(life); wantToken(t, k, "access-2") }},
		"a refresh with beats": {do: func(t *testing.T, k *custody.Keeper, i *issuer) {
			i.slow(time.Minute)
			time.Sleep(life)
			wantToken(t, k, "access-2")
		}},
		"a refusal": {do: func(t *testing.T, k *custody.Keeper, i *issuer) {
			trouble(i, &tokenwire.Outcome{Class: tokenwire.Unclear, Status: 400})
			time.Sleep(life)
			wantWait(t, k, custody.WaitUnclear)
		}},
		"an unread response": {do: func(t *testing.T, k *custody.Keeper, i *issuer) {
			trouble(i, &tokenwire.Outcome{Class: tokenwire.Unread, Status: 200, Body: []byte(`{"data":{}}`)})
			_, err := k.Replace(t.Context(), user, token(t, k))
			var wait *custody.WaitError
			if !errors.As(err, &wait) || wait.Reason != custody.WaitUnread {
				t.Errorf("Replace: %v", err)
			}
		}},
		"the end of the session":       {do: func(t *testing.T, k *custody.Keeper, _ *issuer) { lose(t, k, sessionExpired) }},
		"an authorization":             {do: func(t *testing.T, k *custody.Keeper, i *issuer) { must(t, approve(t, k, i, "second")) }},
		"an authorization for nothing": {do: func(t *testing.T, k *custody.Keeper, _ *issuer) { spend(t, k, "second") }},
		"an unlink":                    {do: func(t *testing.T, k *custody.Keeper, _ *issuer) { must(t, k.Unlink(t.Context(), user)) }, bare: true},
		"an unlink and a new beginning": {do: func(t *testing.T, k *custody.Keeper, i *issuer) {
			must(t, k.Unlink(t.Context(), user))
			must(t, approve(t, k, i, "second"))
		}, bare: true},
		"another key": {do: func(t *testing.T, k *custody.Keeper, _ *issuer) {
			must(t, k.Ring.Add("k2", bytes.Repeat([]byte{2}, seal.KeySize)))
			must(t, k.Ring.Promote("k2"))
			if done, err := k.Reseal(t.Context(), user); !done || err != nil {
				t.Errorf("Reseal: %v, %v", done, err)
			}
			must(t, k.Ring.Promote("k1"))
			if done, err := k.Reseal(t.Context(), user); !done || err != nil {
				t.Errorf("Reseal: %v, %v", done, err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
				k := keeper(t, s, i)
				link(t, k, i)
				later(t, s)
				before := record(t, s)
				tc.do(t, k, i)
				synctest.Wait()
				if after := record(t, s); after.Version == before.Version {
					t.Fatal("nothing was written")
				}
				wantTomorrow(t, s, !tc.bare)
			})
		})
	}
}

// S20: a record that a later version has written in a format of its own is left
// alone in every way, also by an unlink, and reported as what it is.
func TestRecordOfALaterFormat(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		was := token(t, k)
		r := record(t, s)
		r.Details = bytes.Replace(r.Details, []byte(`"v":1`), []byte(`"v":2`), 1)
		r.Sealed = []byte("of an unknown format")
		r, err := s.Save(t.Context(), r)
		must(t, err)
		time.Sleep(life) // what was in memory has expired
		for of, do := range methods {
			err := do(t.Context(), k, i, was)
			switch of {
			case "Past": // of the details, whose members it knows
				must(t, err)
			case "Purge": // of another state
				if err == nil {
					t.Errorf("%s was done", of)
				}
			default:
				if !errors.Is(err, custody.ErrNewer) {
					t.Errorf("%s: %v, want that a later version has written it", of, err)
				}
			}
		}
		if diff := cmp.Diff(r, record(t, s)); diff != "" {
			t.Errorf("record (-before +after):\n%s", diff)
		}
		wantPosts(t, i, 0)
	})
}

// The link works on when a damaged record is restored: whatever was called
// meanwhile, nothing was written and nothing was sent.
func TestDamageThatIsRepaired(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer, s *tokenstore.Memory) {
		k := keeper(t, s, i)
		link(t, k, i)
		time.Sleep(life)
		good := record(t, s)
		bad := good
		bad.PublicID = "patient-2"
		bad, err := s.Save(t.Context(), bad)
		must(t, err)
		wantNotOurs(t, k, i, custody.ErrDamaged)
		wantPosts(t, i, 0)
		good.Version = bad.Version
		_, err = s.Save(t.Context(), good)
		must(t, err)
		wantToken(t, k, "access-2")
		// A damaged link can be unlinked all the same.
		bad = record(t, s)
		bad.Sealed[len(bad.Sealed)-1] ^= 1
		_, err = s.Save(t.Context(), bad)
		must(t, err)
		must(t, k.Unlink(t.Context(), user))
		if r := record(t, s); r.State != tokenstore.StateUnlinked || len(r.Sealed) != 0 {
			t.Errorf("left: %s with %d sealed bytes", r.State, len(r.Sealed))
		}
		wantNoLink(t, k)
		must(t, approve(t, k, i, "again"))
		wantToken(t, k, "access-3")
	})
}
