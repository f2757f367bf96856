// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// rules reads the alert rules as Prometheus does.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(read(t, "alerts.yaml"), false, model.LegacyValidation,
		parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatalf("Prometheus would not load the rules: %v", errs)
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestAlertsLoad(t *testing.T) {
	found, readme := scrape(t), string(read(t, "README.md"))
	for _, r := range rules(t) {
		for _, problem := range found.strange(t, r.Expr) {
			t.Errorf("%s: %s", r.Alert, problem)
		}
		if !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		for _, name := range []string{"summary", "turn", "action"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s says no %s: whoever is woken by it has to know", r.Alert, name)
			}
		}
		if !strings.Contains(readme, "### "+r.Alert+"\n") {
			t.Errorf("README.md gives no reason for the threshold of %s", r.Alert)
		}
	}
}

// The metrics, as Prometheus names them.
const (
	events     = "pkb_client_link_events_total"
	lost       = "pkb_client_links_lost_total"
	operations = "pkb_client_operation_duration_seconds_count"
	durations  = "pkb_client_operation_duration_seconds_bucket"
)

func event(kind, values string) string {
	return fmt.Sprintf("  %s{job=\"app\",instance=\"a\",pkb_event=%q} %s\n", events, kind, values)
}

func cause(cause, values string) string {
	return fmt.Sprintf("  %s{job=\"app\",instance=\"a\",pkb_cause=%q} %s\n", lost, cause, values)
}

func operation(op, outcome, values string) string {
	return fmt.Sprintf("  %s{job=\"app\",instance=\"a\",pkb_operation=%q,pkb_outcome=%q} %s\n", operations, op, outcome, values)
}

// took says how many of an operation's answers in a minute came within five
// seconds, and how many took between ten and twenty.
func took(op string, fast, slow int) (s string) {
	for _, b := range []struct {
		le string
		n  int
	}{{"5", fast}, {"10", fast}, {"20", fast + slow}, {"+Inf", fast + slow}} {
		s += fmt.Sprintf("  %s{job=\"app\",instance=\"a\",pkb_operation=%q,pkb_outcome=\"ok\",le=%q} 0+%dx480\n", durations, op, b.le, b.n)
	}
	return s
}

