// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbotel"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// grafana is where the files are.
const grafana = "../../../pkb/pkbotel/grafana/"

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(grafana + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exposed are the series that a scrape finds: metric, label, and its values.
type exposed map[string]map[string][]string

func (e exposed) put(metric, label, value string) {
	if e[metric] == nil {
		e[metric] = map[string][]string{}
	}
	if label != "" && !slices.Contains(e[metric][label], value) {
		e[metric][label] = append(e[metric][label], value)
	}
}

// scrape links a patient, lets a few things happen, and returns what Prometheus
// would find.
func scrape(t *testing.T) exposed {
	t.Helper()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	adapter, err := pkbotel.New(pkbotel.Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))})
	if err != nil {
		t.Fatal(err)
	}
	server := pkbtest.New(pkbtest.Config{ClientID: "test", RedirectURIs: []string{"https://app.example/pkb/callback"}})
	patient := server.AddPatient(pkbtest.Patient{})
	client, err := pkb.New(pkb.Config{
		Environment: pkb.BaseURL(server.URL()), ClientID: "test", RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: server.Transport()}, Now: server.Now,
		Telemetry: adapter, Identify: func(context.Context, pkb.Candidate) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	address, pending, err := client.Authorize(ctx, "app-user-1")
	if err != nil {
		t.Fatal(err)
	}
	back, err := server.Approve(ctx, address, patient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Complete(ctx, "app-user-1", pending, back.Query()); err != nil {
		t.Fatal(err)
	}
	server.Advance(11 * time.Minute)
	if _, err := client.ForUser("app-user-1").Self(ctx); err != nil {
		t.Fatal(err)
	}
	if err := adapter.CountLinks(ctx, client); err != nil {
		t.Fatal(err)
	}

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := exposed{}
	for _, f := range families {
		names := []string{f.GetName()}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{f.GetName() + "_bucket", f.GetName() + "_count", f.GetName() + "_sum"}
			found.put(names[0], "le", "")
		}
		for _, name := range names {
			for _, target := range []string{"job", "instance"} { // Prometheus adds them
				found.put(name, target, "")
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					found.put(name, l.GetName(), l.GetValue())
				}
			}
		}
	}
	return found
}

// values are what a label can hold beside what this scrape has seen.
var values = map[string][]string{
	"pkb_outcome": {
		string(pkb.OutcomeOK), string(pkb.OutcomeDenied), string(pkb.OutcomeRefused), string(pkb.OutcomeNotLinked),
		string(pkb.OutcomeUnavailable), string(pkb.OutcomeUncertain), string(pkb.OutcomeUnreadable), string(pkb.OutcomeMisconfigured),
		string(pkb.OutcomeStore), string(pkb.OutcomeKeys), string(pkb.OutcomeCanceled), string(pkb.OutcomeClosed), string(pkb.OutcomeFailed),
	},
}

// strange returns what an expression names that there is not: metrics, labels,
// and values of labels.
func (e exposed) strange(t *testing.T, expression string) (problems []string) {
	t.Helper()
	// What Grafana replaces before Prometheus sees it.
	expression = strings.NewReplacer("$__rate_interval", "5m", "$__range", "24h", "$job", ".*").Replace(expression)
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return []string{err.Error()}
	}
	var grouped []string
	var here []map[string][]string
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
		case *parser.VectorSelector:
			known, ok := e[n.Name]
			if !ok {
				problems = append(problems, "there is no metric "+n.Name)
				return nil
			}
			here = append(here, known)
			for _, m := range n.LabelMatchers {
				if m.Name == model.MetricNameLabel {
					continue
				}
				have, ok := known[m.Name]
				if !ok {
					problems = append(problems, n.Name+" has no label "+m.Name)
				}
				if m.Name == "job" {
					continue
				}
				for want := range strings.SplitSeq(m.Value, "|") {
					if !slices.Contains(have, want) && !slices.Contains(values[m.Name], want) {
						problems = append(problems, m.Name+" is never "+want)
					}
				}
			}
		}
		return nil
	})
	for _, label := range grouped {
		for _, known := range here {
			if _, ok := known[label]; !ok {
				problems = append(problems, "there is no label "+label+" to group by")
			}
		}
	}
	if len(here) == 0 {
		problems = append(problems, "the expression asks for nothing")
	}
	return problems
}

// The check itself must find what is wrong.
func TestStrange(t *testing.T) {
	found := scrape(t)
	for expression, want := range map[string]string{
		`sum(`:                                  "parse error",
		`sum(pkb_client_link_total)`:            "no metric pkb_client_link_total",
		`sum(pkb_client_links{state="linked"})`: "no label state",
		`sum(pkb_client_links{pkb_link_state=~"linked|unlinked"})`:                      "never unlinked",
		`sum by (cause) (rate(pkb_client_links_lost_total[5m]))`:                        "no label cause to group by",
		`sum(rate(pkb_client_operation_duration_seconds_count{pkb_outcome="bad"}[5m]))`: "never bad",
		`vector(1)`: "asks for nothing",
	} {
		if got := strings.Join(found.strange(t, expression), "; "); !strings.Contains(got, want) {
			t.Errorf("%s: found %q, want %q", expression, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(found)); len(got) != 7 {
		t.Errorf("a scrape finds %q", got)
	}
}
