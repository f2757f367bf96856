// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command quickstart links a patient, reads the patient's data, refreshes the
// tokens, and goes on as a second replica, with a line for each step.
//
//	go run github.com/betawerk/pkb-go/examples/quickstart@latest
//
// Without flags it starts the PKB of package pkbtest and acts as the patient too:
// no account, no database. With PKB's sandbox you approve in your own browser:
//
//	go run github.com/betawerk/pkb-go/examples/quickstart@latest \
//	    -env sandbox -client-id ID -redirect http://localhost:8080/callback
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// appUserID is the host's own id for the user who links.
const appUserID = "app-user-1"

// setting is where the demonstration takes place.
type setting struct {
	env      pkb.Environment
	clientID string
	redirect *url.URL
	callback net.Listener
	// approve is the patient: somebody, or something, that opens the address
	// and presses Approve.
	approve func(ctx context.Context, authorizeURL string) error
	// passTime lets PKB's time pass together with ours.
	passTime func(time.Duration)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	env := flags.String("env", "local", "where to link: local (a PKB for tests, started here) or sandbox (PKB's)")
	clientID := flags.String("client-id", "", "your User Client id (sandbox)")
	redirect := flags.String("redirect", "", "your redirect URI, http on a port of this machine (sandbox)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	var (
		s   setting
		err error
	)
	switch *env {
	case "local":
		var server *pkbtest.Server
		if s, server, err = local(ctx, out); err == nil {
			defer server.Close()
		}
	case "sandbox":
		s, err = sandbox(ctx, *clientID, *redirect, out)
	default:
		err = fmt.Errorf("-env %q: local and sandbox are the choices", *env)
	}
	if err != nil {
		return err
	}
	defer s.callback.Close()
	return demonstrate(ctx, s, out)
}

// local sets up a PKB for tests with one made-up patient, who will approve.
func local(ctx context.Context, out io.Writer) (setting, *pkbtest.Server, error) {
	callback, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return setting{}, nil, err
	}
	redirect := &url.URL{Scheme: "http", Host: callback.Addr().String(), Path: "/pkb/callback"}
	server, err := pkbtest.Start(pkbtest.Config{ClientID: "quickstart", RedirectURIs: []string{redirect.String()}})
	if err != nil {
		return setting{}, nil, err
	}
	patient := server.AddPatient(pkbtest.Patient{FirstName: "Ada", LastName: "Example"})
	fmt.Fprintf(out, "A PKB for tests is running at %s, with one made-up patient.\n\n", server.URL())
	return setting{
		env: pkb.BaseURL(server.URL()), clientID: "quickstart", redirect: redirect, callback: callback,
		approve: func(ctx context.Context, authorizeURL string) error {
			back, err := server.Approve(ctx, authorizeURL, patient)
			if err != nil {
				return err
			}
			return follow(ctx, back)
		},
		passTime: server.Advance,
	}, server, nil
}

// follow does what the patient's browser does when PKB redirects it.
func follow(ctx context.Context, back *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, back.String(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// sandbox sets up PKB's sandbox, and you as the patient.
func sandbox(ctx context.Context, clientID, redirectURI string, out io.Writer) (setting, error) {
	if clientID == "" || redirectURI == "" {
		return setting{}, errors.New("-env sandbox needs -client-id and -redirect, as registered with PKB")
	}
	redirect, err := url.Parse(redirectURI)
	if err != nil || redirect.Scheme != "http" || redirect.Port() == "" {
		return setting{}, errors.New("-redirect must be http://localhost:PORT/PATH, so that the callback can be served here")
	}
	callback, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("localhost", redirect.Port()))
	if err != nil {
		return setting{}, err
	}
	return setting{
		env: pkb.Sandbox(), clientID: clientID, redirect: redirect, callback: callback,
		approve: func(context.Context, string) error {
			fmt.Fprintln(out, "   Open that address in your browser and approve. You have ten minutes.")
			return nil
		},
		passTime: func(time.Duration) {},
	}, nil
}

func demonstrate(ctx context.Context, s setting, out io.Writer) error {
	// Our clock can be moved, so that a token expires without waiting.
	var ahead atomic.Int64
	config := pkb.Config{
		Environment: s.env,
		ClientID:    s.clientID,
		RedirectURL: s.redirect.String(),
		Store:       tokenstore.NewMemory(),
		Now:         func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	}
	client, err := pkb.New(config)
	if err != nil {
		return err
	}

	authorizeURL, pending, err := client.Authorize(ctx, appUserID)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "1. %s follows your link to PKB:\n   %s\n", appUserID, authorizeURL)

	// The callback, as a host serves it. Who is signed in and what is pending
	// come from the host's session; here there is one user.
	type completed struct {
		link pkb.Link
		err  error
	}
	done := make(chan completed, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+max(s.redirect.EscapedPath(), "/"), func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(out, "2. The patient is back. Code received: %t. Exchanging it.\n", r.URL.Query().Has("code"))
		link, err := client.Complete(r.Context(), appUserID, pending, r.URL.Query())
		text := "Linked. You can close this page."
		if err != nil {
			text = "Not linked."
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, text+"\n")
		select {
		case done <- completed{link, err}:
		default: // the page was reloaded
		}
	})
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = web.Serve(s.callback) }()
	defer web.Close()

	if err := s.approve(ctx, authorizeURL); err != nil {
		return err
	}
	var link pkb.Link
	select {
	case c := <-done:
		if c.err != nil {
			return c.err
		}
		link = c.link
	case <-time.After(10 * time.Minute):
		return errors.New("nobody approved in ten minutes")
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(out, "3. Tokens saved before anything used them: link %s, access token valid for %v.\n",
		link.State, link.ExpiresAt.Sub(link.LinkedAt))

	if err := show(ctx, client, "4.", out); err != nil {
		return err
	}

	forward := link.ExpiresAt.Sub(link.LinkedAt) + time.Minute
	ahead.Store(int64(forward))
	s.passTime(forward)
	fmt.Fprintf(out, "5. The clock is moved %v forward: the access token has expired.\n", forward)
	if _, err := client.ForUser(appUserID).Self(ctx); err != nil {
		return err
	}
	refreshed, err := client.Link(ctx, appUserID)
	if err != nil {
		return err
	}
	if !refreshed.RefreshedAt.After(link.RefreshedAt) {
		return errors.New("the token was not refreshed")
	}
	fmt.Fprintln(out, "   Tokens refreshed: one request, saved before use. Nobody had to approve.")

	if err := client.Close(ctx); err != nil {
		return err
	}
	replica, err := pkb.New(config)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "6. A second client opens the same store, as another replica would.")
	if err := show(ctx, replica, "  ", out); err != nil {
		return err
	}
	fmt.Fprintln(out, "   Link kept: nobody had to approve again.")
	return replica.Close(ctx)
}

// show reads the patient's record and prints who it is. A real host prints
// none of this into a log: these values are redacted until Reveal is called.
func show(ctx context.Context, client *pkb.Client, step string, out io.Writer) error {
	patient := client.ForUser(appUserID)
	id, err := patient.PublicID(ctx)
	if err != nil {
		return err
	}
	self, err := patient.Self(ctx)
	if err != nil {
		return err
	}
	nhsNumber, ok := self.NHSNumber()
	number := nhsNumber.Reveal()
	if !ok {
		number = "none"
	}
	_, err = fmt.Fprintf(out, "%s Public id %s, NHS number %s, name %s %s.\n", step,
		id, number, self.Reveal().FirstName, self.Reveal().LastName)
	return err
}
