// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
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
	// Output: keys.Keyring[redacted] <nil>
}

// A key that a key management service has unwrapped.
func ExampleKeyring_AddKey() {
	unwrapped := make([]byte, 32) // what the service's Decrypt returned
	ring := &keys.Keyring{}
	err := ring.AddKey("kms-2026-01", unwrapped)
	fmt.Println(ring.KeyIDs(), err)
	// Output: [kms-2026-01] <nil>
}

// A key that stays where it is: anything with Encrypt and Decrypt.
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

// keyset stands for a tink.AEAD, which fits as it is.
type keyset struct{ cipher.AEAD }

func (k keyset) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.Seal(nil, nil, plaintext, associatedData), nil
}

func (k keyset) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.Open(nil, nil, ciphertext, associatedData)
}
