// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command drivers tries sqlstore with the drivers that Go programs use, in each way
// that they send statements, directly and through a pooler, and writes what it found
// as the table of tokenstore/sqlstore/drivers.md:
//
//	go run ./internal/integration/drivers -write tokenstore/sqlstore/drivers.md
//
// Each row is tried on a server that runs: Migrate, the whole contract of storetest,
// and then sixteen goroutines that write and read records of their own through more
// connections than the pooler has. A row "works" if all of it does, and is "refused" if Migrate says
// why not. Anything else is a fault of ours: the command says so, and ends with
// status 1.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

// figures are the line of JSON.
type figures struct {
	Works   int `json:"works"`
	Refused int `json:"refused"`
	// Silent are rows that Migrate accepts, and that then fail.
	Silent int `json:"silent"`
}

func main() {
	log.SetFlags(0)
	path := flag.String("write", "", "the file to write the table to; none prints it")
	crowd := flag.Duration("crowd", time.Second, "for how long a crowd writes and reads in each row")
	flag.Parse()
	rows, err := tryAll(context.Background(), *crowd)
	if err != nil {
		log.Fatal(err)
	}
	var f figures
	for _, r := range rows {
		switch {
		case r.Fault != "":
			f.Silent++
			fmt.Fprintf(os.Stderr, "%s, %s, %s: %s\n", r.Driver, r.Setting, r.Engine, r.Fault)
		case r.Refused != "":
			f.Refused++
		default:
			f.Works++
		}
	}
	if *path == "" {
		fmt.Print(page(rows))
	} else if err := os.WriteFile(*path, []byte(page(rows)), 0o644); err != nil { //nolint:gosec // a page of the docs
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
	if f.Silent > 0 {
		os.Exit(1)
	}
}
