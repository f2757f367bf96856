// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

func TestParseDate(t *testing.T) {
	for _, s := range []string{"2000-02-29", "1899-12-31", "2024-01-01"} {
		d, err := pkb.ParseDate(s)
		if err != nil || d.IsZero() || d.ISO() != s {
			t.Errorf("%s: %q, %v", s, d.ISO(), err)
		}
	}
	for _, s := range []string{"", "2001-02-29", "2000-2-29", "29/02/2000", "2000-02-29 ", "2000-02-29T00:00:00Z", "20000229", "0000-00-00", "12000-01-01", "canary"} {
		d, err := pkb.ParseDate(s)
		if err == nil || !d.IsZero() || d.ISO() != "" {
			t.Errorf("%q: %q, %v, want an error", s, d.ISO(), err)
		} else if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q is in the error", s)
		}
	}
}

func TestDate(t *testing.T) {
	day := func(s string) pkb.Date {
		t.Helper()
		d, err := pkb.ParseDate(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	leap := day("2000-02-29")
	if !leap.Equal(day("2000-02-29")) || leap.Equal(day("2000-03-01")) || leap.Equal(pkb.Date{}) || !(pkb.Date{}).Equal(pkb.Date{}) {
		t.Error("Equal")
	}
	if diff := cmp.Diff(leap, day("2000-02-29")); diff != "" {
		t.Errorf("two dates of one day differ:\n%s", diff)
	}
	east := time.FixedZone("east", 9*60*60)
	if got := leap.Time(east); !got.Equal(time.Date(2000, 2, 29, 0, 0, 0, 0, east)) || got.Location() != east {
		t.Errorf("Time = %v", got)
	}
	if !(pkb.Date{}).Time(time.UTC).IsZero() {
		t.Error("no date has a time")
	}
}

func TestDateDoesNotPrint(t *testing.T) {
	d, err := pkb.ParseDate("1977-07-17")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, v := range []any{d, &d, []pkb.Date{d}, struct{ D pkb.Date }{d}, struct{ d pkb.Date }{d}, map[string]pkb.Date{"d": d}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		slog.New(slog.DiscardHandler).Info("x", "v", v)
	}
	text, err := d.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	seconds := fmt.Sprint(d.Time(time.UTC).Unix() + 62135596800) // as a time.Time holds it
	for _, secret := range []string{"1977", seconds, "313937372d"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is printed:\n%s", secret, &out)
		}
	}
}

// A date of death that cannot be read still is one.
func ExampleSelf_Deceased() {
	ctx := context.Background()
	server, _, client := demo()
	patient := server.AddPatient(pkbtest.Patient{Self: map[string]any{"dateDeceased": "in February 2024"}})
	demoLink(ctx, server, patient, client)

	self, err := client.ForUser("app-user-1").Self(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(self.Deceased(), self.DateDeceased.IsZero())
	// Output: true true
}

func FuzzParseDate(f *testing.F) {
	for _, seed := range []string{"2000-02-29", "2001-02-29", "0000-01-01", "", "2000-02-29T10:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := pkb.ParseDate(s)
		if (err == nil) != (d.ISO() == s && !d.IsZero()) {
			t.Errorf("%q: %q, %v", s, d.ISO(), err)
		}
	})
}
