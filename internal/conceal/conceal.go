// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package conceal keeps what is secret, or about a patient, out of everything that
// prints or encodes.
//
// A wrapper embeds a [Hidden] through an alias in lower case, which adds no exported
// field, and declares the methods that return the content. Printing the wrapper writes
// [redacted], under every verb, in slog and in templates. Encoding it is an error that
// names what to use instead: an encoder that wrote "[redacted]" would destroy data
// silently.
package conceal

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Text is what a concealed value prints as.
const Text = "[redacted]"

// ErrEncoding is the error that every encoder and decoder gets from a concealed
// value.
var ErrEncoding = errors.New("a value that is secret or about a patient is not encoded or decoded: encode what Reveal or Raw returns")

// Hidden holds content behind a closure. A printer that walks unexported fields by
// reflection, and follows pointers, finds the address of a function.
//
// The zero Hidden is absent.
type Hidden[T any] struct {
	printing
	open func() T
}

// printing is an alias, so that embedding it adds no exported field.
type printing = Printing

// Of returns content, hidden.
func Of[T any](content T) Hidden[T] { return Hidden[T]{open: func() T { return content }} }

// OfText returns text, hidden; absent for "".
func OfText(text string) Hidden[string] {
	if text == "" {
		return Hidden[string]{}
	}
	return Of(text)
}

// Open returns the content, or the zero T. It is a function because a method would
// be promoted to each wrapper.
func Open[T any](h Hidden[T]) (content T) {
	if h.open != nil {
		content = h.open()
	}
	return content
}

// Absent reports whether nothing is hidden.
func Absent[T any](h Hidden[T]) bool { return h.open == nil }

// Printing is embedded in a type that prints as [redacted] and refuses to be encoded
// or decoded.
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
