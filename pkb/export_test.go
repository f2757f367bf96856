// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

// AdviceRow is a row of the table of errors, for its tests and its document.
type AdviceRow struct {
	Name   string
	Status int
	Advice Advice
	Met    string
}

// AdviceRows are all rows, in order.
func AdviceRows() (rows []AdviceRow) {
	for i := range advices {
		rows = append(rows, row(&advices[i]))
	}
	return append(rows, row(&unforeseen))
}

// RowOf is the row that knows err.
func RowOf(err error) AdviceRow { return row(adviceFor(err)) }

func row(a *advised) AdviceRow { return AdviceRow{a.name, a.status, a.Advice, a.met} }

// Excerpt makes the excerpt of an answer.
var Excerpt = excerpt
