// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/betawerk/pkb-go/internal/reading"
	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
	"github.com/betawerk/pkb-go/tokenstore"
)

// failures are visits that make no link, for a user with or without one. Each returns
// what the visit got.
var failures = map[string]struct {
	visit func(*testing.T, *town, *browser) page
	code  string
	// only is for a user who is linked (1), or one who is not (-1).
	only int
}{
	"denied": {code: "access_denied", visit: func(t *testing.T, _ *town, b *browser) page {
		return b.get(t, changed(t, b.approves(t, b.h.patient), func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }))
	}},
	"another browser": {code: "state_no_pending", visit: func(t *testing.T, h *town, b *browser) page {
		return h.newBrowser(t).get(t, b.approves(t, h.patient))
	}},
	"a forged state": {code: "state_no_pending", visit: func(t *testing.T, _ *town, b *browser) page {
		return b.get(t, home+"/pkb/callback?code=a&state=b")
	}},
	"no query": {code: "state_no_pending", visit: func(t *testing.T, _ *town, b *browser) page { return b.get(t, home+"/pkb/callback") }},
	"form_post": {code: "callback_method", visit: func(t *testing.T, _ *town, b *browser) page {
		return b.visit(t, http.MethodPost, home+"/pkb/callback")
	}},
	"a query that is malformed": {code: "callback_query", visit: func(t *testing.T, _ *town, b *browser) page { return b.get(t, home+"/pkb/callback?a;b") }},
	"PKB says no":               {code: "callback", visit: func(t *testing.T, h *town, b *browser) page { return b.get(t, refused(t, b.approves(t, h.patient))) }},
	"a switch by GET":           {code: "method", visit: func(t *testing.T, _ *town, b *browser) page { return b.get(t, home+"/pkb/switch") }},
	"a switch from elsewhere": {code: "other_site", visit: func(t *testing.T, _ *town, b *browser) page {
		return b.visit(t, http.MethodPost, home+"/pkb/switch", "Sec-Fetch-Site: cross-site")
	}},
	"PKB is down": {code: "exchange_unknown", visit: func(t *testing.T, h *town, b *browser) page {
		h.pkb.Next(pkbtest.Token, pkbtest.Respond(503, "", ""))
		return b.get(t, b.approves(t, h.patient))
	}},
	"PKB is busy": {code: "exchange_busy", visit: func(t *testing.T, h *town, b *browser) page {
		h.pkb.Next(pkbtest.Token, pkbtest.Respond(429, "", ""))
		return b.get(t, b.approves(t, h.patient))
	}},
	"the code is refused": {code: "code_rejected", visit: func(t *testing.T, h *town, b *browser) page {
		return b.get(t, changed(t, b.approves(t, h.patient), func(q url.Values) { q.Set("code", "another") }))
	}},
	"refused in unknown words": {code: "exchange_unclear", visit: func(t *testing.T, h *town, b *browser) page {
		h.pkb.Next(pkbtest.Token, pkbtest.Respond(400, "", ""))
		return b.get(t, b.approves(t, h.patient))
	}},
	"not a patient": {code: "not_a_patient", visit: func(t *testing.T, h *town, b *browser) page {
		return b.get(t, b.approves(t, h.pkb.AddPatient(pkbtest.Patient{Purview: []string{"Practitioner/1"}})))
	}},
	"another account": {code: "wrong_patient", only: 1, visit: func(t *testing.T, h *town, b *browser) page {
		return b.get(t, b.approves(t, h.pkb.AddPatient(pkbtest.Patient{})))
	}},
	"a shared record": {code: "shared_record", only: -1, visit: func(t *testing.T, h *town, b *browser) page {
		h.signedIn = "user-2"
		b.links(t, h.patient)
		h.signedIn = user
		return b.get(t, b.approves(t, h.patient))
	}},
	"a switch to a shared record": {code: "shared_record", only: 1, visit: func(t *testing.T, h *town, b *browser) page {
		other := h.pkb.AddPatient(pkbtest.Patient{})
		h.signedIn = "user-2"
		b.links(t, other)
		h.signedIn = user
		return b.get(t, b.approvesAt(t, http.MethodPost, "/pkb/switch", other))
	}},
	"not checked yet": {code: "unchecked", only: 1, visit: func(t *testing.T, h *town, b *browser) page {
		h.pkb.Next(pkbtest.Purview, pkbtest.Respond(503, "", ""))
		return b.get(t, b.approves(t, h.patient))
	}},
	"a proxy between": {code: "exchange_unknown", visit: func(t *testing.T, h *town, b *browser) page {
		h.pkb.Next(pkbtest.Token, pkbtest.Respond(200, "text/html", "<html>log in"))
		return b.get(t, b.approves(t, h.patient))
	}},
}

