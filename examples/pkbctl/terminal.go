// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/betawerk/pkb-go/tokenstore"
)

func standardConsole() console {
	out := int(os.Stdout.Fd())
	return console{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		terminal: term.IsTerminal(out), asks: term.IsTerminal(int(os.Stdin.Fd())),
		size: func() (width, height int) {
			width, height, err := term.GetSize(out)
			if err != nil || width <= 0 || height <= 0 {
				return 120, 40
			}
			return width, height
		},
	}
}

func (c *call) width() int {
	width, _ := c.size()
	return width
}

// style is a colour of the terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// paint returns s in a style, if out is a terminal with colours.
func (c *call) paint(s string, as style) string {
	if as == plain || !c.terminal || c.getenv("NO_COLOR") != "" || c.getenv("TERM") == "dumb" {
		return s
	}
	return "\x1b[" + string(as) + "m" + s + "\x1b[0m"
}

// cell is one of a table.
type cell struct {
	text string
	as   style
}

func text(s string) cell { return cell{text: s} }

// printTable prints rows below a head, each column as wide as its widest cell. What
// does not fit into the terminal is cut, and the first column last.
func (c *call) printTable(head []string, rows [][]cell) {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i, one := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(one.text))
		}
	}
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	if over := total - c.width(); over > 0 && c.terminal {
		widths[0] = max(12, widths[0]-over)
	}
	first := make([]cell, len(head))
	for i, h := range head {
		first[i] = cell{h, bold}
	}
	for _, row := range append([][]cell{first}, rows...) {
		var line strings.Builder
		for i, one := range row {
			shown := cut(one.text, widths[i])
			line.WriteString(c.paint(shown, one.as))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(shown)+2))
			}
		}
		fmt.Fprintln(c.out, strings.TrimRight(line.String(), " "))
	}
}

// cut shortens s to so many runes.
func cut(s string, to int) string {
	if utf8.RuneCountInString(s) <= to {
		return s
	}
	return string([]rune(s)[:max(to-1, 0)]) + "…"
}

// clean makes text from elsewhere safe to print: an app_user_id may hold anything, and
// a terminal obeys control characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// document prints one JSON document, to be read.
func (c *call) document(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// line prints one JSON document on a line.
func (c *call) line(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// stamp is a moment in a table.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// distance is the time until or since a moment, short enough for a table: "in 5m", "2h ago".
func distance(t, from time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if d := t.Sub(from); d >= 0 {
		return "in " + short(d)
	}
	return short(from.Sub(t)) + " ago"
}

// short is a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}

// stateStyles are the colours of states.
var stateStyles = map[tokenstore.State]style{
	tokenstore.StateLinked: green, tokenstore.StateUncertain: yellow, tokenstore.StateRelinkRequired: red,
	tokenstore.StatePending: dim, tokenstore.StateUnlinked: dim,
}

// progress is the progress of a long operation.
type progress struct {
	Records int `json:"records"`
	Total   int `json:"total,omitempty"`
	// Rate is in records a second; Left in seconds.
	Rate float64 `json:"rate"`
	Left float64 `json:"left_seconds,omitempty"`
	Done bool    `json:"done"`
}

// bar draws progress over the current line, with the rest of the text.
func (c *call) bar(p progress, rest string) {
	const length = 24
	share := 1.0
	if p.Total > 0 {
		share = min(float64(p.Records)/float64(p.Total), 1)
	}
	filled := int(share * length)
	left := ""
	if p.Left > 0 && !p.Done {
		left = ", " + short(time.Duration(p.Left*float64(time.Second))) + " left"
	}
	line := fmt.Sprintf("[%s%s] %3.0f %%  %d of %d  %s  %.0f/s%s",
		strings.Repeat("#", filled), strings.Repeat(".", length-filled), share*100, p.Records, max(p.Total, p.Records), rest, p.Rate, left)
	fmt.Fprintf(c.out, "\r\x1b[K%s", cut(line, c.width()-1))
	if p.Done {
		fmt.Fprintln(c.out)
	}
}

// endBar ends the line of a bar.
func (c *call) endBar() {
	if c.terminal {
		fmt.Fprintln(c.out)
	}
}

// ask asks a question; everything other than yes is no.
func (c *call) ask(ctx context.Context, question string) bool {
	fmt.Fprintf(c.err, "%s Type yes: ", question)
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(c.in).ReadString('\n') // what there is until the end
		said <- line
	}()
	select {
	case line := <-said:
		return strings.TrimSpace(line) == "yes"
	case <-ctx.Done():
		fmt.Fprintln(c.err)
		return false
	}
}
