// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package listing reads all that a store lists, page by page.
package listing

import (
	"errors"
	"iter"
)

// ErrOrder is the error of a list that does not go on in byte order of ids. Whoever reads
// it would miss records, or never end.
var ErrOrder = errors.New("the store does not list its records in byte order of their ids")

// Pages yields the pages of a list, each of which begins after the last record of the one
// before, until one is empty, and at most one error, last. Each id must be after the one
// before it.
func Pages[R any](list func(after string) ([]R, error), id func(R) string) iter.Seq2[[]R, error] {
	return func(yield func([]R, error) bool) {
		for after := ""; ; {
			page, err := list(after)
			for _, r := range page {
				if err == nil && id(r) <= after {
					err = ErrOrder
				}
				after = id(r)
			}
			switch {
			case err != nil:
				yield(nil, err)
				return
			case len(page) == 0 || !yield(page, nil):
				return
			}
		}
	}
}