func refused(t *testing.T, callback string) string {
	t.Helper()
	return changed(t, callback, func(q url.Values) { q.Del("code"); q.Set("error", "server_error") })
}

// A page is true of the patient's link, whatever went wrong: whoever is linked reads
// that nothing has changed, and never that the record was not linked; whoever is not
// reads that. A host's own page gets the same, with a code to tell cases apart.
func TestFailurePagesAreTrueOfTheLink(t *testing.T) {
	const still, gone, unchanged = "Your record is still linked", "Your record was not linked", "Nothing has changed. Your record is still linked."
	for name, tc := range failures {
		for _, linked := range []bool{true, false} {
			if linked && tc.only < 0 || !linked && tc.only > 0 {
				continue
			}
			for _, own := range []bool{false, true} {
				h := newTown(t, 2, askOnce)
				b := h.newBrowser(t)
				if linked {
					b.links(t, h.patient)
				}
				h.own = own
				h.open(h.replica(t))
				got := tc.visit(t, h, b)
				want := advice.For(h.failed.Err)
				if own {
					title, text := gone, want.Patient
					if linked {
						title, text = still, unchanged+" "+text
					}
					if h.failed.Code != tc.code || h.failed.Code != want.Code || h.failed.Status != want.Status || h.failed.Linked != linked || h.failed.Title != title || h.failed.Text != text {
						t.Errorf("%s, linked %t: the host gets %+v", name, linked, h.failed)
					}
					continue
				}
				title := gone
				if linked {
					title = still
				}
				if !strings.Contains(got.text, "<h1>"+title+"</h1>") || !strings.Contains(got.text, "<title>"+title+"</title>") || strings.Contains(got.text, unchanged) != linked {
					t.Errorf("%s, linked %t: status %d\n%s", name, linked, got.status, got.text)
				}
				if linked && regexp.MustCompile(`(?i)not linked</|nothing was linked|could not be linked`).MatchString(got.text) {
					t.Errorf("%s: the record is linked, and the page says otherwise:\n%s", name, got.text)
				}
				if _, err := h.Link(t.Context(), user); (err == nil) != linked {
					t.Errorf("%s: the link changed: %v", name, err)
				}
			}
		}
	}
}

// A link that has ended is not one that works: the page does not say that it is.
func TestFailurePageOfALinkThatHasEnded(t *testing.T) {
	h := newTown(t, 1)
	b := h.newBrowser(t)
	b.links(t, h.patient)
	h.pkb.EndSessions(h.patient)
	h.pkb.Advance(sold)
	if _, err := h.Token(t.Context(), user); !errors.Is(err, pkb.ErrRelinkRequired) {
		t.Fatal(err)
	}
	if got := b.get(t, home+"/pkb/callback"); strings.Contains(got.text, "still linked") || !strings.Contains(got.text, "was not linked") {
		t.Errorf("the page says:\n%s", got.text)
	}
}

// silent is a store that cannot be read, or does not answer.
type silent struct {
	*tokenstore.Memory
	mode atomic.Int64
}

