// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package pkbctl_test

// raced means that the race detector makes what runs here five times slower.
const raced = false
