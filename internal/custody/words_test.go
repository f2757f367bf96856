// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/tokenwire"
	"github.com/betawerk/pkb-go/tokenstore"
)

// becomes is what must become of a link whose refreshes are refused in some shape.
type becomes struct {
	state tokenstore.State
	cause string
	// after and before bound the time from the first refusal to that end.
	after, before time.Duration
	// hears is the reason that callers of the link get until then, once its access
	// token has expired.
	hears string
}

var (
	// The response is that the session has ended.
	byExpiry  = becomes{state: tokenstore.StateRelinkRequired, cause: "session_expired"}
	byInvalid = becomes{state: tokenstore.StateRelinkRequired, cause: "session_invalid"}
	byFreeze  = becomes{state: tokenstore.StateRelinkRequired, cause: "frozen"}
	byGrant   = becomes{state: tokenstore.StateRelinkRequired, cause: "grant_rejected"}
	// The error is unrecognized, and other links are served.
	unclearWords = becomes{
		state: tokenstore.StateRelinkRequired, cause: "refused_unclear",
		after: 15 * time.Minute, before: 105 * time.Minute, hears: custody.WaitUnclear,
	}
	// The server may have accepted the token: it is presented again from time to
	// time.
	lostResponse = becomes{state: tokenstore.StateUncertain, hears: custody.WaitUncertain}
	// The successor may be in the response: nothing is presented any more.
	unreadResponse = becomes{
		state: tokenstore.StateRelinkRequired, cause: "response_unreadable", before: 3 * time.Minute, hears: custody.WaitUnread,
	}
)

// shape is one way to refuse a refresh.
type shape struct {
	name    string
	reply   reply
	becomes becomes
	rules   []tokenwire.Rule // the host's own
}

func jsonBody(status int, body string) reply {
	return reply{status: status, header: map[string]string{"Content-Type": "application/json"}, body: body}
}

func text(status int, body string) reply {
	return reply{status: status, header: map[string]string{"Content-Type": "text/plain"}, body: body}
}

func page(status int, says string) reply {
	return reply{
		status: status, header: map[string]string{"Content-Type": "text/html"},
		body: "<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body><p>" + says + "</p></body></html>",
	}
}

func outcome(status int, issue string) reply {
	return reply{
		status: status, header: map[string]string{"Content-Type": "application/fhir+json"},
		body: `{"resourceType":"OperationOutcome","issue":[` + issue + `]}`,
	}
}

func with(r reply, name, value string) reply {
	header := map[string]string{name: value}
	maps.Copy(header, r.header)
	r.header = header
	return r
}

func cut(r reply) reply {
	r.cut = true
	return r
}

