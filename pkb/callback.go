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

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
)

// Complete takes the callback of an authorization and makes the link. appUserID is
// the user signed in now, by the host's own session; p is what Authorize returned. It
// checks that this user started this authorization here and has not completed
// it, exchanges the code at apiToken.action, saves the tokens, asks Purview for the
// patient's public id, and asks Config.Identify, if set, whether that is the right
// person. Then it fixes the public id on the link. If Purview or Identify fails,
// later calls check again (Link.Unchecked); with Config.Identify no call succeeds
// before. Once the code is sent, the work goes on even if ctx ends: the patient may
// have closed the browser.
//
// The code is sent once, in whichever process and however often the callback
// arrives. A concurrent visit waits for the first, within its ctx, and gets the
// same result. A later one, by a reload or Back, returns the link as long as this
// authorization made it, even if p has expired or is the zero Pending by then. If
// the code was not spent, because nothing was sent or PKB takes no requests, the
// same callback may be used again.
//
// A user who is linked keeps that link until the new tokens have proved to be the
// same patient's. Another patient's are refused, unless Authorize was given
// AllowSwitch. A record that another user is linked with is refused, unless it was
// given AllowShared, if the store is a tokenstore.Finder.
//
// A nil error means that the authorization is the link, or that it is the user's
// first and waits to be checked. ErrUnchecked comes with the existing link.
// Otherwise Complete returns ErrState, ErrCallback, ErrAccessDenied (the patient
// refused), ErrWrongPatient, ErrSharedRecord, ErrNotAPatient, ErrIdentityRefused,
// ErrOvertaken, ErrStore, ErrAppUserID, ErrKeys, ErrNewer, ErrOtherEnvironment,
// ErrClosed, ErrNotLinked if the user was unlinked since Authorize, or an *APIError
// of the token endpoint. After each of them but ErrStore an existing link is
// unchanged. (PKB: Code grant; Patient Identifier and Demographic Retrieval. The
// parameters after Deny could not be read and are taken to be those of RFC 6749
// section 4.1.2.1.)
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
	if errors.Is(err, ErrState) {
		return c.cameBack(ctx, appUserID, query, err)
	} else if err != nil {
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
		return LinkOf(r), &uncheckedError{cause: quiet(unchecked.Err)}
	case errors.As(err, &exchanged):
		return Link{}, c.exchangeError(appUserID, exchanged)
	case err != nil:
		return Link{}, public(err)
	}
	return LinkOf(r), nil
}

// cameBack returns what the record has of an authorization whose pending value is gone,
// has expired or is a later one's: a user comes back to a callback that was completed.
// Otherwise it returns err.
func (c *Client) cameBack(ctx context.Context, appUserID string, query url.Values, err error) (Link, error) {
	states := query["state"]
	if len(states) != 1 || states[0] == "" {
		return Link{}, err
	}
	record, failed := c.keeper.Look(ctx, appUserID)
	if failed != nil {
		return Link{}, err
	}
	made, waits := custody.Holds(record.Record, (&pending{State: states[0]}).mark())
	link := newLink(record)
	switch {
	case !made && !waits:
		return Link{}, err
	case query.Get("error") == accessDenied:
		return Link{}, ErrAccessDenied // this time
	case made && link.Cause == observe.CauseShared:
		return Link{}, &SharedRecordError{}
	case made && link.Cause == observe.CauseWrongPatient:
		return Link{}, ErrWrongPatient
	case waits && link.works():
		return link, ErrUnchecked
	}
	return link, nil
}

// accessDenied is the error of a callback after Deny.
const accessDenied = "access_denied"

// fits returns why tokens are not a patient's, or nil.
func fits(g tokenwire.Grant) error {
	if g.Scope == "" || slices.ContainsFunc(strings.Fields(g.Scope), func(s string) bool { return strings.EqualFold(s, scopePatient) }) {
		return nil
	}
	return &custody.RefusedError{Err: identity.ErrNotAPatient}
}

// uncheckedError is ErrUnchecked with its cause.
type uncheckedError struct{ cause error }

func (e *uncheckedError) Error() string {
	why := ""
	if api, ok := errors.AsType[*APIError](e.cause); ok {
		why = " (" + api.what() + ")"
	} else if e.cause != nil {
		why = " (" + safeText(e.cause) + ")"
	}
	return "pkb: the authorization is saved and could not be checked yet" + why + "; the link is unchanged"
}

func (e *uncheckedError) Is(target error) bool { return target == ErrUnchecked }
func (e *uncheckedError) Unwrap() error        { return e.cause }

func (c *Client) checkCallback(appUserID string, p *pending, query url.Values) (code string, err error) {
	states := query["state"]
	switch {
	case p == nil:
		return "", &StateError{Reason: stateNoPending}
	case p.origin != c.origin():
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
		return "", &callbackError{"the callback has neither a code nor an error"}
	case len(codes) > 0 && len(refusals) > 0:
		return "", &callbackError{"the callback has both a code and an error; the code was not used"}
	case len(refusals) > 0 && refusals[0] == accessDenied:
		return "", ErrAccessDenied
	case len(refusals) > 0:
		return "", &callbackError{"the callback has an error: " + authorizeError(refusals[0])}
	case len(codes) > 1 || codes[0] == "" || len(codes[0]) > 4<<10:
		return "", &callbackError{"the callback does not have one code of a usable length"}
	}
	return codes[0], nil
}

// expirySlack is how far the clocks of two replicas may differ. The mark in the
// record ensures that an authorization completes once.
const expirySlack = time.Hour

// authorizeError returns an error code of RFC 6749 section 4.1.2.1, and nothing
// else that came with a callback.
func authorizeError(code string) string {
	switch code {
	case "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error", "temporarily_unavailable":
		return code
	}
	return "a code not in RFC 6749"
}

// callbackError is ErrCallback with what is wrong.
type callbackError struct{ what string }

func (e *callbackError) Error() string {
	return "pkb: " + e.what + "; nothing was changed"
}

func (e *callbackError) Is(target error) bool { return target == ErrCallback }
