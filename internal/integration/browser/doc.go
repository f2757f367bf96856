// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package browser lets a real browser, Debian's Chromium, click through
// examples/webapp and pkbtest, and through what package pkb shows to patients.
// Two replicas of the app serve each browser in turn, on one database.
//
// Every page that is met is looked at by axe-core, which must find no fault in
// how accessible it is, and its picture is kept where PKB_ARTEFACTS says.
//
// The app is another module: after a change of it, run these tests with
// -count=1, or go test may use its cache.
package browser
