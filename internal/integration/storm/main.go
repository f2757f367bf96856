// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command storm lets several processes ask for one expired token at the same
// moment, each with thousands of goroutines, over one PostgreSQL database:
//
//	go run ./internal/integration/storm
//
// It ends with one line of JSON, and with status 1 unless the server was asked
// exactly once and nobody got an error. posts is counted by the server;
// p99_over_post is how long the callers of the process that refreshed waited,
// at the 99th percentile, as a multiple of its POST.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

const user = "app-user-1"

// order is what a process is to do.
type order struct {
	Setup   cluster.Setup
	Callers int
}

// ready is what a process says before it begins, when all its callers are there.
type ready struct{ Callers int }

// report is what a process says at the end.
type report struct {
	Errors   int
	Example  string
	P50, P99 time.Duration
	Max      time.Duration
	// Post is how long the process's own POST took, 0 if it sent none.
	Post time.Duration
}

// figures are the line of JSON.
type figures struct {
	Processes   int     `json:"processes"`
	Callers     int     `json:"callers"`
	Posts       int     `json:"posts"`
	Errors      int     `json:"errors"`
	P99OverPost float64 `json:"p99_over_post"`
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		if err := call(); err != nil {
			log.Fatal(err)
		}
		return
	}
	processes := flag.Int("processes", 4, "number of processes")
	callers := flag.Int("callers", 10_000, "goroutines in each")
	post := flag.Duration("post", time.Second, "how long PKB takes to respond to the refresh")
	flag.Parse()
	f, err := storm(context.Background(), *processes, *callers, *post)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
	if f.Posts != 1 || f.Errors != 0 {
		os.Exit(1)
	}
}

func storm(ctx context.Context, processes, callers int, post time.Duration) (f figures, err error) {
	c, err := cluster.New(ctx)
	if err != nil {
		return f, err
	}
	defer func() {
		if closing := c.Close(); err == nil {
			err = closing
		}
	}()
	if err := c.Link(ctx, user); err != nil {
		return f, err
	}
	c.PKB.Advance(11 * time.Minute) // the access token has expired
	c.PKB.Next(pkbtest.Token, pkbtest.Delay(post))

	f = figures{Processes: processes, Callers: processes * callers}
	all := make([]*cluster.Process, processes)
	for i := range all {
		if all[i], err = cluster.Start(ctx, "callers", order{Setup: c.Setup(), Callers: callers}); err != nil {
			return f, err
		}
		defer all[i].Kill()
	}
	for _, p := range all {
		if err := p.Receive(new(ready)); err != nil {
			return f, err
		}
	}
	for _, p := range all {
		if err := p.Send("go"); err != nil {
			return f, err
		}
	}
	fmt.Printf("%-10s %10s %10s %10s %10s %8s\n", "process", "p50", "p99", "max", "its POST", "errors")
	for i, p := range all {
		var r report
		if err := p.Receive(&r); err != nil {
			return f, err
		}
		if err := p.Wait(); err != nil {
			return f, err
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
		fmt.Printf("%-10d %10s %10s %10s %10s %8d %s\n", i+1, ms(r.P50), ms(r.P99), ms(r.Max), ms(r.Post), r.Errors, r.Example)
		f.Errors += r.Errors
		if r.Post > 0 {
			f.P99OverPost = float64(r.P99) / float64(r.Post)
		}
	}
	f.Posts = c.PKB.Refreshes()
	return f, nil
}

// call is one of the processes.
func call() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var o order
	if err := in.Decode(&o); err != nil {
		return err
	}
	timed := &timed{next: http.DefaultTransport}
	replica, err := o.Setup.Open(func(cfg *pkb.Config) { cfg.HTTPClient = &http.Client{Transport: timed} })
	if err != nil {
		return err
	}
	waits, errs := make([]time.Duration, o.Callers), make([]error, o.Callers)
	gate := make(chan struct{})
	var there, done sync.WaitGroup
	there.Add(o.Callers)
	for i := range o.Callers {
		done.Go(func() {
			there.Done()
			<-gate
			start := time.Now()
			_, errs[i] = replica.Client.Token(context.Background(), user)
			waits[i] = time.Since(start)
		})
	}
	there.Wait()
	if err := out.Encode(ready{o.Callers}); err != nil {
		return err
	}
	if err := in.Decode(new(string)); err != nil {
		return err
	}
	close(gate)
	done.Wait()

	slices.Sort(waits)
	r := report{P50: waits[len(waits)/2], P99: waits[len(waits)*99/100], Max: waits[len(waits)-1], Post: time.Duration(timed.took.Load())}
	for _, err := range errs {
		if err != nil {
			r.Errors++
			r.Example = err.Error()
		}
	}
	if err := replica.Close(); err != nil {
		return err
	}
	return out.Encode(r)
}

// timed measures requests to the token endpoint.
type timed struct {
	next http.RoundTripper
	took atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (t *timed) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	if strings.HasSuffix(req.URL.Path, "/apiToken.action") {
		t.took.Add(int64(time.Since(start)))
	}
	return resp, err
}
