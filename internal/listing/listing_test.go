// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPages(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		pages []string // of ids of one letter; a list that asks for more is broken
		want  []string
		err   error
	}{
		"nothing":                   {pages: []string{""}},
		"one page":                  {pages: []string{"abc", ""}, want: []string{"abc"}},
		"several":                   {pages: []string{"Bab", "c", "de", ""}, want: []string{"Bab", "c", "de"}},
		"an error, after some":      {pages: []string{"ab"}, want: []string{"ab"}, err: broken},
		"the same page for ever":    {pages: []string{"ab", "ab", "ab"}, want: []string{"ab"}, err: ErrOrder},
		"a page that overlaps":      {pages: []string{"ab", "bc", ""}, want: []string{"ab"}, err: ErrOrder},
		"a page out of order":       {pages: []string{"acb", ""}, err: ErrOrder},
		"an order of its own":       {pages: []string{"aB", ""}, err: ErrOrder},
		"the same record twice":     {pages: []string{"aa", ""}, err: ErrOrder},
		"a page from the beginning": {pages: []string{"cd", "ab", ""}, want: []string{"cd"}, err: ErrOrder},
	} {
		t.Run(name, func(t *testing.T) {
			var got, asked []string
			var err error
			for page, e := range Pages(func(after string) ([]string, error) {
				asked = append(asked, after)
				if len(asked) > len(tc.pages) {
					return nil, broken
				}
				return slices.Collect(strings.SplitSeq(tc.pages[len(asked)-1], "")), nil
			}, func(id string) string { return id }) {
				if err = e; e == nil {
					got = append(got, strings.Join(page, ""))
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || !errors.Is(err, tc.err) {
				t.Errorf("%v, want %v; pages (-want +got):\n%s", err, tc.err, diff)
			}
			for i, page := range got {
				if i+1 < len(asked) && asked[i+1] != page[len(page)-1:] {
					t.Errorf("after %q it asks for what is after %q", page, asked[i+1])
				}
			}
		})
	}
}

func TestPagesThatNobodyWants(t *testing.T) {
	asked := 0
	for range Pages(func(string) ([]string, error) {
		asked++
		return []string{string(rune('a' + asked))}, nil
	}, func(id string) string { return id }) {
		if asked == 2 {
			break
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}
