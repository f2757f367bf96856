// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var refreshCommand = &command{
	name: "refresh", args: "USER",
	summary: "refresh a link that is due; -n prints what would happen",
	about: `refresh does for one link what the next call for its patient would: it asks the
library for a token, which refreshes it if that is due, once, with the lease that
the host's replicas respect. A token that is not due is left alone: a refresh
token works once, and using it early gains nothing. The token is not printed.

pkbctl does not have the Config.Identify of your program: an authorization that waits to
be checked waits for that, unless you give -check purview.

With -n nothing is sent and nothing is written, and no keys are needed: it prints
what would happen. In a pipe both print one JSON document:
{"app_user_id", "link", "state", "cause", "action", "why", "expires_at", "due_at", "generation"}
where action is refreshed, none, wait, relink or failed; with -n refresh, none,
wait or relink.`,
	examples: []string{
		"pkbctl refresh -n app-user-1 -db webapp.db",
		"pkbctl refresh app-user-1 -db webapp.db -keys webapp.keys",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		dry := fs.Bool("n", false, "only print what would happen")
		var check checking
		check.define(fs, checkUsage)
		return func(ctx context.Context, c *call) error { return refresh(ctx, c, *dry, check) }
	},
}

// outcome is what refresh prints.
type outcome struct {
	AppUserID  string           `json:"app_user_id"`
	Link       string           `json:"link"`
	State      tokenstore.State `json:"state"`
	Cause      string           `json:"cause,omitempty"`
	Action     action           `json:"action"`
	Why        string           `json:"why"`
	ExpiresAt  time.Time        `json:"expires_at,omitzero"`
	DueAt      time.Time        `json:"due_at,omitzero"`
	Generation uint64           `json:"generation"`
}

type action string

const (
	actionRefresh   action = "refresh"
	actionRefreshed action = "refreshed"
	actionNone      action = "none"
	actionWait      action = "wait"
	actionRelink    action = "relink"
	actionFailed    action = "failed"
)

func newOutcome(r tokenstore.Record, a action, format string, args ...any) outcome {
	return outcome{
		AppUserID: r.AppUserID, Link: observe.LinkName(r.AppUserID), State: r.State, Cause: r.Cause,
		Action: a, Why: fmt.Sprintf(format, args...), ExpiresAt: r.ExpiresAt, DueAt: r.DueAt, Generation: r.Generation,
	}
}

func refresh(ctx context.Context, c *call, dry bool, check checking) error {
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	r, err := db.find(ctx, c.user())
	if err != nil {
		return err
	}
	if !isLink(r) {
		return failed(exitNoLink, "%s is not linked: it is %s", clean(r.AppUserID), r.State)
	}
	if dry {
		return c.tell(foresee(r, now()), nil)
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	cfg, err := c.reaching(issuer{r.Environment, r.ClientID}, "the link's environment")
	if err != nil {
		return err
	}
	cfg.Store, cfg.Keys = db, keys
	check.leave(&cfg)
	client, err := pkb.New(cfg)
	if err != nil {
		return &failure{exitUsage, err}
	}
	err = due(ctx, client, r.AppUserID)
	after, loadErr := db.Load(context.WithoutCancel(ctx), r.AppUserID)
	if loadErr != nil {
		return storeFailed(loadErr)
	}
	switch {
	case errors.Is(err, pkb.ErrRelinkRequired):
		return c.tell(newOutcome(after, actionRelink, "only the patient can repair this: send them to your link route"), err)
	case errors.Is(err, pkb.ErrTryLater):
		return c.tell(newOutcome(after, actionWait, "%s", clean(err.Error())), err)
	case err != nil:
		return c.tell(newOutcome(after, actionFailed, "%s. %s", clean(err.Error()), advice.For(err).Operator), err)
	case after.Generation > r.Generation:
		return c.tell(newOutcome(after, actionRefreshed, "new tokens were received and saved"), nil)
	}
	o := foresee(after, now())
	if o.Action == actionRefresh {
		o.Action, o.Why = actionWait, "a refresh was due and did not succeed; the access token is valid until "+stamp(after.ExpiresAt)
		return c.tell(o, pkb.ErrTryLater)
	}
	return c.tell(o, nil)
}

// due asks for a token twice: the first call reads the record, and refreshes a token
// that has expired; the second starts the refresh of one that is due and still valid,
// and Close waits for it.
func due(ctx context.Context, client *pkb.Client, appUserID string) error {
	var err error
	for range 2 {
		if _, err = client.Token(ctx, appUserID); err != nil {
			break
		}
	}
	// A refresh that is under way is not cut off when ctx ends: its response would be
	// lost.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	return errors.Join(err, client.Close(limited))
}

// margin is the life that the library requires a token to have left.
const margin = 30 * time.Second

// leaseStands is how long a lease of a process that may have died is respected. A
// process that refreshes measures it by watching; here it is only a forecast.
const leaseStands = 75 * time.Second

// foresee returns what a refresh would do now.
func foresee(r tokenstore.Record, at time.Time) outcome {
	good := r.ExpiresAt.Sub(at) > margin
	switch {
	case r.State == tokenstore.StateRelinkRequired:
		return newOutcome(r, actionRelink, "the link has ended (%s): only the patient can repair it", clean(r.Cause))
	case pkb.LinkOf(r).Unread:
		return newOutcome(r, actionNone, "a response is kept that may hold the new tokens and cannot be read; the refresh token is not presented again (pkbctl discard removes the response)")
	case r.Lease.Owner != "" && at.Sub(r.Lease.TakenAt) < leaseStands:
		return newOutcome(r, actionWait, "a process took the lease at %s, and is refreshing or has just ended", stamp(r.Lease.TakenAt))
	case r.Tried > 0 && good:
		return newOutcome(r, actionNone, "the refresh token was presented and the response was lost; the access token is valid until %s, and nothing is repeated before that", stamp(r.ExpiresAt))
	case r.Tried > 0:
		return newOutcome(r, actionRefresh, "the refresh token was presented and the response was lost; the access token has expired, so it would be presented again, with nothing left to lose")
	case !good:
		return newOutcome(r, actionRefresh, "the access token expired at %s", stamp(r.ExpiresAt))
	case !r.DueAt.IsZero() && !r.DueAt.After(at):
		return newOutcome(r, actionRefresh, "it has been due since %s; the access token is valid until %s", stamp(r.DueAt), stamp(r.ExpiresAt))
	}
	return newOutcome(r, actionNone, "the access token is valid until %s; a refresh is due at about %s", stamp(r.ExpiresAt), stamp(r.DueAt))
}

// tell prints an outcome; err gives the exit code.
func (c *call) tell(o outcome, err error) error {
	code := codeOf(err)
	if o.Action == actionRelink {
		code = exitWrong
	}
	if !c.terminal {
		if err := c.document(o); err != nil {
			return err
		}
	} else {
		as := map[action]style{actionRefreshed: green, actionNone: green, actionRefresh: yellow, actionWait: yellow, actionRelink: red, actionFailed: red}[o.Action]
		fmt.Fprintf(c.out, "%s  %s\n%s\n", c.paint(clean(o.AppUserID), bold), c.paint(string(o.Action), as), wrap(o.Why, c.width(), 0))
	}
	if code != exitDone {
		return &failure{code, errSaid}
	}
	return nil
}
