// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/subtle"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// hidden is a text that prints [redacted] and is not encoded.
type hidden = conceal.Hidden[string]

// Secret is a token, code, state or client secret. It prints [redacted] and is not
// encoded; Reveal returns the text. The zero Secret is absent.
type Secret struct{ hidden }

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return Secret{conceal.OfText(s)} }

// Reveal returns the text. Do not log it.
func (s Secret) Reveal() string { return conceal.Open(s.hidden) }

// IsZero reports whether the secret is absent.
func (s Secret) IsZero() bool { return conceal.Absent(s.hidden) }

// Equal compares two secrets in constant time.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}
