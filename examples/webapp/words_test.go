// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/url"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// allCauses reads the causes from the source of package observe, so that a new one is
// missed here.
func allCauses(t *testing.T) (all []observe.Cause) {
	t.Helper()
	source, err := os.ReadFile("../../pkb/observe/cause.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`Cause = "(\w+)"`).FindAllSubmatch(source, -1) {
		all = append(all, observe.Cause(m[1]))
	}
	if len(all) < 10 {
		t.Fatalf("only %d causes were found", len(all))
	}
	return all
}

// Every way in which a link ends is told in words, and no code of the library's or of
// PKB's reaches a patient.
func TestWordsForEveryCause(t *testing.T) {
	const publicID = "1d4a8b2d-f885-499f-ba51-50600312f316"
	for _, cause := range allCauses(t) {
		w := wordsEnded(cause)
		if _, ok := wordsOf[cause]; !ok || causes[cause] == "" {
			t.Errorf("there are no words of its own for %s", cause)
		}
		if (w.Tone == "amber") != (cause == observe.CauseFrozen) {
			t.Errorf("%s is %s", cause, w.Tone)
		}
		var body bytes.Buffer
		err := pages["account.html"].Execute(&body, page{Title: w.Title, Content: accountPage{
			Link:  &pkb.Link{AppUserID: "amira", State: tokenstore.StateRelinkRequired, Cause: cause, PublicID: publicID},
			words: w,
		}})
		if err != nil {
			t.Fatal(err)
		}
		a := answer{at: &url.URL{Path: string(cause)}, body: body.String()}
		mustShow(t, a, w.Title, w.Text[0])
		mustNotShow(t, a, "_", publicID, "API_")
	}
}

func TestFrozenIsNotGreen(t *testing.T) {
	r := newRig(t, "")
	one := r.replicas[0]
	amira := newPerson(t)
	amira.signIn(one, "amira")
	amira.link(r, one, one)
	r.pkb.Freeze(r.patient, true)
	frozen := amira.get(one.url + "account")
	mustShow(t, frozen, `class="status amber"`, "PKB has paused your link")
	mustNotShow(t, frozen, "green", "Canary")
	r.pkb.Freeze(r.patient, false)
	mustShow(t, amira.get(one.url+"account"), `class="status green"`, "Ada Canary")
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "just now", 29 * time.Second: "just now", -20 * time.Second: "just now",
		40 * time.Second: "1 minute ago", 5 * time.Minute: "5 minutes ago", 89 * time.Minute: "89 minutes ago",
		90 * time.Minute: "2 hours ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago", 400 * 24 * time.Hour: "400 days ago",
		-3 * time.Hour: "in 3 hours", -8 * time.Minute: "in 8 minutes",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%v before: %q, want %q", d, got, want)
		}
	}
	var numbers []string
	for _, n := range []int{0, 7, 999, 1000, 100_000, 1_234_567} {
		numbers = append(numbers, number(n))
	}
	if want := []string{"0", "7", "999", "1,000", "100,000", "1,234,567"}; !slices.Equal(numbers, want) {
		t.Errorf("numbers %q, want %q", numbers, want)
	}
}
