// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// The text of an error is made for each log line of an outage.
func TestAPIErrorTextAllocatesLittle(t *testing.T) {
	r := newRig(t)
	r.link(t, user, r.patient)
	r.pkb.Next(pkbtest.Self, pkbtest.Respond(200, "text/html", "<html>"))
	_, err := r.ForUser(user).Self(t.Context())
	page, ok := errors.AsType[*pkb.APIError](err)
	if !ok {
		t.Fatalf("Self: %v, want an APIError", err)
	}
	for name, e := range map[string]*pkb.APIError{
		"status":       {Operation: "users/self", Status: 503},
		"all the rest": {Operation: "Observation search", Status: 429, Code: "ACCESS_FROZEN_OUTWARD", RetryAfter: 3 * time.Second, RequestID: "1d4a8b2d-f885-499f-ba51-50600312f316"},
		"no response":  {Operation: "purview"},
		"a page":       page,
	} {
		if n := testing.AllocsPerRun(100, func() { _ = e.Error() }); n > 2 {
			t.Errorf("%s: Error allocates %v times, want at most 2: %s", name, n, e)
		}
	}
}

// A cause is found through every type, and printed by none.
func TestErrorsWrap(t *testing.T) {
	for _, err := range []error{
		&pkb.APIError{Operation: "purview", Err: context.Canceled},
		&pkb.TryLaterError{Err: context.Canceled},
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v: errors.Is does not find the cause", err)
		}
	}
}
