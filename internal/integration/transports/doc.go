// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package transports tries package pkb with the HTTP transports that hosts have: those
// of net/http as they are configured, and wrappers of other people around them. The
// table in pkb/transports.md is what it finds. To write it anew:
//
//	go test ./internal/integration/transports -write
//
// PKB, a proxy, a gateway and a server that has no business with tokens are on a
// network in memory, inside a testing/synctest bubble, with TLS, over HTTP/1.1 and
// HTTP/2. So a response that takes 20 seconds takes no time here.
package transports
