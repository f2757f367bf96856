// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command tend lets several processes look after the links of one PostgreSQL
// database, of which a part is due:
//
//	go run ./internal/integration/tend -links 100000 -replicas 3 -for 60s
//
// The links that are due are made with a PKB that listens, half of them by Import; the
// others are rows that are not due. First all notices of that are delivered, to a host
// that fails, hangs and panics, while one of the processes dies with a notice that the
// host has just taken. Then the clock goes past Config.KeepWarm, and Client.Tend runs
// in all processes until all is done, for as long as -for at most. It begins at most
// ten refreshes a second in each, so that 1,000 links take three processes 34 seconds.
//
// It ends with one line of JSON, and with status 1 if a bound is broken: a notice that
// the host did not get, or in the wrong order, a refresh token that was presented
// twice, a link that is still due, more than one query a batch, a plan without the
// index, or a cost of more than 1.2. lost_notices compares what has happened to the
// links with what the host has. queries_per_batch is how many statements pass the
// driver during one call of the store's Due. cost_ratio compares a refresh by Tend
// with one by Client.Token of the same links in the same run, before and after: it is
// the larger of statements_ratio, statements at the driver, and cpu_ratio, time of the
// processes' processors at ten refreshes a second.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/cluster"
)

// figures are the line of JSON.
type figures struct {
	Due             int     `json:"due"`
	Refreshed       int     `json:"refreshed"`
	Warned          int     `json:"warned"`
	Notices         int     `json:"notices"`
	LostNotices     int     `json:"lost_notices"`
	DoublePosts     int     `json:"double_posts"`
	QueriesPerBatch float64 `json:"queries_per_batch"`
	CostRatio       float64 `json:"cost_ratio"`
	StatementsRatio float64 `json:"statements_ratio"`
	CPURatio        float64 `json:"cpu_ratio"`
	// Ended are the links whose session PKB had ended, which the refresh found out.
	Ended int `json:"ended"`
	// Again is how often the host was told what it had been told, and OutOfOrder, how
	// often it was first told something that was older than what it had been told.
	Again      int `json:"delivered_again"`
	OutOfOrder int `json:"out_of_order"`
	// Indexed means that Due reads an index, and nothing but what is due.
	Indexed bool `json:"indexed"`
}

// mostCost is how much a refresh by a sweep may cost, if one by a caller costs 1.
const mostCost = 1.2

// ok reports whether no bound is broken, with a cost.
func (f figures) ok(cost float64) bool {
	return f.LostNotices+f.DoublePosts+f.OutOfOrder == 0 && f.Due > 0 && f.Refreshed+f.Ended == f.Due && f.Warned > 0 && f.Ended > 0 &&
		f.QueriesPerBatch == 1 && f.Indexed && cost <= mostCost
}

// size is how much is done.
type size struct {
	links, due, replicas int
	window               time.Duration
	// pace is between two refreshes by callers in a process.
	pace time.Duration
	seed uint64
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		if err := replica(); err != nil {
			log.Fatal(err)
		}
		return
	}
	s := size{pace: time.Second / 10}
	flag.IntVar(&s.links, "links", 100_000, "rows in the table")
	due := flag.Float64("due", 0.01, "the part of the links that is due")
	flag.IntVar(&s.replicas, "replicas", 3, "processes, of which one dies")
	flag.DurationVar(&s.window, "for", time.Minute, "how long Tend runs at most when links are due")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of what the host does")
	flag.Parse()
	s.due = max(20, int(float64(s.links)*(*due)))
	f, err := tend(context.Background(), os.Stdout, s)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		log.Fatal(err)
	}
	if !f.ok(f.CostRatio) {
		os.Exit(1)
	}
}
