// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package browser lets a real browser, Debian's Chromium, click through
// examples/webapp and pkbtest, and through what package pkb shows to patients.
// Two replicas of the app serve each browser in turn, on one database.
//
// Every page that is met is looked at by axe-core, in light and dark, on a desk and on
// a phone; it must find no fault in how accessible the page is. Pictures are kept where
// PKB_ARTEFACTS says, named after what is seen. Nobody has to scroll to the side, with
// letters of twice the size either, and what patients read can be read at the age of 11.
//
// The app is another module: after a change of it, run these tests with
// -count=1, or go test may use its cache.
package browser
