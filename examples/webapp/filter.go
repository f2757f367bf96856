// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// filter chooses kinds of links.
type filter struct {
	name, label, meaning string
	has                  func(kind) bool
}

// filters are by state, the most urgent first; the first two are all links, and those
// that need somebody.
var filters = []filter{
	{"", "All", "What needs somebody comes first.", func(kind) bool { return true }},
	{"needs", "Needs somebody", "Links that have ended, will end soon, or are in doubt.", func(k kind) bool { return k.urgency() < 5 }},
	{"ended", "Ended", "The patient approves again. Before that, some need you: they come first.", func(k kind) bool { return k.state == tokenstore.StateRelinkRequired }},
	{"soon", "Ends soon", "PKB ends these sessions within a week. The patient can approve again before that.", func(k kind) bool { return k.ends == endsSoon }},
	{"uncertain", "Uncertain", "A refresh is under way, or its response was lost. The access token is used until it expires.", func(k kind) bool { return k.state == tokenstore.StateUncertain }},
	{"checking", "Being checked", "The patient has approved, and PKB has not said yet whose record it is. The next call asks again.", func(k kind) bool { return k.state == tokenstore.StatePending }},
	{"linked", "Linked", "These work, and do not end soon. The first call after a refresh is due begins it.", func(k kind) bool { return k.state == tokenstore.StateLinked && k.ends != endsSoon }},
}

// causes are the causes in few words, for operators.
var causes = map[observe.Cause]string{
	observe.CauseSessionExpired:     "Session expired",
	observe.CauseSessionInvalid:     "Session ended by PKB",
	observe.CauseGrantRejected:      "Refresh token rejected",
	observe.CauseFinalTokenExpired:  "Last token expired",
	observe.CauseOutcomeUnknown:     "Response lost",
	observe.CauseFrozen:             "Frozen by PKB",
	observe.CauseWrongPatient:       "Not the right patient",
	observe.CauseShared:             "Record linked twice",
	observe.CauseRefusedUnclear:     "Refused in unknown words",
	observe.CauseResponseUnreadable: "Response not readable",
}

func labelOf(c observe.Cause) string { return cmp.Or(causes[c], string(c)) }

// causePrefix comes before a cause in the name of a filter.
const causePrefix = "ended-"

// choose makes the chips, and returns the kinds that are chosen. on is false if a search
// chooses instead.
func (p *linksPage) choose(t tally, show string, on bool) (kinds []kind) {
	if !slices.ContainsFunc(filters, func(f filter) bool { return f.name == show }) && !strings.HasPrefix(show, causePrefix) {
		show = ""
	}
	take := func(f filter) chip {
		c := chip{To: "/operator", Label: f.label, On: on && f.name == show}
		if f.name != "" {
			c.To += "?" + url.Values{"show": {f.name}}.Encode()
		}
		for _, k := range t.kinds {
			if !f.has(k) {
				continue
			}
			c.Count += t.counts[k]
			if c.On {
				kinds = append(kinds, k)
			}
		}
		if c.On {
			p.Heading, p.Meaning, p.Matching = f.label, f.meaning, c.Count
		}
		return c
	}
	for _, f := range filters {
		p.Chips = append(p.Chips, take(f))
	}
	p.Total, p.Needing = p.Chips[0].Count, p.Chips[1].Count
	for _, k := range t.kinds {
		if k.state == tokenstore.StateRelinkRequired {
			p.Causes = append(p.Causes, take(filter{causePrefix + string(k.cause), labelOf(k.cause), meaningOf(k.cause), func(other kind) bool { return other == k }}))
		}
	}
	if on && p.Heading == "" {
		p.Heading, p.Meaning = "Ended", "No link has ended for this cause."
	}
	return kinds
}
