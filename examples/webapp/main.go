// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command webapp is a small health app whose users link their PKB records: a
// log-in of its own, an account page that tells patients what has happened to their
// link, and a page for its operators.
//
//	go run ./examples/webapp
//
// It prints one address to open. Without flags it also starts a PKB for tests,
// and forgets everything when it ends. With PKB's sandbox:
//
//	go run ./examples/webapp -env sandbox -client-id ID -redirect http://localhost:8080/pkb/callback
//
// Any number of replicas on one database (-db), with one key file (-keys), one
// redirect URI (-redirect) and one PKB (-env or -pkb) behave as one. Two of
// them, with examples/sandbox:
//
//	go run ./examples/webapp -pkb http://127.0.0.1:8090 -db webapp.db -redirect http://127.0.0.1:8080/pkb/callback
//	go run ./examples/webapp -pkb http://127.0.0.1:8090 -db webapp.db -redirect http://127.0.0.1:8080/pkb/callback -addr 127.0.0.1:8081
//
// With made-up links in every state, so that there is something on the page for
// operators (its replicas, if any, start without -links):
//
//	go run ./examples/webapp -links 100000
//
// Its users are made up and have no passwords, so it listens on loopback only. What
// it does with PKB is what a host does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	s, err := readFlags(args, log)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := start(ctx, s, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Open "+h.url+h.behind)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-h.broken:
	}
	// First the server ends, then Tend, then the client, which waits for refreshes under
	// way: one that is cut off between PKB's response and the save costs the link. The
	// database closes last.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return errors.Join(err, h.close(closing))
}
