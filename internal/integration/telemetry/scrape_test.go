// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/prometheus/client_golang/prometheus"

	dto "github.com/prometheus/client_model/go"

	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbotel"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
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
		Notify: func(context.Context, observe.Notice) error { return nil },
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
	if _, err := client.TendOnce(ctx); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(ctx); err != nil { // which waits for the last events
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

// values are what a label can hold in addition to what this scrape has seen.
var values = map[string][]string{
	"pkb_outcome": {
		string(observe.OutcomeOK), string(observe.OutcomeDenied), string(observe.OutcomeRefused), string(observe.OutcomeNotLinked),
		string(observe.OutcomeUnavailable), string(observe.OutcomeUncertain), string(observe.OutcomeUnreadable), string(observe.OutcomeMisconfigured),
		string(observe.OutcomeStore), string(observe.OutcomeKeys), string(observe.OutcomeCanceled), string(observe.OutcomeClosed), string(observe.OutcomeFailed),
	},
}

// grafanaFills is what Grafana replaces before Prometheus sees an expression.
var grafanaFills = strings.NewReplacer("$__rate_interval", "5m", "$__range", "24h", "$job", ".*")

// The parts of an expression: a text, a name, a number, an operator of two
// characters, and any other character.
var word = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-z.]*|[=!]~|[=!<>]=|\S`)

// reserved are the names in an expression that are no metrics. Functions and
// aggregations are told from metrics by their parenthesis.
var reserved = []string{"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"}

// grouping are the words before a list of labels.
var grouping = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}

// strange returns what an expression names that there is not: metrics, labels,
// and values of labels. Whether it is an expression at all, promtool knows.
func (e exposed) strange(expression string) (problems []string) {
	words := word.FindAllString(grafanaFills.Replace(expression), -1)
	next := func(i int) string {
		if i+1 < len(words) {
			return words[i+1]
		}
		return ""
	}
	var grouped []string
	var here []map[string][]string
	for i := 0; i < len(words); i++ {
		name := words[i]
		switch {
		case slices.Contains(grouping, name):
			if next(i) != "(" {
				continue
			}
			for i += 2; i < len(words) && words[i] != ")"; i++ {
				if words[i] != "," {
					grouped = append(grouped, words[i])
				}
			}
		case name == "[": // a duration
			for i < len(words) && words[i] != "]" {
				i++
			}
		case !isName(name) || slices.Contains(reserved, strings.ToLower(name)):
		case slices.Contains(grouping, next(i)), next(i) == "(": // sum by (...), or sum(...)
		default:
			known, ok := e[name]
			if !ok {
				problems = append(problems, "there is no metric "+name)
			} else {
				here = append(here, known)
			}
			if next(i) != "{" {
				continue
			}
			for i += 2; i < len(words) && words[i] != "}"; i++ {
				if label := words[i]; ok && isName(label) && i+2 < len(words) {
					problems = append(problems, wrongMatcher(name, known, label, strings.Trim(words[i+2], `"`))...)
				}
			}
		}
	}
	for _, label := range grouped {
		for _, known := range here {
			if _, ok := known[label]; !ok {
				problems = append(problems, "there is no label "+label+" to group by")
			}
		}
	}
	if len(here) == 0 && len(problems) == 0 {
		problems = append(problems, "the expression asks for nothing")
	}
	return problems
}

func isName(word string) bool {
	return regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(word)
}

// wrongMatcher compares one label in braces with those that the metric has.
func wrongMatcher(metric string, known map[string][]string, label, wanted string) (problems []string) {
	have, ok := known[label]
	if !ok {
		problems = append(problems, metric+" has no label "+label)
	}
	if label == "job" {
		return problems
	}
	for want := range strings.SplitSeq(wanted, "|") {
		if !slices.Contains(have, want) && !slices.Contains(values[label], want) {
			problems = append(problems, label+" is never "+want)
		}
	}
	return problems
}

// The check itself must find what is wrong.
func TestStrange(t *testing.T) {
	found := scrape(t)
	for expression, want := range map[string]string{
		`up > 1 or sum by (job) (rate(pkb_client_links[5m] offset 1h))`:                                  "no metric up",
		`pkb_client_links offset 5m`:                                                                     "",
		`max(sum by (job, instance) (pkb_client_links{pkb_link_state=~"linked|uncertain",job=~"$job"}))`: "",
		`histogram_quantile(0.9, sum by (job, le) (rate(pkb_client_operation_duration_seconds_bucket{pkb_operation="refresh"}[$__rate_interval]))) > 1.5e3`: "",
		`sum(pkb_client_link_total)`:                                                    "no metric pkb_client_link_total",
		`sum(pkb_client_links{state="linked"})`:                                         "no label state",
		`sum(pkb_client_links{pkb_link_state=~"linked|unlinked"})`:                      "never unlinked",
		`sum by (cause) (rate(pkb_client_links_lost_total[5m]))`:                        "no label cause to group by",
		`sum(rate(pkb_client_operation_duration_seconds_count{pkb_outcome="bad"}[5m]))`: "never bad",
		`vector(1)`: "asks for nothing",
	} {
		if got := strings.Join(found.strange(expression), "; "); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: found %q, want %q", expression, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(found)); len(got) != 11 {
		t.Errorf("a scrape finds %q", got)
	}
}
