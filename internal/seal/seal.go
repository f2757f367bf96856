// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package seal makes token blobs unreadable, and useless in any row but their
// own: AES-256-GCM, the key's id in a header, and associated data that names
// the row.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// KeySize is the size of a key in bytes: AES-256.
const KeySize = 32

// The first byte of a blob says what it is.
const (
	formatPlain  = 0 // without keys, in a store that forgets
	formatSealed = 1 // then: length of the key id, key id, nonce, ciphertext
)

// Why a blob does not open. The record it came from is still good: what is
// missing is the right key.
var (
	// ErrUnknownKey: the blob names a key that is not on the ring.
	ErrUnknownKey = errors.New("the tokens are sealed with a key that is not on the keyring")
	// ErrNoKeys: the blob is sealed, and there is no keyring.
	ErrNoKeys = errors.New("the tokens are sealed, and there is no keyring")
	// ErrNotAuthentic: key and blob do not fit: another key under the same id,
	// a damaged blob, or one that belongs to another row.
	ErrNotAuthentic = errors.New("the sealed tokens are damaged, belong to another record, or were sealed with another key of the same id")
	// ErrNotSealed: a blob in clear where sealed ones are expected.
	ErrNotSealed = errors.New("the tokens are not sealed, though there is a keyring")
)

// Place is where a blob belongs; it opens nowhere else.
type Place struct {
	// Purpose keeps blobs of different kinds apart; empty for tokens.
	Purpose     string
	Environment string
	ClientID    string
	AppUserID   string
	Generation  uint64
}

// associated returns the length-prefixed associated data, so that no two
// places can run together into the same bytes.
func (p Place) associated() []byte {
	var b []byte
	for _, s := range []string{"pkb-go/1", p.Purpose, p.Environment, p.ClientID, p.AppUserID} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, p.Generation)
}

// Ring is a set of keys: the first one seals, all of them open. A nil Ring
// neither seals nor opens: it wraps in clear, for stores that forget.
type Ring struct {
	first string
	keys  map[string]cipher.AEAD
}

// Add puts a key on the ring; the first one added seals.
func (r *Ring) Add(id string, key []byte) error {
	if id == "" || len(id) > 64 {
		return errors.New("a key id has 1 to 64 bytes")
	}
	if len(key) != KeySize {
		return fmt.Errorf("a key has %d bytes, this one has %d", KeySize, len(key))
	}
	if _, ok := r.keys[id]; ok {
		return fmt.Errorf("two keys have the id %q", id)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	if r.keys == nil {
		r.keys, r.first = map[string]cipher.AEAD{}, id
	}
	r.keys[id] = aead
	return nil
}

// KeyID names the key that seals; "" without keys.
func (r *Ring) KeyID() string {
	if r == nil {
		return ""
	}
	return r.first
}

// Seal returns plain as a blob that opens only at p.
func (r *Ring) Seal(p Place, plain []byte) []byte {
	if r == nil {
		return append([]byte{formatPlain}, plain...)
	}
	aead := r.keys[r.first]
	head := 2 + len(r.first)
	blob := make([]byte, head+aead.NonceSize(), head+aead.NonceSize()+len(plain)+aead.Overhead())
	blob[0], blob[1] = formatSealed, byte(len(r.first)) //nolint:gosec // Add limits ids to 64 bytes
	copy(blob[2:], r.first)
	nonce := blob[head:]
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(blob, nonce, plain, p.associated())
}

// Open returns what Seal sealed at p.
func (r *Ring) Open(p Place, blob []byte) ([]byte, error) {
	if len(blob) == 0 {
		return nil, ErrNotAuthentic
	}
	switch {
	case blob[0] == formatPlain && r == nil:
		return blob[1:], nil
	case blob[0] == formatPlain:
		return nil, ErrNotSealed
	case blob[0] != formatSealed || len(blob) < 2:
		return nil, ErrNotAuthentic
	case r == nil:
		return nil, ErrNoKeys
	}
	head := 2 + int(blob[1])
	if len(blob) < head {
		return nil, ErrNotAuthentic
	}
	aead, ok := r.keys[string(blob[2:head])]
	if !ok {
		return nil, ErrUnknownKey
	}
	if len(blob) < head+aead.NonceSize() {
		return nil, ErrNotAuthentic
	}
	plain, err := aead.Open(nil, blob[head:head+aead.NonceSize()], blob[head+aead.NonceSize():], p.associated())
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plain, nil
}
