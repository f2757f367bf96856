// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package servers tests the library against OAuth servers that nobody here
// wrote, mounted on PKB's paths: fosite, which ends a session when a refresh
// token comes twice, as PKB does, and go-oauth2, which does not.
package servers
