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
	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
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
// When that cannot be found out just then, the link stands all the same
// (Link.Unchecked where it waits for that), and the calls that follow find out; with
// Config.Identify no call succeeds before. Once the code is on its way, the work goes
// on when ctx ends: the patient may have closed the browser, and the approval still
// counts.
//
// The code is sent once, whoever comes with the callback, at once or later, to this
// process or another: a second visit waits for the first, within its ctx, and is
// told the same; one that comes later, by a reload or by Back, gets the link as long
// as it is that approval's. If the code was not spent, because nothing was sent or
// PKB takes no requests, the same callback may come again.
//
// A user who is linked already keeps that link until the new pair has proved to
// be the same patient's. Another patient's is refused, unless AllowSwitch was
// given to Authorize; so is a record that another user is linked with, unless
// AllowShared was, if the store can tell (tokenstore.Finder).
//
// A nil error means that the approval is the link, or waits to be checked where
// there is no other. ErrUnchecked comes with the link that goes on meanwhile.
// Otherwise it returns ErrState, ErrCallback, ErrAccessDenied (the patient said
// no), ErrWrongPatient, ErrSharedRecord, ErrNotAPatient, ErrIdentityRefused,
// ErrOvertaken, ErrStore, ErrAppUserID, ErrKeys, ErrNewer, ErrOtherEnvironment,
// ErrClosed, ErrNotLinked when the user was unlinked since Authorize, or an *APIError
// for what the token endpoint said.
// After each of them but ErrStore the link, if there was one, is as it was.
//
// (PKB: Code grant; Patient Identifier and Demographic Retrieval. The
// parameters that come back after Deny could not be read and are taken to be
// those of RFC 6749 section 4.1.2.1.)
func (c *Client) Complete(ctx context.Context, appUserID string, p Pending, query url.Values) (Link, error) {
	ctx, end := c.begin(ctx, observe.OpComplete)
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
	r, err := c.keeper.Approve(ctx, custody.Approval{
		User: appUserID, Session: started.mark(), Terms: custody.Terms{Switch: started.Switch, Share: started.Share}, Unlinks: started.Unlinks,
		Exchange: func(ctx context.Context) tokenwire.Outcome { return c.exchange(ctx, started, code) },
		Fits:     fits,
	})
	var (
		unchecked *custody.UncheckedError
		exchanged *custody.ExchangeError
	)
	switch {
	case errors.As(err, &unchecked):
		return newLink(r), &uncheckedError{cause: quiet(unchecked.Err)}
	case errors.As(err, &exchanged):
		return Link{}, c.exchangeError(appUserID, exchanged)
	case err != nil:
		return Link{}, public(err)
	}
	return newLink(r), nil
}

// fits says why a pair is of no use: it must be a patient's.
func fits(g tokenwire.Grant) error {
	if g.Scope == "" || slices.ContainsFunc(strings.Fields(g.Scope), func(s string) bool { return strings.EqualFold(s, scopePatient) }) {
		return nil
	}
	return &custody.RefusedError{Err: identity.ErrNotAPatient}
}

// exchangeError is what is told of a code that brought no tokens.
func (c *Client) exchangeError(appUserID string, e *custody.ExchangeError) error {
	out := e.Outcome
	c.cfg.Logger.Warn("pkb: a code could not be exchanged", "link", conceal.LinkName(appUserID), "outcome", string(posted(out)), "status", out.Status, "code", out.Code)
	return &APIError{
		Operation: opExchange, Status: out.Status, Code: fhir.ResponseCode(out.Code), RetryAfter: out.RetryAfter, Err: quiet(out.Err), exchange: out.Class, busy: isBusy(out.Status, out.Code, out.Cause),
	}
}

// uncheckedError is ErrUnchecked with why.
type uncheckedError struct{ cause error }

func (e *uncheckedError) Error() string {
	why := ""
	if api, ok := errors.AsType[*APIError](e.cause); ok {
		why = " (" + api.what() + ")"
	} else if e.cause != nil {
		why = " (" + safeText(e.cause) + ")"
	}
	return "pkb: the authorization is saved, and could not be checked yet" + why + "; the link is unchanged"
}

// Is reports whether target is ErrUnchecked.
func (e *uncheckedError) Is(target error) bool { return target == ErrUnchecked }

// Unwrap returns why, unspoken.
func (e *uncheckedError) Unwrap() error { return e.cause }

// checkCallback returns the code of a callback that fits.
func (c *Client) checkCallback(appUserID string, p *pending, query url.Values) (code string, err error) {
	states := query["state"]
	switch {
	case p == nil:
		return "", &StateError{Reason: stateNoPending}
	case p.Environment != c.cfg.Environment.Name || p.ClientID != c.cfg.ClientID:
		return "", &StateError{Reason: stateOtherClient}
	case p.AppUserID != appUserID:
		return "", &StateError{Reason: stateOtherUser}
	case len(states) != 1 || states[0] == "":
		return "", &StateError{Reason: stateMissing}
	case p.State == "" || subtle.ConstantTimeCompare([]byte(states[0]), []byte(p.State)) != 1:
		return "", &StateError{Reason: stateMismatch}
	case c.cfg.Now().After(p.ExpiresAt.Add(expirySlack)):
		return "", &StateError{Reason: stateExpired}
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

// expirySlack is how far the clocks of two replicas may differ. What makes an
// authorization good for one completion is its mark in the record.
const expirySlack = time.Hour

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
	return "pkb: " + e.what + "; nothing was changed"
}

// Is reports whether target is ErrCallback.
func (e *callbackError) Is(target error) bool { return target == ErrCallback }