func (s *silent) Load(ctx context.Context, user string) (tokenstore.Record, error) {
	switch s.mode.Load() {
	case 1:
		return tokenstore.Record{}, errors.New("of a test: gone")
	case 2:
		<-ctx.Done()
		return tokenstore.Record{}, ctx.Err()
	}
	return s.Memory.Load(ctx, user)
}

// Where the record cannot be read, or nobody is signed in, the page claims neither.
func TestFailurePageWhereTheLinkIsNotKnown(t *testing.T) {
	for name, tc := range map[string]struct {
		mode     int64
		signedIn string
		address  string
	}{
		"the store fails":            {1, user, "/pkb/link"},
		"the store hangs":            {2, user, "/pkb/callback?a;b"},
		"nobody is signed in":        {0, "", "/pkb/link"},
		"nobody comes back":          {0, "", "/pkb/callback?code=a&state=b"},
		"an id that is not accepted": {0, "\xff", "/pkb/link"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &silent{Memory: tokenstore.NewMemory()}
				h := newTown(t, 1, func(_ *pkbtest.Config, c *pkb.Config) { c.Store = store })
				b := h.newBrowser(t)
				b.links(t, h.patient)
				store.mode.Store(tc.mode)
				h.signedIn = tc.signedIn
				began := time.Now()
				got := b.get(t, home+tc.address)
				if waited := time.Since(began); waited > 2*time.Second {
					t.Errorf("the page comes after %v", waited)
				}
				if got.status < 400 || !strings.Contains(got.text, "<h1>This did not work</h1>") || strings.Contains(got.text, "still linked") || strings.Contains(got.text, "was not linked") {
					t.Errorf("status %d\n%s", got.status, got.text)
				}
			})
		})
	}
}

// The texts are the host's, in its language and by the visit; what it leaves out is in
// English, and marked so for a screen reader. All of it is escaped.
func TestPageInAnotherLanguage(t *testing.T) {
	welsh := pkb.PageTexts{
		Lang: "cy", NotLinked: "Ni chafodd eich cofnod ei gysylltu", StillLinked: "Mae eich cofnod yn dal wedi'i gysylltu", Trouble: "Ni weithiodd hyn",
		Unchanged: "Does dim wedi newid.", GoBack: "Ewch yn ôl i'r ap", Errors: map[string]string{"access_denied": "Ni wnaethoch ganiatáu mynediad <i>."},
	}
	h := newTown(t, 1)
	h.texts = func(r *http.Request) pkb.PageTexts {
		if strings.HasPrefix(r.Header.Get("Accept-Language"), "cy") {
			return welsh
		}
		return pkb.PageTexts{}
	}
	b := h.newBrowser(t)
	deny := func() string {
		return changed(t, b.approves(t, h.patient), func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") })
	}
	const cy = "Accept-Language: cy, en;q=0.5"
	has := func(name string, got page, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got.text, part) {
				t.Errorf("%s: without %s\n%s", name, part, got.text)
			}
		}
	}
	has("denied", b.get(t, deny(), cy), `<html lang="cy"`, "<h1>Ni chafodd eich cofnod", "mynediad &lt;i&gt;.", "Ewch yn ôl i&#39;r ap")
	has("in English", b.get(t, deny(), "Accept-Language: en"), `<html lang="en"`, "Your record was not linked", "You did not allow access")
	has("a text of ours", b.get(t, home+"/pkb/callback", cy), `<html lang="cy"`, `<p lang="en">This page has been used already`)
	b.links(t, h.patient)
	has("while linked", b.get(t, deny(), cy), "<h1>Mae eich cofnod yn dal", "<p>Does dim wedi newid.</p>", "mynediad &lt;i&gt;.")
	h.own = true
	h.open(h.replica(t))
	b.get(t, deny(), cy)
	if h.failed.Text != "Does dim wedi newid. Ni wnaethoch ganiatáu mynediad <i>." || h.failed.Title != welsh.StillLinked {
		t.Errorf("the host gets %q: %q", h.failed.Title, h.failed.Text)
	}
}

