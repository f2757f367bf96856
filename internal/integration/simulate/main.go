// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command simulate refreshes tokens by the million, against a server as strict
// as PKB, among replicas that crash, stop, sleep and have the wrong time, with a
// database that is away, lags and loses what it has acknowledged, and a gateway
// that refuses in words that nobody knows; and delivers notices to a host whose Notify
// fails, hangs, panics and dies:
//
//	go run ./internal/integration/simulate -refreshes 10000000 -seed 1
//
// Time is simulated (testing/synctest); everything else is real: internal/custody
// and internal/tokenwire as the library runs them, and what people use or write
// instead. It prints a table of the links that each design lost, by what lost
// them as the world knows it, and ends with one line of JSON about ours; with
// status 1 if a link was lost to a race, a failing save, a clock or a wording, or
// without a cause of its name, or if the host missed a notice. For each of these it
// prints in which world that was, and -world runs that one alone. An interrupt ends it
// with the figures so far.
//
// In each process of ours runs Tend, which looks after some users whom nobody calls; a
// third of all authorizations are imported, and a session ends after six hours.
//
// lost_response are links whose refresh PKB carried out and whose response the
// network lost, lost_crash those whose response was lost with its process, or slept
// with it until its lease was over and the token too: no client can keep these.
// lost_store are links of which the store lost what it had acknowledged before
// anybody could write it again. limbo are links that did not work for hours, with
// nothing wrong on the way, and of which nothing was said. lost_notices are those that a
// row owed, or had to owe by what has happened, and that the host has never taken, or
// could not recognize: those of which a process knew that wrote them again under another
// id. out_of_order are those that it took after one that had followed them, and
// delivered_again is how often it took one again, as it must where a process dies
// between the host's taking it and clearing it. posts_per_expiry is how often the
// server was asked for each pair that it gave; refusals of the gateway are not among
// them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// figures are the line of JSON.
type figures struct {
	Refreshes      int64   `json:"refreshes"`
	LostRace       int64   `json:"lost_race"`
	LostSave       int64   `json:"lost_save"`
	LostClock      int64   `json:"lost_clock"`
	LostWording    int64   `json:"lost_wording"`
	LostResponse   int64   `json:"lost_response"`
	LostCrash      int64   `json:"lost_crash"`
	LostStore      int64   `json:"lost_store"`
	Unnamed        int64   `json:"unnamed"`
	Limbo          int64   `json:"limbo"`
	PostsPerExpiry float64 `json:"posts_per_expiry"`
	Notices        int64   `json:"notices"`
	DeliveredAgain int64   `json:"delivered_again"`
	OutOfOrder     int64   `json:"out_of_order"`
	LostNotices    int64   `json:"lost_notices"`
}

// ok reports whether nothing was lost that can be kept. Limbo is not judged: of a
// refusal in unknown words nobody can tell before others have been served often
// enough, which crashes and a refusing gateway put off.
func (f figures) ok() bool {
	return f.LostRace+f.LostSave+f.LostClock+f.LostWording+f.Unnamed+f.OutOfOrder+f.LostNotices == 0
}

func main() {
	log.SetFlags(0)
	debug.SetGCPercent(800) // there is memory, and little time
	refreshes := flag.Int64("refreshes", 200_000, "how often ours refreshes; each peer does a twentieth of it")
	only := flag.Uint64("world", 0, "the number of the one world of ours to run, 0 for all; peers are left out")
	seed := flag.Uint64("seed", 1, "of the faults; how goroutines meet is up to the scheduler")
	flag.Parse()
	heedInterrupts()
	// Simulated time wants a test around it.
	test := testing.InternalTest{Name: "simulate", F: func(t *testing.T) {
		f := simulate(t, os.Stdout, *refreshes, *seed, *only)
		if t.Failed() {
			return
		}
		if f.Refreshes == 0 {
			log.Fatal("interrupted before a link of ours was refreshed: there are no figures")
		}
		if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
			log.Fatal(err)
		}
		if !f.ok() {
			os.Exit(1)
		}
		os.Exit(0) // or it would say PASS
	}}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{test}, nil, nil)
}

// columns are the reasons in the table, and what they are called.
var columns = []struct {
	why  reason
	name string
}{
	{byRace, "races"}, {bySave, "saves"}, {byClock, "clocks"}, {byWording, "wording"},
	{byStore, "store"}, {byResponse, "answers"}, {byCrash, "crashes"}, {byPause, "stops"},
}

