// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package conceal holds what is about a patient, or secret, out of reach of
// everything that prints or encodes.
//
// A wrapper embeds a [Hidden] under a name of its own package (an alias in lower
// case, so that no exported field and no clash with a method comes of it) and
// declares what gives the content. Printing such a value writes [redacted], under
// every verb, in slog and in templates. Encoding it is an error that names what
// to use instead: an encoder that wrote "[redacted]" would destroy data silently.
package conceal

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Text is what a concealed value prints.
const Text = "[redacted]"

// ErrEncoding is what every encoder and decoder gets from a concealed value.
var ErrEncoding = errors.New("this value is not encoded or decoded as it is: it is about a patient, or secret; encode what Reveal or Raw returns")

// Hidden holds content behind a closure: a printer that walks unexported fields by
// reflection, and follows pointers, finds an address of code.
//
// The zero Hidden is absent.
type Hidden[T any] struct {
	Printing
	open func() T
}

// Of returns content, hidden.
func Of[T any](content T) Hidden[T] { return Hidden[T]{open: func() T { return content }} }

// OfText returns text, hidden; absent for "".
func OfText(text string) Hidden[string] {
	if text == "" {
		return Hidden[string]{}
	}
	return Of(text)
}

// Open returns what is hidden, or the zero T. It is a function because a method
// would be one of each wrapper.
func Open[T any](h Hidden[T]) (content T) {
	if h.open != nil {
		content = h.open()
	}
	return content
}

// Absent reports whether nothing is hidden.
func Absent[T any](h Hidden[T]) bool { return h.open == nil }

// Printing writes [redacted] wherever it is printed, and refuses to be encoded or
// decoded.
type Printing struct{}

// String implements fmt.Stringer.
func (Printing) String() string { return Text }

// GoString implements fmt.GoStringer.
func (Printing) GoString() string { return Text }

// Format implements fmt.Formatter.
func (Printing) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Text) }

// LogValue implements slog.LogValuer.
func (Printing) LogValue() slog.Value { return slog.StringValue(Text) }

// MarshalJSON implements json.Marshaler.
func (Printing) MarshalJSON() ([]byte, error) { return nil, ErrEncoding }

// MarshalText implements encoding.TextMarshaler.
func (Printing) MarshalText() ([]byte, error) { return nil, ErrEncoding }

// MarshalBinary implements encoding.BinaryMarshaler.
func (Printing) MarshalBinary() ([]byte, error) { return nil, ErrEncoding }

// MarshalYAML implements the Marshaler of gopkg.in/yaml and its successors.
func (Printing) MarshalYAML() (any, error) { return nil, ErrEncoding }

// MarshalCBOR implements the Marshaler of github.com/fxamacker/cbor.
func (Printing) MarshalCBOR() ([]byte, error) { return nil, ErrEncoding }

// MarshalBSONValue implements the ValueMarshaler of MongoDB's driver.
func (Printing) MarshalBSONValue() (kind byte, data []byte, err error) { return 0, nil, ErrEncoding }

// UnmarshalJSON implements json.Unmarshaler.
func (*Printing) UnmarshalJSON([]byte) error { return ErrEncoding }

// UnmarshalText implements encoding.TextUnmarshaler.
func (*Printing) UnmarshalText([]byte) error { return ErrEncoding }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (*Printing) UnmarshalBinary([]byte) error { return ErrEncoding }

// Value implements driver.Valuer: a column gets an error, and no text.
func (Printing) Value() (driver.Value, error) { return nil, ErrEncoding }

// Scan implements sql.Scanner.
func (*Printing) Scan(any) error { return ErrEncoding }
