// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package columns tests that what the library returns can be kept in a host's own
// tables: NHS numbers, public ids and dates, through database/sql with three drivers,
// and through pgx itself; and notices, in the host's own transaction.
package columns
