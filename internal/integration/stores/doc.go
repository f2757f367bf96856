// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command stores tries the store in memory and tokenstore/sqlstore on databases
// that run, SQLite, PostgreSQL and MariaDB:
//
//	go run ./internal/integration/stores
//
// For each it runs the contract, lets eight processes write over each other,
// measures a refresh's trips and the same statements without us, and counts
// them at the driver. With -kill it also ends servers of its own with SIGKILL
// while they are written to, and looks for what they had acknowledged. It ends
// with one line of JSON, and with status 1 if anything was not as it must be.
package main
