// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

//go:build goexperiment.jsonv2

package sinks_test

import jsonv2 "encoding/json/v2"

func init() {
	sinks = append(sinks, sink{"encoding/json/v2", true, encoded(func(v any) ([]byte, error) { return jsonv2.Marshal(v) })})
}
