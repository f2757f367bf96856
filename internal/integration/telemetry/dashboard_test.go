// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	grafanaprometheus "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// classic is the form of a dashboard that every Grafana imports.
//
//lint:ignore SA1019 the newer form is for newer Grafanas only
type classic = dashboard.Dashboard //nolint:staticcheck // the newer form is for newer Grafanas only

// These kinds of panels and queries are known here, and others are not: the
// library has all of Grafana's, and compiling those takes longer than the tests.
func init() {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(grafanaprometheus.VariantConfig())
}

// load reads a dashboard as Grafana's own library does: once strictly, which
// finds every field that no panel has, and once to have it, because the strict
// way leaves things out.
func load(text []byte) (d classic, err error) {
	if err := problem(new(classic).UnmarshalJSONStrict(text)); err != nil {
		return d, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, err
	}
	return d, problem(d.Validate())
}

// problem returns nil for an empty list of errors, which is how that library says
// that there is none.
func problem(err error) error {
	if list, ok := errors.AsType[cog.BuildErrors](err); ok && len(list) == 0 {
		return nil
	}
	return err
}

func TestDashboardLoads(t *testing.T) {
	text := read(t, "dashboard.json")
	d, err := load(text)
	if err != nil {
		t.Fatalf("Grafana would not load the dashboard: %v", err)
	}
	found := scrape(t)
	used := map[string]bool{}
	panels := 0
	ids := []uint32{}
	for _, p := range d.Panels {
		if p.RowPanel != nil {
			ids = append(ids, p.RowPanel.Id)
			continue
		}
		panel := p.Panel
		panels++
		ids = append(ids, *panel.Id)
		if panel.Title == nil || panel.Description == nil || *panel.Description == "" {
			t.Errorf("panel %d does not say what it shows", *panel.Id)
		}
		if !slices.Contains([]string{"stat", "timeseries"}, panel.Type) {
			t.Errorf("%s: nobody here knows the options of a panel of type %s", *panel.Title, panel.Type)
		}
		if len(panel.Targets) == 0 {
			t.Errorf("%s asks for nothing", *panel.Title)
		}
		for _, target := range panel.Targets {
			query, ok := target.(*grafanaprometheus.Dataquery)
			if !ok {
				t.Errorf("%s: the query is a %T, not Prometheus's", *panel.Title, target)
				continue
			}
			for _, problem := range found.strange(query.Expr) {
				t.Errorf("%s: %s", *panel.Title, problem)
			}
			for metric := range found {
				if containsWord(query.Expr, metric) {
					used[metric] = true
				}
			}
		}
	}
	slices.Sort(ids)
	if panels == 0 || len(slices.Compact(ids)) != len(d.Panels) {
		t.Errorf("%d panels; ids %v", panels, ids)
	}
	for _, metric := range []string{events, lost, operations, durations, sweeps, notices, undelivered, "pkb_client_links", "pkb_client_links_tended_total"} {
		if !used[metric] {
			t.Errorf("no panel shows %s", metric)
		}
	}

	// It must be able to fail.
	for name, spoil := range map[string]func(map[string]any){
		"a field that Grafana does not know": func(d map[string]any) { d["panelz"] = 1 },
		"a title that is a number":           func(d map[string]any) { d["title"] = 1 },
		"a panel's option": func(d map[string]any) {
			d["panels"].([]any)[1].(map[string]any)["options"].(map[string]any)["colour"] = "red"
		},
	} {
		var spoilt map[string]any
		if err := json.Unmarshal(text, &spoilt); err != nil {
			t.Fatal(err)
		}
		spoil(spoilt)
		bad, err := json.Marshal(spoilt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := load(bad); err == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

func TestPrometheusReadsTheDashboard(t *testing.T) {
	d, err := load(read(t, "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	type recording struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	check := func(rules ...recording) (string, error) {
		return promtool(t, "check", "rules", write(t, "rules.yaml", map[string]any{
			"groups": []any{map[string]any{"name": "dashboard", "rules": rules}},
		}))
	}
	var all []recording
	for _, p := range d.Panels {
		if p.Panel == nil {
			continue
		}
		for i, target := range p.Panel.Targets {
			if query, ok := target.(*grafanaprometheus.Dataquery); ok {
				all = append(all, recording{fmt.Sprintf("panel:%d:%d", *p.Panel.Id, i), grafanaFills.Replace(query.Expr)})
			}
		}
	}
	if out, err := check(all...); err != nil || !strings.Contains(out, fmt.Sprintf("%d rules found", len(all))) {
		t.Errorf("Prometheus does not read what the panels ask: %v\n%s", err, out)
	}
	if out, err := check(recording{"broken", "sum("}); err == nil {
		t.Errorf("it reads what nobody can:\n%s", out)
	}
}

func containsWord(expression, metric string) bool {
	for i := 0; i+len(metric) <= len(expression); i++ {
		if expression[i:i+len(metric)] == metric && (i+len(metric) == len(expression) || expression[i+len(metric)] == '{') {
			return true
		}
	}
	return false
}
