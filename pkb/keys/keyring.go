// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package keys holds the keys that seal tokens before a store sees them.
package keys

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/seal"
)

// Keyring holds the keys that seal tokens before a store sees them: AES-256-GCM,
// bound to environment, client id, app_user_id and generation, so that a sealed
// blob opens only in its own row. One key seals, and all of them open. The zero
// Keyring is empty and ready for AddKey; most hosts use Parse. It is safe for
// concurrent use, prints [redacted], and is not encoded.
//
// To change keys without an interruption, add the new key on every replica (at the
// end of Parse's text, or with AddKey). Then let every replica seal with it (first
// in the text, or Promote), and call Client.Reseal. Remove the old key once
// Client.RetireKey has found no record that needs it.
type Keyring struct {
	printing
	ring seal.Ring
}

type printing = conceal.Printing

// AEAD is a key that cannot be exported: in an HSM, a key management service, or a
// Tink keyset, whose tink.AEAD implements it. It binds the ciphertext to
// associatedData, and is safe for concurrent use.
//
// Each save and each first read of a link calls it. While it is out of reach, no
// refresh begins, and no link is lost. A local key that was unwrapped once, for
// AddKey, needs no network and is the better choice.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// AddKey adds a key of 32 bytes, such as one that a key management service has
// unwrapped. The first key added seals. It refuses a key that is on the keyring
// already, under whatever id, and one of nothing but zero bytes, which was not read.
func (k *Keyring) AddKey(id string, key []byte) error {
	return wrapped(k.add(id, key))
}

func (k *Keyring) add(id string, key []byte) error {
	if len(key) == seal.KeySize && !slices.ContainsFunc(key, func(b byte) bool { return b != 0 }) {
		return errors.New("the key is nothing but zero bytes")
	}
	return k.ring.Add(id, key)
}

// AddAEAD adds a key that cannot be exported. The first key added seals.
func (k *Keyring) AddAEAD(id string, a AEAD) error {
	return wrapped(k.ring.AddAEAD(id, a))
}

// Promote makes a key on the keyring the one that seals. First add it on every
// replica: others must open what this one seals.
func (k *Keyring) Promote(id string) error { return wrapped(k.ring.Promote(id)) }

// KeyIDs returns the ids of the keys: the one that seals, then the others in order.
func (k *Keyring) KeyIDs() []string { return k.ring.KeyIDs() }

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}

// Generate returns a new random key named id, in the form that [Parse] reads. Make
// one once, keep it with your other secrets, and never lose it: without the key
// every patient has to approve again.
func Generate(id string) (string, error) {
	if err := seal.CheckKeyID(id); err != nil {
		return "", wrapped(err)
	}
	key := make([]byte, seal.KeySize)
	_, _ = rand.Read(key) // never fails
	return id + ":" + base64.StdEncoding.EncodeToString(key), nil
}

// Parse parses keys of 32 bytes in the form "id:base64", separated by commas. The
// first seals; all of them open. To change the key, put the new one first and keep
// the old one.
//
// Its errors have the number of an entry, not its id, which may be a misplaced key.
func Parse(text string) (*Keyring, error) {
	k := &Keyring{}
	for i, entry := range strings.Split(strings.TrimSpace(text), ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(entry), ":")
		if !ok || id == "" {
			return nil, fmt.Errorf("keys: entry %d is not of the form id:base64", i+1)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("keys: the key of entry %d is not base64", i+1)
		}
		if err := k.add(id, key); err != nil {
			return nil, fmt.Errorf("keys: entry %d: %w", i+1, err)
		}
	}
	return k, nil
}

// What opens a Keyring for the rest of the module, and for nobody outside it.
func init() {
	seal.RingOf = func(keyring any) *seal.Ring {
		if k, ok := keyring.(*Keyring); ok && k != nil {
			return &k.ring
		}
		return nil
	}
}
