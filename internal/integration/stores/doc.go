// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package stores tests tokenstore/sqlstore on databases that run: SQLite,
// PostgreSQL and MariaDB.
package stores
