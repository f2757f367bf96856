// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/google/go-cmp/cmp"
)

// capabilities is PKB's CapabilityStatement of the Facade, as it was published
// on 21 July 2026.
type capabilities struct {
	Rest []struct {
		Resource []struct {
			Type          string
			Interaction   []struct{ Code string }
			SearchInclude []string
			SearchParam   []struct{ Name, Documentation string }
		}
		Operation []struct{ Name string }
	}
}

func published(t *testing.T) capabilities {
	t.Helper()
	data, err := os.ReadFile("record/testdata/facade-capabilitystatement.json")
	if err != nil {
		t.Fatal(err)
	}
	var c capabilities
	if err := json.Unmarshal(data, &c); err != nil || len(c.Rest) != 1 || len(c.Rest[0].Resource) < 10 {
		t.Fatalf("CapabilityStatement: %v", err)
	}
	return c
}

// notCalled is what the statement lists and this library leaves alone.
var notCalled = map[string]string{
	"read OperationDefinition":             "it needs no token and says nothing about a patient: any HTTP client reads it",
	"operation read-receipt-query":         "for system clients (PKB: read-receipt-query)",
	"operation group":                      "PKB's pages do not show its parameters; Observations has the same data",
	"operation generate-invitation-tokens": "for system clients (PKB: generate-invitation-tokens)",
	"operation status-query":               "for system clients (PKB: Status query)",
	"operation send-questionnaire-request": "for system clients",
	"operation destroy":                    "it destroys: a client must never call it",
	"operation destroy-orphan-accounts":    "it destroys: a client must never call it",
	"operation delete_status":              "it deletes: a client must never call it",
}

// drain ends a search after its first error, and returns that.
func drain[T any](results iter.Seq2[T, error]) error {
	for _, err := range results {
		if err != nil {
			return err
		}
	}
	return nil
}

// calls are the methods of Patient that read the record, with all they can be
// given, under what the statement calls it.
var calls = map[string]func(ctx context.Context, p *pkb.Patient) error{
	"search Appointment": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().Appointments(ctx, allTimes()...))
	},
	"search Communication": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().Communications(ctx, allTimes()...))
	},
	"search Consent": func(ctx context.Context, p *pkb.Patient) error { return drain(p.Record().Consents(ctx)) },
	"search DiagnosticReport": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().DiagnosticReports(ctx, record.Laboratory, allTimes()...))
	},
	"search DocumentReference": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().DocumentReferences(ctx, record.DocumentFilter{Created: allTimes(), IndexedOn: noon, Status: "final", SourceOrganisation: "org-1"}))
	},
	"search Encounter": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().Encounters(ctx, record.After(noon), record.Before(noon.Add(time.Hour)), record.On(noon)))
	},
	"search NamingSystem": func(ctx context.Context, p *pkb.Patient) error { return drain(p.Record().NamingSystems(ctx, "urn:x")) },
	"search Observation": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().Observations(ctx, record.Measurement, allTimes()...))
	},
	"search Patient": func(ctx context.Context, p *pkb.Patient) error {
		_, err := p.Record().HasNHSNumber(ctx, nhsNumber("9990000018"))
		return err
	},
	"search Questionnaire": func(ctx context.Context, p *pkb.Patient) error { return drain(p.Record().Questionnaires(ctx, "org-1")) },
	"search QuestionnaireResponse": func(ctx context.Context, p *pkb.Patient) error {
		return drain(p.Record().QuestionnaireResponses(ctx, record.ResponseFilter{Authored: allTimes(), BasedOn: "pr-1", Questionnaire: "q-1"}))
	},
	"read Organization": func(ctx context.Context, p *pkb.Patient) error {
		_, err := p.Record().Organization(ctx, "x")
		return err
	},
	"read Patient": func(ctx context.Context, p *pkb.Patient) error { _, err := p.Record().Demographics(ctx); return err },
	"read Practitioner": func(ctx context.Context, p *pkb.Patient) error {
		_, err := p.Record().Practitioner(ctx, "x")
		return err
	},
	"read ProcedureRequest": func(ctx context.Context, p *pkb.Patient) error {
		_, err := p.Record().ProcedureRequest(ctx, "x")
		return err
	},
	"read Questionnaire": func(ctx context.Context, p *pkb.Patient) error {
		_, err := p.Record().Questionnaire(ctx, "x")
		return err
	},
	"operation purview": func(ctx context.Context, p *pkb.Patient) error { _, err := p.Purview(ctx); return err },
	"operation date-of-last-data-point": func(ctx context.Context, p *pkb.Patient) error {
		_, _, err := p.Record().LastDataPoint(ctx)
		return err
	},
}

