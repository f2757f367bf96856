// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sinks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/betawerk/pkb-go/pkb/observe"
)

// encodersThatPrint are the sinks for humans that call no method to print a value, and
// write its fields or its JSON in place of it. The JSON of a notice has the app_user_id,
// since an outbox needs it; hosting.md says what to give these loggers instead.
var encodersThatPrint = []string{
	"expvar", "logrus JSON", "zerolog Interface", "zerolog console", "hclog JSON", "go-cmp Diff", "spew without methods", "kr/pretty",
}

// A notice has nothing secret and nothing about the patient, so no sink prints any of
// that, in whatever form a host holds it. Whoever prints or logs a notice prints the
// link's name in place of the user.
func TestNoticesInSinks(t *testing.T) {
	_, found := values(t)
	name := observe.LinkName(user)
	for _, s := range sinks {
		t.Run(s.name, func(t *testing.T) {
			_, leaked := s.collected(held("observe.Notice", wrapper, found.notice), found)
			for _, l := range leaked {
				t.Error(l)
			}
			for form, v := range map[string]any{"itself": found.notice, "pointer": &found.notice} {
				outcome, out := s.send(v, found)
				switch writesAll := s.stores || slices.Contains(encodersThatPrint, s.name); {
				case outcome == refuses && strings.Contains(out, errNone.Error()):
				case writesAll && outcome != prints:
					t.Errorf("%s: %s (%s): it writes no app_user_id, which an outbox needs", form, outcome, out)
				case !writesAll && (outcome == prints || !strings.Contains(out, name)):
					t.Errorf("%s: %s (%s), want the link's name and no app_user_id", form, outcome, out)
				}
			}
		})
	}
	for _, name := range encodersThatPrint {
		if !slices.ContainsFunc(sinks, func(s sink) bool { return s.name == name && !s.stores }) {
			t.Errorf("there is no sink %s any more", name)
		}
	}
}
