// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Redacted makes the struct that it is embedded in print as [redacted] under
// every verb, in slog and in JSON. It is embedded in everything here that is
// about a patient.
type Redacted struct{}

// String implements fmt.Stringer.
func (Redacted) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Redacted) GoString() string { return redacted }

// Format implements fmt.Formatter.
func (Redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Redacted) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler: Resource.Raw has what came.
func (Redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (Redacted) MarshalText() ([]byte, error) { return []byte(redacted), nil }