func nhsNumber(s string) identity.NHSNumber {
	n, err := identity.ParseNHSNumber(s)
	if err != nil {
		panic(err)
	}
	return n
}

var noon = time.Date(2018, 7, 1, 12, 0, 0, 0, time.UTC)

func allTimes() []record.When {
	return []record.When{record.From(noon), record.Until(noon), record.After(noon), record.Before(noon), record.On(noon), record.During(noon, noon.Add(time.Hour))}
}

// sender is a client whose requests are seen.
type sender struct {
	*pkb.Patient
	pkb  *pkbtest.Server
	rig  *rig
	sent []*http.Request
	// tamper changes the answers of the Facade.
	tamper func(n int, body string) string
}

func newSender(t *testing.T, change ...func(*pkbtest.Config, *pkb.Config)) *sender {
	t.Helper()
	r := newRig(t, append(change, askOnce)...)
	r.link(t, user, r.patient)
	s := &sender{pkb: r.pkb, rig: r}
	config := r.config
	config.HTTPClient = &http.Client{Transport: roundTrip(func(q *http.Request) (*http.Response, error) {
		s.sent = append(s.sent, q)
		if s.tamper != nil {
			n := len(s.sent)
			s.pkb.Next(pkbtest.Facade, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					real := httptest.NewRecorder()
					next.ServeHTTP(real, q)
					w.Header().Set("Content-Type", "application/fhir+json")
					_, _ = io.WriteString(w, s.tamper(n, real.Body.String()))
				})
			})
		}
		return r.pkb.Transport().RoundTrip(q)
	})}
	c, err := pkb.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Patient = c.ForUser(user)
	return s
}

var prefixesIn = regexp.MustCompile(`Prefix(?:es)?(?: support(?:ed)?)?: \[([^\]]*)\]`)

// What PKB publishes and what this library sends are the same: each search and
// read has its method, each parameter is one of PKB's with a prefix of PKB's,
// what PKB requires is sent, and nothing else is called.
func TestPublishedCapabilities(t *testing.T) {
	statement := published(t).Rest[0]
	want := map[string][]string{} // parameters, by call
	for _, resource := range statement.Resource {
		for _, i := range resource.Interaction {
			switch i.Code {
			case "read":
				want["read "+resource.Type] = nil
			case "search-type":
				for _, p := range resource.SearchParam {
					want["search "+resource.Type] = append(want["search "+resource.Type], p.Name)
				}
				slices.Sort(want["search "+resource.Type])
			default:
				t.Errorf("%s: PKB offers %s now", resource.Type, i.Code)
			}
		}
	}
	for _, operation := range statement.Operation {
		want["operation "+operation.Name] = nil
	}
	for name, why := range notCalled {
		if _, ok := want[name]; !ok || why == "" {
			t.Errorf("%s is left alone, and PKB does not list it", name)
		}
		delete(want, name)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(calls))); diff != "" {
		t.Errorf("calls: PKB's (-) and ours (+):\n%s", diff)
	}

	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			s := newSender(t)
			if err := call(t.Context(), s.Patient); err != nil && !errors.Is(err, pkb.ErrNotFound) {
				t.Fatal(err)
			}
			if len(s.sent) != 1 {
				t.Fatalf("%d requests", len(s.sent))
			}
			q, path := s.sent[0].URL.Query(), strings.TrimPrefix(s.sent[0].URL.Path, "/tenant/fhir/")
			kind, what, _ := strings.Cut(name, " ")
			resource, rest, _ := strings.Cut(path, "/")
			switch {
			case kind == "operation" && rest != "$"+what, kind != "operation" && resource != what, kind == "read" && rest == "", kind == "search" && rest != "":
				t.Errorf("sent to %s", path)
			}
			if diff := cmp.Diff(want[name], slices.Sorted(maps.Keys(q)), equateEmpty); diff != "" {
				t.Errorf("parameters: PKB's (-) and ours (+):\n%s", diff)
			}
			if strings.Contains(s.sent[0].URL.RawQuery, "|") || s.sent[0].Header.Get("Accept") != "application/fhir+json" || s.sent[0].Header.Get("X-Org-Public-Id") != "" {
				t.Errorf("sent %s with %v", s.sent[0].URL.RawQuery, s.sent[0].Header["Accept"])
			}
			if patient := q.Get("patient"); q.Has("patient") && patient != "Patient/"+s.rig.patient.PublicID {
				t.Errorf("the patient is %q", patient)
			}
			for _, resource := range statement.Resource {
				for _, p := range resource.SearchParam {
					if values := q[p.Name]; resource.Type == what && kind == "search" {
						fitsStatement(t, p.Name, p.Documentation, values)
					}
				}
			}
		})
	}
}

