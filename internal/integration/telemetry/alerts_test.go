// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is a rule of alerts.yaml.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// rules reads the alert rules. Whether Prometheus takes them is for promtool to
// say.
func rules(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	d := yaml.NewDecoder(bytes.NewReader(read(t, "alerts.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("alerts.yaml has no rules")
	}
	return all
}

// promtool runs Prometheus's own checker and returns what it prints. Without it
// the test is skipped, or fails if PKB_REQUIRE_SERVICES=1, as it is in CI.
func promtool(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	switch {
	case err != nil && os.Getenv("PKB_REQUIRE_SERVICES") == "1":
		t.Fatal("PKB_REQUIRE_SERVICES=1 says that there must be a promtool, and none is in PATH")
	case err != nil:
		t.Skip("promtool is missing; to run this test: apt-get install prometheus, or brew install prometheus")
	}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	return string(out), err
}

// write writes a file as JSON, which is YAML too, and returns its name.
func write(t *testing.T, name string, content any) string {
	t.Helper()
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAlertsLoad(t *testing.T) {
	found, readme := scrape(t), string(read(t, "README.md"))
	for _, r := range rules(t) {
		for _, problem := range found.strange(r.Expr) {
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

func TestPrometheusLoadsTheAlerts(t *testing.T) {
	out, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", grafana+"alerts.yaml")
	if err != nil || !strings.Contains(out, fmt.Sprintf("%d rules found", len(rules(t)))) {
		t.Errorf("Prometheus would not load the rules: %v\n%s", err, out)
	}
}

// The metrics, as Prometheus names them.
const (
	events      = "pkb_client_link_events_total"
	lost        = "pkb_client_links_lost_total"
	operations  = "pkb_client_operation_duration_seconds_count"
	durations   = "pkb_client_operation_duration_seconds_bucket"
	sweeps      = "pkb_client_sweeps_total"
	notices     = "pkb_client_notices_total"
	undelivered = "pkb_client_links_undelivered"
)

// series are what Prometheus has scraped, one sample a minute, in promtool's
// notation.
type series struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

func event(kind, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_event=%q}", events, kind), values}
}

func cause(cause, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_cause=%q}", lost, cause), values}
}

func operation(op, outcome, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_operation=%q,pkb_outcome=%q}", operations, op, outcome), values}
}

func sweep(outcome, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_outcome=%q}", sweeps, outcome), values}
}

func notice(kind string, accepted bool, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_event=%q,pkb_notice_accepted=\"%t\"}", notices, kind, accepted), values}
}

func waiting(instance, values string) series {
	return series{fmt.Sprintf("%s{job=\"app\",instance=%q}", undelivered, instance), values}
}

// took is how many of an operation's responses in a minute arrived within five
// seconds, and how many took between ten and twenty. They begin at minute 0, or
// with the incident.
func took(op, begin string, fast, slow int) (all []series) {
	for _, b := range []struct {
		le string
		n  int
	}{{"5", fast}, {"10", fast}, {"20", fast + slow}, {"+Inf", fast + slow}} {
		all = append(all, series{
			fmt.Sprintf("%s{job=\"app\",instance=\"a\",pkb_operation=%q,pkb_outcome=\"ok\",le=%q}", durations, op, b.le),
			fmt.Sprintf("%s0+%dx480", begin, b.n),
		})
	}
	return all
}

// The incident of each scene begins at minute 100 of eight hours.
const begins, ends = 100, 480

// never is for an alert that must not fire at all.
const never = -1

// whenItFires returns a promtool test of an alert: over these series it fires
// within so many minutes of the beginning, and not before it; or never.
func whenItFires(t *testing.T, rule alert, scraped []series, within int) (file string) {
	t.Helper()
	type sample struct {
		Labels string `json:"labels"`
		Value  int    `json:"value"`
	}
	type expression struct {
		Expr    string   `json:"expr"`
		At      string   `json:"eval_time"`
		Samples []sample `json:"exp_samples"`
	}
	until := func(minute int, fired []sample) expression {
		return expression{
			fmt.Sprintf("count(count_over_time(ALERTS{alertname=%q,alertstate=\"firing\"}[1d]))", rule.Alert),
			fmt.Sprintf("%dm", minute), fired,
		}
	}
	expressions := []expression{until(ends, []sample{})}
	if within != never {
		expressions = []expression{until(begins-1, []sample{}), until(begins+within, []sample{{Labels: "{}", Value: 1}})}
	}
	// The others would be evaluated all the time for nothing.
	rules := write(t, "rules.yaml", map[string]any{"groups": []any{map[string]any{"name": "pkb", "rules": []alert{rule}}}})
	return write(t, "scene.yaml", map[string]any{
		"rule_files":          []string{rules},
		"evaluation_interval": "1m",
		"tests":               []any{map[string]any{"interval": "1m", "input_series": scraped, "promql_expr_test": expressions}},
	})
}

