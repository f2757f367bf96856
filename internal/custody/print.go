// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"fmt"
	"io"
)

// What holds tokens prints nothing of itself, under every verb. So does what holds
// it in turn: fmt does not call methods of unexported fields.

const redacted = "[redacted]"

// Format implements fmt.Formatter.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (Candidate) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (response) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (answer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (pair) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (row) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (*entry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (*flight) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (*trip) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

func (*Approval) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
