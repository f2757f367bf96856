// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// vault is a key that cannot be exported, which can be out of reach, and adds to what
// it encrypts.
type vault struct {
	gcm   cipher.AEAD
	adds  int
	close atomic.Bool
}

func newVault(t *testing.T) (*vault, *keys.Keyring) {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	v, ring := &vault{gcm: gcm}, &keys.Keyring{}
	if err := ring.AddAEAD("vault", v); err != nil {
		t.Fatal(err)
	}
	return v, ring
}

func (v *vault) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if v.close.Load() {
		return nil, errors.New("of a test: out of reach")
	}
	return append(make([]byte, v.adds), v.gcm.Seal(nil, nil, plaintext, associatedData)...), nil
}

func (v *vault) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if v.close.Load() || len(ciphertext) < v.adds {
		return nil, errors.New("of a test: out of reach")
	}
	return v.gcm.Open(nil, nil, ciphertext[v.adds:], associatedData)
}

// ids are app_user_ids as hosts have them, up to the longest.
var ids = map[string]string{
	"uuid":             "3f0e8a54-8f0a-4f5a-9a70-77f7f3a3a111",
	"address":          "someone.with.a.long.name@department.hospital.example.org",
	"name in a tree":   strings.Repeat(`CN=Name,OU="x & y",`, 16),
	"340 ampersands":   strings.Repeat("&", 340),
	"1024 letters":     strings.Repeat("a", 1024),
	"1024 quotes":      strings.Repeat(`"`, 1024),
	"1024 less-thans":  strings.Repeat("<", 1024),
	"Cyrillic":         strings.Repeat("ж", 512),
	"line separators":  strings.Repeat("\u2028", 341),
	"control bytes":    strings.Repeat("\x01", 1024),
	"one that is a\tt": "a\tb",
}

// A cookie that is too long is dropped by the browser without a word, and five long
// ones get a 400 for the whole site. Ours has a few hundred bytes, whatever the user's
// id is, which is not in it.
func TestCookieIsShort(t *testing.T) {
	sizes := make(map[int]bool)
	for name, id := range ids {
		h := newTown(t, 1)
		h.signedIn = id
		b := h.newBrowser(t)
		total := 0
		var callbacks []string
		for range 5 {
			callbacks = append(callbacks, b.approves(t, h.patient))
		}
		for _, c := range b.kept(t) {
			size := len(c.Name) + 1 + len(c.Value)
			total += size + 2
			sizes[size] = true
			sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
			if err != nil || size > 512 || strings.Contains(c.Value, id) || bytes.Contains(sealed, []byte(id)) {
				t.Errorf("%s: a cookie of %d bytes, %v", name, size, err)
			}
		}
		if total > 2560 {
			t.Errorf("%s: %d bytes of cookies with five tabs", name, total)
		}
		for i, callback := range callbacks {
			if got := b.get(t, callback); !got.done() {
				t.Errorf("%s: tab %d: status %d\n%s", name, i, got.status, got.text)
			}
		}
	}
	if len(sizes) != 1 {
		t.Errorf("the sizes differ with the id, which shows how long it is: %v", sizes)
	}
}

// What New and Authorize accept fits into the cookie at its longest: client id,
// environment, redirect URI, proof key and the id of the key that seals.
func TestTheLongestCookieFits(t *testing.T) {
	long := redirectURL + "?tenant=" + strings.Repeat("&", 400-len(redirectURL)-8)
	h := newTown(t, 1, func(server *pkbtest.Config, c *pkb.Config) {
		server.RedirectURIs, c.RedirectURL, c.PKCE = []string{long}, long, true
		server.ClientID = strings.Repeat("c", 256)
		c.ClientID, c.Keys = server.ClientID, keyring(t, strings.Repeat("k", 64))
	})
	h.signedIn = strings.Repeat(`"`, 1024)
	b := h.newBrowser(t)
	callback := b.approves(t, h.patient, "Sec-Fetch-Site: cross-site")
	kept := b.kept(t)
	if len(kept) != 1 {
		t.Fatalf("%d cookies", len(kept))
	}
	if size := len(kept[0].Name) + 1 + len(kept[0].Value); size > 1024 {
		t.Errorf("a cookie of %d bytes", size)
	}
	if got := b.get(t, callback); !got.done() {
		t.Errorf("status %d\n%s", got.status, got.text)
	}
}

