// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command simulate refreshes tokens by the million, against a server as strict
// as PKB, among replicas that crash, sleep, and lose answers and databases:
//
//	go run ./internal/integration/simulate -refreshes 10000000 -seed 1
//
// Time is simulated (testing/synctest); everything else is real: internal/custody
// and internal/tokenwire as the library runs them, and what people use or write
// instead. It prints a table of the links that each design lost, by what lost
// them, and ends with one line of JSON about ours; with status 1 if a link was
// lost to a race or to a failing save, or without a cause of its name.
//
// lost_response are links whose refresh PKB answered and whose answer the
// network lost, lost_crash those whose answer died with its process, or slept
// with it until its lease was over and the token too: no client can keep these.
// posts_per_expiry is how often the server was asked for each pair that it gave.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
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
	LostResponse   int64   `json:"lost_response"`
	LostCrash      int64   `json:"lost_crash"`
	Unnamed        int64   `json:"unnamed"`
	PostsPerExpiry float64 `json:"posts_per_expiry"`
}

func main() {
	log.SetFlags(0)
	refreshes := flag.Int64("refreshes", 200_000, "how often ours refreshes; each peer does a twentieth of it")
	seed := flag.Uint64("seed", 1, "of the faults; how goroutines meet is up to the scheduler")
	flag.Parse()
	// Simulated time wants a test around it.
	test := testing.InternalTest{Name: "simulate", F: func(t *testing.T) {
		f := simulate(t, os.Stdout, *refreshes, *seed)
		if t.Failed() {
			return
		}
		if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
			log.Fatal(err)
		}
		if f.LostRace+f.LostSave+f.Unnamed > 0 {
			os.Exit(1)
		}
		os.Exit(0) // or it would say PASS
	}}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{test}, nil, nil)
}

// simulate runs all designs and prints the table.
func simulate(t *testing.T, out io.Writer, refreshes int64, seed uint64) figures {
	fmt.Fprintf(out, "seed %d, %d replicas, %d users at a time\n\n", seed, replicas, usersPerWorld)
	fmt.Fprintf(out, "%-26s %10s %8s | %8s %8s %8s %8s %8s | %10s %8s %8s\n",
		"", "refreshes", "POSTs /", "lost to", "", "", "", "", "lost per", "no cause", "bad")
	fmt.Fprintf(out, "%-26s %10s %8s | %8s %8s %8s %8s %8s | %10s %8s %8s\n",
		"design", "", "refresh", "races", "saves", "answers", "crashes", "pauses", "million", "given", "tokens")
	var ours tally
	for _, d := range designs {
		n := refreshes
		if !d.ours {
			n = max(refreshes/20, 1000)
		}
		got := run(t, d, n, seed)
		unnamed := fmt.Sprint(got.unnamed)
		if !d.ours {
			unnamed = "-"
		}
		fmt.Fprintf(out, "%-26s %10d %8.3f | %8d %8d %8d %8d %8d | %10.0f %8s %8d\n",
			d.name, got.commits, float64(got.posts)/float64(got.commits),
			got.lost[byRace], got.lost[bySave], got.lost[byResponse], got.lost[byCrash], got.lost[byPause],
			float64(got.allLost())*1e6/float64(got.commits), unnamed, got.badTokens)
		if d.ours {
			ours = got
		}
	}
	fmt.Fprintf(out, "\nours: of %d refreshes whose answer the network lost after the server had made it, %d were lost with it\n",
		ours.answersLost, ours.lost[byResponse])
	return figures{
		Refreshes: ours.commits,
		LostRace:  ours.lost[byRace], LostSave: ours.lost[bySave], LostResponse: ours.lost[byResponse],
		LostCrash:      ours.lost[byCrash] + ours.lost[byPause],
		Unnamed:        ours.unnamed + ours.badTokens,
		PostsPerExpiry: float64(ours.posts) / float64(ours.commits),
	}
}

// run simulates one design, in one world after the other, as many at a time as
// there are cores.
func run(t *testing.T, d design, refreshes int64, seed uint64) (total tally) {
	var mu sync.Mutex
	var started, done atomic.Int64
	workers := int64(runtime.GOMAXPROCS(0))
	each := max(1, min(refreshesPerUser, refreshes/usersPerWorld/workers))
	t.Run(d.name, func(t *testing.T) {
		for range workers {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for done.Load() < refreshes && !t.Failed() {
					w := newWorld(d, seed, uint64(started.Add(1)), each)
					synctest.Test(t, func(*testing.T) { w.run() })
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