// firesAt runs a rule over series, one sample a minute, and returns the minute
// at which it fires first; -1 for never within eight hours.
func firesAt(t *testing.T, r rulefmt.Rule, series string) int {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n"+series)
	t.Cleanup(func() { _ = storage.Close() })
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	since := -1
	for minute := range 480 {
		query, err := engine.NewInstantQuery(t.Context(), storage, nil, r.Expr, time.Unix(0, 0).Add(time.Duration(minute)*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(vector) == 0:
			since = -1
		case since < 0:
			since = minute
		}
		query.Close()
		if since >= 0 && minute-since >= int(time.Duration(r.For).Minutes()) {
			return minute
		}
	}
	return -1
}

// What each alert is for, and what it must stay quiet about. The incident begins
// at minute 100.
func TestAlertsFire(t *testing.T) {
	const (
		never  = -1
		steady = "0+60x480"            // one a second
		once   = "0x99 1x380"          // one at minute 100
		quiet  = "0x480"               //
		from   = "0x99 0+%dx380"       // so many a minute from minute 100 on
		until  = "0+60x99 6000x380"    // one a second up to minute 100
		blip   = "0x99 %dx380"         // so many at once
		while  = "0x99 0+%dx%d %dx380" // so many a minute for a while
	)
	rate := func(n int) string { return fmt.Sprintf(from, n) }
	atOnce := func(n int) string { return fmt.Sprintf(blip, n) }
	forMinutes := func(n, minutes int) string { return fmt.Sprintf(while, n, minutes, n*minutes) }
	type scene struct {
		what   string
		series string
		// within is how soon after the beginning it must fire; never for not at
		// all.
		within int
	}
	scenes := map[string][]scene{
		"PKBTokensNotSaved": {
			{"one save failed for a minute", event("save_failed", once), 1},
			{"none ever did", event("save_failed", quiet), never},
		},
		"PKBStoreFailing": {
			{"the store is down, and ten saves are tried on", event("save_retried", rate(40)), 1},
			{"a fail-over that one save meets", event("save_retried", atOnce(5)), never},
		},
		"PKBStoreWentBack": {
			{"a backup was restored", event("store_rolled_back", once), 1},
			{"none was", event("store_rolled_back", quiet), never},
		},
		"PKBTokensRefusedInARow": {
			{"five were", event("mass_rejection", once), 1},
			{"none was", event("mass_rejection", quiet), never},
		},
		"PKBKeysMissing": {
			{"a replica has the old keyring", operation("users/self", "keys", rate(1)), 2},
			{"all is well", operation("users/self", "ok", steady) + operation("users/self", "keys", quiet), never},
		},
		"PKBApplicationRefused": {
			{"the client id was withdrawn: probes once a minute", operation("refresh", "misconfigured", rate(1)), 8},
			{"a proxy's page, once", operation("refresh", "misconfigured", once), never},
			{"429 is no refusal", operation("refresh", "unavailable", rate(1)), never},
		},
		"PKBRefreshFailing": {
			{"PKB is down: only probes are sent", operation("refresh", "ok", until) + operation("refresh", "unavailable", rate(2)), 17},
			{"PKB is down for five minutes", operation("refresh", "ok", steady) + operation("refresh", "uncertain", forMinutes(60, 5)), never},
			{"one in ten fails", operation("refresh", "ok", "0+54x480") + operation("refresh", "uncertain", rate(6)), never},
			{"a quiet night with one failure", operation("refresh", "ok", quiet) + operation("refresh", "unavailable", once), never},
		},
		"PKBRefreshSlow": {
			{"one in twenty takes long", strings.Replace(took("refresh", 57, 3), "0+", "0x99 0+", 4), 30},
			{"one in a thousand does", took("refresh", 999, 1), never},
		},
		"PKBOutcomesUnknown": {
			{"three in a hundred are cut", operation("refresh", "ok", steady) + operation("refresh", "uncertain", rate(2)) + event("uncertain", rate(2)), 25},
			{"one in ten thousand is", operation("refresh", "ok", "0+600x480") + event("uncertain", "0+1x480"), never},
			{"two of twenty, in a small installation", operation("refresh", "ok", "0x99 20x380") + event("uncertain", atOnce(2)), never},
		},
		"PKBLinksLost": {
			{"another program refreshes too", event("refreshed", steady) + cause("session_invalid", rate(1)), 60},
			{"a restored backup ends links, and nothing is refreshed", event("refreshed", quiet) + cause("session_invalid", rate(1)), 10},
			{"sessions run out", event("refreshed", steady) + cause("session_expired", rate(5)), never},
			{"as many as answers get lost", event("refreshed", "0+1000x480") + cause("outcome_unknown", "0+0.1x480"), never},
			{"three in a small installation", event("refreshed", "0+1x480") + cause("grant_rejected", atOnce(3)), never},
		},
		"PKBApprovalsFailing": {
			{"every second one fails", operation("complete", "ok", rate(1)) + operation("complete", "store", rate(1)), 10},
			{"patients change their minds", operation("complete", "ok", rate(1)) + operation("complete", "denied", rate(5)) + operation("complete", "refused", rate(2)), never},
			{"two fail", operation("complete", "ok", quiet) + operation("complete", "unavailable", atOnce(2)), never},
		},
		"PKBCallsFailing": {
			{"one in five fails", operation("users/self", "ok", steady) + operation("users/self", "unavailable", rate(15)), 12},
			{"links that have ended are no failure", operation("users/self", "ok", steady) + operation("users/self", "not_linked", rate(60)), never},
			{"refreshes are no calls", operation("users/self", "ok", steady) + operation("refresh", "unavailable", rate(60)), never},
			{"ten at once", operation("users/self", "ok", quiet) + operation("users/self", "unavailable", atOnce(10)), never},
		},
		"PKBCallsSlow": {
			{"one in ten takes long", strings.Replace(took("purview", 54, 6), "0+", "0x99 0+", 4), 30},
			{"one in a hundred does", took("purview", 99, 1), never},
			{"refreshes have an alert of their own", took("refresh", 1, 60), never},
		},
		"PKBAnswersUnreadable": {
			{"PKB changed its answer", operation("users/self", "unreadable", rate(1)), 5},
			{"two were cut", operation("users/self", "unreadable", atOnce(2)), never},
		},
	}
	for _, r := range rules(t) {
		told := scenes[r.Alert]
		if len(told) < 2 {
			t.Errorf("nothing shows when %s fires and when it does not", r.Alert)
		}
		for _, s := range told {
			t.Run(r.Alert+": "+s.what, func(t *testing.T) {
				minute := firesAt(t, r, s.series)
				switch {
				case s.within == never && minute >= 0:
					t.Errorf("it fires at minute %d", minute)
				case s.within != never && (minute < 100 || minute > 100+s.within):
					t.Errorf("it fires at minute %d, want it from 100 to %d", minute, 100+s.within)
				}
			})
		}
		delete(scenes, r.Alert)
	}
	for alert := range scenes {
		t.Errorf("there is no alert %s", alert)
	}
}