// What each alert is for, and what it must stay quiet about.
func TestAlertsFire(t *testing.T) {
	const (
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
		series []series
		// within is how soon after the beginning it must fire.
		within int
	}
	scenes := map[string][]scene{
		"PKBTokensNotSaved": {
			{"one save failed for a minute", []series{event("save_failed", once)}, 1},
			{"none ever did", []series{event("save_failed", quiet)}, never},
		},
		"PKBStoreFailing": {
			{"the store is down, and ten saves are tried on", []series{event("save_retried", rate(40))}, 1},
			{"a fail-over that one save meets", []series{event("save_retried", atOnce(5))}, never},
		},
		"PKBStoreWentBack": {
			{"a backup was restored", []series{event("store_rolled_back", once)}, 1},
			{"none was", []series{event("store_rolled_back", quiet)}, never},
		},
		"PKBTokensRefusedInARow": {
			{"five were", []series{event("mass_rejection", once)}, 1},
			{"none was", []series{event("mass_rejection", quiet)}, never},
		},
		"PKBKeysMissing": {
			{"a replica has the old keyring", []series{operation("users/self", "keys", rate(1))}, 2},
			{"all is well", []series{operation("users/self", "ok", steady), operation("users/self", "keys", quiet)}, never},
		},
		"PKBApplicationRefused": {
			{"the client id was withdrawn: probes once a minute", []series{operation("refresh", "misconfigured", rate(1))}, 8},
			{"a proxy's page, once", []series{operation("refresh", "misconfigured", once)}, never},
			{"429 is no refusal", []series{operation("refresh", "unavailable", rate(1))}, never},
		},
		"PKBRefreshFailing": {
			{"PKB is down: only probes are sent", []series{operation("refresh", "ok", until), operation("refresh", "unavailable", rate(2))}, 17},
			{"PKB is down for five minutes", []series{operation("refresh", "ok", steady), operation("refresh", "uncertain", forMinutes(60, 5))}, never},
			{"one in ten fails", []series{operation("refresh", "ok", "0+54x480"), operation("refresh", "uncertain", rate(6))}, never},
			{"a quiet night with one failure", []series{operation("refresh", "ok", quiet), operation("refresh", "unavailable", once)}, never},
		},
		"PKBRefreshSlow": {
			{"one in twenty takes long", took("refresh", "0x99 ", 57, 3), 30},
			{"one in a thousand does", took("refresh", "", 999, 1), never},
		},
		"PKBOutcomesUnknown": {
			{"three in a hundred are cut", []series{operation("refresh", "ok", steady), operation("refresh", "uncertain", rate(2)), event("uncertain", rate(2))}, 25},
			{"one in ten thousand is", []series{operation("refresh", "ok", "0+600x480"), event("uncertain", "0+1x480")}, never},
			{"two of twenty, in a small installation", []series{operation("refresh", "ok", "0x99 20x380"), event("uncertain", atOnce(2))}, never},
		},
		"PKBLinksLost": {
			{"another program refreshes too", []series{event("refreshed", steady), cause("session_invalid", rate(1))}, 60},
			{"a restored backup ends links, and nothing is refreshed", []series{event("refreshed", quiet), cause("session_invalid", rate(1))}, 10},
			{"sessions run out", []series{event("refreshed", steady), cause("session_expired", rate(5))}, never},
			{"as many as responses get lost", []series{event("refreshed", "0+1000x480"), cause("outcome_unknown", "0+0.1x480")}, never},
			{"three in a small installation", []series{event("refreshed", "0+1x480"), cause("grant_rejected", atOnce(3))}, never},
		},
		"PKBApprovalsFailing": {
			{"every second one fails", []series{operation("complete", "ok", rate(1)), operation("complete", "store", rate(1))}, 10},
			{"patients change their minds", []series{operation("complete", "ok", rate(1)), operation("complete", "denied", rate(5)), operation("complete", "refused", rate(2))}, never},
			{"two fail", []series{operation("complete", "ok", quiet), operation("complete", "unavailable", atOnce(2))}, never},
		},
		"PKBCallsFailing": {
			{"one in five fails", []series{operation("users/self", "ok", steady), operation("users/self", "unavailable", rate(15))}, 12},
			{"links that have ended are no failure", []series{operation("users/self", "ok", steady), operation("users/self", "not_linked", rate(60))}, never},
			{"refreshes are no calls", []series{operation("users/self", "ok", steady), operation("refresh", "unavailable", rate(60))}, never},
			{"ten at once", []series{operation("users/self", "ok", quiet), operation("users/self", "unavailable", atOnce(10))}, never},
		},
		"PKBCallsSlow": {
			{"one in ten takes long", took("purview", "0x99 ", 54, 6), 30},
			{"one in a hundred does", took("purview", "", 99, 1), never},
			{"refreshes have an alert of their own", took("refresh", "", 1, 60), never},
		},
		"PKBAnswersUnreadable": {
			{"PKB changed its response", []series{operation("users/self", "unreadable", rate(1))}, 5},
			{"two were cut", []series{operation("users/self", "unreadable", atOnce(2))}, never},
		},
		"PKBNobodyTends": {
			{"the process that tends is gone", []series{sweep("ok", "0+6x99 600x380")}, 185},
			{"the store fails, sweep after sweep", []series{sweep("ok", "0+6x99 600x380"), sweep("store", rate(1))}, 185},
			{"a job once an hour, the first an hour after the start", []series{sweep("ok", "0x59 1x59 2x59 3x59 4x59 5x59 6x59 7x60")}, never},
			{"all is well", []series{sweep("ok", "0+6x480")}, never},
		},
		"PKBNoticesRefused": {
			{"the host's table is down", []series{notice("relink_required", true, "0+1x99 100x380"), notice("relink_required", false, rate(1))}, 45},
			{"one link's notice is refused each time", []series{
				notice("linked", true, "0x480"), notice("linked", false, "0x99 1 2 2 3x3 4x7 5x15 6x31 7x59 8x59 9x59 10x59 11x59 12x30"),
			}, never},
			{"many are refused, and others accepted", []series{notice("linked", true, steady), notice("linked", false, rate(1))}, never},
		},
		"PKBNoticesUndelivered": {
			{"one is refused each time, now by this process and now by that one", []series{waiting("a", "0x99 1x59 0x59 1x259"), waiting("b", "0x99 0x49 1x330")}, 121},
			{"the table is down for half an hour", []series{waiting("a", "0x99 40x29 12x29 0x320")}, never},
			{"all is well", []series{waiting("a", quiet)}, never},
		},
	}
	for _, r := range rules(t) {
		told := scenes[r.Alert]
		if len(told) < 2 {
			t.Errorf("nothing shows when %s fires and when it does not", r.Alert)
		}
		for _, s := range told {
			t.Run(r.Alert+": "+s.what, func(t *testing.T) {
				t.Parallel()
				if out, err := promtool(t, "test", "rules", whenItFires(t, r, s.series, s.within)); err != nil {
					t.Errorf("it must fire %s: %v\n%s", wanted(s.within), err, out)
				}
			})
		}
		delete(scenes, r.Alert)
	}
	for alert := range scenes {
		t.Errorf("there is no alert %s", alert)
	}
}

func wanted(within int) string {
	if within == never {
		return "never"
	}
	return fmt.Sprintf("from minute %d to %d", begins, begins+within)
}

// The scenes themselves must be able to fail, in each direction.
func TestScenesCanFail(t *testing.T) {
	i := slices.IndexFunc(rules(t), func(r alert) bool { return r.Alert == "PKBTokensNotSaved" })
	if i < 0 {
		t.Fatal("there is no alert PKBTokensNotSaved")
	}
	rule := rules(t)[i]
	for what, scene := range map[string]struct {
		values string
		within int
	}{
		"it fires, and should never": {"0x99 1x380", never},
		"it fires too early":         {"0x97 1x382", 1},
		"it fires too late":          {"0x102 1x377", 1},
		"it never fires":             {"0x480", 1},
	} {
		out, err := promtool(t, "test", "rules", whenItFires(t, rule, []series{event("save_failed", scene.values)}, scene.within))
		if err == nil {
			t.Errorf("%s, and promtool finds nothing wrong:\n%s", what, out)
		}
	}
}
