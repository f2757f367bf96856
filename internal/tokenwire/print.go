// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package tokenwire

import (
	"fmt"
	"io"
)

// Format implements fmt.Formatter: a Grant prints nothing of itself.
func (g Grant) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, g.String()) }

// Format implements fmt.Formatter: class, status and code, under every verb.
func (o Outcome) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// String implements fmt.Stringer: an Endpoint prints without its secret.
func (*Endpoint) String() string { return "tokenwire.Endpoint" }

func (e *Endpoint) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.String()) }

// Format implements fmt.Formatter: a Failure prints without its cause.
func (f *Failure) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.What) }
