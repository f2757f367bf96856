// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/betawerk/pkb-go/internal/seal"
)

// Keyring holds the keys that seal tokens before a store sees them:
// AES-256-GCM, bound to environment, client id, app_user_id and generation, so
// that a sealed blob opens in its own row only. One key seals, and all of them
// open. The zero Keyring is empty and ready for AddKey; most hosts use
// ParseKeyring. It is safe for concurrent use.
//
// To change keys without an interruption: give every replica the new key (at
// the end of ParseKeyring's text, or with AddKey), then let every replica seal
// with it (at the front, or Promote), then call Client.Reseal, then take the
// old one away, after Client.RetireKey has found no record that needs it.
type Keyring struct{ ring seal.Ring }

// AEAD is a key that stays where it is: in an HSM, at a key management service,
// in a keyset of Tink's, whose tink.AEAD is one as it stands. It binds the
// ciphertext to associatedData, and is safe for concurrent use.
//
// Each save and each first read of a link calls it; one that is out of reach
// stops refreshes before they begin, and no link is lost. A local key that was
// unwrapped once, for AddKey, needs no network and is the better choice.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// AddKey puts a key of 32 bytes on the keyring, such as one that a key
// management service has unwrapped. The first key added seals.
func (k *Keyring) AddKey(id string, key []byte) error {
	if err := checkKeyID(id); err != nil {
		return err
	}
	return keyring(k.ring.Add(id, key))
}

// AddAEAD puts a key that stays where it is on the keyring. The first key added
// seals.
func (k *Keyring) AddAEAD(id string, a AEAD) error {
	if err := checkKeyID(id); err != nil {
		return err
	}
	return keyring(k.ring.AddAEAD(id, a))
}

// Promote makes a key on the keyring the one that seals. Promote no key that
// another replica does not have yet: it could not open what this one seals.
func (k *Keyring) Promote(id string) error { return keyring(k.ring.Promote(id)) }

// KeyIDs names the keys: the one that seals, and then the others in order.
func (k *Keyring) KeyIDs() []string { return k.ring.KeyIDs() }

func keyring(err error) error {
	if err != nil {
		return fmt.Errorf("pkb: keyring: %w; host's turn: mend the keyring", err)
	}
	return nil
}

func checkKeyID(id string) error {
	if id == "" || len(id) > 64 || strings.ContainsAny(id, ":,") || !printable(id) {
		return errors.New("pkb: a key id has 1 to 64 printable characters, without colon and comma; host's turn: choose another id")
	}
	return nil
}

// GenerateKey returns a new random key named id, as [ParseKeyring] reads it.
// Make one once, keep it where you keep your other secrets, and never lose it:
// without the key every patient has to approve again.
func GenerateKey(id string) (string, error) {
	if err := checkKeyID(id); err != nil {
		return "", err
	}
	key := make([]byte, seal.KeySize)
	_, _ = rand.Read(key) // never fails
	return id + ":" + base64.StdEncoding.EncodeToString(key), nil
}

// ParseKeyring reads keys written as "id:base64", separated by commas; each
// has 32 bytes. The first seals; all of them open. To change the key, put the
// new one in front and keep the old one.
//
// Its errors name a key by id and never show the key.
func ParseKeyring(text string) (*Keyring, error) {
	k := &Keyring{}
	for i, entry := range strings.Split(strings.TrimSpace(text), ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(entry), ":")
		if !ok || id == "" {
			return nil, fmt.Errorf("pkb: key %d of the keyring is not of the form id:base64; host's turn: make one with pkb.GenerateKey", i+1)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("pkb: key %q of the keyring is not base64; host's turn: make one with pkb.GenerateKey", id)
		}
		if err := k.ring.Add(id, key); err != nil {
			return nil, fmt.Errorf("pkb: key %q of the keyring: %w; host's turn: make one with pkb.GenerateKey", id, err)
		}
	}
	return k, nil
}

// Format implements fmt.Formatter: a Keyring prints nothing of its keys.
func (*Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pkb.Keyring"+redacted) }

// sealer returns the ring, nil for a nil Keyring.
func (k *Keyring) sealer() *seal.Ring {
	if k == nil {
		return nil
	}
	return &k.ring
}
