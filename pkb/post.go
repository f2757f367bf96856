// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// opExchange names the code exchange in errors.
const opExchange = "code exchange"

func (c *Client) refresh(ctx context.Context, refreshToken string) tokenwire.Outcome {
	ctx, end := c.begin(ctx, observe.OpRefresh)
	scope := scopePatient
	if c.cfg.RefreshWithoutScope {
		scope = ""
	}
	out := c.token.Refresh(ctx, refreshToken, scope)
	end.posted(out)
	return out
}

func (c *Client) exchange(ctx context.Context, p *pending, code string) tokenwire.Outcome {
	ctx, end := c.begin(ctx, observe.OpExchange)
	out := c.token.Exchange(ctx, code, p.RedirectURL, p.Verifier)
	end.posted(out)
	return out
}

func (c *Client) exchangeError(appUserID string, e *custody.ExchangeError) error {
	out := e.Outcome
	c.cfg.Logger.Warn("pkb: the code exchange failed", "link", conceal.LinkName(appUserID), "outcome", string(posted(out)), "status", out.Status, "code", out.Code)
	return &APIError{
		Operation: opExchange, Status: out.Status, Code: fhir.ResponseCode(out.Code), RetryAfter: out.RetryAfter, Err: quiet(out.Err), exchange: out.Class, busy: isBusy(out.Status, out.Code, out.Cause),
	}
}
