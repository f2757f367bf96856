// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"github.com/betawerk/pkb-go/pkb/keys"
)

// Keys are made once and kept with your other secrets.
func ExampleParse() {
	key, err := keys.Generate("2026-01")
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := keys.Parse(key) // usually os.Getenv("PKB_KEYS")
	fmt.Println(ring, err)
	// Output: [redacted] <nil>
}

// The key was unwrapped by a key management service.
func ExampleKeyring_AddKey() {
	unwrapped := bytes.Repeat([]byte{7}, 32) // what the service's Decrypt returned
	ring := &keys.Keyring{}
	err := ring.AddKey("kms-2026-01", unwrapped)
	fmt.Println(ring.KeyIDs(), err)
	// Output: [kms-2026-01] <nil>
}

// The key cannot be exported: any type with Encrypt and Decrypt will do.
func ExampleKeyring_AddAEAD() {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		fmt.Println(err)
		return
	}
	ring := &keys.Keyring{}
	fmt.Println(ring.AddAEAD("tink-1", keyset{gcm}), ring.KeyIDs())
	// Output: <nil> [tink-1]
}

// keyset stands for a tink.AEAD.
type keyset struct{ cipher.AEAD }

func (k keyset) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.Seal(nil, nil, plaintext, associatedData), nil
}

func (k keyset) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.Open(nil, nil, ciphertext, associatedData)
}

// A new key seals once every replica has it; the old one still opens.
func ExampleKeyring_Promote() {
	first, _ := keys.Generate("2026-01")
	second, err := keys.Generate("2026-07")
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := keys.Parse(first + "," + second)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ring.KeyIDs())
	fmt.Println(ring.Promote("2026-07"), ring.KeyIDs())
	// Output:
	// [2026-01 2026-07]
	// <nil> [2026-07 2026-01]
}
