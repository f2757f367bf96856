// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package conceal keeps secrets and personal data out of everything that prints or
// encodes.
//
// A wrapper embeds a [Hidden] through a lower-case alias, which adds no exported
// field, and declares methods that return the content. It prints as [redacted] under
// every verb, in slog and in templates. Encoding it is an error: an encoder that wrote
// "[redacted]" would silently destroy data.
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

// ErrEncoding is the error of every encoder and decoder.
var ErrEncoding = errors.New("a value that is secret or about a patient is not encoded or decoded: encode what Reveal or Raw returns")

// Hidden holds content behind a closure, where reflection finds only the address of
// a function. The zero Hidden is absent.
type Hidden[T any] struct {
	printing
	open func() T
}

// printing is an alias, so that embedding it adds no exported field.
type printing = Printing

// Of returns content, hidden.
func Of[T any](content T) Hidden[T] { return Hidden[T]{open: func() T { return content }} }

// By returns what open returns, hidden.
func By[T any](open func() T) Hidden[T] { return Hidden[T]{open: open} }

// OfText returns text, hidden; absent for "".
func OfText(text string) Hidden[string] {
	if text == "" {
		return Hidden[string]{}
	}
	return Of(text)
}

// Open returns the content, or the zero T. A method would be promoted to each
// wrapper.
func Open[T any](h Hidden[T]) (content T) {
	if h.open != nil {
		content = h.open()
	}
	return content
}

// Absent reports whether nothing is hidden.
func Absent[T any](h Hidden[T]) bool { return h.open == nil }

// Printing is embedded in a type that prints as [redacted] and refuses to be
// encoded or decoded.
type Printing struct{}

// It prints with fmt, slog and templates.

func (Printing) String() string             { return Text }
func (Printing) GoString() string           { return Text }
func (Printing) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Text) }
func (Printing) LogValue() slog.Value       { return slog.StringValue(Text) }

// It refuses encoding/json, other encoders that use these methods or their own (yaml,
// fxamacker/cbor, MongoDB's bson), and database/sql.

func (Printing) MarshalJSON() ([]byte, error)                          { return nil, ErrEncoding }
func (Printing) MarshalText() ([]byte, error)                          { return nil, ErrEncoding }
func (Printing) MarshalBinary() ([]byte, error)                        { return nil, ErrEncoding }
func (Printing) MarshalYAML() (any, error)                             { return nil, ErrEncoding }
func (Printing) MarshalCBOR() ([]byte, error)                          { return nil, ErrEncoding }
func (Printing) MarshalBSONValue() (kind byte, data []byte, err error) { return 0, nil, ErrEncoding }
func (Printing) MarshalBSON() ([]byte, error)                          { return nil, ErrEncoding }
func (Printing) Value() (driver.Value, error)                          { return nil, ErrEncoding }
func (*Printing) UnmarshalJSON([]byte) error                           { return ErrEncoding }
func (*Printing) UnmarshalText([]byte) error                           { return ErrEncoding }
func (*Printing) UnmarshalBinary([]byte) error                         { return ErrEncoding }
func (*Printing) Scan(any) error                                       { return ErrEncoding }
