// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/conceal"
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
	// bar. It is called again when the patient comes back to the callback.
	Linked func(w http.ResponseWriter, r *http.Request, link Link)
	// Failed, if set, responds instead of the default page when no link was made.
	// Only headers have been written.
	Failed func(w http.ResponseWriter, r *http.Request, f Failure)
	// Texts, if set, returns the texts of the default page, and of Failure, in the
	// language of this visit. Nil means English.
	Texts func(*http.Request) PageTexts
}

// Failure is why a visit made no link, for WebConfig.Failed.
type Failure struct {
	// Err is the error of Authorize or Complete, or what is wrong with the visit.
	// It has been logged.
	Err error
	// Code names the kind of error, such as "wrong_patient". It is stable; errors.md
	// of package advice lists all.
	Code string
	// Status is the HTTP status to respond with.
	Status int
	// Linked reports that the user's record is linked, and the link works, in spite
	// of this. It is read from the store.
	Linked bool
	// Title is a heading that is true of the user's link, and Text is what happened
	// and what the patient can do: in plain English, unless WebConfig.Texts is set.
	// Both are safe to show: nothing from the request is in them.
	Title, Text string
}

// Web has the two handlers that a browser visits.
type Web struct {
	client *Client
	cfg    WebConfig
	ring   *seal.Ring
	// secure: the callback is received over https.
	secure bool
	// forms refuses what another site sends.
	forms *http.CrossOriginProtection
}

// Web returns the handlers for a host with cookies. Each authorization is kept in a
// cookie of its own, of at most 1,024 bytes, encrypted, HttpOnly, SameSite=Lax and
// bound to the user. So several tabs do not interfere, and the callback may come to
// another replica if all have the same Config.Keys. Without Keys a random key is
// used, and the callback must come to the same process. Loading a callback again,
// or going Back to it, leads where the first visit led, in whatever process and
// browser, as long as its link exists.
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
	w := &Web{client: c, cfg: cfg, ring: seal.RingOf(c.cfg.Keys), secure: isHTTPS(c.cfg.RedirectURL), forms: http.NewCrossOriginProtection()}
	if u, err := url.Parse(c.cfg.RedirectURL); err == nil && u.Host != "" {
		// The site's own origin, where a proxy has changed Host.
		_ = w.forms.AddTrustedOrigin(u.Scheme + "://" + u.Host)
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

// Link redirects the signed-in patient to PKB to approve. Mount it as GET
// /pkb/link. The options are those of Authorize.
//
// With AllowSwitch or AllowShared it starts by POST only, and not from another
// site: mount it as POST /pkb/switch, behind a form on a page of yours that asks the
// patient. If that page has a Content-Security-Policy with form-action, add the
// origin of Environment.AuthorizeURL to it.
//
// A browser has at most five open authorizations; one more replaces the oldest. One
// that is started from another site never replaces one that was started here.
func (w *Web) Link(opts ...AuthorizeOption) http.Handler {
	var a authorization
	for _, o := range opts {
		o(&a)
	}
	method := http.MethodGet
	if a.another || a.share {
		method = http.MethodPost
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.begin(rw, r, method, errMethod) {
			return
		}
		mode := r.Header.Get("Sec-Fetch-Mode")
		if method == http.MethodGet && mode != "" && mode != "navigate" { // a script that fetches ahead
			rw.WriteHeader(statusAhead)
			return
		}
		user := w.cfg.User(r)
		address, err := w.start(rw, r, user, opts)
		if err != nil {
			w.fail(rw, r, user, err)
			return
		}
		http.Redirect(rw, r, address, http.StatusSeeOther)
	})
}

// start begins an authorization and puts it into a cookie.
func (w *Web) start(rw http.ResponseWriter, r *http.Request, user string, opts []AuthorizeOption) (address string, err error) {
	if w.forms.Check(r) != nil { // a GET passes
		return "", errOtherSite
	}
	replaced, ok := w.makeRoom(r)
	if !ok {
		return "", errOtherSite
	}
	address, p, err := w.client.Authorize(r.Context(), user, opts...)
	if err != nil {
		return "", err
	}
	cookie, err := w.keep(p.get(), user, elsewhere(r))
	if err != nil {
		return "", err
	}
	for _, old := range replaced {
		w.forget(rw, old.Name)
	}
	http.SetCookie(rw, cookie)
	return address, nil
}

// Callback handles the patient's return from PKB and makes the link. Mount it at
// the path of Config.RedirectURL, for every method: its page for a POST reports what
// is wrong.
func (w *Web) Callback() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.begin(rw, r, http.MethodGet, errFormPost) {
			return
		}
		user := w.cfg.User(r)
		link, err := w.complete(rw, r, user)
		switch {
		case err != nil:
			w.fail(rw, r, user, err)
		case w.cfg.Linked != nil:
			w.cfg.Linked(rw, r, link)
		default:
			http.Redirect(rw, r, w.cfg.Done, http.StatusSeeOther)
		}
	})
}

