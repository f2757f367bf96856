// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/observe"
)

var unlinkCommand = &command{
	name: "unlink", args: "USER",
	summary: "end a link and delete its tokens",
	about: `unlink ends one user's link and deletes its tokens and the public id, as
Client.Unlink does. A refresh or an authorization under way cannot restore it; the
patient has to approve again. It needs no keys. A process of the host may use
the access token that it has in memory until it expires; PKB has no call to revoke
one.

On a terminal it asks first; elsewhere it wants -yes. In a pipe it prints one JSON
document: {"app_user_id", "link", "unlinked"}.`,
	examples: []string{
		"pkbctl unlink app-user-1 -db webapp.db",
		"pkbctl unlink -yes app-user-1",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		yes := fs.Bool("yes", false, "do not ask")
		return func(ctx context.Context, c *call) error { return unlink(ctx, c, *yes) }
	},
}

// errRefused: the question was not answered with yes.
var errRefused = errors.New("nothing was changed")

func unlink(ctx context.Context, c *call, yes bool) error {
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
	question := fmt.Sprintf("Unlink %s, which is %s? The patient has to approve again.", clean(r.AppUserID), clean(string(r.State)))
	if !yes && !c.ask(ctx, question) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &failure{exitUsage, errRefused}
	}
	// Unlink opens and seals nothing, so a host that has lost its keys can unlink too;
	// the client requires some nevertheless.
	spare, err := keys.Generate("pkbctl")
	if err != nil {
		return err
	}
	keys, err := keys.Parse(spare)
	if err != nil {
		return err
	}
	cfg := c.config(issuer{r.Environment, r.ClientID})
	cfg.Store, cfg.Keys = db, keys
	client, err := pkb.New(cfg)
	if err != nil {
		return &failure{exitUsage, err}
	}
	if err := client.Unlink(ctx, r.AppUserID); err != nil {
		return err
	}
	if c.terminal {
		fmt.Fprintf(c.out, "%s is unlinked.\n", clean(r.AppUserID))
		return nil
	}
	return c.document(struct {
		AppUserID string `json:"app_user_id"`
		Link      string `json:"link"`
		Unlinked  bool   `json:"unlinked"`
	}{r.AppUserID, observe.LinkName(r.AppUserID), true})
}
