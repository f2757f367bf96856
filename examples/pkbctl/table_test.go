// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/width"
)

// columns is how wide a terminal shows s, by the tables of Unicode and without the
// package that the tables are made with.
func columns(s string) (n int) {
	for _, r := range s {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

var people = []string{
	"app-user-1", "山田太郎", "ｗｉｄｅ", "Zoë", "Zoe\u0308", "한국어-사용자", "ผู้ใช้", "é́̂̃" + strings.Repeat("\u0301", 30),
	strings.Repeat("長い名前", 40), strings.Repeat("long-", 60), "",
}

// A row is a line, whatever the width of the terminal and whoever the user is; and the
// columns are below each other.
func TestRowsAreLines(t *testing.T) {
	for _, w := range []int{1, 5, 20, 40, 79, 80, 100, 120, 160, 400} {
		c, out := onTerminal(w, map[string]string{"NO_COLOR": "1"})
		table := c.newTable(column{head: "APP USER"}, column{head: "LINK", drop: 2}, column{head: "STATE"}, column{head: "N", right: true, drop: 1})
		for i, p := range people {
			table.add(text(p), text("0123456789ab"), text("|linked"), text(fmt.Sprint(10*i)))
		}
		table.flush()
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(people)+1 {
			t.Fatalf("at %d columns there are %d lines for %d users:\n%s", w, len(lines), len(people), out)
		}
		at := -1
		for _, line := range lines {
			if n := columns(line); n > w {
				t.Errorf("at %d columns, a line of %d: %s", w, n, line)
			}
			if before, _, found := strings.Cut(line, "|linked"); found {
				if at < 0 {
					at = columns(before)
				}
				if columns(before) != at {
					t.Errorf("at %d columns, the second column begins at %d and at %d:\n%s", w, at, columns(before), out)
				}
			}
		}
		if w >= 40 && at < 0 {
			t.Errorf("at %d columns, no state is shown:\n%s", w, out)
		}
	}
}

func TestColumnsAreDropped(t *testing.T) {
	heads := func(w int) string {
		c, out := onTerminal(w, map[string]string{"NO_COLOR": "1"})
		table := c.newTable(column{head: "FIRST"}, column{head: "LATER", drop: 1}, column{head: "STATE"}, column{head: "SOONER", drop: 2})
		table.add(text(strings.Repeat("x", 60)), text("l"), text("relink_required"), text("s"))
		table.flush()
		head, _, _ := strings.Cut(out.String(), "\n")
		return strings.Join(strings.Fields(head), " ")
	}
	got := map[int]string{}
	for _, w := range []int{20, 60, 65, 80} {
		got[w] = heads(w)
	}
	want := map[int]string{20: "FIRST STATE", 60: "FIRST LATER STATE", 65: "FIRST LATER STATE", 80: "FIRST LATER STATE SOONER"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what matters least goes first, and the state stays (-want +got):\n%s", diff)
	}
}

// The widths are those of the first rows; one that comes later is cut to them.
func TestLongTables(t *testing.T) {
	c, out := onTerminal(80, map[string]string{"NO_COLOR": "1"})
	table := c.newTable(column{head: "APP USER"}, column{head: "STATE", least: 15})
	for i := range 2 * block {
		table.add(text(fmt.Sprintf("u%d", i)), text("linked"))
		if len(table.rows) >= block {
			t.Fatal("rows are kept that could be printed")
		}
	}
	table.add(text("a-user-with-a-longer-name"), text("relink_required"))
	table.flush()
	lines := strings.Split(out.String(), "\n")
	if diff := cmp.Diff("a-user-…  relink_required", lines[2*block+1]); diff != "" || lines[0] != "APP USER  STATE" {
		t.Errorf("%s (-want +got):\n%s", lines[0], diff)
	}
}

func TestWrap(t *testing.T) {
	got := wrap("one two three four five six seven", 30, 10)
	if want := "one two three four\n          five six seven"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	got = wrap("valid until 2026-03-01 12:00:00, and then", 30, 0)
	if want := "valid until\n2026-03-01 12:00:00, and then"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
