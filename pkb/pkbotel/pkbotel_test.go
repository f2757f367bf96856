// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/pkb/pkbotel"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// user is what must never show.
const user = "canary-user@example.com"

// rig is a client that reports to an OpenTelemetry in memory.
type rig struct {
	*pkb.Client
	pkb       *pkbtest.Server
	patient   *pkbtest.Patient
	telemetry *pkbotel.Telemetry
	spans     *tracetest.SpanRecorder
	reader    *sdkmetric.ManualReader
	tracer    trace.Tracer
}

func newRig(t *testing.T, change ...func(*pkb.Config)) *rig {
	t.Helper()
	r := &rig{
		pkb:   pkbtest.New(pkbtest.Config{ClientID: "test", RedirectURIs: []string{"https://app.example/pkb/callback"}}),
		spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader(),
	}
	r.patient = r.pkb.AddPatient(pkbtest.Patient{FirstName: "Canary", NHSNumber: "9990000018"})
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.tracer = tracers.Tracer("host")
	var err error
	r.telemetry, err = pkbotel.New(pkbotel.Config{
		TracerProvider: tracers,
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader)),
	})
	if err != nil {
		t.Fatal(err)
	}
	config := pkb.Config{
		Environment: pkb.BaseURL(r.pkb.URL()), ClientID: "test", RedirectURL: "https://app.example/pkb/callback",
		Store: tokenstore.NewMemory(), HTTPClient: &http.Client{Transport: r.pkb.Transport()}, Now: r.pkb.Now,
		Telemetry: r.telemetry,
	}
	for _, f := range change {
		f(&config)
	}
	if r.Client, err = pkb.New(config); err != nil {
		t.Fatal(err)
	}
	return r
}

