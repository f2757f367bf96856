// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command corpus decodes STU3 resources of other people with package fhir, and compares
// each value with what encoding/json reads without any type. It fetches them from npm
// packages, and ends with one line of JSON:
//
//	go run ./internal/integration/corpus
//
// resources are those of all types, in pages and contained ones included; a resource of
// a type that package fhir has no struct for must come out as it went in. values are
// those of resources of our own types. Of these, unreachable counts the ones that no
// field is for, lost those that their field does not have, and changed those that differ
// in the field, or after encoding. samply_lost counts the values that the five types
// made for R4 cannot hold, of samply_values, and bundle_raw those around the resources
// of a Bundle, such as its total: both are in Raw only. Status 1 unless lost, changed and
// unreachable are 0.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
)

// figures are the line of JSON.
type figures struct {
	Files        int `json:"files"`
	Resources    int `json:"resources"`
	Values       int `json:"values"`
	Lost         int `json:"lost"`
	Changed      int `json:"changed"`
	Unreachable  int `json:"unreachable"`
	SamplyValues int `json:"samply_values"`
	SamplyLost   int `json:"samply_lost"`
	BundleRaw    int `json:"bundle_raw"`
}

func (f *figures) add(o figures) {
	f.Files += o.Files
	f.Resources += o.Resources
	f.Values += o.Values
	f.Lost += o.Lost
	f.Changed += o.Changed
	f.Unreachable += o.Unreachable
	f.SamplyValues += o.SamplyValues
	f.SamplyLost += o.SamplyLost
	f.BundleRaw += o.BundleRaw
}

func (f figures) wrong() int { return f.Lost + f.Changed + f.Unreachable }

func main() {
	log.SetFlags(0)
	c, err := measure(context.Background(), os.Stdout, sources, 1)
	if err != nil {
		log.Fatal(err)
	}
	for _, problem := range c.problems {
		fmt.Println(problem)
	}
	c.printLacking(os.Stdout)
	if err := json.NewEncoder(os.Stdout).Encode(c.figures); err != nil {
		log.Fatal(err)
	}
	if c.wrong() > 0 {
		os.Exit(1)
	}
}

// measure compares the files of the sources, and prints a line for each source. Of the
// types that have no struct it compares one file in skim.
func measure(ctx context.Context, out io.Writer, of []source, skim int) (*comparison, error) {
	all := newComparison()
	all.skim = skim
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "package\tlicence\tfiles\tresources\tvalues\tlost\tchanged\tunreachable\tsamply_lost\t")
	for _, s := range of {
		files, err := s.files(ctx)
		if err != nil {
			return nil, err
		}
		before := all.figures
		all.figures = figures{}
		for _, f := range files {
			all.file(s.name+"/"+f.name, f.data)
		}
		f := all.figures
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", s.spec(), s.licence, f.Files, f.Resources, f.Values, f.Lost, f.Changed, f.Unreachable, f.SamplyLost, s.whose)
		all.figures.add(before)
	}
	if err := table.Flush(); err != nil {
		return nil, err
	}
	for _, s := range of {
		for _, name := range slices.Sorted(maps.Keys(s.except)) {
			_, _ = fmt.Fprintf(out, "not read: %s of %s, which is %s\n", name, s.spec(), s.except[name])
		}
	}
	return all, nil
}

// printLacking prints which elements the types made for R4 lack, by how often.
func (c *comparison) printLacking(out io.Writer) {
	names := slices.SortedFunc(maps.Keys(c.lacking), func(a, b string) int {
		return cmp.Or(c.lacking[b]-c.lacking[a], cmp.Compare(a, b))
	})
	_, _ = fmt.Fprintln(out, "\nvalues that samply's types, made for R4, cannot hold:")
	for _, name := range names {
		_, _ = fmt.Fprintf(out, "%7d %s\n", c.lacking[name], name)
	}
	_, _ = fmt.Fprintln(out)
}
