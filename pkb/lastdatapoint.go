// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/betawerk/pkb-go/fhir"
)

const opLastDataPoint = "date-of-last-data-point"

// LastDataPoint returns when data last came into the patient's record: a cheap
// way to see whether there is something new to read. ok is false if PKB names
// no time. Demographics, data of connected devices and changes of consent do
// not count, and the time can go back when data is deleted: compare for being
// different, not for being later.
//
// It returns the errors of Token, or an *APIError.
//
// (PKB: date-of-last-data-point. Path and method are inferred, as those of
// Purview are.)
func (p *Patient) LastDataPoint(ctx context.Context) (at time.Time, ok bool, err error) {
	c := p.client
	ctx, end := c.begin(ctx, opLastDataPoint)
	defer func() { end.call(err) }()
	data, err := c.operation(ctx, p.http(), opLastDataPoint, c.facade().operation("Patient", opLastDataPoint), "", &c.lastDataPointByGET)
	if err != nil {
		return time.Time{}, false, err
	}
	at, ok, err = fhir.LastDataPoint(data)
	if err != nil {
		return time.Time{}, false, instead(opLastDataPoint, data, "the answer has no time that can be read", err)
	}
	return at, ok, nil
}

// operation calls an operation of PKB's that takes no parameters and changes
// nothing: with the given method, or with POST and, from the first answer 405
// on, which byGET remembers, with GET.
func (c *Client) operation(ctx context.Context, hc *http.Client, op, address, method string, byGET *atomic.Bool) ([]byte, error) {
	post := func() ([]byte, error) {
		return c.call(ctx, hc, op, http.MethodPost, address, mediaTypeFHIR, []byte(`{"resourceType":"Parameters"}`))
	}
	get := func() ([]byte, error) { return c.call(ctx, hc, op, http.MethodGet, address, mediaTypeFHIR, nil) }
	switch {
	case method == http.MethodPost:
		return post()
	case method == http.MethodGet || byGET.Load():
		return get()
	}
	data, err := post()
	var refused *APIError
	if errors.As(err, &refused) && refused.Status == http.StatusMethodNotAllowed {
		if data, err = get(); err == nil {
			byGET.Store(true)
		}
	}
	return data, err
}
