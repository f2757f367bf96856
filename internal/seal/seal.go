// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package seal makes token blobs unreadable, and useless in any row but their own:
// AES-256-GCM, the key's id in a header, and associated data that names the row.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// KeySize is the size of a key in bytes: AES-256.
const KeySize = 32

// The first byte of a blob is its format.
const (
	formatPlain  = 0 // without keys, in a store in memory
	formatSealed = 1 // then: length of the key id, key id, nonce, ciphertext
)

// Why a blob does not open. The record is still good: the right key is absent.
var (
	ErrUnknownKey = errors.New("the tokens are sealed with a key that is not on the keyring")
	ErrNoKeys     = errors.New("the tokens are sealed, and there is no keyring")
	// ErrNotAuthentic: another key under the same id, a damaged blob, or one that
	// belongs to another row.
	ErrNotAuthentic = errors.New("the sealed tokens are damaged, belong to another record, or were sealed with another key of the same id")
	// ErrNotSealed: a plain blob where sealed ones are expected.
	ErrNotSealed = errors.New("the tokens are not sealed, though there is a keyring")
)

// Place is where a blob belongs; it opens nowhere else.
type Place struct {
	// Purpose keeps blobs of different kinds apart; "" for tokens.
	Purpose     string
	Environment string
	ClientID    string
	AppUserID   string
	// Pair and Candidate name the token pairs that the blob holds.
	Pair, Candidate string
}

// associated returns the associated data. Each part is length-prefixed, so that no
// two places have the same bytes.
func (p Place) associated() []byte {
	parts := [...]string{"pkb-go/2", p.Purpose, p.Environment, p.ClientID, p.AppUserID, p.Pair, p.Candidate}
	room := 0
	for _, s := range parts {
		room += binary.MaxVarintLen16 + len(s)
	}
	b := make([]byte, 0, room)
	for _, s := range parts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// AEAD seals and opens with a key outside this process. Tink's AEAD has the same
// methods.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// Ring is a set of keys: one of them seals, all of them open. A nil Ring neither
// seals nor opens: it wraps in clear, for stores in memory. Its methods are safe for
// concurrent use.
type Ring struct {
	mu    sync.RWMutex
	first string
	keys  map[string]key
}

// key is an AES key of the ring, or an AEAD of the host's.
type key struct {
	gcm     func() cipher.AEAD // a function, so that a printer that follows pointers finds no key
	foreign AEAD
	// sum finds the same AES key under another id.
	sum [sha256.Size]byte
}

// RingOf returns the ring of a keyring of package keys, which sets it: hosts have no
// access to a ring.
var RingOf = func(keyring any) *Ring { return nil }

// CheckKeyID reports what is wrong with a key id.
func CheckKeyID(id string) error {
	if id == "" || len(id) > 64 || strings.ContainsAny(id, ":,") || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("a key id is 1 to 64 printable ASCII characters without colon and comma")
	}
	if b, err := base64.StdEncoding.DecodeString(id); err == nil && len(b) == KeySize {
		return errors.New("what stands in the place of the key id looks like a key")
	}
	return nil
}

// Why a ring does not change.
var (
	ErrNoSuchKey = errors.New("no key of that id is on the keyring")
	ErrSeals     = errors.New("the key is the one that seals; promote another one first")
)

