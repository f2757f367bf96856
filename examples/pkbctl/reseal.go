// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/betawerk/pkb-go/pkb"
)

var resealCommand = &command{
	name:    "reseal",
	summary: "seal all links with the newest key",
	about: `reseal seals every link with the first key of the keyring, while the host goes on
using them. Every replica must have that key already. If it is interrupted,
run it again: links that are done are skipped. When it has ended without failures,
the old key can be removed (Client.RetireKey).

A terminal sees its progress; in a pipe it prints JSON lines:
{"records", "total", "resealed", "failed", "rate", "left_seconds", "done"}
with rate in records a second, the last one with "done": true. Records that do not
open are counted as failed and left as they were: the exit code is 1 then, and the
keyring lacks the key that sealed them (pkbctl doctor names it).`,
	examples: []string{
		"pkbctl reseal -db postgres://... -keys new-and-old.keys",
	},
	define: func(*flag.FlagSet) func(context.Context, *call) error { return reseal },
}

// resealLine is a line of reseal's output.
type resealLine struct {
	progress
	Resealed int `json:"resealed"`
	Failed   int `json:"failed"`
}

func reseal(ctx context.Context, c *call) error {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	from, err := c.issuer(ctx, db)
	if err != nil {
		return err
	}
	cfg := c.config(from)
	cfg.Store, cfg.Keys = db, keys
	client, err := pkb.New(cfg)
	if err != nil {
		return &failure{exitUsage, err}
	}
	if c.terminal {
		fmt.Fprintf(c.out, "Sealing the links of %s with the key %q.\n", from, keys.KeyIDs()[0])
	}
	var last resealLine
	for p, err := range client.Reseal(ctx) {
		last = resealLine{newProgress(p.Records, p.Total, p.Elapsed), p.Resealed, p.Failed}
		if err != nil {
			if p.Failed == 0 || ctx.Err() != nil {
				return &unfinished{fmt.Sprintf("%d of %d records checked, %d resealed, %d failed; run it again for the rest", p.Records, p.Total, p.Resealed, p.Failed), err}
			}
			break // it is complete, and has counted those that do not open
		}
		if err := c.resealed(last); err != nil {
			return err
		}
	}
	last.Done = true
	if err := c.resealed(last); err != nil {
		return err
	}
	if last.Failed > 0 {
		return failed(exitWrong, "%d links do not open with these keys, and are as they were; pkbctl doctor names the key they need", last.Failed)
	}
	return nil
}

func (c *call) resealed(l resealLine) error {
	rest := fmt.Sprintf("%d resealed, %d failed", l.Resealed, l.Failed)
	return c.progressed(l, l.progress, rest, fmt.Sprintf("All %d records are checked: %s.", l.Records, rest))
}
