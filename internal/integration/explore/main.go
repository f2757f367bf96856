// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command explore runs custody's protocol through the histories of small worlds,
// and prints the shortest history that breaks an invariant, if there is one:
//
//	go run ./internal/integration/explore -for 60s
//
// Progress goes to standard error. The last line is JSON. The status is 1 if an
// invariant was broken, if a row of the protocol's table was never met, or if there
// were fewer states than -least.
//
// With -mutate it asks whether that would find anything: it switches rules of the
// protocol off in copies of the source that only the compiler sees, one by one,
// and explores, or tests, what is left. The status is 1 if one is not caught.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/explore"
)

// figures are the line of JSON.
type figures struct {
	States      int `json:"states"`
	Violations  int `json:"violations"`
	RowsReached int `json:"rows_reached"`
	Rows        int `json:"rows"`
}

func main() {
	log.SetFlags(0)
	var o explore.Options
	flag.DurationVar(&o.For, "for", 0, "explore for so long; 0 until all is explored, which needs memory")
	flag.StringVar(&o.Only, "only", "", "explore this setup only")
	flag.IntVar(&o.Limit, "limit", 0, "leave a setup after so many states; 0 for no limit")
	flag.BoolVar(&o.First, "first", false, "leave a setup after its first violation")
	least := flag.Int("least", 0, "how many states there must be")
	list := flag.Bool("list", false, "print the names of the setups")
	mutate := flag.String("mutate", "", "switch off the rules whose names match this regular expression, or all")
	together := flag.Int("p", 2, "how many rules to try at a time")
	flag.Parse()
	switch {
	case *list:
		for _, name := range explore.Names() {
			fmt.Println(name)
		}
	case *mutate != "":
		if *mutate == "all" {
			*mutate = ""
		}
		wanted, err := regexp.Compile(*mutate)
		if err != nil {
			log.Fatal(err)
		}
		c, err := mutations(context.Background(), os.Stdout, wanted, *together)
		if err != nil {
			log.Fatal(err)
		}
		end(c, c.Caught == c.Mutations)
	default:
		if o.Only != "" && !slices.Contains(explore.Names(), o.Only) {
			log.Fatalf("there is no setup %q; -list prints their names", o.Only)
		}
		f, ok := run(context.Background(), os.Stderr, o)
		end(f, ok && f.States >= *least)
	}
}

// end prints the last line.
func end(v any, ok bool) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// run explores, and reports what it finds. It succeeds if nothing is broken, and
// every row was met that can be: of one setup, or of a few states, not all are.
func run(ctx context.Context, out io.Writer, o explore.Options) (figures, bool) {
	start := time.Now()
	o.Progress = func(s explore.Setup) {
		how := "in part"
		if s.Complete {
			how = "complete"
		}
		fmt.Fprintf(out, "%-44s %9d states %7d ends %6.1fs  %s\n", s.Name, s.States, s.Ends, s.Took.Seconds(), how)
	}
	r := explore.Run(ctx, o)
	for _, v := range r.Violations {
		fmt.Fprintf(out, "\n%s, in %q:\n", v.Rule, v.Setup)
		for _, line := range v.Story {
			fmt.Fprintln(out, "   ", line)
		}
	}
	whole := o.Only == ""
	if whole {
		for _, row := range r.Unreached() {
			fmt.Fprintf(out, "no world meets the row %v, %q\n", row.Event, row.When)
		}
	}
	fmt.Fprintf(out, "%d states in %.1fs\n", r.States, time.Since(start).Seconds())
	f := figures{States: r.States, Violations: len(r.Violations), RowsReached: r.RowsReached(), Rows: len(r.Rows)}
	return f, f.Violations == 0 && (!whole || f.RowsReached == f.Rows)
}