// Add puts a key on the ring; the first one added seals.
func (r *Ring) Add(id string, secret []byte) error {
	if len(secret) != KeySize {
		return fmt.Errorf("a key has %d bytes, this one has %d", KeySize, len(secret))
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	return r.add(id, key{gcm: func() cipher.AEAD { return gcm }, sum: sha256.Sum256(secret)})
}

// AddAEAD puts the host's key on the ring.
func (r *Ring) AddAEAD(id string, a AEAD) error {
	if a == nil {
		return errors.New("the AEAD is nil")
	}
	return r.add(id, key{foreign: a})
}

func (r *Ring) add(id string, k key) error {
	if err := CheckKeyID(id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.keys[id]; ok {
		return errors.New("another key has the same id")
	}
	for _, other := range r.keys {
		if k.foreign == nil && other.foreign == nil && other.sum == k.sum {
			return errors.New("the same key is on the keyring under another id")
		}
	}
	if r.keys == nil {
		r.keys, r.first = map[string]key{}, id
	}
	r.keys[id] = k
	return nil
}

// Promote makes a key on the ring the one that seals.
func (r *Ring) Promote(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.keys[id]; !ok {
		return ErrNoSuchKey
	}
	r.first = id
	return nil
}

// Remove removes a key from the ring, except the one that seals.
func (r *Ring) Remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch _, ok := r.keys[id]; {
	case !ok:
		return ErrNoSuchKey
	case id == r.first:
		return ErrSeals
	}
	delete(r.keys, id)
	return nil
}

// KeyIDs returns the ids of the keys: of the one that seals, and then of the others
// in order.
func (r *Ring) KeyIDs() []string {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := make([]string, 0, len(r.keys))
	for id := range r.keys {
		if id != r.first {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if r.first != "" {
		ids = slices.Insert(ids, 0, r.first)
	}
	return ids
}

// KeyID returns the id of the key that seals; "" without keys.
func (r *Ring) KeyID() string {
	id, _ := r.sealing()
	return id
}

func (r *Ring) sealing() (string, key) {
	if r == nil {
		return "", key{}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.first, r.keys[r.first]
}

// Guard calls a key of the host's, which may take long, and fail in any way.
type Guard func(call func() ([]byte, error)) ([]byte, error)

func unguarded(call func() ([]byte, error)) ([]byte, error) { return call() }

// Seal returns plain as a blob that opens only at p, and the id of the key that
// sealed it.
func (r *Ring) Seal(p Place, plain []byte) (blob []byte, keyID string, err error) {
	return r.SealGuarded(p, plain, unguarded)
}

// SealGuarded is Seal, and guards a key of the host's. No other needs it.
func (r *Ring) SealGuarded(p Place, plain []byte, guard Guard) (blob []byte, keyID string, err error) {
	if r == nil {
		return append([]byte{formatPlain}, plain...), "", nil
	}
	id, k := r.sealing()
	if id == "" {
		return nil, "", ErrNoKeys
	}
	head := 2 + len(id)
	if k.foreign != nil {
		sealed, err := guard(func() ([]byte, error) { return k.encrypt(id, p, plain) })
		if err != nil {
			return nil, "", err
		}
		return append(header(id, head+len(sealed)), sealed...), id, nil
	}
	gcm := k.gcm()
	blob = header(id, head+gcm.NonceSize()+len(plain)+gcm.Overhead())
	blob = blob[:head+gcm.NonceSize()]
	nonce := blob[head:]
	_, _ = rand.Read(nonce) // never fails
	return gcm.Seal(blob, nonce, plain, p.associated()), id, nil
}

func (k key) encrypt(id string, p Place, plain []byte) ([]byte, error) {
	sealed, err := k.foreign.Encrypt(plain, p.associated())
	if err != nil {
		return nil, &KeyError{KeyID: id, Err: err}
	}
	return sealed, nil
}

// decrypt: an AEAD of the host's need not distinguish a key that is out of reach from a
// bad blob.
func (k key) decrypt(id string, p Place, sealed []byte) ([]byte, error) {
	plain, err := k.foreign.Decrypt(sealed, p.associated())
	if err != nil {
		return nil, fmt.Errorf("%w; or %w", ErrNotAuthentic, &KeyError{KeyID: id, Err: err})
	}
	return plain, nil
}

// header returns the beginning of a blob, with capacity for the rest.
func header(id string, room int) []byte {
	b := make([]byte, 0, room)
	b = append(b, formatSealed, byte(len(id))) //nolint:gosec // add limits ids to 64 bytes
	return append(b, id...)
}

// KeyError reports that the host's key could not be used. Its text does not repeat
// the error behind it.
type KeyError struct {
	KeyID string
	Err   error
}

func (e *KeyError) Error() string { return fmt.Sprintf("the key %q cannot be used just now", e.KeyID) }

func (e *KeyError) Unwrap() error { return e.Err }

// Open returns what Seal sealed at p.
func (r *Ring) Open(p Place, blob []byte) ([]byte, error) { return r.OpenGuarded(p, blob, unguarded) }

// OpenGuarded is Open, and guards a key of the host's.
func (r *Ring) OpenGuarded(p Place, blob []byte, guard Guard) ([]byte, error) {
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
	r.mu.RLock()
	k, ok := r.keys[string(blob[2:head])]
	r.mu.RUnlock()
	if !ok {
		return nil, ErrUnknownKey
	}
	if k.foreign != nil {
		return guard(func() ([]byte, error) { return k.decrypt(string(blob[2:head]), p, blob[head:]) })
	}
	gcm := k.gcm()
	if len(blob) < head+gcm.NonceSize() {
		return nil, ErrNotAuthentic
	}
	plain, err := gcm.Open(nil, blob[head:head+gcm.NonceSize()], blob[head+gcm.NonceSize():], p.associated())
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return plain, nil
}
