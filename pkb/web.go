// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/custody"
	"github.com/betawerk/pkb-go/internal/seal"
	"github.com/betawerk/pkb-go/internal/wording"
	"github.com/betawerk/pkb-go/pkb/identity"
)

// WebConfig configures the two handlers of [Client.Web].
type WebConfig struct {
	// User is required: it returns the app_user_id of the user signed in to the
	// host's own session, or "".
	User func(*http.Request) string
	// Done is where the patient goes once linked: a path on this site, such as
	// "/account"; empty means "/".
	Done string
	// Linked, if set, responds instead of the redirect to Done. Only headers have
	// been written. End with http.Redirect, so that the code leaves the address
	// bar.
	Linked func(w http.ResponseWriter, r *http.Request, link Link)
	// Failed, if set, responds instead of the default page when no link was made.
	// Only headers have been written.
	Failed func(w http.ResponseWriter, r *http.Request, f Failure)
}

// Failure is why a visit made no link, for WebConfig.Failed.
type Failure struct {
	// Err is the error of Authorize or Complete. It has been logged.
	Err error
	// Status is the HTTP status of the default page.
	Status int
	// Text is what the patient can do, in plain English. It is safe to show:
	// nothing from the request is in it.
	Text string
}

// Web has the two handlers that a browser visits.
type Web struct {
	client *Client
	cfg    WebConfig
	ring   *seal.Ring
	// prefix starts the names of the cookies; secure restricts them to https.
	prefix string
	secure bool
}

// Web returns the handlers for a host with cookies. Each authorization is kept in a
// cookie of its own, encrypted, HttpOnly, SameSite=Lax and bound to the user. So
// several tabs do not interfere, and the callback may come to another replica if
// all have the same Config.Keys. Without Keys a random key is used, and the
// callback must come to the same process. Reloading a callback, or going Back to
// it, leads where the first visit led, as long as that visit's link exists.
//
// Web panics if User is missing or Done is not a path on this site, which are
// mistakes in the program.
func (c *Client) Web(cfg WebConfig) *Web {
	if cfg.User == nil {
		panic("pkb.WebConfig.User: is nil")
	}
	if cfg.Done == "" {
		cfg.Done = "/"
	}
	if !sameSitePath(cfg.Done) {
		panic("pkb.WebConfig.Done: is not a path on this site, such as /account")
	}
	w := &Web{client: c, cfg: cfg, ring: seal.RingOf(c.cfg.Keys), prefix: "pkb-"}
	if strings.HasPrefix(c.cfg.RedirectURL, "https:") {
		w.prefix, w.secure = "__Host-pkb-", true
	}
	if w.ring == nil {
		key := make([]byte, seal.KeySize)
		_, _ = rand.Read(key) // never fails
		w.ring = &seal.Ring{}
		_ = w.ring.Add("process", key)
	}
	return w
}

// sameSitePath reports whether a browser resolves p to the same site.
func sameSitePath(p string) bool {
	u, err := url.Parse(p)
	return err == nil && strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.ContainsAny(p, "\\\r\n\t") &&
		u.Scheme == "" && u.Host == ""
}

// maxAttempts bounds the open authorizations of one browser.
const maxAttempts = 5

// Link redirects the signed-in patient to PKB to approve. Mount it as GET
// /pkb/link. The options are those of Authorize, for a second route such as GET
// /pkb/switch with AllowSwitch.
func (w *Web) Link(opts ...AuthorizeOption) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.begin(rw, r) {
			return
		}
		user := w.cfg.User(r)
		address, p, err := w.client.Authorize(r.Context(), user, opts...)
		if err != nil {
			w.fail(rw, r, err)
			return
		}
		var open []*http.Cookie
		for _, c := range r.Cookies() {
			if strings.HasPrefix(c.Name, w.prefix) {
				open = append(open, c)
			}
		}
		// Browsers send the oldest cookies first (RFC 6265 section 5.4).
		for _, c := range open[:max(0, len(open)-maxAttempts+1)] {
			w.setCookie(rw, c.Name, "", -1)
		}
		sealed, _, err := w.ring.Seal(w.place(user), []byte(p.Encode()))
		if err != nil {
			w.fail(rw, r, newKeysError(err))
			return
		}
		w.setCookie(rw, w.cookieName(p.get().mark()), base64.RawURLEncoding.EncodeToString(sealed), int(w.client.cfg.ApprovalLife.Seconds()))
		http.Redirect(rw, r, address, http.StatusSeeOther)
	})
}

