// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

//go:build !goexperiment.jsonv2

package sinks_test

import "testing"

func TestSinkJSONv2(t *testing.T) {
	t.Skip("this build has no encoding/json/v2; to send the values there, too: GOEXPERIMENT=jsonv2 go test ./internal/integration/sinks")
}
