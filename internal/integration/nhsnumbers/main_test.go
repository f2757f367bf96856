// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"
)

// The judge and pkb agree, on right numbers and wrong ones.
func TestTheJudgeAgrees(t *testing.T) {
	f, err := compare(t.Context(), 20_000, 100, 1)
	if errors.Is(err, errNoJudge) {
		if os.Getenv("PKB_REQUIRE_SERVICES") == "1" {
			t.Fatalf("PKB_REQUIRE_SERVICES=1 says that there must be a judge: %v", err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f.Disagree != 0 || f.Undetected != 0 {
		t.Errorf("%+v: pkb and the judge have to agree", f)
	}
	if f.DigitErrors != 100*90 || f.SwapErrors < 100*25 || f.Values != 20_000+f.DigitErrors+f.SwapErrors {
		t.Errorf("%+v: not every slip was tried", f)
	}
	if f.Valid < 10_000 || f.Valid > 13_000 {
		t.Errorf("%+v: half of the values are right, and one in eleven of the random ones by chance", f)
	}
}

func TestOneSeedOneSetOfValues(t *testing.T) {
	values := func() (all []string) {
		var f figures
		if err := askAll(rand.New(rand.NewPCG(7, 0)), 100, 1, &f, func(value string, _ bool) error {
			all = append(all, value)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	one, two := values(), values()
	for i := range one {
		if one[i] != two[i] {
			t.Fatalf("value %d is %s, then %s: a disagreement could not be looked at again", i, one[i], two[i])
		}
	}
}