// Callback handles the patient's return from PKB and makes the link. Mount it at
// the path of Config.RedirectURL.
func (w *Web) Callback() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.begin(rw, r) {
			return
		}
		user := w.cfg.User(r)
		query := r.URL.Query()
		cookie := w.cookieName((&pending{State: query.Get("state")}).mark())
		if _, err := r.Cookie(cookie); err == nil && user == "" {
			// The user started here, so only the host's own session is missing.
			w.fail(rw, r, errNoSession)
			return
		}
		link, err := w.client.Complete(r.Context(), user, w.pending(r, user, cookie), query)
		if err == nil || over(err) {
			w.setCookie(rw, cookie, "", -1)
		}
		if came, ok := w.cameBack(r, user, query["state"], err); ok {
			link, err = came, nil
		}
		switch {
		case err != nil:
			w.fail(rw, r, err)
		case w.cfg.Linked != nil:
			w.cfg.Linked(rw, r, link)
		default:
			http.Redirect(rw, r, w.cfg.Done, http.StatusSeeOther)
		}
	})
}

// cameBack returns the link of a user who revisits the callback that made it, after
// its cookie was deleted.
func (w *Web) cameBack(r *http.Request, user string, states []string, err error) (Link, bool) {
	e, ok := errors.AsType[*StateError](err)
	if !ok || e.Reason != stateNoPending || len(states) != 1 || states[0] == "" {
		return Link{}, false
	}
	record, err := w.client.keeper.Look(r.Context(), user)
	if err != nil || !custody.Of(record.Record, (&pending{State: states[0]}).mark()) {
		return Link{}, false
	}
	return newLink(record), true
}

// errNoSession: the authorization's cookie was present, and the host's session was
// not.
const errNoSession = appUserIDError("the callback came without the session of the user who started: browsers do not send a SameSite=Strict cookie here")

// over reports whether an authorization can no longer be completed. Otherwise the
// same page may succeed when it is loaded again: after an outage, or after Deny,
// Back and Approve.
func over(err error) bool {
	return is(ErrState, ErrWrongPatient, ErrSharedRecord, identity.ErrNotAPatient, ErrIdentityRefused, ErrOvertaken, ErrNotLinked)(err)
}

// begin sets the headers that keep code and state out of caches, referrers and
// frames. It reports whether to go on: only for GET, and not for a prefetch, which
// must not use up an authorization.
func (w *Web) begin(rw http.ResponseWriter, r *http.Request) bool {
	h := rw.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if r.Method != http.MethodGet {
		h.Set("Allow", http.MethodGet)
		rw.WriteHeader(http.StatusMethodNotAllowed)
		return false
	}
	if ahead(r) {
		rw.WriteHeader(http.StatusNoContent)
		return false
	}
	return true
}

// ahead reports whether a browser prefetches the page.
func ahead(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		says := strings.ToLower(r.Header.Get(name))
		if strings.Contains(says, "prefetch") || strings.Contains(says, "prerender") || strings.Contains(says, "preview") {
			return true
		}
	}
	return false
}

// pending reads an authorization from its cookie. If the cookie is absent or
// another user's, it returns the zero Pending, which Complete refuses.
func (w *Web) pending(r *http.Request, user, cookie string) Pending {
	c, err := r.Cookie(cookie)
	if err != nil {
		return Pending{}
	}
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return Pending{}
	}
	text, err := w.ring.Open(w.place(user), sealed)
	if err != nil {
		return Pending{}
	}
	p, _ := ParsePending(string(text))
	return p
}

func (w *Web) place(user string) seal.Place {
	return seal.Place{Purpose: "approval", Environment: w.client.cfg.Environment.Name, ClientID: w.client.cfg.ClientID, AppUserID: user}
}

func (w *Web) cookieName(mark string) string { return w.prefix + mark }

func (w *Web) setCookie(rw http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(rw, &http.Cookie{ //nolint:gosec // not Secure on loopback http only, which New makes sure of
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: w.secure, SameSite: http.SameSiteLaxMode,
	})
}

func (w *Web) fail(rw http.ResponseWriter, r *http.Request, err error) {
	level := w.client.cfg.Logger.Warn
	if errors.Is(err, ErrAccessDenied) {
		level = w.client.cfg.Logger.Info
	}
	level("pkb: no link was made", "link", conceal.LinkName(w.cfg.User(r)), "error", err)
	f := failure(err)
	if w.cfg.Failed != nil {
		w.cfg.Failed(rw, r, f)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Content-Security-Policy", failurePolicy)
	rw.WriteHeader(f.Status)
	_, _ = io.WriteString(rw, failurePage(f.Text, w.cfg.Done))
}

func failure(err error) Failure {
	row := wording.Of(kindOf(err))
	return Failure{Err: err, Status: row.Status, Text: row.Patient}
}

// Format implements fmt.Formatter: a Web prints nothing of its keys.
func (w *Web) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "pkb.Web{Done: %q}", w.cfg.Done) }
