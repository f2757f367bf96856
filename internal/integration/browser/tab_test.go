// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/betawerk/pkb-go/internal/integration/services"
)

// patience is how long a page may take to show what it should.
const patience = 20 * time.Second

// The size of a window.
const width, height = 1100, 900

// chromium is the one browser of all tests.
var chromium struct {
	sync.Mutex
	ctx context.Context
	end func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if chromium.end != nil {
		chromium.end()
	}
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// start starts the browser, with a profile of its own, which is thrown away.
func start(t *testing.T) context.Context {
	t.Helper()
	path := services.Program(t, "Chromium", "apt-get install chromium", "chromium", "chromium-browser", "google-chrome")
	chromium.Lock()
	defer chromium.Unlock()
	if chromium.ctx != nil {
		return chromium.ctx
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(width, height),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		end()
		t.Fatalf("Chromium does not start: %v", err)
	}
	chromium.ctx, chromium.end = ctx, func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		end()
	}
	return ctx
}

// tab is a tab of a person's browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// newPerson opens a tab for somebody who shares no cookies with anybody.
func newPerson(t *testing.T) *tab {
	t.Helper()
	return openTab(t, start(t), chromedp.WithNewBrowserContext())
}

// another opens another tab of the same person.
func (b *tab) another() *tab {
	b.t.Helper()
	return openTab(b.t, b.ctx)
}

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, ctx: ctx}
	b.listens()
	return b
}

// listens fails the test at its end if a page has complained: about an error in
// a script, or something that its own policy forbids. That a page has a status
// such as 404 is none.
func (b *tab) listens() {
	var mu sync.Mutex
	var complaints []string
	messages := chromedp.Console(b.ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return // the tab is closed
			}
			if (m.IsException() || m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning) && m.Source != "network" {
				mu.Lock()
				complaints = append(complaints, m.Text)
				mu.Unlock()
			}
		}
	}()
	b.t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range complaints {
			b.t.Errorf("a page complains: %s", c)
		}
	})
}

// do runs steps in the tab, within patience.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

func eval[T any](b *tab, expression string, options ...chromedp.EvaluateOption) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, options...))
}

// until asks the page again and again; it survives a change of pages.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		if ok, err := eval[bool](b, "Boolean("+condition+")"); ok && err == nil {
			return
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-deadline:
			text, _ := eval[string](b, "location.href.split('?')[0] + '\\n' + document.body.innerText")
			b.picture("failed-" + strings.NewReplacer("/", "-", " ", "-").Replace(b.t.Name()))
			b.t.Fatalf("not within %v: %s. The page is:\n%s", patience, what, text)
		case <-b.t.Context().Done():
			b.t.Fatal(b.t.Context().Err())
		}
	}
}

// sees waits until the page shows the text.
func (b *tab) sees(text string) {
	b.t.Helper()
	b.until("the page shows "+strconv.Quote(text), "document.readyState === 'complete' && document.body.innerText.includes("+quote(text)+")")
}

// seesNot fails if the page shows the text.
func (b *tab) seesNot(text string) {
	b.t.Helper()
	if shown, err := eval[bool](b, "document.body.innerText.includes("+quote(text)+")"); shown || err != nil {
		b.t.Errorf("the page shows %q (%v)", text, err)
	}
}

// leaves does something that leads to another page, and waits for that. A page
// that the browser has kept and shows again is another one too.
func (b *tab) leaves(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	page, err := eval[string](b, "window.pageName ??= "+quote(rand.Text()))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.do(steps...); err != nil {
		b.t.Fatal(err)
	}
	b.until("another page", "window.pageName !== "+quote(page)+" && document.readyState === 'complete'")
}

func (b *tab) open(address string) {
	b.t.Helper()
	if err := b.do(chromedp.Navigate(address)); err != nil {
		b.t.Fatalf("%s: %v", address, err)
	}
}

// place finds the link or the button with a text, brings it into view, and
// returns the middle of it, where nothing may cover it.
const place = `(text => {
	const found = [...document.querySelectorAll("a, button")].find(e => e.innerText.trim() === text);
	if (!found) return null;
	found.scrollIntoView({block: "center", behavior: "instant"});
	const box = found.getClientRects()[0]; // of the first line
	const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
	return found.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
})`

