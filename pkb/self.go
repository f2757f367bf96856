// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"errors"
	"net/http"
)

const opSelf = "users/self"

// Self returns the patient's demographics and national ids: GET
// /json/users/self. Nothing of it is kept by this library.
//
// It returns ErrNotAPatient if the answer does not say that it is about a
// patient, the errors of Token, or an *APIError.
//
// (PKB: Patient Identifier and Demographic Retrieval.)
func (p *Patient) Self(ctx context.Context) (*Self, error) {
	return p.client.self(ctx, p.http())
}

// self asks with whatever token hc adds.
func (c *Client) self(ctx context.Context, hc *http.Client) (_ *Self, err error) {
	ctx, end := c.begin(ctx, OpSelf)
	defer func() { end.call(err) }()
	data, err := c.call(ctx, hc, opSelf, http.MethodGet, c.cfg.Environment.SelfURL, "application/json", nil)
	if err != nil {
		return nil, err
	}
	self, err := decodeSelf(data)
	if err != nil {
		problem := instead(opSelf, data, "the answer is not the JSON object that PKB describes", err)
		if errors.Is(err, ErrNotAPatient) && problem.Outcome == nil {
			return nil, err
		}
		return nil, problem
	}
	return self, nil
}