func fitsStatement(t *testing.T, name, documentation string, values []string) {
	t.Helper()
	if len(values) > 1 && !strings.Contains(documentation, "Multi-value support: AND") {
		t.Errorf("%s: sent %d times", name, len(values))
	}
	if m := prefixesIn.FindStringSubmatch(documentation); m != nil {
		sent := map[string]bool{}
		for _, v := range values {
			sent[v[:2]] = true
			if v[2:] != "2018-07-01" && !strings.HasPrefix(v[2:], "2018-07-01T1") {
				t.Errorf("%s: sent as %s", name, v)
			}
		}
		want := strings.Split(m[1], ", ")
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(sent))); diff != "" {
			t.Errorf("%s: prefixes of PKB's (-) and ours (+):\n%s", name, diff)
		}
	}
}

// What PKB does not offer is refused, and not sent; what it requires cannot be
// left out.
func TestSearchesByTheStatement(t *testing.T) {
	s := newSender(t)
	for _, resource := range published(t).Rest[0].Resource {
		searchable := slices.ContainsFunc(resource.Interaction, func(i struct{ Code string }) bool { return i.Code == "search-type" })
		if resource.Type == "Patient" || !searchable {
			if err := drain(s.Record().Search(t.Context(), resource.Type, url.Values{"identifier": {"x|1"}})); !errors.Is(err, record.ErrSearch) {
				t.Errorf("a search for %s: %v, want ErrSearch", resource.Type, err)
			}
			continue
		}
		full, required := url.Values{}, []string{}
		for _, p := range resource.SearchParam {
			if p.Name == "patient" {
				continue
			}
			full[p.Name] = []string{"a|b"}
			if strings.HasPrefix(p.Documentation, "Required") {
				required = append(required, p.Name)
			}
			if m := prefixesIn.FindStringSubmatch(p.Documentation); m != nil {
				full[p.Name] = []string{"2018-07-01"}
				for _, prefix := range []string{"eq", "gt", "lt", "ge", "le", "ne", "sa", "eb", "ap", "xx"} {
					one := url.Values{p.Name: {prefix + "2018-07-01"}}
					if slices.ContainsFunc(resource.SearchParam, func(p struct{ Name, Documentation string }) bool { return p.Name == "category" }) {
						one.Set("category", "a|b")
					}
					err := drain(s.Record().Search(t.Context(), resource.Type, one))
					if offered := slices.Contains(strings.Split(m[1], ", "), prefix); offered == errors.Is(err, record.ErrSearch) {
						t.Errorf("%s %s=%s...: %v, and PKB offers it: %t", resource.Type, p.Name, prefix, err, offered)
					}
				}
			}
		}
		for _, include := range resource.SearchInclude {
			full.Add("_include", include)
		}
		if err := drain(s.Record().Search(t.Context(), resource.Type, full)); err != nil {
			t.Errorf("%s with all its parameters: %v", resource.Type, err)
		}
		for _, name := range required {
			less := maps.Clone(full)
			delete(less, name)
			if err := drain(s.Record().Search(t.Context(), resource.Type, less)); !errors.Is(err, record.ErrSearch) {
				t.Errorf("%s without %s: %v, want ErrSearch", resource.Type, name, err)
			}
		}
		for name, values := range map[string][]string{
			"_count": {"10"}, "_sort": {"date"}, "_id": {"1"}, "patient": {"Patient/1"}, "patient:Patient": {"1"}, "_include": {"Observation:subject"}, "_revinclude": {"Provenance:target"},
		} {
			more := maps.Clone(full)
			more[name] = values
			if err := drain(s.Record().Search(t.Context(), resource.Type, more)); !errors.Is(err, record.ErrSearch) {
				t.Errorf("%s with %s: %v, want ErrSearch", resource.Type, name, err)
			}
		}
	}
	for _, q := range s.sent {
		if values := q.URL.Query(); values.Has("patient") && values.Get("patient") != "Patient/"+s.rig.patient.PublicID {
			t.Errorf("sent for %s", values.Get("patient"))
		}
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	s := newSender(t)
	var zero time.Time
	for name, call := range map[string]func(ctx context.Context) error{
		"no category":             func(ctx context.Context) error { return drain(s.Record().Observations(ctx, "")) },
		"a blank category":        func(ctx context.Context) error { return drain(s.Record().DiagnosticReports(ctx, " ")) },
		"a system without a code": func(ctx context.Context) error { return drain(s.Record().Observations(ctx, "urn:x|")) },
		"two categories": func(ctx context.Context) error {
			return drain(s.Record().Observations(ctx, record.Laboratory+","+record.Measurement))
		},
		"encounters from":  func(ctx context.Context) error { return drain(s.Record().Encounters(ctx, record.From(noon))) },
		"encounters until": func(ctx context.Context) error { return drain(s.Record().Encounters(ctx, record.Until(noon))) },
		"encounters during": func(ctx context.Context) error {
			return drain(s.Record().Encounters(ctx, record.During(noon, noon.Add(1))))
		},
		"no time":          func(ctx context.Context) error { return drain(s.Record().Appointments(ctx, record.When{})) },
		"the zero time":    func(ctx context.Context) error { return drain(s.Record().Appointments(ctx, record.From(zero))) },
		"on the zero time": func(ctx context.Context) error { return drain(s.Record().Appointments(ctx, record.On(zero))) },
		"during no time":   func(ctx context.Context) error { return drain(s.Record().Appointments(ctx, record.During(noon, zero))) },
		"backwards": func(ctx context.Context) error {
			return drain(s.Record().Communications(ctx, record.During(noon, noon)))
		},
		"no system":        func(ctx context.Context) error { return drain(s.Record().NamingSystems(ctx, "")) },
		"no id":            func(ctx context.Context) error { _, err := s.Record().Organization(ctx, ""); return err },
		"a path as an id":  func(ctx context.Context) error { _, err := s.Record().Organization(ctx, "../Patient/1"); return err },
		"a query as an id": func(ctx context.Context) error { _, err := s.Record().Practitioner(ctx, "1?x=y"); return err },
		"a reference as an id": func(ctx context.Context) error {
			_, err := s.Record().Questionnaire(ctx, "Questionnaire/1")
			return err
		},
		"a version as an id":    func(ctx context.Context) error { _, err := s.Record().Practitioner(ctx, "1/_history/2"); return err },
		"an operation as an id": func(ctx context.Context) error { _, err := s.Record().ProcedureRequest(ctx, "$destroy"); return err },
		"no NHS number": func(ctx context.Context) error {
			_, err := s.Record().HasNHSNumber(ctx, identity.NHSNumber{})
			return err
		},
	} {
		err := call(t.Context())
		var refused *record.SearchError
		if !errors.Is(err, record.ErrSearch) || !errors.As(err, &refused) || refused.Problem == "" {
			t.Errorf("%s: %v, want ErrSearch", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error repeats what was asked: %v", name, err)
		}
	}
	if len(s.sent) != 0 {
		t.Errorf("%d requests were sent", len(s.sent))
	}
}
