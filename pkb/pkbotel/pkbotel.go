// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package pkbotel reports what a pkb.Client does to OpenTelemetry: a span and a
// duration for each operation, and counts of what happens to links. Give what
// [New] returns to pkb.Config.Telemetry.
//
// It needs the API of OpenTelemetry and no SDK; exporters are yours. The directory
// grafana has a dashboard and alert rules for Prometheus that use these metrics, with
// the reason for each threshold.
//
// # Metrics
//
//	pkb.client.operation.duration  histogram, s   how long operations took, and how many there were
//	pkb.client.link.events         counter        what happened to links, by kind
//	pkb.client.links.lost          counter        links that ended, by cause
//	pkb.client.links               gauge          links in the store, by state; see [Telemetry.CountLinks]
//	pkb.client.notices             counter        calls of pkb.Config.Notify, by kind and whether it accepted the notice
//	pkb.client.sweeps              counter        how often pkb.Client.Tend did what was due, by outcome
//	pkb.client.links.tended        counter        links that it looked at
//	pkb.client.links.undelivered   gauge          links with a notice that Notify did not accept from this process
//
// # Attributes
//
//	pkb.operation              authorize, complete, exchange, refresh, users/self, ...       spans, durations
//	pkb.outcome                an observe.Outcome: ok, unavailable, uncertain, ...            spans, durations, sweeps
//	http.response.status_code  of PKB's response; absent without one                          spans, durations
//	pkb.code                   PKB's response code, or that of RFC 6749; absent without one   spans
//	pkb.requests               the number of requests of a call, including retries            spans
//	error.type                 pkb.outcome, of a span that failed                             spans
//	pkb.event                  an observe.EventKind                                           events, notices
//	pkb.notice.accepted        true or false                                                  notices
//	pkb.cause                  an observe.Cause                                               links lost
//	pkb.link.state             linked, uncertain or relink_required                           links
//
// None holds an app_user_id, a token, an address or anything about a patient: an
// observe.Telemetry gets none of it. Counts by kind and by cause begin with 0 for
// each, so that the first one shows in a rate. A kind or cause that a newer pkb adds
// appears when it happens.
//
// # Spans
//
// Spans are called "pkb refresh" and so on. What belongs to [pkb.Client.Complete]
// lies within its span; a call's span lies within the one that your context has.
// A refresh is a trace of its own, because it outlives the call that needed it
// and serves others too: it links to the span of the first of them. One that
// began early, in the background, links to none. A span's error is the outcome
// as a word, never a response.
//
// Nothing of a trace is sent to PKB: no traceparent, no baggage. A transport of
// yours that adds them (otelhttp, in pkb.Config.HTTPClient) would tell PKB your
// trace ids; give it propagators that propagate nothing.
package pkbotel

