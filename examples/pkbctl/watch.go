// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/tokenstore"
)

// watching shows the links again and again. It ends with Ctrl-C, which is not
// an interruption here.
func (o *linksOptions) watching(ctx context.Context, c *call, db *database) error {
	db.meter = nil // what is drawn stays
	look := o.reporter(c, db)
	if c.terminal {
		fmt.Fprint(c.out, "\x1b[?25l")       // no cursor
		defer fmt.Fprint(c.out, "\x1b[?25h") // and back
		look = o.screens(c, db)
	}
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screens returns what draws one screen, made in memory so that it does not flicker.
func (o *linksOptions) screens(c *call, db *database) func(context.Context) error {
	asked := o.n
	return func(ctx context.Context) error {
		_, height := c.size()
		o.n = min(asked, height)
		var screen bytes.Buffer
		fmt.Fprintf(&screen, "\x1b[H\x1b[2J%s  every %v, Ctrl-C ends\n\n", stamp(now()), o.every)
		drawn := *c
		drawn.out = &screen
		if err := o.print(ctx, &drawn, db, now()); err != nil {
			return err
		}
		lines := strings.SplitAfterN(screen.String(), "\n", height) // what scrolls away is not seen
		_, err := fmt.Fprint(c.out, strings.Join(lines[:min(len(lines), height-1)], ""))
		return err
	}
}

// reporter returns what prints a document if there is a change.
func (o *linksOptions) reporter(c *call, db *database) func(context.Context) error {
	var before []byte
	return func(ctx context.Context) error {
		all := struct {
			Links []linkRow `json:"links"`
			tally
		}{Links: []linkRow{}}
		part := o.window()
		var err error
		all.tally, err = o.scan(ctx, c, db, now(), func(r tokenstore.Record) error {
			if part.takes() {
				all.Links = append(all.Links, newLinkRow(r))
			}
			return nil
		})
		if err != nil {
			return err
		}
		b, err := encode(all, "")
		if err != nil || bytes.Equal(b, before) {
			return err
		}
		before = b
		_, err = c.out.Write(b)
		return err
	}
}
