// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command kill ends processes with SIGKILL at each step of a refresh, of a delivery of
// a notice and of an import, over a PostgreSQL database, and lets other processes take
// over:
//
//	go run ./internal/integration/kill
//
// It ends with one line of JSON, and with status 1 if anything is unexplained.
// After each kill the link is either usable, which is tried with a call for the
// patient, or its record names the cause: outcome_unknown, and that only where
// PKB had spent the refresh token and its response was lost with the process.
// double_posts counts refresh tokens that were presented twice otherwise. kills are
// those in a refresh. notices are what the host was told of all links,
// delivered_again, how often it was told what it had been told, as it must be where a
// process dies with a notice that the host has taken, and lost_notices, what it was
// not told.
//
// Who takes over must have watched the lease of the dead stand still for 75
// seconds, and does so here: all the heirs at once. With -speed their clocks go
// faster. Half of the links were made by Import.
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
	Kills       int `json:"kills"`
	Usable      int `json:"usable"`
	Named       int `json:"named"`
	Unexplained int `json:"unexplained"`
	DoublePosts int `json:"double_posts"`
	NoticeKills int `json:"notice_kills"`
	ImportKills int `json:"import_kills"`
	Notices     int `json:"notices"`
	Again       int `json:"delivered_again"`
	LostNotices int `json:"lost_notices"`
	OutOfOrder  int `json:"out_of_order"`
}

// ok reports whether nothing is wrong.
func (f figures) ok() bool {
	return f.Unexplained+f.DoublePosts+f.LostNotices+f.OutOfOrder == 0
}

func main() {
	log.SetFlags(0)
	if cluster.Role() != "" {
		log.Fatal(play())
	}
	rounds := flag.Int("rounds", 5, "kills at each step, with the old access token over and with it still good")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments that are random")
	speed := flag.Int("speed", 1, "how fast the clocks of those go who take over")
	flag.Parse()
	f, err := run(context.Background(), *rounds, *speed, *seed)
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

// play is what a process of ours does, until it is killed: it returns when
// something went wrong.
func play() error {
	if cluster.Role() == "victim" {
		return victim()
	}
	return heir()
}

// begin returns what this process is to do, and the inbox of the host.
func begin() (o order, inbox *cluster.Inbox, err error) {
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return o, nil, err
	}
	inbox, err = o.Setup.OpenInbox()
	return o, inbox, err
}