// link links user, as the request of a host that traces does.
func (r *rig) link(ctx context.Context, t *testing.T) {
	t.Helper()
	address, pending, err := r.Authorize(ctx, user)
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.pkb.Approve(ctx, address, r.patient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(ctx, user, pending, back.Query()); err != nil {
		t.Fatal(err)
	}
}

// metrics returns what was measured: "name{attributes}" to its value, or to the
// number of durations; what is 0 is left out. Events come on a goroutine of their
// own, so it is for bubbles, and lets what goes on there come to rest.
func (r *rig) metrics(t *testing.T) map[string]int64 {
	t.Helper()
	synctest.Wait()
	var all metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	put := func(name string, attributes attribute.Set, n int64) {
		var pairs []string
		for _, a := range attributes.ToSlice() {
			pairs = append(pairs, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
		}
		if n != 0 {
			got[name+"{"+strings.Join(pairs, ",")+"}"] = n
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, int64(p.Count))
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return got
}

// The names of metrics and attributes are a promise: dashboards and alerts use
// them.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t.Context(), t)
		patient := r.ForUser(user)
		if _, err := patient.Self(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.pkb.Next(pkbtest.Self, pkbtest.Respond(403, "", ""))
		_, _ = patient.Self(t.Context())
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Drop())
		if _, err := patient.Purview(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.telemetry.CountLinks(t.Context(), r.Client); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{
			"pkb.client.operation.duration{pkb.operation=authorize,pkb.outcome=ok}":                                     1,
			"pkb.client.operation.duration{pkb.operation=complete,pkb.outcome=ok}":                                      1,
			"pkb.client.operation.duration{http.response.status_code=200,pkb.operation=exchange,pkb.outcome=ok}":        1,
			"pkb.client.operation.duration{http.response.status_code=200,pkb.operation=purview,pkb.outcome=ok}":         2,
			"pkb.client.operation.duration{http.response.status_code=200,pkb.operation=users/self,pkb.outcome=ok}":      1,
			"pkb.client.operation.duration{http.response.status_code=403,pkb.operation=users/self,pkb.outcome=refused}": 1,
			"pkb.client.operation.duration{pkb.operation=refresh,pkb.outcome=uncertain}":                                1,
			"pkb.client.operation.duration{http.response.status_code=200,pkb.operation=refresh,pkb.outcome=ok}":         1,
			"pkb.client.link.events{pkb.event=approved}":                                                                1,
			"pkb.client.link.events{pkb.event=exchanged}":                                                               1,
			"pkb.client.link.events{pkb.event=linked}":                                                                  1,
			"pkb.client.link.events{pkb.event=refreshed}":                                                               1,
			"pkb.client.link.events{pkb.event=uncertain}":                                                               1,
			"pkb.client.link.events{pkb.event=recovered}":                                                               1,
			"pkb.client.links{pkb.link.state=linked}":                                                                   1,
		}
		if diff := cmp.Diff(want, r.metrics(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}

		r.pkb.EndSessions(r.patient)
		_, _ = patient.Self(t.Context())
		if err := r.telemetry.CountLinks(t.Context(), r.Client); err != nil {
			t.Fatal(err)
		}
		got := r.metrics(t)
		for _, name := range []string{
			"pkb.client.links.lost{pkb.cause=session_expired}", "pkb.client.link.events{pkb.event=relink_required}",
			"pkb.client.links{pkb.link.state=relink_required}",
			"pkb.client.operation.duration{pkb.operation=users/self,pkb.outcome=not_linked}",
		} {
			if got[name] != 1 {
				t.Errorf("%s = %d, want 1", name, got[name])
			}
		}
		if n, there := got["pkb.client.links{pkb.link.state=linked}"]; there {
			t.Errorf("%d links are still counted as linked", n)
		}
	})
}

// Whether somebody looks after links, and what is not delivered, shows in metrics of
// its own.
func TestMetricsOfTending(t *testing.T) { synctest.Test(t, testMetricsOfTending) }

func testMetricsOfTending(t *testing.T) {
	full := true
	r := newRig(t, func(c *pkb.Config) {
		c.Notify = func(context.Context, observe.Notice) error {
			if full {
				return errors.New("full")
			}
			return nil
		}
	})
	r.link(t.Context(), t)
	const (
		refused     = "pkb.client.notices{pkb.event=linked,pkb.notice.accepted=false}"
		accepted    = "pkb.client.notices{pkb.event=linked,pkb.notice.accepted=true}"
		sweeps      = "pkb.client.sweeps{pkb.outcome=ok}"
		tended      = "pkb.client.links.tended{}"
		undelivered = "pkb.client.links.undelivered{}"
	)
	for n, want := range []map[string]int64{
		{},
		{sweeps: 1, tended: 1, refused: 1, undelivered: 1},
		{sweeps: 2, tended: 2, refused: 1, accepted: 1},
	} {
		if n > 0 {
			if _, err := r.TendOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			full = false
			r.pkb.Advance(time.Hour)
		}
		got := r.metrics(t)
		for _, name := range []string{refused, accepted, sweeps, tended, undelivered} {
			if got[name] != want[name] {
				t.Errorf("after %d sweeps %s is %d, want %d", n, name, got[name], want[name])
			}
		}
	}
}

// A store that cannot list leaves the gauge alone.
func TestCountLinksFails(t *testing.T) { synctest.Test(t, testCountLinksFails) }

func testCountLinksFails(t *testing.T) {
	r := newRig(t, func(c *pkb.Config) { c.Store = silent{c.Store.(*tokenstore.Memory)} })
	if err := r.telemetry.CountLinks(t.Context(), r.Client); !errors.As(err, new(*pkb.ConfigError)) {
		t.Errorf("CountLinks: %v, want a ConfigError", err)
	}
	if got := r.metrics(t); len(got) != 0 {
		t.Errorf("measured %v", got)
	}
}

// silent is a store that has nothing but what a store must have.
type silent struct{ memory *tokenstore.Memory }

func (s silent) Load(ctx context.Context, appUserID string) (tokenstore.Record, error) {
	return s.memory.Load(ctx, appUserID)
}

func (s silent) Save(ctx context.Context, rec tokenstore.Record) (tokenstore.Record, error) {
	return s.memory.Save(ctx, rec)
}

func (s silent) Delete(ctx context.Context, appUserID string, version uint64) error {
	return s.memory.Delete(ctx, appUserID, version)
}

func (s silent) Volatile() bool { return true }

// ended returns the spans that have ended, by name; of several the last.
func (r *rig) ended() map[string]sdktrace.ReadOnlySpan {
	spans := make(map[string]sdktrace.ReadOnlySpan)
	for _, s := range r.spans.Ended() {
		spans[s.Name()] = s
	}
	return spans
}

// Spans lie within each other as the work does, and within the host's.
func TestSpansOfAnApproval(t *testing.T) {
	r := newRig(t, func(c *pkb.Config) {
		c.Identify = func(context.Context, pkb.Candidate) error { return nil }
	})
	ctx, request := r.tracer.Start(t.Context(), "request")
	r.link(ctx, t)
	request.End()
	spans := r.ended()
	wantWithin := map[string]string{
		"request": "", "pkb authorize": "request", "pkb complete": "request",
		"pkb exchange": "pkb complete", "pkb purview": "pkb complete", "pkb users/self": "pkb complete",
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(wantWithin)), slices.Sorted(maps.Keys(spans))); diff != "" {
		t.Fatalf("spans (-want +got):\n%s", diff)
	}
	for name, within := range wantWithin {
		s := spans[name]
		if within == "" {
			continue
		}
		if s.Parent().SpanID() != spans[within].SpanContext().SpanID() || s.SpanContext().TraceID() != request.SpanContext().TraceID() {
			t.Errorf("%s does not lie within %s", name, within)
		}
		wantKind := trace.SpanKindClient
		if name == "pkb authorize" || name == "pkb complete" {
			wantKind = trace.SpanKindInternal // nothing goes out by itself
		}
		if s.SpanKind() != wantKind || s.Status().Code != codes.Unset {
			t.Errorf("%s: kind %v, status %v", name, s.SpanKind(), s.Status())
		}
	}
}

// A refresh is a trace of its own, which links to the span that needed it, and
// is not cut short with it.
func TestRefreshLinksToItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.link(t.Context(), t)
		r.pkb.Advance(11 * time.Minute)
		r.pkb.Next(pkbtest.Token, pkbtest.Delay(5*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, request := r.tracer.Start(ctx, "request")
		if _, err := r.ForUser(user).Self(ctx); err == nil {
			t.Fatal("the caller was to leave")
		}
		request.End()
		time.Sleep(time.Minute)
		spans := r.ended()
		refresh, call := spans["pkb refresh"], spans["pkb users/self"]
		if refresh == nil || call == nil {
			t.Fatalf("spans: %v", slices.Collect(maps.Keys(spans)))
		}
		if refresh.Parent().IsValid() || refresh.SpanContext().TraceID() == request.SpanContext().TraceID() {
			t.Error("the refresh lies within the request of one of those it serves")
		}
		links := refresh.Links()
		if len(links) != 1 || links[0].SpanContext.SpanID() != call.SpanContext().SpanID() {
			t.Errorf("the refresh links to %v, want the call that needed it", links)
		}
		if d := refresh.EndTime().Sub(refresh.StartTime()); d != 5*time.Second || refresh.Status().Code != codes.Unset {
			t.Errorf("the refresh took %v and ended with %v: it must outlive its caller", d, refresh.Status())
		}
	})
}

