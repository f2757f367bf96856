// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// keyed returns a rig whose tokens are sealed with the key "old", and with "new"
// on the keyring.
func keyed(t *testing.T) *rig {
	t.Helper()
	keys := &keys.Keyring{}
	for i, id := range []string{"old", "new"} {
		if err := keys.AddKey(id, bytes.Repeat([]byte{byte(i + 1)}, 32)); err != nil {
			t.Fatal(err)
		}
	}
	return newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = keys })
}

// reseal runs a Reseal to its end.
func reseal(ctx context.Context, c *pkb.Client) (last pkb.ResealProgress, err error) {
	for p, err := range c.Reseal(ctx) {
		last = p
		if err != nil {
			return last, err
		}
	}
	return last, nil
}

// S57: keys rotate while links are used, by several replicas, and none is lost
// or refreshed for it.
func TestKeysRotateUnderTraffic(t *testing.T) {
	r := keyed(t)
	const links = 60
	users := make([]string, links)
	for i := range users {
		users[i] = fmt.Sprintf("user-%03d", i)
		r.link(t, users[i], r.patient, pkb.AllowShared())
	}
	if err := r.RetireKey(t.Context(), "old"); !errors.As(err, new(*pkb.ConfigError)) {
		t.Errorf("RetireKey of the key that seals: %v, want ErrKeyInUse", err)
	}
	if err := r.config.Keys.Promote("new"); err != nil {
		t.Fatal(err)
	}
	if err := r.RetireKey(t.Context(), "old"); !errors.As(err, new(*pkb.ConfigError)) || !strings.Contains(err.Error(), "60") {
		t.Errorf("RetireKey of a key that 60 records name: %v, want ErrKeyInUse", err)
	}

	r.pkb.Advance(9 * time.Minute) // refreshes are due
	stop := make(chan struct{})
	var traffic sync.WaitGroup
	for range 2 {
		c := r.replica(t)
		traffic.Go(func() {
			defer func() { // refreshes in the background are waited for
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Token(t.Context(), users[i%links]); err != nil {
					t.Errorf("Token during Reseal: %v", err)
					return
				}
			}
		})
	}
	p, err := reseal(t.Context(), r.Client)
	close(stop)
	traffic.Wait()
	if err != nil || p.Records != links || p.Total != links || p.Failed != 0 {
		t.Errorf("Reseal = %+v, %v", p, err)
	}
	if p, err = reseal(t.Context(), r.Client); err != nil || p.Resealed != 0 {
		t.Errorf("the second Reseal = %+v, %v, want nothing left to do", p, err)
	}
	for _, u := range users {
		rec, err := r.store.Load(t.Context(), u)
		if err != nil || rec.KeyID != "new" || rec.State != tokenstore.StateLinked {
			t.Errorf("%s: key %q, %s, %v", u, rec.KeyID, rec.State, err)
		}
	}
	if err := r.RetireKey(t.Context(), "old"); err != nil {
		t.Errorf("RetireKey: %v", err)
	}
	if err := r.RetireKey(t.Context(), "old"); err == nil {
		t.Error("a key was retired twice")
	}
	if _, err := r.replica(t).Token(t.Context(), users[0]); err != nil {
		t.Errorf("Token with the new key alone: %v", err)
	}
	if n := r.pkb.ReusedRefreshTokens(); n != 0 {
		t.Errorf("%d refresh tokens came twice", n)
	}
}

// A link that does not open is counted, left as it is, and stops no other.
func TestResealLeavesWhatDoesNotOpen(t *testing.T) {
	r := keyed(t)
	r.link(t, "user-1", r.patient)
	r.link(t, "user-2", r.pkb.AddPatient(pkbtest.Patient{}))
	bad, err := r.store.Load(t.Context(), "user-1")
	if err != nil {
		t.Fatal(err)
	}
	bad.Sealed[len(bad.Sealed)-1] ^= 1
	if bad, err = r.store.Save(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := r.config.Keys.Promote("new"); err != nil {
		t.Fatal(err)
	}
	p, err := reseal(t.Context(), r.Client)
	if !errors.Is(err, pkb.ErrKeys) || p.Failed != 1 || p.Resealed != 1 {
		t.Errorf("Reseal = %+v, %v", p, err)
	}
	if now, err := r.store.Load(t.Context(), "user-1"); err != nil || now.Version != bad.Version {
		t.Errorf("the record that does not open was written: %v", err)
	}
}

// An interrupted Reseal is begun again.
func TestResealCanBeInterrupted(t *testing.T) {
	r := keyed(t)
	for i := range 450 {
		r.link(t, fmt.Sprintf("user-%03d", i), r.patient, pkb.AllowShared())
	}
	if err := r.config.Keys.Promote("new"); err != nil {
		t.Fatal(err)
	}
	for p, err := range r.Reseal(t.Context()) {
		if err != nil || p.Records != 200 || p.Resealed != 200 {
			t.Fatalf("Reseal = %+v, %v", p, err)
		}
		break
	}
	if p, err := reseal(t.Context(), r.Client); err != nil || p.Resealed != 250 || p.Records != 450 {
		t.Errorf("Reseal = %+v, %v, want the other 250", p, err)
	}
}

func TestResealProgress(t *testing.T) {
	p := pkb.ResealProgress{Records: 100, Total: 400, Elapsed: 10 * time.Second}
	if p.Rate() != 10 || p.Left() != 30*time.Second {
		t.Errorf("Rate = %v, Left = %v", p.Rate(), p.Left())
	}
	if zero := (pkb.ResealProgress{}); zero.Rate() != 0 || zero.Left() != 0 {
		t.Errorf("at the start: Rate = %v, Left = %v", zero.Rate(), zero.Left())
	}
}

// remote is a key at a key management service that can be out of reach.
type remote struct {
	mu   sync.Mutex
	down bool
}

func (r *remote) set(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *remote) use(in, associatedData []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("out of reach: secret-canary")
	}
	out := bytes.Clone(in)
	for i := range out {
		out[i] ^= associatedData[i%len(associatedData)]
	}
	return out, nil
}

