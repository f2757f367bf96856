// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/betawerk/pkb-go/tokenstore"
)

func standardConsole() console {
	out, stderr := int(os.Stdout.Fd()), int(os.Stderr.Fd())
	return console{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		terminal: term.IsTerminal(out), asks: term.IsTerminal(int(os.Stdin.Fd())),
		watched: term.IsTerminal(stderr) && os.Getenv("TERM") != "dumb",
		size: func() (width, height int) {
			for _, fd := range []int{out, stderr} {
				if width, height, err := term.GetSize(fd); err == nil && width > 0 && height > 0 {
					return width, height
				}
			}
			return 120, 40
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
