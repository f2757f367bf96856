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
//
// 64 workers then refresh 5,000 links in a PostgreSQL of its own, by turns with the
// same statements by hand in a table like ours: one to read the row, one to take the
// lease, one to save. throughput_ratio and wal_ratio are refreshes a second, in the
// median of the turns, and bytes of the write-ahead log for each, as a multiple of those
// statements alone: at least 0.8, on a machine that does nothing else, and at most 1.2.
// Ours also asks for the pair, opens and seals, and sends several links' reads, and
// several leases, as one statement.
// throughput_ratio_with_request compares with refreshes by hand that also exchange the
// pair, with x/oauth2, and seal it. row_bytes is the size of a row after three refreshes,
// at most 1,024, and row_bytes_40_events, with the forty events of a full timeline, at
// most 2,048.
package main
