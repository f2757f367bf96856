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
// that a sealed blob opens in its own row only. It is safe for concurrent use.
type Keyring struct{ ring seal.Ring }

// GenerateKey returns a new random key named id, as [ParseKeyring] reads it.
// Make one once, keep it where you keep your other secrets, and never lose it:
// without the key every patient has to approve again.
func GenerateKey(id string) (string, error) {
	if id == "" || len(id) > 64 || strings.ContainsAny(id, ":,") || !printable(id) {
		return "", errors.New("pkb: a key id has 1 to 64 printable characters, without colon and comma")
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
			return nil, fmt.Errorf("pkb: key %d of the keyring is not of the form id:base64; make one with pkb.GenerateKey", i+1)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("pkb: key %q of the keyring is not base64; make one with pkb.GenerateKey", id)
		}
		if err := k.ring.Add(id, key); err != nil {
			return nil, fmt.Errorf("pkb: key %q of the keyring: %w", id, err)
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
