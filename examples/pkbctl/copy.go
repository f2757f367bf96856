// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
)

var copyCommand = &command{
	name:    "copy",
	summary: "copy all links to another database",
	about: `copy brings the links of -db to the database of -to, makes the table there if it
is missing, and reads back each record it writes. Tokens stay sealed: the
target needs the same keys, and copy needs none.

To move without losing a link: copy while the host runs; stop every process of the
host; copy once more, which takes moments; start them with the new database.
Nothing may use the old one after that, because a refresh token works once. If
copy is interrupted, run it again.

A terminal sees its progress; in a pipe it prints JSON lines:
{"records", "total", "copied", "rate", "left_seconds", "done"}
the last one with "done": true. The exit code is 1 if the target is already in use
or holds records that the source does not; then nothing is overwritten.`,
	examples: []string{
		"pkbctl copy -db webapp.db -to postgres://app@127.0.0.1/app",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		to := fs.String("to", "", "the `database` to copy to, written as for -db; PKB_COPY_TO")
		table := fs.String("to-table", "", "`name` of the table there, if not pkb_links")
		schema := fs.String("to-schema", "", "`name` of the table's schema there, if not the connection's own")
		return func(ctx context.Context, c *call) error {
			if *to == "" {
				*to = c.getenv("PKB_COPY_TO")
			}
			return copyAll(ctx, c, *to, sqlstore.Config{Table: *table, Schema: *schema})
		}
	},
}

// copyLine is a line of copy's output.
type copyLine struct {
	progress
	Copied int `json:"copied"`
}

func copyAll(ctx context.Context, c *call, address string, cfg sqlstore.Config) error {
	from, err := c.open()
	if err != nil {
		return err
	}
	defer from.close()
	if _, err := from.Count(ctx); err != nil {
		return storeFailed(err) // before a file or a table is made for nothing
	}
	to, err := open("-to", address, cfg, true)
	if err != nil {
		return err
	}
	defer to.close()
	if err := to.Migrate(ctx); err != nil {
		return storeFailed(err)
	}
	var last copyLine
	start := now()
	for p, err := range tokenstore.Copy(ctx, from, to) {
		last = copyLine{newProgress(p.Records, p.Total, now().Sub(start)), p.Copied}
		switch {
		case errors.Is(err, tokenstore.ErrTarget):
			return failed(exitWrong, "%w", err)
		case err != nil:
			return &unfinished{fmt.Sprintf("%d of %d records are in the target, %d copied now; run it again for the rest", p.Records, p.Total, p.Copied), storeFailed(err)}
		}
		if err := c.copied(last); err != nil {
			return err
		}
	}
	last.Done = true
	return c.copied(last)
}

func (c *call) copied(l copyLine) error {
	rest := fmt.Sprintf("%d copied", l.Copied)
	if l.Records >= l.Total {
		rest += ", comparing"
	}
	return c.progressed(l, l.progress, rest, fmt.Sprintf("All %d records are in the target, %d copied now.", l.Records, l.Copied))
}
