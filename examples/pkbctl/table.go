// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// cell is one of a table.
type cell struct {
	text string
	as   style
}

func text(s string) cell { return cell{text: s} }

// column is one of a table.
type column struct {
	head string
	// least is the width, in columns of the terminal, of what may come later than the
	// rows from which the widths are taken.
	least int
	// drop is when the column is left out on a narrow terminal: the highest first, and
	// 0 never.
	drop  int
	right bool
}

const (
	gap = 2
	// block is how many rows are kept to take the widths from.
	block = 200
	// name is the width of a UUID: the first column gets that before others are left
	// out, and no other column gets more.
	name = 36
	// narrowest is the least width of the first column.
	narrowest = 8
)

// table prints rows below a head, each on one line of the terminal whatever its width:
// first it leaves out columns, and then it cuts the first one. It keeps a block of
// rows, however many are added.
type table struct {
	c       *call
	columns []column
	rows    [][]cell
	widths  []int // 0 for a column that is left out; nil until the head is printed
}

func (c *call) newTable(columns ...column) *table { return &table{c: c, columns: columns} }

// add adds a row.
func (t *table) add(cells ...cell) {
	if t.widths != nil {
		t.print(cells)
		return
	}
	if t.rows = append(t.rows, cells); len(t.rows) == block {
		t.flush()
	}
}

// flush prints what is kept.
func (t *table) flush() {
	if t.widths == nil {
		t.widths = t.fit(t.c.width())
		head := make([]cell, len(t.columns))
		for i, col := range t.columns {
			head[i] = cell{col.head, bold}
		}
		t.print(head)
	}
	for _, row := range t.rows {
		t.print(row)
	}
	t.rows = nil
}

// fit chooses the columns, and their widths.
func (t *table) fit(width int) []int {
	widths := make([]int, len(t.columns))
	for i, col := range t.columns {
		widths[i] = max(runewidth.StringWidth(col.head), col.least)
		for _, row := range t.rows {
			widths[i] = max(widths[i], runewidth.StringWidth(row[i].text))
		}
	}
	first := widths[0]
	for i := range widths {
		widths[i] = min(widths[i], name)
	}
	order := make([]int, len(t.columns))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.columns[b].drop - t.columns[a].drop })
	for _, i := range order {
		if total(widths) > width && t.columns[i].drop > 0 {
			widths[i] = 0
		}
	}
	widths[0] = max(min(first, widths[0]+width-total(widths)), narrowest)
	return widths
}

// total is the width of a line.
func total(widths []int) (sum int) {
	for _, w := range widths {
		if w > 0 {
			sum += w + gap
		}
	}
	return sum - gap
}

func (t *table) print(row []cell) {
	t.c.meter.clear()
	var line strings.Builder
	left := t.c.width()
	begins, printed := 0, 0 // of the column, and of the line so far
	for i, one := range row {
		if t.widths[i] == 0 {
			continue
		}
		shown := cut(one.text, min(t.widths[i], left-begins))
		from, width := begins, runewidth.StringWidth(shown)
		if t.columns[i].right {
			from += t.widths[i] - width
		}
		if shown != "" {
			line.WriteString(strings.Repeat(" ", from-printed) + t.c.paint(shown, one.as))
			printed = from + width
		}
		begins += t.widths[i] + gap
	}
	fmt.Fprintln(t.c.out, line.String())
}

// ellipsis is two columns wide in some East Asian locales.
const ellipsis = "…"

// cut shortens s to a width.
func cut(s string, to int) string {
	switch {
	case runewidth.StringWidth(s) <= to:
		return s
	case runewidth.StringWidth(ellipsis) > to:
		return ""
	}
	return runewidth.Truncate(s, to, ellipsis)
}

// moment matches what stamp returns.
var moment = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// wrap breaks text into lines of a terminal; all but the first are indented. Times stay
// whole.
func wrap(text string, width, indent int) string {
	const tied = "\x00"
	text = moment.ReplaceAllStringFunc(text, func(t string) string { return strings.Replace(t, " ", tied, 1) })
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		word = strings.Replace(word, tied, " ", 1)
		n := runewidth.StringWidth(word)
		switch {
		case i == 0:
		case at+1+n > max(width, indent+20):
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
