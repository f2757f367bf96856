// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// order is what a replica is to do.
type order struct {
	Setup cluster.Setup
	Links int
	Rate  int
	Seed  uint64
}

// request is what a replica is told while it works.
type request string

const (
	sampleNow request = "sample"
	stopNow   request = "stop"
)

// message is what a replica says: one of these.
type message struct {
	// Lost is a link that ended, told once by the process that found out.
	Lost *loss `json:",omitempty"`
	// Sample answers sampleNow, and is the last word after stopNow.
	Sample *sample `json:",omitempty"`
	// Problem is an error that no fault explains.
	Problem string `json:",omitempty"`
}

type loss struct {
	User  string
	Cause observe.Cause
}

// sample is what a replica holds at one moment.
type sample struct {
	Goroutines int
	// Heap is in bytes, after a garbage collection.
	Heap uint64
	// Sockets are the open ones, to PostgreSQL and to PKB.
	Sockets int
	// Refreshes and Answers are counted since the start; Answers by what callers got.
	Refreshes int
	Answers   map[string]int
}

// appUserID names the links.
func appUserID(i int) string { return fmt.Sprintf("app-user-%d", i) }

// hardMargin leaves short-lived tokens the time to be refreshed early.
const hardMargin = 2 * time.Second

// callers is how many goroutines of a replica make calls.
const callers = 16

// play is a replica: it calls for patients, at a steady rate, until it is told
// to stop.
func play() error {
	signal.Ignore(os.Interrupt) // Ctrl-C is for whoever started us
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var o order
	if err := in.Decode(&o); err != nil {
		return err
	}
	r := &replica{out: out, answers: map[string]int{}}
	var err error
	r.Replica, err = o.Setup.Open(func(cfg *pkb.Config) {
		cfg.Now, cfg.HardMargin = nil, hardMargin
		cfg.OnEvent = func(e observe.Event) {
			if e.Kind == observe.EventRelinkRequired {
				r.say(message{Lost: &loss{e.AppUserID, e.Cause}})
			}
		}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for i := range callers {
		working.Go(func() { r.call(ctx, o, i) })
	}
	for {
		var what request
		if err := in.Decode(&what); err != nil {
			cancel()
			if errors.Is(err, io.EOF) {
				return nil // whoever started us has gone
			}
			return err
		}
		switch what {
		case sampleNow:
			r.say(message{Sample: r.sample()})
		case stopNow:
			cancel()
			working.Wait()
			err := r.Close()
			r.say(message{Sample: r.sample()})
			return err
		}
	}
}

type replica struct {
	*cluster.Replica
	mu      sync.Mutex
	out     *json.Encoder
	answers map[string]int
}

func (r *replica) say(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Encode(m); err != nil {
		os.Exit(1) // nobody listens
	}
}

// call is one caller: it goes through its share of the links again and again,
// in an order of its own, and asks PKB for every twentieth patient.
func (r *replica) call(ctx context.Context, o order, caller int) {
	random := rand.New(rand.NewPCG(o.Seed, uint64(caller)))
	var mine []int
	for i := caller; i < o.Links; i += callers {
		mine = append(mine, i)
	}
	tick := time.NewTicker(callers * time.Second / time.Duration(o.Rate))
	defer tick.Stop()
	for n := 0; len(mine) > 0; n++ {
		if n%len(mine) == 0 {
			random.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		user := appUserID(mine[n%len(mine)])
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		var err error
		if random.IntN(20) == 0 {
			_, err = r.Client.ForUser(user).Self(limited)
		} else {
			_, err = r.Client.Token(limited, user)
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		r.count(err)
	}
}

// count sorts what a caller got. What no fault explains is told.
func (r *replica) count(err error) {
	kind, api := "", (*pkb.APIError)(nil)
	switch {
	case err == nil:
		kind = "ok"
	case errors.Is(err, pkb.ErrRelinkRequired):
		kind = "relink required"
	case errors.Is(err, pkb.ErrTryLater):
		kind = "try later"
	case errors.Is(err, pkb.ErrStore):
		kind = "store away"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "waited a minute"
	case errors.As(err, &api) && (api.Status == 0 || api.Status >= 500):
		kind = "call failed"
	default:
		r.say(message{Problem: err.Error()})
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[kind]++
}

func (r *replica) sample() *sample {
	s := &sample{
		Goroutines: runtime.NumGoroutine(), Sockets: r.sockets(),
		Refreshes: int(r.Client.Stats().Refreshes),
	}
	r.mu.Lock()
	s.Answers = maps.Clone(r.answers)
	r.mu.Unlock()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = m.HeapAlloc
	return s
}

// sockets counts the process's sockets where the system shows them, and else
// the connections of the pool.
func (r *replica) sockets() (n int) {
	const open = "/proc/self/fd"
	entries, err := os.ReadDir(open)
	if err != nil {
		return r.DB.Stats().OpenConnections
	}
	for _, e := range entries {
		if to, err := os.Readlink(open + "/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