// What does not fit is refused where it is started, by name: no cookie is set, and the
// patient is not sent to PKB to approve for nothing.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		adds int
		opts []pkb.AuthorizeOption
	}{
		"a long redirect URI":                {0, []pkb.AuthorizeOption{pkb.RedirectTo(redirectURL + "?x=" + strings.Repeat("y", 2000))}},
		"a redirect URI of the maximum + 1":  {0, []pkb.AuthorizeOption{pkb.RedirectTo(redirectURL + "?x=" + strings.Repeat("y", 400-len(redirectURL)-2))}},
		"a key whose ciphertext is long":     {600, nil},
		"a long one, and such a key as well": {250, []pkb.AuthorizeOption{pkb.RedirectTo(redirectURL + "?x=" + strings.Repeat("y", 400-len(redirectURL)-3))}},
	} {
		v, ring := newVault(t)
		v.adds = tc.adds
		r := newRig(t, func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = ring })
		var failed pkb.Failure
		web := r.Web(pkb.WebConfig{
			User:   func(*http.Request) string { return user },
			Failed: func(w http.ResponseWriter, _ *http.Request, f pkb.Failure) { failed = f; w.WriteHeader(f.Status) },
		})
		h := &town{rig: r, handlers: []http.Handler{web.Link(tc.opts...)}}
		got := h.newBrowser(t).get(t, home+"/pkb/link")
		mistake, ok := errors.AsType[*pkb.ConfigError](failed.Err)
		if !ok || mistake.Field != "RedirectURL" || failed.Code != "config" || got.location != "" || got.cookies != 0 {
			t.Errorf("%s: %v, to %q with %d cookies", name, failed.Err, got.location, got.cookies)
		}
	}
}

// The cookie is Secure, and of this host only, whenever the callback comes over https,
// however that is spelt.
func TestCookieIsSecure(t *testing.T) {
	for _, tc := range []struct {
		redirect, to string
		secure       bool
	}{
		{redirect: "https://app.example/pkb/callback", secure: true},
		{redirect: "HTTPS://app.example/pkb/callback", secure: true},
		{redirect: "Https://app.example/pkb/callback", secure: true},
		{redirect: "http://localhost:8080/pkb/callback"},
		{redirect: "com.example.app:/pkb", to: "https://app.example/pkb/callback", secure: true},
		{redirect: "com.example.app:/pkb", to: "HTTPS://app.example/pkb/callback", secure: true},
		{redirect: "http://localhost:8080/pkb/callback", to: "https://app.example/pkb/callback", secure: true},
	} {
		var opts []pkb.AuthorizeOption
		if tc.to != "" {
			opts = append(opts, pkb.RedirectTo(tc.to))
		}
		r := newRig(t, func(server *pkbtest.Config, c *pkb.Config) {
			server.RedirectURIs = []string{"https://app.example/pkb/callback", "http://localhost:8080/pkb/callback", "com.example.app:/pkb"}
			c.RedirectURL = tc.redirect
		})
		web := r.Web(pkb.WebConfig{User: func(*http.Request) string { return user }, Done: "/account"})
		mux := http.NewServeMux()
		mux.Handle("/pkb/link", web.Link(opts...))
		mux.Handle("/pkb/callback", web.Callback())
		h := &town{rig: r, handlers: []http.Handler{mux}}
		b := h.newBrowser(t)
		started := b.get(t, home+"/pkb/link")
		c, err := http.ParseSetCookie(started.header.Get("Set-Cookie"))
		if err != nil {
			t.Fatal(err)
		}
		if c.Secure != tc.secure || strings.HasPrefix(c.Name, "__Host-") != tc.secure || c.Domain != "" || c.Path != "/" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s to %q: %v", tc.redirect, tc.to, c)
		}
		back, err := r.pkb.Approve(t.Context(), started.location, r.patient)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.get(t, home+"/pkb/callback?"+back.RawQuery); !got.done() || len(b.kept(t)) != 0 {
			t.Errorf("%s to %q: status %d, %d cookies left\n%s", tc.redirect, tc.to, got.status, len(b.kept(t)), got.text)
		}
	}
}

