// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

//go:build race

package main

// raced means that the race detector makes everything five times slower.
const raced = true
