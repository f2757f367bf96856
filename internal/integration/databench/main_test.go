// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveArgument { // the process that newBench starts
		if err := serve(); err != nil {
			log.Fatal(err)
		}
		return
	}
	os.Exit(m.Run())
}

// What is compared reads the same, and twice the work costs more: a ratio that
// is always near 1 would prove nothing.
func TestRatioSeesWork(t *testing.T) {
	b, err := newBench(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := b.sameAnswers(t.Context()); err != nil {
		t.Fatal(err)
	}
	once := func() error { return bareDecode(b.page) }
	r, err := ratio("three times the work", repeat(3, once), once)
	if err != nil {
		t.Fatal(err)
	}
	if r < 1.5 || r > 6 {
		t.Errorf("three times the work costs %.2f times as much", r)
	}
}