// interrupted ends a long run, with the figures of what has been simulated until then.
var interrupted atomic.Bool

func heedInterrupts() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, func() {
		interrupted.Store(true)
		stop() // the next one ends it at once
	})
}

// simulate runs all designs and prints the table.
func simulate(t *testing.T, out io.Writer, refreshes int64, seed, only uint64) figures {
	fmt.Fprintf(out, "seed %d, %d replicas, %d users at a time; links lost per million refreshes, by what lost them\n\n", seed, replicas, usersPerWorld)
	fmt.Fprintf(out, "%-26s %10s %8s |", "design", "refreshes", "POSTs")
	for _, c := range columns {
		fmt.Fprintf(out, " %7s", c.name)
	}
	fmt.Fprintf(out, " | %7s %8s %8s %8s\n", "all", "no cause", "limbo", "refused")
	var ours tally
	for _, d := range designs {
		n := refreshes
		switch {
		case !d.ours && only > 0:
			continue
		case !d.ours:
			n = max(refreshes/20, 1000)
		}
		got := run(t, d, n, seed, only)
		perMillion := func(n int64) float64 { return float64(n) * 1e6 / float64(got.commits) }
		fmt.Fprintf(out, "%-26s %10d %8.3f |", d.name, got.commits, float64(got.posts)/float64(got.commits))
		for _, c := range columns {
			fmt.Fprintf(out, " %7.0f", perMillion(got.lost[c.why]))
		}
		unnamed := "-"
		if d.ours {
			unnamed = fmt.Sprint(got.unnamed)
			ours = got
		}
		fmt.Fprintf(out, " | %7.0f %8s %8d %8.0f\n", perMillion(got.allLost()), unnamed, got.limbo, perMillion(got.badTokens))
	}
	fmt.Fprintf(out, "\n\"refused\" are access tokens that the API did not take, per million refreshes.\n"+
		"ours: the network lost %d responses that the server had sent, and %d links with them;\n"+
		"the store lost %d acknowledged pairs, and %d links with them, of which %d had a process that could have known;\n"+
		"a gateway refused %d requests; PKB ended %d sessions, and each was found out;\n"+
		"the host took %d notices, and %d of them again; the store lost %d acknowledged ones before anybody could write them again\n",
		ours.answersLost, ours.lost[byResponse], ours.rowsLost, ours.lost[byStore], ours.known, ours.refused, ours.lost[byEnd],
		ours.told, ours.toldAgain, ours.noticesFell)
	for _, where := range ours.where {
		fmt.Fprintln(out, where)
	}
	return figures{
		Refreshes: ours.commits,
		LostRace:  ours.lost[byRace], LostSave: ours.lost[bySave], LostClock: ours.lost[byClock], LostWording: ours.lost[byWording],
		LostResponse: ours.lost[byResponse], LostCrash: ours.lost[byCrash] + ours.lost[byPause], LostStore: ours.lost[byStore],
		Unnamed: ours.unnamed + ours.badTokens - ours.wrongTime, Limbo: ours.limbo,
		PostsPerExpiry: float64(ours.posts) / float64(max(ours.commits, 1)),
		Notices:        ours.told, DeliveredAgain: ours.toldAgain, OutOfOrder: ours.disordered, LostNotices: ours.untold,
	}
}

// run simulates one design, in one world after the other, as many at a time as
// there are cores.
func run(t *testing.T, d design, refreshes int64, seed, only uint64) (total tally) {
	var mu sync.Mutex
	var started, done atomic.Int64
	workers := int64(runtime.GOMAXPROCS(0))
	each := max(1, min(refreshesPerUser, refreshes/usersPerWorld/workers/2))
	if only > 0 {
		workers, refreshes = 1, 1
		started.Store(int64(only - 1)) //nolint:gosec // as it was printed
	}
	t.Run(d.name, func(t *testing.T) {
		for range workers {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for done.Load() < refreshes && !t.Failed() && !interrupted.Load() {
					var w *world
					synctest.Test(t, func(*testing.T) {
						w = newWorld(d, seed, uint64(started.Add(1)), each)
						w.run()
					})
					done.Add(w.tally.commits)
					mu.Lock()
					total.add(w.tally)
					mu.Unlock()
				}
			})
		}
	})
	return total
}

// The size of a world. It ends, and another one begins, so that memory stays
// small.
const (
	replicas         = 3
	usersPerWorld    = 50
	refreshesPerUser = 100
	tokenLife        = 10 * time.Minute
)