// The page has no script, loads nothing, and its style is the one that its policy
// names; it is for phones too, and for the dark.
func TestFailurePageIsPlain(t *testing.T) {
	h := newTown(t, 1)
	got := h.newBrowser(t).get(t, home+"/pkb/callback")
	style, _, _ := strings.Cut(got.text[strings.Index(got.text, "<style>")+7:], "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := got.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the policy %q is not of the style", policy)
	}
	for _, part := range []string{"<script", "src=", "http:", "https:", "onload", "style=", "<form"} {
		if strings.Contains(got.text, part) {
			t.Errorf("the page has %s", part)
		}
	}
	for _, part := range []string{`name="viewport" content="width=device-width`, "prefers-color-scheme:dark", "color-scheme:light dark", "overflow-wrap", `<a href="/account">Go back to the app</a>`, "<main>", `lang="en"`} {
		if !strings.Contains(got.text, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if strings.Count(got.text, "<h1>") != 1 {
		t.Error("the page does not have one heading")
	}
}

// Text, links and a link in focus have the contrast of WCAG 2.2 AA, in light and dark:
// 4.5 to 1.
func TestFailurePageContrast(t *testing.T) {
	h := newTown(t, 1)
	got := h.newBrowser(t).get(t, home+"/pkb/callback")
	light, dark, ok := strings.Cut(got.text, "@media(prefers-color-scheme:dark){")
	if !ok {
		t.Fatal("no dark")
	}
	of := func(css, selector, property string) string {
		m := regexp.MustCompile(regexp.QuoteMeta(selector) + `\{([^}]*)\}`).FindStringSubmatch(css)
		if m == nil {
			return ""
		}
		for declaration := range strings.SplitSeq(m[1], ";") {
			if name, value, _ := strings.Cut(declaration, ":"); name == property {
				return value
			}
		}
		return ""
	}
	for name, css := range map[string]string{"light": light, "dark": dark} {
		back := of(css, "body", "background")
		for _, pair := range [][3]string{
			{"text", of(css, "body", "color"), back},
			{"links", of(css, "a", "color"), back},
			{"focus", cmp.Or(of(css, "a:focus", "color"), of(light, "a:focus", "color")), cmp.Or(of(css, "a:focus", "background"), of(light, "a:focus", "background"))},
		} {
			if c := contrast(t, pair[1], pair[2]); c < 4.5 {
				t.Errorf("%s, %s: %s on %s is %.2f to 1", name, pair[0], pair[1], pair[2], c)
			}
		}
	}
	if c := contrast(t, "#767676", "#ffffff"); math.Abs(c-4.54) > 0.01 {
		t.Errorf("what is known to be 4.54 is measured as %.2f", c)
	}
}

// contrast is the ratio of WCAG 2.2 for two colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	light := []float64{luminance(t, a), luminance(t, b)}
	slices.Sort(light)
	return (light[1] + 0.05) / (light[0] + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil || len(colour) != 7 {
		t.Fatalf("%q is not a colour of six digits", colour)
	}
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		c := float64(n>>(8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

// The page as a whole can be read at the age of 11, and so can what a host gets.
func TestFailurePagesCanBeRead(t *testing.T) {
	tags := regexp.MustCompile(`(?s)<style>.*</style>|<title>.*</title>|<[^>]*>`)
	for name, tc := range failures {
		h := newTown(t, 1, askOnce)
		b := h.newBrowser(t)
		if tc.only >= 0 {
			b.links(t, h.patient)
		}
		text := tags.ReplaceAllString(tc.visit(t, h, b).text, " . ")
		if grade := reading.Grade(text); grade > reading.MaxGrade {
			t.Errorf("%s: grade %.1f\n%s", name, grade, text)
		}
	}
}
