// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkbctl drives examples/pkbctl as operators and scripts do: in a
// terminal, and in a pipe, on SQLite, PostgreSQL and MariaDB. It is made of
// tests.
package pkbctl
