// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/fhir"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
)

// opExchange names the code exchange in errors.
const opExchange = "code exchange"

// Complete takes the callback of an approval and makes the link. appUserID is
// the user signed in now, by the host's own session; p is what Authorize
// returned for the approval; query is the callback's query.
//
// It checks that this user started this approval here and that it was not
// completed before, exchanges the code at apiToken.action, saves the pair, asks
// Purview for the patient's public id, and Config.Identify, if there is one,
// whether that is the right person; then the public id is fixed on the link.
// When that cannot be found out just then, the link stands all the same, and it
// is tried again at the next call; with Config.Identify no call succeeds before.
// Once the code is on its way, the work goes on when ctx ends: the patient may
// have closed the browser, and the approval still counts.
//
// A user who is linked already keeps that link until the new pair has proved to
// be the same patient's. Another patient's is refused, unless AllowSwitch was
// given to Authorize; so is a record that another user is linked with, unless
// AllowShared was, if the store can tell (tokenstore.Finder).
//
// It returns ErrState, ErrCallback, ErrAccessDenied (the patient said no),
// ErrWrongPatient, ErrSharedRecord, ErrNotAPatient, ErrIdentityRefused,
// ErrStore, ErrAppUserID, ErrKeys, ErrOtherEnvironment, ErrClosed, ErrNotLinked
// when the user was unlinked meanwhile, or an *APIError for what the token
// endpoint said.
// After each of them but ErrStore the link, if there was one, is as it was.
//
// (PKB: Code grant; Patient Identifier and Demographic Retrieval. The
// parameters that come back after Deny could not be read and are taken to be
// those of RFC 6749 section 4.1.2.1.)
func (c *Client) Complete(ctx context.Context, appUserID string, p Pending, query url.Values) (Link, error) {
	ctx, end := c.begin(ctx, OpComplete)
	link, err := c.complete(ctx, appUserID, p, query)
	end.with(err)
	return link, err
}

func (c *Client) complete(ctx context.Context, appUserID string, p Pending, query url.Values) (Link, error) {
	if err := c.accepts(appUserID); err != nil {
		return Link{}, err
	}
	started := p.get()
	code, err := c.checkCallback(appUserID, started, query)
	if err != nil {
		return Link{}, err
	}
	if err := c.keeper.Reserve(ctx, appUserID, started.mark(), started.ExpiresAt); err != nil {
		return Link{}, public(err)
	}

	type result struct {
		link Link
		err  error
	}
	done := make(chan result, 1)
	begun := c.keeper.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.TokenTimeout+2*c.cfg.RequestTimeout+time.Minute)
		defer cancel()
		link, err := c.link(ctx, appUserID, started, code)
		done <- result{link, err}
	})
	if !begun {
		c.release(ctx, appUserID, started) // another process can still complete it
		return Link{}, ErrClosed
	}
	select {
	case r := <-done:
		return r.link, r.err
	case <-ctx.Done():
		return Link{}, ctx.Err()
	}
}

// checkCallback returns the code of a callback that fits.
func (c *Client) checkCallback(appUserID string, p *pending, query url.Values) (code string, err error) {
	states := query["state"]
	switch {
	case p == nil:
		return "", &StateError{Reason: StateNoPending}
	case p.Environment != c.cfg.Environment.Name || p.ClientID != c.cfg.ClientID:
		return "", &StateError{Reason: StateOtherClient}
	case p.AppUserID != appUserID:
		return "", &StateError{Reason: StateOtherUser}
	case len(states) != 1 || states[0] == "":
		return "", &StateError{Reason: StateMissing}
	case p.State == "" || subtle.ConstantTimeCompare([]byte(states[0]), []byte(p.State)) != 1:
		return "", &StateError{Reason: StateMismatch}
	case !c.cfg.Now().Before(p.ExpiresAt):
		return "", &StateError{Reason: StateExpired}
	}

	codes, refusals := query["code"], query["error"]
	switch {
	case len(codes) == 0 && len(refusals) == 0:
		return "", &callbackError{"the callback has neither a code nor an error: the patient may have refused, or PKB has changed its answer"}
	case len(codes) > 0 && len(refusals) > 0:
		return "", &callbackError{"the callback has both a code and an error, and the code was not used"}
	case len(refusals) > 0 && refusals[0] == "access_denied":
		return "", ErrAccessDenied
	case len(refusals) > 0:
		return "", &callbackError{"PKB sent an error back: " + authorizeError(refusals[0])}
	case len(codes) > 1 || codes[0] == "" || len(codes[0]) > 4<<10:
		return "", &callbackError{"the callback has no single code of a sane length"}
	}
	return codes[0], nil
}

// authorizeError repeats an error code of RFC 6749 section 4.1.2.1 and nothing
// else that came with a callback.
func authorizeError(code string) string {
	switch code {
	case "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable":
		return code
	}
	return "one that RFC 6749 does not know"
}

// callbackError is ErrCallback with what is wrong.
type callbackError struct{ what string }

func (e *callbackError) Error() string {
	return "pkb: " + e.what + "; nothing was changed; patient's turn: start again from your link route"
}

// Is reports whether target is ErrCallback.
func (e *callbackError) Is(target error) bool { return target == ErrCallback }

// release gives an approval back whose code was not spent.
func (c *Client) release(ctx context.Context, appUserID string, p *pending) {
	if err := c.keeper.Release(ctx, appUserID, p.mark()); err != nil {
		c.cfg.Logger.Warn("pkb: could not release a reservation", "link", custody.LinkName(appUserID), "error", err)
	}
}

// link exchanges a code and makes the link: exchange, save, ask whose it is,
// fix that.
func (c *Client) link(ctx context.Context, appUserID string, p *pending, code string) (Link, error) {
	log := c.cfg.Logger.With("link", custody.LinkName(appUserID))
	asked := c.cfg.Now()
	out := c.exchange(ctx, p, code)
	if out.Class != tokenwire.OK {
		if out.Class == tokenwire.NotSent || out.Class == tokenwire.AppWide {
			c.release(ctx, appUserID, p) // a reload of the callback may yet do it
		}
		log.Warn("pkb: a code could not be exchanged", "outcome", string(posted(out)), "status", out.Status, "code", out.Code)
		return Link{}, &APIError{
			Operation: opExchange, Status: out.Status, Code: fhir.ResponseCode(out.Code),
			RetryAfter: out.RetryAfter, Err: quiet(out.Err),
		}
	}
	if scope := out.Grant.Scope; scope != "" && !slices.ContainsFunc(strings.Fields(scope), func(s string) bool {
		return strings.EqualFold(s, scopePatient)
	}) {
		return Link{}, ErrNotAPatient
	}

	terms := custody.Terms{Switch: p.Switch, Share: p.Share}
	if err := c.keeper.Settle(ctx, appUserID, asked, out, terms); err != nil {
		log.Error("pkb: the tokens of a new approval could not be saved", "error", err)
		if failed, ok := errors.AsType[*custody.StoreError](err); ok {
			return Link{}, newStoreFailure(opExchange, failed.Err)
		}
		return Link{}, public(err)
	}

	err := c.keeper.Admit(ctx, appUserID, out.Grant.AccessToken)
	if unchecked, ok := errors.AsType[*custody.UncheckedError](err); ok {
		log.Warn("pkb: linked; whose record it is will be asked at the next call", "error", unchecked.Err)
	} else if err != nil {
		return Link{}, public(err)
	}
	return c.look(ctx, appUserID)
}
