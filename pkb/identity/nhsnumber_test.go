// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/betawerk/pkb-go/internal/conceal"
	"golang.org/x/text/unicode/norm"
)

func TestParseNHSNumber(t *testing.T) {
	for s, want := range map[string]string{
		"9991566171": "9991566171", "999 156 6171": "9991566171", "999-156-6171": "9991566171",
		" 999\u00a0156\u20116171\n": "9991566171", "9-9-9-1-5-6-6-1-7-1": "9991566171", "999–156—6171": "9991566171",
		"0000000000": "0000000000", "9991566170": "9991566170", // other questions
		"": "", "999156617": "", "99915661711": "", "999156617x": "", "999.156.6171": "", "999/1566171": "",
		"999\u200d156\u200d6171": "9991566171", "\ufeff9991566171": "9991566171", "\u200e999 156 6171\u200f": "9991566171", "\u202a9991566171\u202c": "9991566171", // the NHS App, files, right-to-left text
		"\u2066999\u00ad156\u20606171\u2069": "9991566171", "999\u202f156\u20096171": "9991566171", "999\u3000156\u30006171": "9991566171", "999\u200b156\ufe0f6171": "9991566171",
		"999\u2212156\u20436171": "9991566171", "999－156﹣6171": "9991566171", "９９９１５６６１７１": "9991566171", "９９９　１５６　６１７１": "9991566171", // an East Asian keyboard
		"٩٩٩١٥٦٦١٧١": "", "९९९१५६६१७१": "", "𝟗𝟗𝟗𝟏𝟓𝟔𝟔𝟏𝟕𝟏": "", "⑨⑨⑨①⑤⑥⑥①⑦①": "", "999_156_6171": "", "999\u00b71566171": "", "NHS 9991566171": "", "\u200d": "", "+9991566171": "", "9991566171 (old)": "", "999\xff1566171": "", "---": "",
	} {
		n, err := ParseNHSNumber(s)
		if n.Reveal() != want || (err == nil) != (want != "") || n.IsZero() != (want == "") {
			t.Errorf("%q: %q, %v, want %q", s, n.Reveal(), err, want)
		}
		if err != nil && (!errors.Is(err, errNHSNumber) || s != "" && strings.Contains(err.Error(), s)) {
			t.Errorf("%q: the error is %v, and must say nothing of what was read", s, err)
		}
	}
}

func mustNHSNumber(t *testing.T, s string) NHSNumber {
	t.Helper()
	n, err := ParseNHSNumber(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return n
}

func TestNHSNumberIsFormatted(t *testing.T) {
	n := mustNHSNumber(t, "9991566171")
	if n.Formatted() != "999 156 6171" || (NHSNumber{}).Formatted() != "" {
		t.Errorf("Formatted = %q, and %q for none", n.Formatted(), (NHSNumber{}).Formatted())
	}
	if !n.Equal(mustNHSNumber(t, n.Formatted())) || n.Equal(NHSNumber{}) || !(NHSNumber{}).Equal(NHSNumber{}) {
		t.Error("Equal goes by the digits")
	}
}

func TestNHSNumberChecksum(t *testing.T) {
	for s, want := range map[string]bool{
		"9991566171": true, "9990000018": true,
		"0000000000": true, "9999999999": true, // one digit ten times over always passes
		"9991566170": false, "9991566711": false, "9990000010": false,
	} {
		if got := mustNHSNumber(t, s).ChecksumValid(); got != want {
			t.Errorf("%s: %t, want %t", s, got, want)
		}
	}
	if (NHSNumber{}).ChecksumValid() {
		t.Error("no number has a valid checksum")
	}
}

// Every wrong digit is noticed, and every two digits in each other's place.
func TestChecksumNoticesSlipsOfTheHand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		right := madeUp(r)
		for i := range right {
			for d := byte('0'); d <= '9'; d++ {
				if wrong := right[:i] + string(d) + right[i+1:]; wrong != right && mustNHSNumber(t, wrong).ChecksumValid() {
					t.Fatalf("%s passes for %s", wrong, right)
				}
			}
			for j := range i {
				swapped := []byte(right)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				if string(swapped) != right && mustNHSNumber(t, string(swapped)).ChecksumValid() {
					t.Fatalf("%s passes for %s", swapped, right)
				}
			}
		}
	}
}

// madeUp returns a number of the test range with a right check digit.
func madeUp(r *rand.Rand) string {
	for {
		nine := fmt.Sprintf("999%06d", r.IntN(1_000_000))
		for check := '0'; check <= '9'; check++ {
			if n, err := ParseNHSNumber(nine + string(check)); err == nil && n.ChecksumValid() {
				return nine + string(check)
			}
		}
	}
}

func TestNHSNumberRange(t *testing.T) {
	for s, want := range map[string]NumberRange{
		"9990000000": RangeTest, "9999999999": RangeTest, "9980000000": "",
		"4000000000": RangeEnglandWales, "4999999999": RangeEnglandWales, "6000000000": RangeEnglandWales, "7999999999": RangeEnglandWales,
		"5000000000": "", "8000000000": "", "9000000000": "",
		"3200000009": "", "3200000010": RangeNorthernIreland, "3999999999": RangeNorthernIreland,
		"0101000000": RangeCHI, "3112999999": RangeCHI, "2902960000": RangeCHI, "2902000000": RangeCHI,
		"0001000000": "", "0100000000": "", "3113000000": "", "3002000000": "",
		"2902970000": "", "0000000000": "", "3150000000": "",
	} {
		if got := mustNHSNumber(t, s).Range(); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
	if (NHSNumber{}).Range() != "" {
		t.Error("no number is in a range")
	}
}

func FuzzParseNHSNumber(f *testing.F) {
	for _, seed := range []string{"9991566171", "999 156 6171", "999-156-617", "\u2011", "９９９", "\ufeff999\u200d156\u200d6171\u200e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNHSNumber(s)
		digits := strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return []rune(norm.NFKC.String(string(r)))[0] // of a full-width digit, the digit
			}
			return -1
		}, s)
		if err != nil {
			if !n.IsZero() || err != errNHSNumber { //nolint:errorlint // nothing may wrap it
				t.Errorf("%q: %v, %v", s, n.Reveal(), err)
			}
			return
		}
		if n.Reveal() != digits || len(digits) != 10 || fmt.Sprint(n) != conceal.Text {
			t.Errorf("%q: %q prints %v", s, n.Reveal(), n)
		}
		if again, err := ParseNHSNumber(n.Formatted()); err != nil || !again.Equal(n) {
			t.Errorf("%q: Formatted is read as %q, %v", s, again.Reveal(), err)
		}
	})
}