import (
	"context"
	"errors"

	"github.com/betawerk/pkb-go/pkb/observe"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"

	meternoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/betawerk/pkb-go/pkb/pkbotel"

// The names of metrics and attributes. They are what dashboards and alerts are
// made of.
const (
	metricDuration    = "pkb.client.operation.duration"
	metricEvents      = "pkb.client.link.events"
	metricLost        = "pkb.client.links.lost"
	metricLinks       = "pkb.client.links"
	metricNotices     = "pkb.client.notices"
	metricSweeps      = "pkb.client.sweeps"
	metricTended      = "pkb.client.links.tended"
	metricUndelivered = "pkb.client.links.undelivered"

	keyOperation = attribute.Key("pkb.operation")
	keyOutcome   = attribute.Key("pkb.outcome")
	keyStatus    = attribute.Key("http.response.status_code")
	keyCode      = attribute.Key("pkb.code")
	keyRequests  = attribute.Key("pkb.requests")
	keyError     = attribute.Key("error.type")
	keyEvent     = attribute.Key("pkb.event")
	keyCause     = attribute.Key("pkb.cause")
	keyState     = attribute.Key("pkb.link.state")
	keyAccepted  = attribute.Key("pkb.notice.accepted")
)

// buckets are the limits of durations in seconds: from a response of a server
// nearby to the defaults of pkb.Config.RequestTimeout and TokenTimeout.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 180}

// kinds, causes, states and noticed, the kinds of notices, are counted from the start.
var (
	kinds = []observe.EventKind{
		observe.EventApproved, observe.EventExchanged, observe.EventLinked, observe.EventRefreshed, observe.EventAdopted,
		observe.EventUncertain, observe.EventRecovered, observe.EventSaveRetried, observe.EventSaveFailed, observe.EventRelinkRequired,
		observe.EventEndsSoon, observe.EventWrongPatient, observe.EventSharedRecord, observe.EventRefused, observe.EventKeyRotated,
		observe.EventScopeChanged, observe.EventUnlinked, observe.EventStoreRolledBack, observe.EventMassRejection, observe.EventAppTrouble,
		observe.EventUnclear, observe.EventUnreadable, observe.EventUnchecked, observe.EventAbandoned, observe.EventNotExchanged,
		observe.EventRestored, observe.EventDiscarded, observe.EventTransportRepeats,
	}
	causes = []observe.Cause{
		observe.CauseSessionExpired, observe.CauseSessionInvalid, observe.CauseGrantRejected, observe.CauseFinalTokenExpired,
		observe.CauseOutcomeUnknown, observe.CauseFrozen, observe.CauseWrongPatient, observe.CauseShared, observe.CauseRefusedUnclear, observe.CauseResponseUnreadable,
	}
	noticed = []observe.EventKind{
		observe.EventLinked, observe.EventRelinkRequired, observe.EventEndsSoon, observe.EventSharedRecord, observe.EventWrongPatient, observe.EventAbandoned,
	}
	states = []tokenstore.State{tokenstore.StateLinked, tokenstore.StateUncertain, tokenstore.StateRelinkRequired}
)

// Config is where traces and metrics go.
type Config struct {
	// TracerProvider takes the spans; nil means none. The global one is
	// otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider takes the metrics; nil means none. The global one is
	// otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
}

// Telemetry is an observe.Telemetry for OpenTelemetry. Make one with New; several
// clients may share it.
type Telemetry struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	events   metric.Int64Counter
	lost     metric.Int64Counter
	links    metric.Int64Gauge

	notices     metric.Int64Counter
	sweeps      metric.Int64Counter
	tended      metric.Int64Counter
	undelivered metric.Int64Gauge
}

var (
	_ observe.Telemetry = (*Telemetry)(nil)
	_ observe.Follower  = (*Telemetry)(nil)
	_ observe.Tender    = (*Telemetry)(nil)
)

// New returns a Telemetry. It returns the error of a MeterProvider that does not
// accept these metrics.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracenoop.NewTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = meternoop.NewMeterProvider()
	}
	meter := cfg.MeterProvider.Meter(scope)
	t := &Telemetry{tracer: cfg.TracerProvider.Tracer(scope)}
	var errs [5]error
	t.duration, errs[0] = meter.Float64Histogram(metricDuration, metric.WithUnit("s"),
		metric.WithDescription("How long operations took."), metric.WithExplicitBucketBoundaries(buckets...))
	t.events, errs[1] = meter.Int64Counter(metricEvents, metric.WithUnit("{event}"),
		metric.WithDescription("What happened to links."))
	t.lost, errs[2] = meter.Int64Counter(metricLost, metric.WithUnit("{link}"),
		metric.WithDescription("Links that ended and that only the patient can repair."))
	t.links, errs[3] = meter.Int64Gauge(metricLinks, metric.WithUnit("{link}"),
		metric.WithDescription("Links in the store."))
	errs[4] = t.tending(meter)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	t.begin()
	return t, nil
}

// tending makes the metrics of pkb.Client.Tend.
func (t *Telemetry) tending(meter metric.Meter) error {
	var errs [4]error
	t.notices, errs[0] = meter.Int64Counter(metricNotices, metric.WithUnit("{notice}"),
		metric.WithDescription("Calls of Config.Notify."))
	t.sweeps, errs[1] = meter.Int64Counter(metricSweeps, metric.WithUnit("{sweep}"),
		metric.WithDescription("How often what was due was done."))
	t.tended, errs[2] = meter.Int64Counter(metricTended, metric.WithUnit("{link}"),
		metric.WithDescription("Links that were looked at because something was due."))
	t.undelivered, errs[3] = meter.Int64Gauge(metricUndelivered, metric.WithUnit("{link}"),
		metric.WithDescription("Links with a notice that Config.Notify did not accept from this process."))
	return errors.Join(errs[:]...)
}

