// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/internal/seal"
)

func ring(t *testing.T, ids ...string) *seal.Ring {
	t.Helper()
	r := &seal.Ring{}
	for _, id := range ids {
		key := bytes.Repeat([]byte(id[:1]), seal.KeySize)
		if err := r.Add(id, key); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func sealed(t testing.TB, r *seal.Ring, plain []byte) []byte {
	t.Helper()
	blob, id, err := r.Seal(place, plain)
	if err != nil || id != r.KeyID() {
		t.Fatalf("Seal with key %q: %v", id, err)
	}
	return blob
}

var place = seal.Place{Environment: "env", ClientID: "client", AppUserID: "user", Pair: "s/7"}

func TestBlobOpensOnlyAtItsPlace(t *testing.T) {
	r := ring(t, "a")
	plain := []byte("the tokens")
	blob := sealed(t, r, plain)
	if bytes.Contains(blob, plain) {
		t.Fatal("the blob shows what it seals")
	}
	if got, err := r.Open(place, blob); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	for name, elsewhere := range map[string]seal.Place{
		"environment":  {Environment: "other", ClientID: "client", AppUserID: "user", Pair: "s/7"},
		"client":       {Environment: "env", ClientID: "other", AppUserID: "user", Pair: "s/7"},
		"user":         {Environment: "env", ClientID: "client", AppUserID: "other", Pair: "s/7"},
		"generation":   {Environment: "env", ClientID: "client", AppUserID: "user", Pair: "s/8"},
		"purpose":      {Purpose: "other", Environment: "env", ClientID: "client", AppUserID: "user", Pair: "s/7"},
		"run together": {Environment: "envc", ClientID: "lient", AppUserID: "user", Pair: "s/7"},
	} {
		if _, err := r.Open(elsewhere, blob); !errors.Is(err, seal.ErrNotAuthentic) {
			t.Errorf("another %s: %v, want ErrNotAuthentic", name, err)
		}
	}
}

func TestEveryDamageIsFound(t *testing.T) {
	r := ring(t, "a")
	blob := sealed(t, r, []byte("the tokens"))
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 0x10
		if _, err := r.Open(place, bad); err == nil {
			t.Errorf("a blob changed at byte %d opens", i)
		}
	}
	for n := range blob {
		if _, err := r.Open(place, blob[:n]); err == nil {
			t.Errorf("a blob cut to %d bytes opens", n)
		}
	}
}

func TestKeys(t *testing.T) {
	old := ring(t, "a")
	blob := sealed(t, old, []byte("x"))
	both := ring(t, "b", "a")
	if got, err := both.Open(place, blob); err != nil || string(got) != "x" {
		t.Errorf("the old key on a newer ring: %q, %v", got, err)
	}
	if got := both.KeyID(); got != "b" {
		t.Errorf("the first key seals: got %q", got)
	}
	if _, err := ring(t, "b").Open(place, blob); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("without the key: %v", err)
	}
	other := &seal.Ring{}
	if err := other.Add("a", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(place, blob); !errors.Is(err, seal.ErrNotAuthentic) {
		t.Errorf("another key of that id: %v", err)
	}
	var none *seal.Ring
	if _, err := none.Open(place, blob); !errors.Is(err, seal.ErrNoKeys) {
		t.Errorf("no ring: %v", err)
	}
	clear := sealed(t, none, []byte("x"))
	if got, err := none.Open(place, clear); err != nil || string(got) != "x" {
		t.Errorf("in clear: %q, %v", got, err)
	}
	if _, err := old.Open(place, clear); !errors.Is(err, seal.ErrNotSealed) {
		t.Errorf("in clear, where sealed is expected: %v", err)
	}
}

// Keys change between sealing and opening.
func TestKeysChange(t *testing.T) {
	r := ring(t, "a")
	old := sealed(t, r, []byte("x"))
	if err := r.Promote("b"); !errors.Is(err, seal.ErrNoSuchKey) {
		t.Errorf("Promote of a key that is not there: %v", err)
	}
	if err := r.Add("b", make([]byte, seal.KeySize)); err != nil {
		t.Fatal(err)
	}
	if got := r.KeyID(); got != "a" {
		t.Errorf("an added key seals: %q", got)
	}
	if err := r.Promote("b"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "a"}, r.KeyIDs()); diff != "" {
		t.Error(diff)
	}
	if got, err := r.Open(place, old); err != nil || string(got) != "x" {
		t.Errorf("Open with the key before: %q, %v", got, err)
	}
	if err := r.Remove("b"); !errors.Is(err, seal.ErrSeals) {
		t.Errorf("Remove of the key that seals: %v", err)
	}
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(place, old); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("Open with a key that was removed: %v", err)
	}
	if _, _, err := new(seal.Ring).Seal(place, nil); !errors.Is(err, seal.ErrNoKeys) {
		t.Errorf("Seal with an empty ring: %v", err)
	}
}

// outside is a key of the host's: it checks the associated data, and fails on
// request.
type outside struct{ err error }

func (o *outside) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return append(append([]byte{byte(len(associatedData))}, associatedData...), plaintext...), o.err
}

func (o *outside) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(ciphertext, append([]byte{byte(len(associatedData))}, associatedData...))
	if !ok {
		return nil, errors.New("canary: another place")
	}
	return plain, o.err
}

func TestForeignKey(t *testing.T) {
	kms := &outside{}
	r := ring(t, "a")
	if err := r.AddAEAD("kms", kms); err != nil {
		t.Fatal(err)
	}
	if err := r.Promote("kms"); err != nil {
		t.Fatal(err)
	}
	blob := sealed(t, r, []byte("x"))
	if got, err := r.Open(place, blob); err != nil || string(got) != "x" {
		t.Errorf("Open = %q, %v", got, err)
	}
	elsewhere := place
	elsewhere.AppUserID = "other"
	_, err := r.Open(elsewhere, blob)
	if !errors.Is(err, seal.ErrNotAuthentic) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Open elsewhere: %v", err)
	}
	kms.err = errors.New("canary: out of reach")
	_, _, err = r.Seal(place, []byte("x"))
	if failed := new(seal.KeyError); !errors.As(err, &failed) || !errors.Is(err, kms.err) || strings.Contains(err.Error(), "canary") {
		t.Errorf("Seal with a key out of reach: %v", err)
	}
	if err := r.AddAEAD("none", nil); err == nil {
		t.Error("AddAEAD took nothing")
	}
}

func TestAddRefuses(t *testing.T) {
	r := ring(t, "a")
	for name, err := range map[string]error{
		"empty id":  r.Add("", make([]byte, 32)),
		"long id":   r.Add(string(make([]byte, 65)), make([]byte, 32)),
		"short key": r.Add("b", make([]byte, 16)),
		"same id":   r.Add("a", make([]byte, 32)),
		"same key":  r.Add("b", bytes.Repeat([]byte("a"), seal.KeySize)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if got := r.KeyIDs(); len(got) != 1 {
		t.Errorf("afterwards the ring has the keys %q", got)
	}
}

func FuzzOpen(f *testing.F) {
	r := &seal.Ring{}
	if err := r.Add("a", make([]byte, seal.KeySize)); err != nil {
		f.Fatal(err)
	}
	f.Add(sealed(f, r, []byte("x")))
	f.Add([]byte{1, 200, 'a'})
	f.Fuzz(func(t *testing.T, blob []byte) {
		_, _ = r.Open(seal.Place{Pair: "s/1"}, blob)
		var none *seal.Ring
		_, _ = none.Open(place, blob)
	})
}
