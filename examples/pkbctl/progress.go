// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

// progress is the progress of a long operation.
type progress struct {
	Records int `json:"records"`
	Total   int `json:"total,omitempty"`
	// Rate is in records a second; Left in seconds.
	Rate float64 `json:"rate"`
	Left float64 `json:"left_seconds,omitempty"`
	Done bool    `json:"done"`
}

// newProgress estimates the rest from the rate so far.
func newProgress(records, total int, elapsed time.Duration) progress {
	p := progress{Records: records, Total: total}
	if elapsed > 0 && records > 0 {
		p.Rate = float64(records) / elapsed.Seconds()
		p.Left = float64(max(total-records, 0)) / p.Rate
	}
	return p
}

// progressed shows how far an operation is, with the rest of the text, and in the end
// what was done: on a terminal; in a pipe, as a line of JSON.
func (c *call) progressed(line any, p progress, rest, done string) error {
	if !c.terminal {
		if err := c.line(line); err != nil {
			return err
		}
	} else if p.Done {
		c.meter.clear()
		fmt.Fprintln(c.out, done)
		return nil
	}
	c.meter.bar(p, rest)
	return nil
}

// meter draws the progress of long work on standard error, on one line that it removes
// again. It draws nothing if nobody is watching there.
type meter struct {
	c     *call
	drawn time.Time // the last time, or zero
	shown bool
}

// often is the time between two drawings.
const often = 100 * time.Millisecond

// bar draws how far an operation is, with the rest of the text.
func (m *meter) bar(p progress, rest string) {
	const length = 24
	share := 1.0
	if p.Total > 0 {
		share = min(float64(p.Records)/float64(p.Total), 1)
	}
	filled := int(share * length)
	left := ""
	if p.Left > 0 {
		left = ", " + short(time.Duration(p.Left*float64(time.Second))) + " left"
	}
	m.draw(fmt.Sprintf("[%s%s] %3.0f %%  %d of %d  %s  %.0f/s%s",
		strings.Repeat("#", filled), strings.Repeat(".", length-filled), share*100, p.Records, max(p.Total, p.Records), rest, p.Rate, left))
}

func (m *meter) draw(line string) {
	if m == nil || !m.c.watched || time.Since(m.drawn) < often {
		return
	}
	m.drawn, m.shown = time.Now(), true
	fmt.Fprintf(m.c.err, "\r\x1b[K%s", cut(line, m.c.width()-1))
}

// clear removes the line.
func (m *meter) clear() {
	if m != nil && m.shown {
		m.shown = false
		fmt.Fprint(m.c.err, "\r\x1b[K")
	}
}

// patience is how long reading the table takes without a word.
const patience = time.Second

// reading returns a function to call with the number of records that were read so far,
// and draws it once that takes long.
func (m *meter) reading() func(records int) {
	began := time.Now()
	return func(records int) {
		if time.Since(began) > patience {
			m.draw(fmt.Sprintf("reading the links: %d", records))
		}
	}
}

// unfinished is an error after a part of the work.
type unfinished struct {
	done string
	err  error
}

func (u *unfinished) Error() string { return u.err.Error() }
func (u *unfinished) Unwrap() error { return u.err }