var shapes = []shape{
	// Nothing but a status.
	{name: "400, empty", reply: reply{status: 400}, becomes: unclearWords},
	{name: "401, empty", reply: reply{status: 401}, becomes: unclearWords},
	{name: "401, empty, with a challenge", reply: reply{status: 401, header: map[string]string{"WWW-Authenticate": "Bearer"}}, becomes: unclearWords},
	{name: "403, empty", reply: reply{status: 403}, becomes: unclearWords},
	{name: "404, empty", reply: reply{status: 404}, becomes: unclearWords},
	{name: "405, empty", reply: reply{status: 405}, becomes: unclearWords},
	{name: "409, empty", reply: reply{status: 409}, becomes: unclearWords},
	{name: "410, empty", reply: reply{status: 410}, becomes: unclearWords},
	{name: "418, empty", reply: reply{status: 418}, becomes: unclearWords},
	{name: "422, empty", reply: reply{status: 422}, becomes: unclearWords},
	{name: "431, empty", reply: reply{status: 431}, becomes: unclearWords},
	{name: "451, empty", reply: reply{status: 451}, becomes: unclearWords},
	{name: "400, white space", reply: text(400, " \r\n"), becomes: unclearWords},

	// The codes of RFC 6749.
	{name: "400, invalid_grant", reply: refusal(400, "invalid_grant"), becomes: byGrant},
	{name: "401, invalid_grant", reply: refusal(401, "invalid_grant"), becomes: byGrant},
	{name: "403, invalid_grant", reply: refusal(403, "invalid_grant"), becomes: byGrant},
	{name: "404, invalid_grant", reply: refusal(404, "invalid_grant"), becomes: byGrant},
	{name: "400, invalid_grant after a byte-order mark", reply: jsonBody(400, "\ufeff{\"error\":\"invalid_grant\"}"), becomes: byGrant},
	{name: "400, invalid_grant with a description", reply: jsonBody(400, `{"error":"invalid_grant","error_description":"Token is not active"}`), becomes: byGrant},
	{name: "400, invalid_grant, called text/html", reply: with(refusal(400, "invalid_grant"), "Content-Type", "text/html"), becomes: byGrant},
	{name: "500, invalid_grant", reply: refusal(500, "invalid_grant"), becomes: lostResponse},
	{name: "503, invalid_grant", reply: refusal(503, "invalid_grant"), becomes: lostResponse},
	{name: "408, invalid_grant", reply: refusal(408, "invalid_grant"), becomes: lostResponse},
	{name: "200, invalid_grant", reply: refusal(200, "invalid_grant"), becomes: lostResponse},
	{name: "302, invalid_grant", reply: with(refusal(302, "invalid_grant"), "Location", "/login"), becomes: unclearWords},
	{name: "400, INVALID_GRANT", reply: refusal(400, "INVALID_GRANT"), becomes: unclearWords},
	{name: "400, Error: invalid_grant", reply: jsonBody(400, `{"Error":"invalid_grant"}`), becomes: unclearWords},
	{name: "400, invalid_grant, cut", reply: cut(jsonBody(400, `{"error":"invalid_gra`)), becomes: unclearWords},
	{name: "400, invalid_grant, whole and then cut", reply: cut(refusal(400, "invalid_grant")), becomes: unclearWords},
	{name: "400, invalid_grant in a form", reply: text(400, "error=invalid_grant"), becomes: unclearWords},
	{name: "400, invalid_grant in an array", reply: jsonBody(400, `[{"error":"invalid_grant"}]`), becomes: unclearWords},
	{name: "400, invalid_grant nested", reply: jsonBody(400, `{"error":{"code":"invalid_grant"}}`), becomes: unclearWords},
	{name: "400, invalid_grant under errors", reply: jsonBody(400, `{"errors":["invalid_grant"]}`), becomes: unclearWords},
	{name: "400, invalid_request", reply: refusal(400, "invalid_request"), becomes: unclearWords},
	{name: "400, invalid_token", reply: refusal(400, "invalid_token"), becomes: unclearWords},
	{name: "401, invalid_token", reply: refusal(401, "invalid_token"), becomes: unclearWords},
	{name: "403, access_denied", reply: refusal(403, "access_denied"), becomes: unclearWords},
	{name: "403, insufficient_scope", reply: refusal(403, "insufficient_scope"), becomes: unclearWords},
	{name: "401, unauthorized", reply: jsonBody(401, `{"error":"unauthorized","error_description":"Full authentication is required to access this resource"}`), becomes: unclearWords},
	{name: "400, a code that nobody knows", reply: refusal(400, "token_unusable"), becomes: unclearWords},
	{name: "400, null", reply: jsonBody(400, `null`), becomes: unclearWords},
	{name: "400, an empty object", reply: jsonBody(400, `{}`), becomes: unclearWords},
	{name: "400, a number for a code", reply: jsonBody(400, `{"error":400}`), becomes: unclearWords},

	// The application's own trouble, reported to one link only.
	{name: "401, invalid_client", reply: refusal(401, "invalid_client"), becomes: unclearWords},
	{name: "400, unauthorized_client", reply: refusal(400, "unauthorized_client"), becomes: unclearWords},
	{name: "400, unsupported_grant_type", reply: refusal(400, "unsupported_grant_type"), becomes: unclearWords},
	{name: "400, invalid_scope", reply: refusal(400, "invalid_scope"), becomes: unclearWords},
	{name: "400, slow_down", reply: refusal(400, "slow_down"), becomes: unclearWords},
	{name: "400, temporarily_unavailable", reply: refusal(400, "temporarily_unavailable"), becomes: unclearWords},
	{name: "429", reply: reply{status: 429}, becomes: unclearWords},
	{name: "429, a page", reply: page(429, "Too many requests"), becomes: unclearWords},
	{name: "429, Retry-After: 5", reply: with(reply{status: 429}, "Retry-After", "5"), becomes: unclearWords},
	{name: "429, Retry-After: 120", reply: with(reply{status: 429}, "Retry-After", "120"), becomes: unclearWords},
	{name: "429, Retry-After: a date", reply: with(reply{status: 429}, "Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"), becomes: unclearWords},
	{name: "429, invalid_grant", reply: refusal(429, "invalid_grant"), becomes: byGrant},
	{name: "503, Retry-After: 120", reply: with(reply{status: 503}, "Retry-After", "120"), becomes: lostResponse},

	// PKB's codes, where they are believed.
	{name: "400, API_SESSION_EXPIRED", reply: refusal(400, "API_SESSION_EXPIRED"), becomes: byExpiry},
	{name: "401, API_SESSION_EXPIRED", reply: refusal(401, "API_SESSION_EXPIRED"), becomes: byExpiry},
	{name: "403, API_SESSION_INVALID", reply: refusal(403, "API_SESSION_INVALID"), becomes: byInvalid},
	{name: "400, ACCESS_FROZEN_OUTWARD", reply: refusal(400, "ACCESS_FROZEN_OUTWARD"), becomes: byFreeze},
	{name: "401, OperationOutcome, API_SESSION_EXPIRED in details.coding", reply: outcome(401, `{"severity":"error","code":"login","details":{"coding":[{"code":"API_SESSION_EXPIRED"}]}}`), becomes: byExpiry},
	{name: "403, OperationOutcome, ACCESS_FROZEN_OUTWARD in details.text", reply: outcome(403, `{"severity":"error","code":"forbidden","details":{"text":"ACCESS_FROZEN_OUTWARD"}}`), becomes: byFreeze},
	{name: "401, OperationOutcome, API_SESSION_INVALID as issue.code", reply: outcome(401, `{"severity":"error","code":"API_SESSION_INVALID"}`), becomes: byInvalid},
	{name: "401, OperationOutcome, second of two issues", reply: outcome(401, `{"code":"login"},{"code":"API_SESSION_EXPIRED"}`), becomes: byExpiry},

	// And where not: help pages and stack traces name codes, too.
	{name: "401, OperationOutcome without a code of PKB", reply: outcome(401, `{"severity":"error","code":"login"}`), becomes: unclearWords},
	{name: "401, OperationOutcome, API_SESSION_EXPIRED in diagnostics", reply: outcome(401, `{"severity":"error","code":"login","diagnostics":"API_SESSION_EXPIRED"}`), becomes: unclearWords},
	{name: "400, API_SESSION_EXPIRED in another member", reply: jsonBody(400, `{"code":"API_SESSION_EXPIRED"}`), becomes: unclearWords},
	{name: "400, API_SESSION_EXPIRED nested", reply: jsonBody(400, `{"error":{"error":"API_SESSION_EXPIRED"}}`), becomes: unclearWords},
	{name: "400, API_SESSION_EXPIRED in an array", reply: jsonBody(400, `["API_SESSION_EXPIRED"]`), becomes: unclearWords},
	{name: "400, API_SESSION_EXPIRED as text", reply: text(400, "API_SESSION_EXPIRED"), becomes: unclearWords},
	{name: "400, a page with API_SESSION_EXPIRED", reply: page(400, "API_SESSION_EXPIRED"), becomes: unclearWords},
	{name: "404, a page with API_SESSION_EXPIRED", reply: page(404, "Error codes: API_SESSION_EXPIRED, API_SESSION_INVALID"), becomes: unclearWords},
	{name: "401, problem+json with API_SESSION_EXPIRED", reply: with(jsonBody(401, `{"type":"about:blank","title":"API_SESSION_EXPIRED","status":401}`), "Content-Type", "application/problem+json"), becomes: unclearWords},
	{name: "401, XML with API_SESSION_EXPIRED", reply: with(text(401, `<?xml version="1.0"?><error>API_SESSION_EXPIRED</error>`), "Content-Type", "application/xml"), becomes: unclearWords},
	{name: "503, API_SESSION_EXPIRED", reply: refusal(503, "API_SESSION_EXPIRED"), becomes: lostResponse},
	{name: "502, a page with API_SESSION_EXPIRED", reply: page(502, "API_SESSION_EXPIRED"), becomes: lostResponse},
	{name: "500, a stack trace with API_SESSION_INVALID", reply: text(500, "java.lang.IllegalStateException: API_SESSION_INVALID\n\tat action.apiToken"), becomes: lostResponse},
	{name: "425, API_SESSION_EXPIRED", reply: refusal(425, "API_SESSION_EXPIRED"), becomes: lostResponse},
	{name: "200, API_SESSION_EXPIRED", reply: refusal(200, "API_SESSION_EXPIRED"), becomes: lostResponse},
	{name: "200, OperationOutcome, API_SESSION_EXPIRED", reply: outcome(200, `{"severity":"error","code":"API_SESSION_EXPIRED"}`), becomes: lostResponse},

	// Pages and redirects.
	{name: "400, a page", reply: page(400, "Invalid refresh token"), becomes: unclearWords},
	{name: "403, a page of a firewall", reply: page(403, "The request is blocked. Incident 1234567890"), becomes: unclearWords},
	{name: "407, a proxy", reply: with(page(407, "Proxy Authentication Required"), "Proxy-Authenticate", "Basic"), becomes: unclearWords},
	{name: "301, to another host", reply: with(reply{status: 301}, "Location", "https://new.example/apiToken.action"), becomes: unclearWords},
	{name: "302, to a login page", reply: with(page(302, "Found"), "Location", "https://pkb.example/login.action"), becomes: unclearWords},
	{name: "303, to a login page", reply: with(reply{status: 303}, "Location", "/login.action"), becomes: unclearWords},
	{name: "307, to itself", reply: with(reply{status: 307}, "Location", "/apiToken.action"), becomes: unclearWords},
	{name: "304", reply: reply{status: 304}, becomes: unclearWords},
	{name: "500, empty", reply: reply{status: 500}, becomes: lostResponse},
	{name: "502, a page", reply: page(502, "Bad Gateway"), becomes: lostResponse},
	{name: "503, a page of maintenance", reply: page(503, "We are down for maintenance"), becomes: lostResponse},
	{name: "504, empty", reply: reply{status: 504}, becomes: lostResponse},
	{name: "408, empty", reply: reply{status: 408}, becomes: lostResponse},
	{name: "425, empty", reply: reply{status: 425}, becomes: lostResponse},
	{name: "599, empty", reply: reply{status: 599}, becomes: lostResponse},

	// Successes without tokens.
	{name: "200, empty", reply: reply{status: 200}, becomes: lostResponse},
	{name: "204", reply: reply{status: 204}, becomes: lostResponse},
	{name: "200, a page", reply: page(200, "Please sign in"), becomes: lostResponse},
	{name: "200, a sentence", reply: text(200, "Service is under maintenance"), becomes: lostResponse},
	{name: "200, a status", reply: jsonBody(200, `{"status":"maintenance"}`), becomes: lostResponse},
	{name: "200, tokens, cut", reply: cut(jsonBody(200, `{"access_token":"gone:a`)), becomes: lostResponse},
	{name: "200, an empty access token", reply: jsonBody(200, `{"access_token":"","expires_in":600}`), becomes: lostResponse},
	{name: "200, tokens in a wrapper", reply: jsonBody(200, `{"data":{"access_token":"gone:a9","refresh_token":"gone:r9"}}`), becomes: unreadResponse},
	{name: "200, tokens in camel case", reply: jsonBody(200, `{"accessToken":"gone:a9","refreshToken":"gone:r9"}`), becomes: unreadResponse},
	{name: "200, tokens in an array", reply: jsonBody(200, `[{"access_token":"gone:a9","refresh_token":"gone:r9"}]`), becomes: unreadResponse},
	{name: "200, tokens in a form", reply: text(200, "access_token=gone%3Aa9&refresh_token=gone%3Ar9"), becomes: unreadResponse},
	{name: "200, tokens in XML", reply: text(200, "<answer><access_token>gone:a9</access_token></answer>"), becomes: unreadResponse},
	{name: "200, tokens of another type", reply: jsonBody(200, `{"access_token":"gone:a9","refresh_token":"gone:r9","token_type":"mac"}`), becomes: unreadResponse},
	{name: "200, a JWT", reply: text(200, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlLXRoYXQtaXMtbm9uZQ"), becomes: unreadResponse},
	{name: "202, tokens in a wrapper", reply: jsonBody(202, `{"result":{"access_token":"gone:a9"}}`), becomes: unreadResponse},

	// The host's own rules take precedence.
	{
		name: "401, unauthorized, that the host knows", reply: refusal(401, "unauthorized"), becomes: byInvalid,
		rules: []tokenwire.Rule{{Status: 401, Code: "unauthorized", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
	{
		name: "400, a text that the host knows", reply: text(400, " Invalid refresh token\n"), becomes: byInvalid,
		rules: []tokenwire.Rule{{Body: "Invalid refresh token", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
	{
		name: "400, a text like one that the host knows", reply: text(400, "Invalid refresh token, try again"), becomes: unclearWords,
		rules: []tokenwire.Rule{{Body: "Invalid refresh token", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
	{
		name: "403, a code that the host calls frozen", reply: refusal(403, "consent_withdrawn"), becomes: byFreeze,
		rules: []tokenwire.Rule{{Code: "consent_withdrawn", Means: tokenwire.Frozen, Cause: "frozen"}},
	},
	{
		name: "400, invalid_grant, that the host does not believe", reply: refusal(400, "invalid_grant"), becomes: unclearWords,
		rules: []tokenwire.Rule{{Code: "invalid_grant", Means: tokenwire.MeansUnclear}},
	},
	{
		name: "400, invalid_scope, that the host takes for an end", reply: refusal(400, "invalid_scope"), becomes: byInvalid,
		rules: []tokenwire.Rule{{Code: "invalid_scope", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
	{
		name: "403, a page that the host takes for its own trouble", reply: page(403, "blocked"), becomes: unclearWords,
		rules: []tokenwire.Rule{{Body: page(403, "blocked").body, Means: tokenwire.App}},
	},
	{
		name: "503, a code that a rule cannot make an end", reply: refusal(503, "gone_for_good"), becomes: lostResponse,
		rules: []tokenwire.Rule{{Code: "gone_for_good", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
	{
		name: "200, a text that a rule cannot make an end", reply: text(200, "gone"), becomes: lostResponse,
		rules: []tokenwire.Rule{{Body: "gone", Means: tokenwire.SessionOver, Cause: "session_invalid"}},
	},
}

// became is a row of the table.
type became struct {
	state         tokenstore.State
	cause         string
	ended         time.Duration // since the first refusal; -1 if it has not
	presented     int
	hears         map[string]int
	calls, failed int // of the others
	err           error
	took          time.Duration // the longest that one of the others waited
}

// TestWords: whatever the response with which one dead link of a hundred is refused,
// the table has what becomes of it, and no other link is held back.
func TestWords(t *testing.T) {
	if len(shapes) < 60 {
		t.Fatalf("%d shapes are too few", len(shapes))
	}
	links := 100
	if testing.Short() || raced {
		links = 20
	}
	rows := make([]became, len(shapes))
	t.Cleanup(func() { t.Log("\n" + wordsTable(rows)) })
	for i, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			if raced && i%6 != 0 {
				t.Skip("a race is one whatever the words")
			}
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rows[i] = refused(t, s, links)
				rows[i].check(t, s.becomes)
			})
		})
	}
}

// refused lets links live for a while, one of which, "gone", is refused in the
// shape.
func refused(t *testing.T, s shape, links int) became {
	w, store := newTown(), tokenstore.NewMemory()
	w.rules = s.rules
	began := time.Now()
	var (
		mu    sync.Mutex
		first time.Time
	)
	w.bend = func(_ context.Context, q question, serve func() reply) (reply, error) {
		if !q.refresh || q.session != "gone" {
			return serve(), nil
		}
		mu.Lock()
		defer mu.Unlock()
		if first.IsZero() {
			first = time.Now()
		}
		return s.reply, nil
	}
	k := w.replica(t, store)
	row := became{ended: -1, hears: map[string]int{}}
	until := began.Add(time.Hour) // or until ten minutes after the end
	if s.becomes.cause == string(custody.RefusedUnclear) {
		until = began.Add(2 * time.Hour)
	}
	var wg sync.WaitGroup
	// The dead one calls every 20 seconds.
	wg.Go(func() {
		w.joins(t, k, "gone", "gone")
		for time.Now().Before(until) {
			_, err := k.Present(t.Context(), "gone")
			now := time.Now()
			mu.Lock()
			if wait, ok := errors.AsType[*custody.WaitError](err); ok && !first.IsZero() {
				row.hears[wait.Reason]++
			} else if _, gone := errors.AsType[*custody.LostError](err); gone && row.ended < 0 {
				row.ended = now.Sub(first)
				if end := now.Add(10 * time.Minute); end.Before(until) {
					until = end
				}
			} else if err != nil && !gone {
				t.Errorf("the dead link: %v", err)
			}
			mu.Unlock()
			time.Sleep(20 * time.Second)
		}
	})
	// The others: nine of ten call every minute or two, and one of ten when its
	// token has expired, so that it waits for a refresh.
	for n := range links - 1 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(n)))
			who := fmt.Sprintf("well-%02d", n)
			time.Sleep(time.Duration(n) * time.Second)
			w.joins(t, k, who, who)
			for {
				pause := time.Minute + time.Duration(r.Int64N(int64(time.Minute)))
				if n%10 == 9 {
					pause = 11 * time.Minute
				}
				time.Sleep(pause)
				mu.Lock()
				over := !time.Now().Before(until)
				mu.Unlock()
				if over {
					return
				}
				called := time.Now()
				_, err := k.Present(t.Context(), who)
				mu.Lock()
				row.calls++
				if row.took = max(row.took, time.Since(called)); err != nil {
					row.failed++
					row.err = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	synctest.Wait()
	w.wantNoneAgain(t)
	for n := range links - 1 {
		r, err := k.Look(t.Context(), fmt.Sprintf("well-%02d", n))
		if err != nil || r.State != tokenstore.StateLinked && r.State != tokenstore.StateUncertain {
			t.Errorf("another link is %s: %v", r.State, err)
		}
	}
	r, err := k.Look(t.Context(), "gone")
	if err != nil {
		t.Errorf("the dead link: %v", err)
	}
	row.state, row.cause, row.presented = r.State, r.Cause, w.posts("gone")
	return row
}

func (row became) check(t *testing.T, want becomes) {
	t.Helper()
	if row.failed > 0 || row.calls == 0 {
		t.Errorf("%d of %d calls of the other links were refused, such as with: %v", row.failed, row.calls, row.err)
	}
	if row.took > 2*time.Second {
		t.Errorf("a call of another link took %v", row.took)
	}
	if row.state != want.state || row.cause != want.cause {
		t.Errorf("the link is %s %q, want %s %q", row.state, row.cause, want.state, want.cause)
	}
	switch {
	case want.state != tokenstore.StateRelinkRequired:
		if row.ended >= 0 {
			t.Errorf("its callers got that it had ended, after %v", row.ended)
		}
	case row.ended < want.after, row.ended > max(want.before, 30*time.Second):
		t.Errorf("it ended %v after the first refusal, want between %v and %v", row.ended, want.after, want.before)
	}
	if want.hears != "" && row.hears[want.hears] == 0 && want.cause != "response_unreadable" {
		t.Errorf("its callers never heard %q, but %v", want.hears, row.hears)
	}
}

// wordsTable prints the rows.
func wordsTable(rows []became) string {
	var b strings.Builder
	p := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(p, "the refresh is refused with\tthe link\tafter\tpresented\tits callers hear until then\tothers refused")
	for i, r := range rows {
		if r.calls == 0 {
			continue // it was not asked for
		}
		link, after := string(r.state), "-"
		if r.cause != "" {
			link = r.cause
		}
		if r.ended >= 0 {
			after = r.ended.Round(time.Second).String()
		}
		said, most := "-", 0
		for reason, n := range r.hears {
			if n > most {
				said, most = reason, n
			}
		}
		_, _ = fmt.Fprintf(p, "%s\t%s\t%s\t%d\t%s\t%d of %d\n", shapes[i].name, link, after, r.presented, said, r.failed, r.calls)
	}
	_ = p.Flush()
	return b.String()
}
