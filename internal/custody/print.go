// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"fmt"
	"io"
)

// What holds tokens prints nothing of itself, under every verb. That goes for
// what holds it in turn: fmt asks no unexported field how it prints.

const redacted = "[redacted]"

// Format implements fmt.Formatter.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (Candidate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (answer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (row) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (*entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (*flight) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (*trip) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter.
func (*Approval) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
