// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package canary searches the files of a database for secrets that were planted
// while links lived in it. What is logged, reported and printed is searched in
// internal/canary of the root module.
package canary