func (r *remote) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return r.use(plaintext, associatedData)
}

func (r *remote) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return r.use(ciphertext, associatedData)
}

// S58: while a key is out of reach, tokens in memory serve, no refresh token is
// spent, and an answer that is there waits for the key.
func TestKeyOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms, keys := &remote{}, &keys.Keyring{}
		if err := keys.AddAEAD("kms", kms); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = keys })
		r.link(t, user, r.patient)
		token(t.Context(), t, r.Client, user)
		kms.set(true)
		token(t.Context(), t, r.Client, user)
		time.Sleep(11 * time.Minute)
		_, err := r.Token(t.Context(), user)
		if !errors.Is(err, pkb.ErrKeys) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Token: %v, want ErrKeys", err)
		}
		if n := r.pkb.Refreshes(); n != 0 {
			t.Errorf("%d refresh tokens sent that nobody could have saved", n)
		}
		kms.set(false)
		token(t.Context(), t, r.Client, user)

		// Now it goes while PKB answers.
		time.Sleep(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(2*time.Second))
		go func() {
			time.Sleep(time.Second)
			kms.set(true)
			time.Sleep(20 * time.Second)
			kms.set(false)
		}()
		// The caller is told at once; the tokens wait in memory.
		if _, err := r.Token(t.Context(), user); !errors.Is(err, pkb.ErrStore) || !errors.Is(err, pkb.ErrKeys) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Token while the new tokens cannot be sealed: %v, want ErrStore and ErrKeys", err)
		}
		if h := r.Health(t.Context()); h.Unsaved != 1 {
			t.Errorf("%d unsaved, want 1", h.Unsaved)
		}
		time.Sleep(time.Minute) // of the bubble
		token(t.Context(), t, r.Client, user)
		if h := r.Health(t.Context()); h.Unsaved != 0 {
			t.Errorf("%d unsaved after the key is back", h.Unsaved)
		}
		if r.pkb.Refreshes() != 2 || r.pkb.ReusedRefreshTokens() != 0 {
			t.Errorf("%d refreshes, %d reused tokens, want 2 and 0", r.pkb.Refreshes(), r.pkb.ReusedRefreshTokens())
		}
	})
}

// S59, erasure: after Unlink the store holds no byte of the tokens, and two days
// later no record; a link that was made again meanwhile stays. The record without
// tokens outlives every authorization that was begun before the unlink, which it
// keeps from bringing the link back.
func TestPurge(t *testing.T) {
	r := keyed(t)
	r.link(t, "gone", r.patient)
	r.link(t, "again", r.pkb.AddPatient(pkbtest.Patient{}))
	r.link(t, "stays", r.pkb.AddPatient(pkbtest.Patient{}))
	before, err := r.store.Load(t.Context(), "gone")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"gone", "again"} {
		if err := r.Unlink(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	after, err := r.store.Load(t.Context(), "gone")
	if err != nil || len(after.Sealed) != 0 || after.PublicID != "" || len(before.Sealed) == 0 {
		t.Errorf("after Unlink: %d sealed bytes, public id %q, %v", len(after.Sealed), after.PublicID, err)
	}
	purge := func(want int) {
		t.Helper()
		if n, err := r.Purge(t.Context()); err != nil || n != want {
			t.Errorf("Purge = %d, %v, want %d", n, err, want)
		}
	}
	purge(0) // what was under way when it was unlinked may still be
	r.link(t, "again", r.pkb.AddPatient(pkbtest.Patient{}))
	r.pkb.Advance(47 * time.Hour)
	purge(0)
	r.pkb.Advance(2 * time.Hour)
	purge(1)
	purge(0)
	if _, err := r.store.Load(t.Context(), "gone"); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("after Purge: %v, want ErrNotFound", err)
	}
	for _, u := range []string{"again", "stays"} {
		if _, err := r.Link(t.Context(), u); err != nil {
			t.Errorf("Link(%s): %v", u, err)
		}
	}
}
