// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbotel_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbotel"
	"github.com/betawerk/pkb-go/tokenstore"
)

// Metrics go to the MeterProvider of the host, here one that is read by hand. Those of
// links that are looked after begin with 0, so that an alert can miss them.
func ExampleNew() {
	reader := sdkmetric.NewManualReader()
	telemetry, err := pkbotel.New(pkbotel.Config{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := pkb.New(pkb.Config{
		Environment: pkb.Sandbox(),
		ClientID:    "my-app",
		RedirectURL: "https://app.example/pkb/callback",
		Store:       tokenstore.NewMemory(),
		Telemetry:   telemetry,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	_, _, err = client.Authorize(ctx, "app-user-1")
	fmt.Println(err)
	fmt.Println(telemetry.CountLinks(ctx, client)) // every quarter of an hour, in one process

	var measured metricdata.ResourceMetrics
	fmt.Println(reader.Collect(ctx, &measured))
	for _, m := range measured.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// pkb.client.operation.duration
	// pkb.client.link.events
	// pkb.client.links.lost
	// pkb.client.links
	// pkb.client.notices
	// pkb.client.sweeps
	// pkb.client.links.tended
}
