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

// WebConfig says how the two handlers of [Client.Web] fit into a host.
type WebConfig struct {
	// User is required: it returns the app_user_id of whoever is signed in, by
	// the host's own session, or "" for nobody.
	User func(*http.Request) string
	// Done is where a patient goes when the link stands: a path on this site,
	// as "/account"; empty means "/".
	Done string
	// Linked, if set, answers instead of the redirect to Done when the link
	// stands, for a host that has something to do then. Nothing has been
	// written yet but headers; http.Redirect it somewhere, so that the code
	// leaves the address bar.
	Linked func(w http.ResponseWriter, r *http.Request, link Link)
	// Failed, if set, answers instead of the default page when no link came of
	// it. Nothing has been written yet but headers.
	Failed func(w http.ResponseWriter, r *http.Request, f Failure)
}

// Failure is why no link came of a visit, for WebConfig.Failed.
type Failure struct {
	// Err is one of Authorize's or Complete's: for errors.Is, and for a log,
	// where it was written already.
	Err error
	// Status is the HTTP status of the default page.
	Status int
	// Text says in plain English what the patient can do. It is safe to show:
	// nothing that came with the request is in it.
	Text string
}

// Web has the two handlers that a browser meets.
type Web struct {
	client *Client
	cfg    WebConfig
	ring   *seal.Ring
	// prefix starts the names of our cookies; secure says that they travel over
	// https only.
	prefix string
	secure bool
}

// Web returns the handlers for a host with cookies. The pending value of each
// approval is kept in a cookie of its own, encrypted, HttpOnly, SameSite=Lax
// and bound to the user; so several tabs do not disturb one another, and the
// callback may come to another replica, if all have the same Config.Keys.
// Without Keys a random key is used, and the callback must come to the same
// process. A callback that is loaded again, or gone Back to, leads to where the first
// visit led, as long as the link is the one that it made.
//
// Web panics if User is missing, or Done is not a path on this site: both are
// mistakes in the program, and better found at its start.
func (c *Client) Web(cfg WebConfig) *Web {
	if cfg.User == nil {
		panic("pkb.WebConfig.User: is nil: return the app_user_id of whoever is signed in")
	}
	if cfg.Done == "" {
		cfg.Done = "/"
	}
	if !sameSitePath(cfg.Done) {
		panic("pkb.WebConfig.Done: is not a path on this site, like /account")
	}
	w := &Web{client: c, cfg: cfg, ring: ringOf(c.cfg.Keys), prefix: "pkb-"}
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

// sameSitePath reports whether a browser takes p as a path on the same site.
func sameSitePath(p string) bool {
	u, err := url.Parse(p)
	return err == nil && strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.ContainsAny(p, "\\\r\n\t") &&
		u.Scheme == "" && u.Host == ""
}

// maxAttempts bounds the approvals that one browser can have open.
const maxAttempts = 5

// Link sends the patient who is signed in to PKB to approve. Mount it where
// your page links to, as GET /pkb/link. The options are those of Authorize, for
// a second route such as GET /pkb/switch with AllowSwitch.
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

// Callback takes the patient back from PKB and makes the link. Mount it at the
// path of Config.RedirectURL.
func (w *Web) Callback() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.begin(rw, r) {
			return
		}
		user := w.cfg.User(r)
		query := r.URL.Query()
		cookie := w.cookieName((&pending{State: query.Get("state")}).mark())
		if _, err := r.Cookie(cookie); err == nil && user == "" {
			// Somebody started here, so the host's own session is what is missing.
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

// cameBack returns the link of a user who comes back to the callback that made it,
// by a reload or by Back, when its cookie has gone. Nothing is done for it.
func (w *Web) cameBack(r *http.Request, user string, states []string, err error) (Link, bool) {
	e, ok := errors.AsType[*StateError](err)
	if !ok || e.Reason != stateNoPending || len(states) != 1 || states[0] == "" {
		return Link{}, false
	}
	record, err := w.client.keeper.Look(r.Context(), user)
	if err != nil || !custody.Of(record, (&pending{State: states[0]}).mark()) {
		return Link{}, false
	}
	return newLink(record), true
}

// errNoSession: the cookie of the approval came with the callback, and the
// host's own did not.
const errNoSession = appUserIDError("the callback came without the session of the user who started: browsers leave a session cookie out here if it is SameSite=Strict")

// over reports whether an approval can no longer be completed. Otherwise the
// same page, loaded again, may yet succeed: after an outage, or after Deny,
// Back and Approve.
func over(err error) bool {
	for _, end := range []error{ErrState, ErrWrongPatient, ErrSharedRecord, identity.ErrNotAPatient, ErrIdentityRefused, ErrOvertaken, ErrNotLinked} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// begin sets the headers that keep code and state out of caches, referrers and
// frames. Only GET goes on: HEAD is for those who look without coming in, and a
// page that is fetched ahead of the patient must not use an approval up.
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

// ahead reports whether a browser fetches a page that nobody has asked for yet.
func ahead(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		says := strings.ToLower(r.Header.Get(name))
		if strings.Contains(says, "prefetch") || strings.Contains(says, "prerender") || strings.Contains(says, "preview") {
			return true
		}
	}
	return false
}

// pending reads an approval from its cookie. One that is not there, or not this
// user's, is the zero Pending, which Complete refuses.
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

// fail logs err and tells the patient what to do, in words of ours only.
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

// failure says what a patient can do about err.
func failure(err error) Failure {
	row := wording.Of(kindOf(err))
	return Failure{Err: err, Status: row.Status, Text: row.Patient}
}

// Format implements fmt.Formatter: a Web prints nothing of its keys.
func (w *Web) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "pkb.Web{Done: %q}", w.cfg.Done) }