// press clicks on the link or the button with this text, which leads to another
// page.
func (b *tab) press(text string) {
	b.t.Helper()
	b.until("there is "+strconv.Quote(text)+" to press", place+"("+quote(text)+")")
	at, err := eval[[]float64](b, place+"("+quote(text)+")")
	if err != nil || len(at) != 2 {
		b.t.Fatalf("%q has gone (%v)", text, err)
	}
	b.leaves(chromedp.MouseClickXY(at[0], at[1]))
}

// back presses the browser's own Back.
func (b *tab) back() {
	b.t.Helper()
	b.leaves(chromedp.Evaluate[chromedp.Void]("history.back()"))
}

// types presses keys on the keyboard.
func (b *tab) types(keys string) {
	b.t.Helper()
	if err := b.do(chromedp.KeyEvent(keys)); err != nil {
		b.t.Fatal(err)
	}
}

// tabsTo goes to a link, button or field by keyboard.
func (b *tab) tabsTo(text string) {
	b.t.Helper()
	for range 20 {
		b.types(kb.Tab)
		if on, err := eval[string](b, "(document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()"); err == nil && on == text {
			return
		}
	}
	b.t.Fatalf("no way by keyboard to %q", text)
}

// signsIn signs in at the app.
func (b *tab) signsIn(s *site, name string) {
	b.t.Helper()
	b.open(s.url)
	b.press("Sign in as " + name)
}

// stays marks the page, and stayed fails if it was loaded anew since.
func (b *tab) stays() {
	b.t.Helper()
	if _, err := eval[bool](b, "window.isStill = true"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) stayed() {
	b.t.Helper()
	if still, err := eval[bool](b, "window.isStill === true"); err != nil || !still {
		b.t.Errorf("the page was loaded anew (%v)", err)
	}
}

// hears waits until a screen reader is told.
func (b *tab) hears(text string) {
	b.t.Helper()
	b.until("a screen reader says "+strconv.Quote(text), "document.querySelector('[role=status]').textContent.includes("+quote(text)+")")
}

// seesAddress fails if the address bar shows another path, or anything behind
// it.
func (b *tab) seesAddress(path string) {
	b.t.Helper()
	if at, err := eval[string](b, "location.href.slice(location.origin.length)"); err != nil || at != path {
		b.t.Errorf("the address bar shows %q (%v), want %q", at, err, path)
	}
}

func (b *tab) focusIs(text string) {
	b.t.Helper()
	b.until("the focus is on "+strconv.Quote(text), "document.activeElement.innerText.trim() === "+quote(text))
}

// untilExpired waits until the browser has thrown away the cookie of an
// approval.
func (b *tab) untilExpired(s *site) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		got, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{s.url}})
		cancel()
		if err != nil {
			b.t.Fatal(err)
		}
		if !slices.ContainsFunc(got.Cookies, func(c *network.Cookie) bool { return strings.HasPrefix(c.Name, "pkb-") }) {
			return
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-deadline:
			b.t.Fatal("the cookie of the authorization does not expire")
		}
	}
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// pressTwice is the double click of somebody in a hurry.
func (b *tab) pressTwice(text string) {
	b.t.Helper()
	b.until("there is "+strconv.Quote(text)+" to press", place+"("+quote(text)+")")
	at, err := eval[[]float64](b, place+"("+quote(text)+")")
	if err != nil || len(at) != 2 {
		b.t.Fatalf("%q has gone (%v)", text, err)
	}
	b.leaves(chromedp.MouseClickXY(at[0], at[1]), chromedp.MouseClickXY(at[0], at[1], chromedp.ClickCount(2)))
}

// pressStarting presses the link that begins with a text, such as one with a count.
func (b *tab) pressStarting(text string) {
	b.t.Helper()
	whole, err := eval[string](b, "[...document.querySelectorAll('a')].find(e => e.innerText.startsWith("+quote(text+" ")+")).innerText.trim()")
	if err != nil {
		b.t.Fatalf("no link begins with %q: %v", text, err)
	}
	b.press(whole)
}

// withoutScript switches the scripts of pages off.
func (b *tab) withoutScript() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		b.t.Fatal(err)
	}
}

// waits waits for something that is not on the page.
func (b *tab) waits(what string, done func() bool) {
	b.t.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-time.After(25 * time.Millisecond):
		case <-deadline:
			b.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// isAuthorization reports whether a cookie is that of an open authorization.
func isAuthorization(cookie string) bool {
	return strings.HasPrefix(strings.TrimPrefix(cookie, "__Host-"), "pkb-")
}
