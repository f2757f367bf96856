// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary_test

import (
	"testing"
	"testing/synctest"

	"github.com/betawerk/pkb-go/internal/canary"
)

// S54: a host links patients and loses links, everything that can go wrong does,
// and every error text names the patient: nothing of it gets out.
func TestCanariesDoNotGetOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		printed, err := canary.Flow{}.Run(t.Context())
		if err != nil {
			t.Fatalf("the flow did not go as it was meant to, so nothing is shown: %v", err)
		}
		for _, leak := range printed.Leaks() {
			t.Errorf("got out in %s", leak)
		}
		for where, least := range map[string]int{"log": 20_000, "events": 100_000, "errors": 1_000_000, "values": 100_000, "hidden values": 10_000, "pages": 5_000, "excerpts": 1_000} {
			if got := printed.Bytes()[where]; got < least {
				t.Errorf("only %d bytes of %s to search", got, where)
			}
		}
		if printed.Secrets.Len() < 10_000 || printed.Names.Len() < 1_000 {
			t.Errorf("only %d and %d forms to look for", printed.Secrets.Len(), printed.Names.Len())
		}
		t.Logf("%v bytes searched for %d forms", printed.Bytes(), printed.Secrets.Len()+printed.Names.Len())
	})
}