// A span says what went wrong in a word, and has PKB's code.
func TestSpanOfAFailure(t *testing.T) {
	r := newRig(t)
	r.link(t.Context(), t)
	r.pkb.Next(pkbtest.Self, pkbtest.Refuse("ACCESS_FROZEN_OUTWARD"))
	_, _ = r.ForUser(user).Self(t.Context())
	s := r.ended()["pkb users/self"]
	if s.Status().Code != codes.Error || s.Status().Description != "refused" || len(s.Events()) != 0 {
		t.Errorf("status %v, events %v", s.Status(), s.Events())
	}
	got := make(map[string]string)
	for _, a := range s.Attributes() {
		got[string(a.Key)] = a.Value.String()
	}
	want := map[string]string{
		"pkb.operation": "users/self", "pkb.outcome": "refused", "http.response.status_code": "403",
		"pkb.code": "ACCESS_FROZEN_OUTWARD", "pkb.requests": "1", "error.type": "refused",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

// Whatever happens, nothing of a user, a patient or a token is in a span or a
// metric, and nothing of a trace is sent to PKB.
func TestNothingPersonalIsReported(t *testing.T) {
	synctest.Test(t, testNothingPersonalIsReported)
}

func testNothingPersonalIsReported(t *testing.T) {
	r := newRig(t)
	secrets := []string{user, "canary", "Canary", r.patient.NHSNumber, r.patient.PublicID, "app.example", "127.0.0.1", r.pkb.URL()}
	for range 3 {
		ctx, request := r.tracer.Start(t.Context(), "request")
		r.link(ctx, t)
		for _, fault := range []pkbtest.Fault{
			pkbtest.Respond(400, "application/json", `{"error":"canary","error_description":"canary"}`),
			pkbtest.Drop(), pkbtest.DropAfter(), pkbtest.Refuse("API_SESSION_EXPIRED"),
		} {
			if token, err := r.Token(ctx, user); err == nil {
				secrets = append(secrets, token.Value.Reveal())
			}
			r.pkb.Next(pkbtest.Self, pkbtest.Respond(500, "text/plain", "canary"))
			_, _ = r.ForUser(user).Self(ctx)
			r.pkb.Advance(11 * time.Minute)
			r.pkb.Next(pkbtest.Token, fault)
			_, _ = r.ForUser(user).Self(ctx)
			r.pkb.ClearFaults()
		}
		request.End()
	}
	if err := r.telemetry.CountLinks(t.Context(), r.Client); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, s := range r.spans.Ended() {
		fmt.Fprintf(&out, "%s %v %v %v %v\n", s.Name(), s.Attributes(), s.Status(), s.Events(), s.Links())
	}
	fmt.Fprint(&out, r.metrics(t))
	if out.Len() < 5_000 {
		t.Fatalf("hardly anything was reported: %s", &out)
	}
	for _, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q was reported", secret)
		}
	}
	for _, q := range r.pkb.Requests() {
		for _, name := range []string{"Traceparent", "Tracestate", "Baggage", "B3"} {
			if q.Header.Get(name) != "" {
				t.Errorf("%s was sent to PKB with %v", name, q)
			}
		}
	}
}

// Without providers there is nothing to do, and nothing breaks.
func TestWithoutProviders(t *testing.T) {
	telemetry, err := pkbotel.New(pkbotel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *pkb.Config) { c.Telemetry = telemetry })
	r.link(t.Context(), t)
	if err := telemetry.CountLinks(t.Context(), r.Client); err != nil {
		t.Error(err)
	}
	if n := len(r.spans.Ended()); n != 0 {
		t.Errorf("%d spans", n)
	}
}