// begin begins all counts with 0.
func (t *Telemetry) begin() {
	ctx := context.Background()
	for _, kind := range kinds {
		t.events.Add(ctx, 0, metric.WithAttributes(keyEvent.String(string(kind))))
	}
	for _, cause := range causes {
		t.lost.Add(ctx, 0, metric.WithAttributes(keyCause.String(string(cause))))
	}
	for _, kind := range noticed {
		for _, accepted := range []bool{true, false} {
			t.notices.Add(ctx, 0, metric.WithAttributes(keyEvent.String(string(kind)), keyAccepted.Bool(accepted)))
		}
	}
	t.sweeps.Add(ctx, 0, metric.WithAttributes(keyOutcome.String(string(observe.OutcomeOK))))
	t.tended.Add(ctx, 0)
}

// causedBy is the context's key for the span that a refresh links to.
type causedBy struct{}

// Follow implements observe.Follower.
func (t *Telemetry) Follow(refresh, caller context.Context) context.Context {
	if span := trace.SpanContextFromContext(caller); span.IsValid() {
		return context.WithValue(refresh, causedBy{}, span)
	}
	return refresh
}

// Begin implements observe.Telemetry.
func (t *Telemetry) Begin(ctx context.Context, op observe.Operation) (context.Context, func(observe.Result)) {
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(keyOperation.String(string(op))),
	}
	if op == observe.OpAuthorize || op == observe.OpComplete {
		options[0] = trace.WithSpanKind(trace.SpanKindInternal)
	}
	cause, follows := ctx.Value(causedBy{}).(trace.SpanContext)
	if follows && !trace.SpanContextFromContext(ctx).IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: cause}))
	}
	ctx, span := t.tracer.Start(ctx, "pkb "+string(op), options...)
	return ctx, func(r observe.Result) {
		attributes := []attribute.KeyValue{keyOutcome.String(string(r.Outcome))}
		if r.Status != 0 {
			attributes = append(attributes, keyStatus.Int(r.Status))
		}
		span.SetAttributes(attributes...)
		if r.Code != "" {
			span.SetAttributes(keyCode.String(r.Code))
		}
		if r.Requests != 0 {
			span.SetAttributes(keyRequests.Int(r.Requests))
		}
		if failed(r.Outcome) {
			span.SetAttributes(keyError.String(string(r.Outcome)))
			span.SetStatus(codes.Error, string(r.Outcome))
		}
		t.duration.Record(ctx, r.Duration.Seconds(),
			metric.WithAttributes(append(attributes, keyOperation.String(string(op)))...))
		span.End()
	}
}

// failed reports whether an outcome is an error; a patient who said no, or a caller
// who left, is not one.
func failed(o observe.Outcome) bool {
	return o != observe.OutcomeOK && o != observe.OutcomeDenied && o != observe.OutcomeCanceled
}

// Event implements observe.Telemetry.
func (t *Telemetry) Event(kind observe.EventKind, cause observe.Cause) {
	ctx := context.Background()
	t.events.Add(ctx, 1, metric.WithAttributes(keyEvent.String(string(kind))))
	if kind == observe.EventRelinkRequired {
		t.lost.Add(ctx, 1, metric.WithAttributes(keyCause.String(string(cause))))
	}
}

// Swept implements observe.Tender.
func (t *Telemetry) Swept(s observe.Sweep) {
	ctx := context.Background()
	t.sweeps.Add(ctx, 1, metric.WithAttributes(keyOutcome.String(string(s.Outcome))))
	t.tended.Add(ctx, int64(s.Links))
	t.undelivered.Record(ctx, int64(s.Undelivered))
}

// Notified implements observe.Tender.
func (t *Telemetry) Notified(kind observe.EventKind, accepted bool) {
	t.notices.Add(context.Background(), 1, metric.WithAttributes(keyEvent.String(string(kind)), keyAccepted.Bool(accepted)))
}

// CountLinks counts the links of client by state, for the gauge
// pkb.client.links. It reads every record of the store, so call it rarely, such as
// every quarter of an hour, in one process of them all. It returns the
// errors of pkb.Client.Links; then the gauge stays as it was.
func (t *Telemetry) CountLinks(ctx context.Context, client *pkb.Client) error {
	counted := make(map[tokenstore.State]int64)
	for link, err := range client.Links(ctx) {
		if err != nil {
			return err
		}
		counted[link.State]++
	}
	for _, state := range states {
		t.links.Record(ctx, counted[state], metric.WithAttributes(keyState.String(string(state))))
	}
	return nil
}
