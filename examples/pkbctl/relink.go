// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

var relinkCommand = &command{
	name: "relink-url", args: "USER",
	summary: "print the address to send a patient to whose link has ended",
	about: `relink-url prints where the patient goes to approve again: the link route of your
own application (pkb.Web's Link), which you name with -link-route. It checks that
there is something to link again, and prints why the link has ended.

It does not print an address of PKB. An authorization is valid in the browser in
which it was started, for the user who is signed in there: the callback of one that
an operator started here would reach another browser, and be refused. So the address
is the same for every patient, names nobody, does not expire, and can be sent by
e-mail: whoever follows it signs in to your application first.

In a pipe it prints one JSON document: {"app_user_id", "link", "state", "cause",
"needed", "url"}. The exit code is 0 also when the link works and nobody has to
approve ("needed": false).`,
	examples: []string{
		"pkbctl relink-url -link-route https://app.example/pkb/link app-user-1",
		"PKB_LINK_ROUTE=https://app.example/pkb/link pkbctl relink-url cc5a80a8177e",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		route := fs.String("link-route", "", "the `address` of your link route; PKB_LINK_ROUTE")
		return func(ctx context.Context, c *call) error {
			if *route == "" {
				*route = c.getenv("PKB_LINK_ROUTE")
			}
			return relinkURL(ctx, c, *route)
		}
	},
}

// relink is what relink-url prints.
type relink struct {
	AppUserID string           `json:"app_user_id"`
	Link      string           `json:"link"`
	State     tokenstore.State `json:"state"`
	Cause     string           `json:"cause,omitempty"`
	Needed    bool             `json:"needed"`
	URL       string           `json:"url"`
}

func relinkURL(ctx context.Context, c *call, route string) error {
	if problem := checkRoute(route); problem != "" {
		return failed(exitUsage, "-link-route %s", problem)
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
	to := relink{
		AppUserID: r.AppUserID, Link: observe.LinkName(r.AppUserID), State: r.State, Cause: r.Cause, URL: route,
		Needed: r.State != tokenstore.StateLinked && r.State != tokenstore.StateUncertain,
	}
	if !c.terminal {
		return c.document(to)
	}
	fmt.Fprintln(c.out, route)
	why := clean(string(r.State))
	if r.Cause != "" {
		why += ", " + clean(r.Cause)
	}
	if to.Needed {
		fmt.Fprintf(c.out, "\n%s is %s. The patient opens this address, signs in to your application as this\nuser, and approves at PKB.\n", clean(r.AppUserID), why)
	} else {
		fmt.Fprintf(c.out, "\n%s is %s: the link works, and nobody has to approve.\n", clean(r.AppUserID), why)
	}
	return nil
}

// checkRoute returns what is wrong with an address of the host's own.
func checkRoute(route string) string {
	u, err := url.Parse(route)
	switch {
	case route == "":
		return "is missing: give the route of your application that sends a signed-in patient to PKB"
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return "is not a full address, such as https://app.example/pkb/link"
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "is plain http: patients sign in over https only"
	case u.User != nil:
		return "has a user name or password in it"
	case strings.HasSuffix(u.Hostname(), "patientsknowbest.com"):
		return "is an address of PKB's: give a route of your own application"
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
