// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import "errors"

// Cause returns the innermost error behind an error of package pkb, with its own
// text: what a transport, a mock, a store or a hook of yours returned. The library does
// not print such texts, because they can hold addresses and values; a test that wants
// to know which responder was forgotten asks for it.
func Cause(err error) error {
	for {
		var silent interface{ Unspoken() error }
		behind := errors.Unwrap(err)
		if errors.As(err, &silent) {
			behind = silent.Unspoken()
		}
		if behind == nil {
			return err
		}
		err = behind
	}
}