// Where the site is reached over https, a cookie that a sibling site or plain http
// could have set is not read.
func TestCookieWithoutItsPrefixIsNotRead(t *testing.T) {
	h := newTown(t, 1)
	b := h.newBrowser(t)
	callback := b.approves(t, h.patient)
	other := h.newBrowser(t)
	u, err := url.Parse(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.kept(t) {
		other.Jar.SetCookies(u, []*http.Cookie{{Name: strings.TrimPrefix(c.Name, "__Host-"), Value: c.Value, Path: "/"}})
	}
	if got := other.get(t, callback); got.status != http.StatusBadRequest {
		t.Errorf("status %d", got.status)
	}
}

// A browser keeps five: one more costs the oldest. One that another site starts costs
// none that was started here, and is the first to go.
func TestFiveOpenAuthorizations(t *testing.T) {
	const here, elsewhere, sibling = "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"
	for name, tc := range map[string]struct {
		starts []string
		refuse int // how many starts at the end are refused
		alive  string
	}{
		"six here":                           {[]string{here, here, here, here, here, here}, 0, "-+++++"},
		"one here, five from elsewhere":      {[]string{here, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}, 0, "+-++++"},
		"one here, five from a sibling":      {[]string{here, sibling, sibling, sibling, sibling, sibling}, 0, "+-++++"},
		"no header, five from elsewhere":     {[]string{"", elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}, 0, "+-++++"},
		"typed, five from elsewhere":         {[]string{"Sec-Fetch-Site: none", elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}, 0, "+-++++"},
		"elsewhere, then here, then five":    {[]string{elsewhere, here, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}, 0, "-+-++++"},
		"four from elsewhere, then two here": {[]string{here, elsewhere, elsewhere, elsewhere, elsewhere, here, here}, 0, "+--++++"},
		"five here, two from elsewhere":      {[]string{here, here, here, here, here, elsewhere, elsewhere}, 2, "+++++"},
		"six from elsewhere":                 {[]string{elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}, 0, "-+++++"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTown(t, 1)
			b := h.newBrowser(t)
			var callbacks []string
			for i, header := range tc.starts {
				if header == "" {
					header = "X: y"
				}
				if i < len(tc.starts)-tc.refuse {
					callbacks = append(callbacks, b.approves(t, h.patient, header))
				} else if got := b.get(t, home+"/pkb/link", header); got.status != http.StatusForbidden || got.cookies != 0 || !strings.Contains(got.text, "another site") {
					t.Errorf("start %d: status %d, %d cookies\n%s", i, got.status, got.cookies, got.text)
				}
				if n := len(b.kept(t)); n > 5 {
					t.Errorf("%d cookies after %d starts", n, i+1)
				}
			}
			for i, callback := range callbacks {
				if got := b.get(t, callback); got.done() != (tc.alive[i] == '+') {
					t.Errorf("start %d: status %d, want %c of %s", i, got.status, tc.alive[i], tc.alive)
				}
			}
		})
	}
}

// Cookies that somebody else wrote are neither read nor answered one by one: the
// response would be too large for a proxy.
func TestHostileCookies(t *testing.T) {
	for name, format := range map[string]string{"none of ours": "__Host-pkb-%d=%040d", "like ours": "__Host-pkb-%024x=%040d", "like ours, from elsewhere": "__Host-pkb-%024x-x=%040d"} {
		h := newTown(t, 1)
		b := h.newBrowser(t)
		b.Jar = nil
		var cookies []string
		for i := range 400 {
			cookies = append(cookies, fmt.Sprintf(format, i, i))
		}
		got := b.get(t, home+"/pkb/link", "Cookie: "+strings.Join(cookies, "; "))
		if got.status != http.StatusSeeOther || got.cookies > 11 {
			t.Errorf("%s: status %d, %d cookies", name, got.status, got.cookies)
		}
		got = b.get(t, home+"/pkb/callback?code=a&state=b", "Cookie: "+strings.Join(cookies, "; "))
		if got.status != http.StatusBadRequest {
			t.Errorf("%s: the callback has status %d", name, got.status)
		}
	}
	// Of the right name, and with content of somebody else's.
	h := newTown(t, 1)
	b := h.newBrowser(t)
	callback := b.approves(t, h.patient)
	name := b.kept(t)[0].Name
	for _, value := range []string{"", "!", "AAAA", strings.Repeat("A", 2000), base64.RawURLEncoding.EncodeToString([]byte("\x01\x01kxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))} {
		b.Jar = nil
		if got := b.get(t, callback, "Cookie: "+name+"="+value); got.status != http.StatusBadRequest || h.sent() != 0 {
			t.Errorf("%.10q: status %d, %d requests", value, got.status, h.sent())
		}
	}
}

// The key service is out of reach when the patient comes back: that is not the
// patient's mistake, nothing is used up, and the page can be loaded again.
func TestCallbackWithoutTheKeyService(t *testing.T) {
	v, ring := newVault(t)
	h := newTown(t, 1, func(_ *pkbtest.Config, c *pkb.Config) { c.Keys = ring })
	b := h.newBrowser(t)
	callback := b.approves(t, h.patient)
	v.close.Store(true)
	if got := b.get(t, callback); got.status != http.StatusBadGateway || !strings.Contains(got.text, "not your fault") || h.sent() != 0 {
		t.Errorf("status %d, %d requests\n%s", got.status, h.sent(), got.text)
	}
	v.close.Store(false)
	if got := b.get(t, callback); !got.done() {
		t.Errorf("afterwards: status %d\n%s", got.status, got.text)
	}
}
