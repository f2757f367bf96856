// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

var discardCommand = &command{
	name: "discard", args: "USER",
	summary: "discard a response that cannot be read",
	about: `discard removes a response of PKB's token endpoint that may hold a link's new
tokens and could not be read, as Client.Discard does. Use it when it is clear that
it has no tokens: the refresh token may then be presented again, and PKB ends the
session if it was spent. It needs the keys.

On a terminal it asks first; elsewhere it wants -yes. In a pipe it prints one JSON
document: {"app_user_id", "link", "discarded"}.`,
	examples: []string{
		"pkbctl discard app-user-1 -db webapp.db -keys webapp.keys",
		"pkbctl discard -yes app-user-1",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		yes := fs.Bool("yes", false, "do not ask")
		return func(ctx context.Context, c *call) error { return discard(ctx, c, *yes) }
	},
}

func discard(ctx context.Context, c *call, yes bool) error {
	if !yes && !c.asks {
		return failed(exitUsage, "there is no terminal to ask on: give -yes")
	}
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	r, err := db.find(ctx, c.user())
	if err != nil {
		return err
	}
	question := fmt.Sprintf("Discard the response that %s keeps? If it holds tokens, they are lost.", clean(r.AppUserID))
	if !yes && !c.ask(ctx, question) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &failure{exitUsage, errRefused}
	}
	keys, err := c.keys()
	if err != nil {
		return &failure{exitUsage, err}
	}
	cfg := c.config(issuer{r.Environment, r.ClientID})
	cfg.Store, cfg.Keys = db, keys
	client, err := pkb.New(cfg)
	if err != nil {
		return &failure{exitUsage, err}
	}
	if err := client.Discard(ctx, r.AppUserID); err != nil {
		return err
	}
	if c.terminal {
		fmt.Fprintf(c.out, "The response of %s is discarded.\n", clean(r.AppUserID))
		return nil
	}
	return c.document(struct {
		AppUserID string `json:"app_user_id"`
		Link      string `json:"link"`
		Discarded bool   `json:"discarded"`
	}{r.AppUserID, observe.LinkName(r.AppUserID), true})
}
