// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command soak lets four replicas keep two thousand links alive for as long as
// one likes, over a PostgreSQL of its own that is stopped and started in the
// middle, with a PKB that delays, refuses, cuts connections and loses responses:
//
//	go run ./internal/integration/soak -for 30m
//
// and -for 30s for a quick look. It needs the programs of PostgreSQL (initdb,
// postgres) and about one core in all; Ctrl-C ends it early,
// with the figures so far.
//
// It ends with one line of JSON, and with status 1 if a link was lost that the
// server's faults do not explain, or if something grew. lost_by_server counts
// the links whose refresh PKB carried out and whose response it withheld, each
// checked against what PKB did to that very link. goroutines_growth,
// heap_growth_mb (after a garbage collection) and conns_growth (open sockets of
// a replica, or PostgreSQL's count of its clients) are the growth of the replica
// that grew most: the median of the last half of the time after the restart, less
// that of the last half of the time before it. The restart itself comes on top of
// the time asked for.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
)

// settings are how much is done, and for how long.
type settings struct {
	length time.Duration
	links  int
	// rate is how many calls a second each replica makes.
	rate int
	// tokenLife is the life of an access token.
	tokenLife time.Duration
	seed      uint64
}

const replicas = 4

// figures are the line of JSON.
type figures struct {
	Minutes float64 `json:"minutes"`
	// Refreshes are counted by the replicas.
	Refreshes int `json:"refreshes"`
	// Lost counts links that ended, or do not work at the end, without a fault
	// of the server's that explains it.
	Lost         int `json:"lost"`
	LostByServer int `json:"lost_by_server"`
	growth
}

// ok reports whether nothing was lost and nothing grew, with some room for what
// happens to be open when it is looked at. Connections to PKB that were opened
// while PostgreSQL was away are kept idle for 90 seconds, sixteen at most, with
// two goroutines each: a run whose quarters are not much longer still has them
// at its end.
func (f figures) ok() bool {
	goroutines, conns := 8, 4
	if f.Minutes < 10 {
		goroutines, conns = goroutines+32, conns+16
	}
	return f.Lost == 0 && f.Goroutines <= goroutines && f.Conns <= conns && f.HeapMB <= 4
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		if err := play(); err != nil {
			log.Fatal(err)
		}
		return
	}
	s := settings{}
	flag.DurationVar(&s.length, "for", 30*time.Minute, "how long; 30s is a quick look")
	flag.IntVar(&s.links, "links", 2000, "number of links")
	flag.IntVar(&s.rate, "rate", 500, "calls a second of each replica")
	flag.DurationVar(&s.tokenLife, "token-life", 0, "life of an access token; 0 means 30s, and 12s in runs of less than 5m")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of the faults")
	flag.Parse()
	if s.length < 10*time.Second || s.links < 1 || s.rate < 1 || flag.NArg() > 0 {
		log.Fatal("usage: soak [-for 30m] [-links 2000] [-rate 500]; at least for 10s, with at least one link")
	}
	if s.tokenLife == 0 {
		s.tokenLife = 30 * time.Second
		if s.length < 5*time.Minute {
			s.tokenLife = 12 * time.Second
		}
	}
	f, err := interruptible(s)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		log.Fatal(err)
	}
	if !f.ok() {
		os.Exit(1)
	}
}

// interruptible runs until the time has passed or somebody presses Ctrl-C: the
// first time the links are still looked at, the second time only what was
// started is stopped.
func interruptible(s settings) (figures, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	enough := make(chan struct{})
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	go func() {
		<-interrupts
		log.Print("ending early; once more to leave at once")
		close(enough)
		<-interrupts
		cancel()
	}()
	return run(ctx, os.Stdout, s, enough)
}
