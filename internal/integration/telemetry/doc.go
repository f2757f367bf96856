// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package telemetry reads the dashboard of pkb/pkbotel with Grafana's schema
// library and its alert rules with promtool, Prometheus's own checker, runs the
// rules over made-up incidents, and compares both with the metrics that a client
// really exposes. It searches spans and metrics for canaries, too. It is made of
// tests.
package telemetry
