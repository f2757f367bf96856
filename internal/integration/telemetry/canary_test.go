// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"testing"
	"testing/synctest"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/betawerk/pkb-go/internal/canary"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbotel"
)

// S54: everything that can go wrong does, and every error text names
// the patient: nothing of it is in a span or a metric.
func TestCanariesAreInNoSpanOrMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
		telemetry, err := pkbotel.New(pkbotel.Config{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		})
		if err != nil {
			t.Fatal(err)
		}
		printed, err := canary.Flow{Configure: func(c *pkb.Config) { c.Telemetry = telemetry }}.Run(t.Context())
		if err != nil {
			t.Fatalf("the flow did not go as it was meant to, so nothing is shown: %v", err)
		}
		for _, s := range spans.Ended() {
			printed.Add("spans", fmt.Sprintf("%s %v %v %v %v\n", s.Name(), s.Attributes(), s.Status(), s.Events(), s.Resource()))
		}
		var metrics metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &metrics); err != nil {
			t.Fatal(err)
		}
		printed.Add("metrics", fmt.Sprintf("%+v\n", metrics))
		for _, leak := range printed.Leaks() {
			t.Errorf("got out in %s", leak)
		}
		for where, least := range map[string]int{"spans": 50_000, "metrics": 5_000} {
			if got := printed.Bytes()[where]; got < least {
				t.Errorf("only %d bytes of %s to search", got, where)
			}
		}
	})
}
