// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenstore

import (
	"fmt"
	"log/slog"
)

// Format implements fmt.Formatter: a Record prints without the app_user_id, the
// public ids and the content of Sealed and Details. JSON has all of it, because a
// Store may keep records as JSON.
func (r Record) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "tokenstore.Record{%s, version %d, generation %d, key %q, %v}", r.State, r.Version, r.Generation, r.KeyID, r.Sealed)
}

// LogValue implements slog.LogValuer.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// String implements fmt.Stringer: templates follow pointers that have no such
// method.
func (m *Memory) String() string { return fmt.Sprint(m) }
