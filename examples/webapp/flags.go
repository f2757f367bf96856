// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/betawerk/pkb-go/pkb"
)

// settings are the flags.
type settings struct {
	addr     string
	db       string
	keys     string
	env      string
	pkb      string
	clientID string
	redirect string
	approval time.Duration
	links    int
}

func readFlags(args []string, usage io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("webapp", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&s.addr, "addr", "", "where to listen, on loopback; by default the port of -redirect, or a free one")
	flags.StringVar(&s.db, "db", "", "the database: a file for SQLite, or postgres://...; by default a SQLite file that is removed with the PKB for tests, or webapp.db")
	flags.StringVar(&s.keys, "keys", "", "the file with the keys that seal tokens, made if missing; by default next to the SQLite file, or webapp.keys; a real host keeps them with its other secrets")
	flags.StringVar(&s.env, "env", "", "PKB's environment: sandbox or production; by default a PKB for tests is started")
	flags.StringVar(&s.pkb, "pkb", "", "the address of a PKB for tests that is already running, instead of -env")
	flags.StringVar(&s.clientID, "client-id", "", "your User Client id at PKB")
	flags.StringVar(&s.redirect, "redirect", "", "your redirect URI at PKB; by default /pkb/callback here")
	flags.DurationVar(&s.approval, "approval-life", 10*time.Minute, "how long a patient has from your link to coming back from PKB; 10 minutes at most")
	flags.IntVar(&s.links, "links", 0, "start with so many made-up links, to look at the operator's pages; most of their tokens do not open")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	return s, s.check(flags.Args())
}

// check reports every mistake at once.
func (s *settings) check(rest []string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(rest) > 0 {
		bad("%q is not a flag", rest[0])
	}
	s.checkEnvironment(bad)
	s.checkAddresses(bad)
	return errors.Join(errs...)
}

func (s *settings) checkEnvironment(bad func(string, ...any)) {
	switch s.env {
	case "":
	case "sandbox", "production":
		if s.pkb != "" {
			bad("-env and -pkb name two environments: choose one")
		}
		if s.clientID == "" || s.redirect == "" {
			bad("-env %s needs -client-id and -redirect, as registered with PKB", s.env)
		}
		if s.links != 0 {
			bad("-links makes links up, and -env %s has real ones: choose one", s.env)
		}
	default:
		bad("-env %q: it must be sandbox or production", s.env)
	}
	if s.links < 0 {
		bad("-links is %d; it is how many made-up links there are", s.links)
	}
}

// checkAddresses sets addr if it was not given.
func (s *settings) checkAddresses(bad func(string, ...any)) {
	if s.redirect != "" {
		switch u, err := url.Parse(s.redirect); {
		case err != nil || u.Host == "" || u.Path == "" || u.Path == "/":
			bad("-redirect must be a full address with a path, such as http://localhost:8080/pkb/callback")
		case s.addr == "" && (u.Scheme != "http" || !loopback(u.Hostname())):
			bad("-redirect is served elsewhere: give -addr, where this program listens behind it")
		case s.addr == "":
			s.addr = u.Host
		}
	}
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	if host, _, err := net.SplitHostPort(s.addr); err != nil {
		bad("-addr must be host:port, such as 127.0.0.1:8080")
	} else if !loopback(host) {
		bad("-addr must be a loopback address: whoever reaches this program can sign in without a password")
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// testPKB is the environment of a PKB for tests. It has the same name wherever it
// runs: one that was restarted refuses earlier tokens, and patients approve again.
func testPKB(address string) pkb.Environment {
	env := pkb.BaseURL(address)
	env.Name = "tests"
	return env
}

// environment returns the PKB that is named; there is one unless a PKB for
// tests is to be started.
func (s *settings) environment() (env pkb.Environment, named bool) {
	switch {
	case s.pkb != "":
		return testPKB(s.pkb), true
	case s.env == "sandbox":
		return pkb.Sandbox(), true
	case s.env == "production":
		return pkb.Production(), true
	}
	return pkb.Environment{}, false
}
