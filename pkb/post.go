// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"

	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// refresh sends a refresh token.
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

// exchange sends a code.
func (c *Client) exchange(ctx context.Context, p *pending, code string) tokenwire.Outcome {
	ctx, end := c.begin(ctx, observe.OpExchange)
	out := c.token.Exchange(ctx, code, p.RedirectURL, p.Verifier)
	end.posted(out)
	return out
}