func (w *Web) complete(rw http.ResponseWriter, r *http.Request, user string) (Link, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Link{}, errQuery
	}
	cookie, found := w.find(r, query.Get("state"))
	if found && user == "" {
		return Link{}, errNoSession // the user started here, so only the host's own session is missing
	}
	var p Pending
	if found {
		if p, err = w.open(cookie.Value, user); err != nil {
			return Link{}, err
		}
	}
	link, err := w.client.Complete(r.Context(), user, p, query)
	if found && (err == nil || over(err)) {
		w.forget(rw, cookie.Name)
	}
	return link, err
}

// over reports whether an authorization can no longer be completed, by anybody.
// Otherwise the same page may succeed when it is loaded again: after an outage, after
// Deny, Back and Approve, or once the user who started is signed in again.
func over(err error) bool {
	if e, ok := errors.AsType[*StateError](err); ok {
		return e.Reason == stateUsed || e.Reason == stateExpired
	}
	return is(ErrWrongPatient, ErrSharedRecord, identity.ErrNotAPatient, ErrIdentityRefused, ErrOvertaken, ErrNotLinked)(err)
}

// errNoSession: the authorization's cookie was present, and the host's session was
// not.
const errNoSession = appUserIDError("the callback came without the session of the user who started: browsers do not send a SameSite=Strict cookie here")

// visitError is a visit that cannot begin or complete an authorization.
type visitError struct {
	code wording.Code
	what string
}

func (e *visitError) Error() string { return "pkb: " + e.what }

// Is reports whether target is ErrCallback, for a visit to the callback.
func (e *visitError) Is(target error) bool {
	return target == ErrCallback && (e == errFormPost || e == errQuery)
}

var (
	errMethod    = &visitError{"method", "the route was not visited with the method that it starts by"}
	errOtherSite = &visitError{"other_site", "another site sent the browser here to start an authorization; nothing was started"}
	errFormPost  = &visitError{"callback_method", "the callback was not received by GET, but as with response_mode=form_post; the code was not used"}
	errQuery     = &visitError{"callback_query", "the query of the callback cannot be read: it has a semicolon or a bad percent sign; the code was not used"}
)

// begin sets the headers that keep code and state out of caches, referrers and
// frames. It reports whether to go on: only for the method that the route has, and
// not for a prefetch, which must begin nothing and use nothing up.
func (w *Web) begin(rw http.ResponseWriter, r *http.Request, method string, wrong error) bool {
	h := rw.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	switch {
	case r.Method == http.MethodHead:
		h.Set("Allow", method)
		rw.WriteHeader(http.StatusMethodNotAllowed)
	case r.Method != method:
		h.Set("Allow", method)
		w.fail(rw, r, w.cfg.User(r), wrong)
	case ahead(r):
		rw.WriteHeader(statusAhead)
	default:
		return true
	}
	return false
}

// statusAhead is the status of a page that is fetched ahead. Browsers keep one of 2xx,
// though it must not be stored, for the patient who then follows the link.
const statusAhead = http.StatusTooEarly

// ahead reports whether a browser, or a script of the page, prefetches.
func ahead(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "X-Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		value := strings.ToLower(strings.Join(r.Header.Values(name), ","))
		if slices.ContainsFunc([]string{"prefetch", "prerender", "preview"}, func(word string) bool { return strings.Contains(value, word) }) {
			return true
		}
	}
	return false
}

// elsewhere reports whether another site sent the browser here.
func elsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return true
}

func (w *Web) fail(rw http.ResponseWriter, r *http.Request, user string, err error) {
	level := w.client.cfg.Logger.Warn
	if errors.Is(err, ErrAccessDenied) {
		level = w.client.cfg.Logger.Info
	}
	level("pkb: no link was made", "link", conceal.LinkName(user), "error", err)
	var texts PageTexts
	if w.cfg.Texts != nil {
		texts = w.cfg.Texts(r)
	}
	p := failurePage{texts: texts, code: kindOf(err), state: w.standing(r.Context(), user), back: w.cfg.Done}
	if w.cfg.Failed != nil {
		w.cfg.Failed(rw, r, p.failure(err))
		return
	}
	p.write(rw)
}

// standing returns whether the user's link works, by the record. An outage of the store must
// not hold up the page that reports it.
func (w *Web) standing(ctx context.Context, user string) standing {
	if w.client.accepts(user) != nil {
		return standingUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	link, err := w.client.look(ctx, user)
	switch {
	case errors.Is(err, ErrNotLinked):
		return standingNone
	case err != nil:
		return standingUnknown
	case link.works():
		return standingLinked
	}
	return standingNone
}

// Format implements fmt.Formatter: a Web prints nothing of its keys.
func (w *Web) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "pkb.Web{Done: %q}", w.cfg.Done) }
