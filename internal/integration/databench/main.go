// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command databench measures reading a patient's data, compared with net/http and
// encoding/json by hand, in the same run, and ends with one line of JSON:
//
//	go run ./internal/integration/databench
//
// self_cpu_ratio and publicid_cpu_ratio are the CPU time of this process, user
// and system, for calls over loopback to a server in another process, as a
// multiple of that for the same calls by hand: rounds by turns, the median of
// their ratios. The public id is asked for with Purview, as code by hand has to
// each time; PublicID reads it from the store. bundle_ratio is the CPU time for
// a search of one page of 1,000 observations, as a multiple of one json.Decoder's for
// the same types, without looking at a resourceType and with nothing kept as it came;
// both from a reader. bundle_peak_pages is the most heap that a search of many pages has in
// use, as a multiple of what one page takes whose resources all were read.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/record"
)

// figures are the line of JSON.
type figures struct {
	SelfCPU     float64 `json:"self_cpu_ratio"`
	PublicIDCPU float64 `json:"publicid_cpu_ratio"`
	Bundle      float64 `json:"bundle_ratio"`
	PeakPages   float64 `json:"bundle_peak_pages"`
}

const (
	perPage = 1000
	pages   = 30
	calls   = 2500 // in a round
	decodes = 8    // in a round
	// The ratios settle in fewer rounds; on a busy machine there is no time for
	// more.
	fewestRounds, mostRounds = 7, 25
	patience                 = 7 * time.Second // for one figure
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == serveArgument {
		if err := serve(); err != nil {
			log.Fatal(err)
		}
		return
	}
	f, err := measure(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context) (f figures, err error) {
	b, err := newBench(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.sameAnswers(ctx); err != nil {
		return f, err
	}
	f.SelfCPU, err = ratio("users/self", repeat(calls, func() error { _, err := b.patient.Self(ctx); return err }), repeat(calls, func() error { _, err := b.self(ctx); return err }))
	if err != nil {
		return f, err
	}
	f.PublicIDCPU, err = ratio("purview", repeat(calls, func() error { _, err := b.patient.Purview(ctx); return err }), repeat(calls, func() error { _, err := b.publicID(ctx); return err }))
	if err != nil {
		return f, err
	}
	f.Bundle, err = ratio("a page", repeat(decodes, func() error { return decode(ctx, b.page) }), repeat(decodes, func() error { return bareDecode(b.page) }))
	if err != nil {
		return f, err
	}
	f.PeakPages, err = b.peakPages(ctx)
	return f, err
}

func repeat(n int, f func() error) func() error {
	return func() error {
		for range n {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
}

// ratio returns the median of what ours costs as a multiple of theirs.
func ratio(what string, ours, theirs func() error) (float64, error) {
	var ratios, o, t []float64
	for began := time.Now(); len(ratios) < fewestRounds || len(ratios) < mostRounds && time.Since(began) < patience; {
		first, second := ours, theirs
		if swap := len(ratios)%2 == 1; swap { // who comes second finds a warmer machine
			first, second = theirs, ours
		}
		a, err := cpu(first)
		if err != nil {
			return 0, err
		}
		b, err := cpu(second)
		if err != nil {
			return 0, err
		}
		if len(ratios)%2 == 1 {
			a, b = b, a
		}
		ratios, o, t = append(ratios, a/b), append(o, a), append(t, b)
	}
	fmt.Printf("%s: ours %.1f ms, by hand %.1f ms a round, %d rounds, ratio %.3f to %.3f\n",
		what, median(o), median(t), len(ratios), slices.Min(ratios), slices.Max(ratios))
	return median(ratios), nil
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// cpu returns the CPU time of this process, in milliseconds, for f.
func cpu(f func() error) (float64, error) {
	heap() // what others left is not f's to collect
	before, err := used()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := used()
	return (after - before).Seconds() * 1000, err
}

func used() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// decode searches, with the page as the response.
func decode(ctx context.Context, page []byte) error {
	n := 0
	for o, err := range record.New("https://pkbtest.example/fhir", onePage(page)).Observations(ctx, record.Laboratory) {
		if err != nil {
			return err
		}
		if o.Reveal().ValueQuantity != nil {
			n++
		}
	}
	return allRead(n)
}

// onePage is a record.Source without HTTP.
type onePage []byte

func (onePage) PublicID(context.Context) (identity.PublicID, error) {
	return "1d4a8b2d-f885-499f-ba51-50600312f316", nil
}

func (p onePage) Get(_ context.Context, _ observe.Operation, _ string, decode func(io.Reader) (string, error)) error {
	_, err := decode(response(p))
	return err
}

func (p onePage) Call(_ context.Context, _ observe.Operation, _ string, decode func([]byte) (string, error)) error {
	_, err := decode(p)
	return err
}

func (onePage) Unusable(_ observe.Operation, problem string, _ error, _ fhir.Resource[fhir.OperationOutcome]) error {
	return errors.New(problem)
}

func (onePage) Gone(error) bool { return false }

// response returns a reader that can do nothing else, like the body of a response.
func response(page []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(page)} }

// bareDecode reads a page of the same types with encoding/json and nothing
// else.
func bareDecode(page []byte) error {
	var b struct {
		ResourceType string `json:"resourceType"`
		Type         string `json:"type"`
		Link         []struct {
			Relation string `json:"relation"`
			URL      string `json:"url"`
		} `json:"link"`
		Entry []struct {
			FullURL  string           `json:"fullUrl"`
			Resource fhir.Observation `json:"resource"`
			Search   struct {
				Mode string `json:"mode"`
			} `json:"search"`
		} `json:"entry"`
	}
	if err := json.NewDecoder(response(page)).Decode(&b); err != nil {
		return err
	}
	n := 0
	for i := range b.Entry {
		if b.Entry[i].Resource.ValueQuantity != nil {
			n++
		}
	}
	return allRead(n)
}

func allRead(n int) error {
	if n != perPage {
		return fmt.Errorf("%d observations with a value in a page of %d", n, perPage)
	}
	return nil
}
