// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// concealed holds a text behind a pointer, so that even a printer that walks
// unexported fields by reflection finds an address and not the text.
type concealed struct{ text *string }

func conceal(s string) concealed {
	if s == "" {
		return concealed{}
	}
	return concealed{text: &s}
}

func (c concealed) reveal() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// Secret is a token, code, state or client secret. It prints as [redacted]
// under every fmt verb, in slog and in JSON; only Reveal gives the text. The
// zero value is the empty secret.
type Secret struct{ concealed }

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return Secret{conceal(s)} }

// Reveal returns the text itself. Do not log it.
func (s Secret) Reveal() string { return s.reveal() }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal compares two secrets in constant time.
func (s Secret) Equal(o Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.reveal()), []byte(o.reveal())) == 1
}

// Personal is something about a patient, as PKB sent it. It prints as
// [redacted] under every fmt verb, in slog, in JSON and in templates; only
// Reveal gives the text. The zero value means that PKB sent nothing.
type Personal struct{ concealed }

// NewPersonal returns s as a Personal.
func NewPersonal(s string) Personal { return Personal{conceal(s)} }

// Reveal returns the text itself: show it to the patient, do not log it.
func (p Personal) Reveal() string { return p.reveal() }

// IsZero reports whether PKB sent nothing.
func (p Personal) IsZero() bool { return p.text == nil }

// Equal reports whether two values have the same text.
func (p Personal) Equal(o Personal) bool { return p.reveal() == o.reveal() }

// String, Format, GoString, LogValue, MarshalJSON and MarshalText conceal the
// text wherever a value is printed.

// String implements fmt.Stringer.
func (concealed) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (concealed) GoString() string { return redacted }

// Format implements fmt.Formatter.
func (concealed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (concealed) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (concealed) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (concealed) MarshalText() ([]byte, error) { return []byte(redacted), nil }
