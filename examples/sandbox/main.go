// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command sandbox runs the PKB of package pkbtest on a local port, with a
// log-in page, a consent page and named patients: one approves, one denies, one
// is slow, and so on. Point your app at the address it prints, and log in as
// one of them to see what your app does.
//
//	go run github.com/betawerk/pkb-go/examples/sandbox@latest
//
// It is not Patients Know Best, and it is for tests only: there is no password,
// and its patients are made up. Put no real one in.
//
// With -control it serves the control API under /sandbox/, which package pkbtest
// describes: faults for the next requests, ends of sessions, the clock. Whoever
// reaches the server can use it.
//
//	curl http://127.0.0.1:8090/sandbox/requests
//	curl -H 'Content-Type: application/json' -d '{"advance": "15m"}' \
//	    http://127.0.0.1:8090/sandbox/clock
//	curl -H 'Content-Type: application/json' -d '{"endpoint": "token", "status": 503}' \
//	    http://127.0.0.1:8090/sandbox/faults
//	curl -H 'Content-Type: application/json' -d '{"patient": "approves"}' \
//	    http://127.0.0.1:8090/sandbox/sessions/revoke
//
// Everything is in memory, and gone when it stops.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// redirects are what a local app registers; any port matches.
var redirects = []string{
	"http://localhost/pkb/callback", "http://localhost/callback",
	"http://127.0.0.1/pkb/callback", "http://127.0.0.1/callback",
}

// run serves until ctx is done.
func run(ctx context.Context, args []string, out io.Writer) error {
	cfg, slow, err := read(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	server, err := pkbtest.Start(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	patients := server.AddScenarios()
	for i, p := range patients {
		if p.Scenario == "slow" {
			p.Delay, p.About = slow, fmt.Sprintf("approves, and every response to the app takes %v", slow)
			patients[i] = server.AddPatient(*p) // replaces the other
		}
	}
	if err := introduce(server, cfg, patients, out); err != nil {
		return err
	}
	<-ctx.Done()
	_, err = fmt.Fprintln(out, "Stopped.")
	return err
}

// read reads the flags. slow is how long the slow patient's responses take.
func read(args []string, out io.Writer) (cfg pkbtest.Config, slow time.Duration, err error) {
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&cfg.Addr, "addr", "127.0.0.1:8090", "listen at `host:port`; port 0 takes a free one")
	flags.StringVar(&cfg.ClientID, "client-id", "sandbox", "the User Client `id` that your app sends")
	flags.StringVar(&cfg.ClientName, "client-name", "Example Health, Sample App", "owner and product `name` on the consent page")
	flags.Func("redirect", "a redirect `URI` that your app sends; repeat it for several (default: /pkb/callback and /callback\non any port of localhost and 127.0.0.1)", func(uri string) error {
		if u, err := url.Parse(uri); err != nil || u.Scheme == "" || u.Fragment != "" {
			return errors.New("it must be a whole address, such as http://localhost:8080/pkb/callback")
		}
		cfg.RedirectURIs = append(cfg.RedirectURIs, uri)
		return nil
	})
	flags.DurationVar(&cfg.TokenLife, "token-life", 10*time.Minute, "the life of an access token")
	flags.DurationVar(&cfg.SessionLife, "session-life", 24*time.Hour, "how long after the authorization tokens are issued")
	flags.DurationVar(&slow, "slow", 3*time.Second, "how long each response about the patient \"slow\" takes")
	flags.BoolVar(&cfg.ControlAPI, "control", false, "serve the control API under /sandbox/, for whoever reaches the address")
	if err := flags.Parse(args); err != nil {
		return cfg, slow, err
	}
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("%q: there are only flags; see -h", flags.Arg(0))
	case cfg.ClientID == "":
		err = errors.New("-client-id must not be empty")
	case cfg.TokenLife < time.Second:
		err = fmt.Errorf("-token-life %v: it must be at least a second", cfg.TokenLife)
	case cfg.SessionLife < cfg.TokenLife:
		err = fmt.Errorf("-session-life %v: it must be at least -token-life, which is %v; otherwise there is never a refresh token", cfg.SessionLife, cfg.TokenLife)
	case slow < 0:
		err = fmt.Errorf("-slow %v: it must not be negative", slow)
	}
	if cfg.RedirectURIs == nil {
		cfg.RedirectURIs = redirects
	}
	return cfg, slow, err
}

// introduce prints where the server is, what an app needs, and who there is.
func introduce(server *pkbtest.Server, cfg pkbtest.Config, patients []*pkbtest.Patient, out io.Writer) error {
	fmt.Fprintf(out, "A PKB for tests is running at %s\n", server.URL())
	fmt.Fprintf(out, "It is not Patients Know Best, and its patients are made up: put no real one in.\n\n")
	fmt.Fprintf(out, "Your app:\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  Environment\tpkb.BaseURL(%q)\n", server.URL())
	fmt.Fprintf(table, "  ClientID\t%s\n", server.ClientID())
	for i, uri := range cfg.RedirectURIs {
		fmt.Fprintf(table, "  %s\t%s\n", [...]string{"RedirectURL", "  or"}[min(i, 1)], uri)
	}
	fmt.Fprintf(table, "\t(http on localhost or 127.0.0.1: with any port)\n")
	fmt.Fprintf(table, "\nWho can log in, without a password:\n")
	for _, p := range patients {
		fmt.Fprintf(table, "  %s\t%s %s, who %s\n", p.Scenario, p.FirstName, p.LastName, p.About)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !cfg.ControlAPI {
		fmt.Fprintf(out, "\nThe control API is off; -control turns it on.\n")
	} else {
		fmt.Fprintf(out, "\nThe control API is on, for whoever reaches it: %s/sandbox/patients\n", server.URL())
	}
	if host, _, _ := net.SplitHostPort(cfg.Addr); host != "localhost" && !net.ParseIP(host).IsLoopback() {
		fmt.Fprintf(out, "Beware: other machines may reach this server at %s.\n", cfg.Addr)
	}
	_, err := fmt.Fprintf(out, "Ctrl-C stops it.\n")
	return err
}
