// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package house keeps the rules of this repository, as tests: what may depend on
// what, what must not be called, what every file and package begins with, which
// words are not used, and that the code in the documents is compiled.
//
// Each rule is a function from what it looks at to the problems it found, and is
// tested with a small bad sample as well as with the repository: a rule that finds
// nothing any more is as bad as none. To change a rule, change it here, with its
// reason.
package house
