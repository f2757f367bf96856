// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/internal/seal"
)

const (
	// maxAttempts bounds the open authorizations of one browser, and maxCookie the
	// bytes of the name and value of each. Browsers drop a cookie of more than 4,096
	// without a word, and servers refuse requests with some 8,000 bytes of them.
	maxAttempts = 5
	maxCookie   = 1024
	// maxReplaced bounds the cookies that one response removes.
	maxReplaced = 10
)

// The name of a cookie is these, around the mark of the authorization. Those that
// were started from another site are replaced first.
const (
	cookieName      = "pkb-"
	cookieHost      = "__Host-"
	cookieElsewhere = "-x"
)

// keptPending is a pending authorization as it is in its cookie: without the user,
// to whom the seal binds it, and with a short name for the client, so that its size
// is bounded.
type keptPending struct {
	State       string `json:"s"`
	Verifier    string `json:"v,omitempty"`
	RedirectURL string `json:"r"`
	Client      string `json:"c"`
	ExpiresAt   int64  `json:"e"` // in milliseconds since 1970
	Switch      bool   `json:"w,omitempty"`
	Share       bool   `json:"h,omitempty"`
	Unlinks     uint64 `json:"u,omitempty"`
}

// clientMark names the environment, the client id and the prefix of the store in a cookie.
func (w *Web) clientMark() string {
	of := w.client.origin()
	sum := sha256.Sum256([]byte(of.Environment + "\x00" + of.ClientID + "\x00" + of.Part))
	return hex.EncodeToString(sum[:8])
}

func place(user string) seal.Place { return seal.Place{Purpose: "authorization", AppUserID: user} }

// keep returns the cookie for an authorization of the user.
func (w *Web) keep(p *pending, user string, elsewhere bool) (*http.Cookie, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // "&" is one byte
	if err := enc.Encode(keptPending{
		State: p.State, Verifier: p.Verifier, RedirectURL: p.RedirectURL, Client: w.clientMark(),
		ExpiresAt: p.ExpiresAt.UnixMilli(), Switch: p.Switch, Share: p.Share, Unlinks: p.Unlinks,
	}); err != nil {
		return nil, err
	}
	sealed, _, err := w.ring.Seal(place(user), bytes.TrimSpace(text.Bytes()))
	if err != nil {
		return nil, newKeysError(err)
	}
	name := cookieName + p.mark()
	if w.secure || isHTTPS(p.RedirectURL) {
		name = cookieHost + name
	}
	if elsewhere {
		name += cookieElsewhere
	}
	c := newCookie(name, base64.RawURLEncoding.EncodeToString(sealed), int(w.client.cfg.ApprovalLife.Seconds()))
	if size := len(c.Name) + 1 + len(c.Value); size > maxCookie {
		return nil, &ConfigError{Field: "RedirectURL", Problem: fmt.Sprintf(
			"(or that of RedirectTo) is too long for the cookie of an authorization, which has %d bytes with it: the maximum is %d", size, maxCookie)}
	}
	return c, nil
}

// open returns the authorization in a cookie. Of a cookie that was sealed for
// another user it returns one that Complete refuses as that, and the zero Pending
// where the key is unknown.
func (w *Web) open(value, user string) (Pending, error) {
	sealed, _ := base64.RawURLEncoding.DecodeString(value)
	text, err := w.ring.Open(place(user), sealed)
	if errors.As(err, new(*seal.KeyError)) {
		// A key of the host's that is out of reach, or another user.
		if _, _, err := w.ring.Seal(place(user), nil); err != nil {
			return Pending{}, newKeysError(err)
		}
	}
	if errors.Is(err, seal.ErrNotAuthentic) {
		return newPending(&pending{origin: w.client.origin()}), nil
	}
	kept, ok := readKept(text)
	if !ok {
		return Pending{}, nil
	}
	p := &pending{
		State: kept.State, Verifier: kept.Verifier, AppUserID: user, RedirectURL: kept.RedirectURL,
		ExpiresAt: time.UnixMilli(kept.ExpiresAt).UTC(), Switch: kept.Switch, Share: kept.Share, Unlinks: kept.Unlinks,
	}
	if kept.Client == w.clientMark() {
		p.origin = w.client.origin()
	}
	return newPending(p), nil
}

func readKept(text []byte) (kept keptPending, ok bool) {
	err := json.Unmarshal(text, &kept)
	return kept, err == nil && kept.State != ""
}

// attempt is an open authorization of this browser.
type attempt struct {
	*http.Cookie
	mark      string
	elsewhere bool
}

// attempts returns the open authorizations, the oldest first: browsers send cookies in
// that order (RFC 6265 section 5.4).
func (w *Web) attempts(r *http.Request) (all []attempt) {
	for _, c := range r.Cookies() {
		name, host := strings.CutPrefix(c.Name, cookieHost)
		mark, ours := strings.CutPrefix(name, cookieName)
		mark, elsewhere := strings.CutSuffix(mark, cookieElsewhere)
		if sum, err := hex.DecodeString(mark); !ours || err != nil || len(sum) != markSize || w.secure && !host {
			continue
		}
		all = append(all, attempt{c, mark, elsewhere})
	}
	return all
}

// find returns the cookie of the authorization that was sent with a state.
func (w *Web) find(r *http.Request, state string) (attempt, bool) {
	mark := (&pending{State: state}).mark()
	for _, a := range w.attempts(r) {
		if a.mark == mark {
			return a, true
		}
	}
	return attempt{}, false
}

// makeRoom returns the attempts that one more replaces. It reports false if that
// one was started from another site and would replace one that was not.
func (w *Web) makeRoom(r *http.Request) (replaced []attempt, ok bool) {
	var own []attempt
	open := w.attempts(r)
	for _, a := range open {
		if a.elsewhere {
			replaced = append(replaced, a)
		} else {
			own = append(own, a)
		}
	}
	surplus := max(0, len(open)-maxAttempts+1)
	if elsewhere(r) && surplus > len(replaced) {
		return nil, false
	}
	replaced = append(replaced, own...)
	return replaced[:min(surplus, maxReplaced)], true
}

// forget removes a cookie from the browser.
func (w *Web) forget(rw http.ResponseWriter, name string) {
	http.SetCookie(rw, newCookie(name, "", -1))
}

func newCookie(name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // not Secure on loopback http only, which New makes sure of
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: strings.HasPrefix(name, cookieHost), SameSite: http.SameSiteLaxMode,
	}
}

func isHTTPS(address string) bool { return strings.HasPrefix(address, "https:") } // redirectURI has lowered it
