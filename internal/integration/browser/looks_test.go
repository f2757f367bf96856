// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/betawerk/pkb-go/internal/integration/npm"
	"github.com/betawerk/pkb-go/internal/reading"
)

// look is how somebody looks at a page.
type look struct {
	scheme string // light or dark
	width  int64
}

// looks are a desk and a phone, by day and by night.
var looks = []look{{"light", 1280}, {"light", 390}, {"dark", 1280}, {"dark", 390}}

func (b *tab) looks(l look) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(l.width, height)); err != nil {
		b.t.Fatal(err)
	}
}

// check keeps pictures of the page, by day and night, wide and narrow, and lets
// axe-core look at each.
func (b *tab) check(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.looks(l)
		look := fmt.Sprintf("%s-%s-%d", name, l.scheme, l.width)
		b.picture(look)
		for _, v := range b.violations() {
			for _, n := range v.Nodes {
				b.t.Errorf("%s: %s (%s):\n%s\n%s", look, v.Help, v.ID, n.HTML, n.FailureSummary)
			}
		}
	}
	b.fits(name)
	b.looks(look{"light", width})
}

// fits fails if somebody has to scroll to the side: on a small phone (WCAG 1.4.10), at
// 200 %, or with letters of twice the size (WCAG 1.4.4).
func (b *tab) fits(name string) {
	b.t.Helper()
	for _, how := range []struct {
		name, size string
		width      int64
	}{{"320 pixels wide", "", 320}, {"at 200 %", "", 640}, {"with letters of twice the size", "200%", 1280}} {
		b.looks(look{"light", how.width})
		over, err := eval[string](b, "document.documentElement.style.fontSize = "+quote(how.size)+", "+sticksOut)
		if err != nil || over != "" {
			b.t.Errorf("%s: %s, the page sticks out: %s (%v)", name, how.name, over, err)
		}
	}
	if _, err := eval[string](b, "document.documentElement.style.fontSize = ''"); err != nil {
		b.t.Error(err)
	}
}

// sticksOut is what is wider than the page, if anything is.
const sticksOut = `(page => page.scrollWidth <= page.clientWidth ? "" : "by " + (page.scrollWidth - page.clientWidth) + ": " +
	[...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > page.clientWidth).map(e => e.outerHTML.slice(0, 80)).join("; "))(document.documentElement)`

// blocks are the texts of a page, without names and numbers of somebody.
const blocks = `JSON.stringify([...document.querySelectorAll("main h1, main h2, main p, main li, main button, main label")].map(e => e.innerText.trim()))`

// checkPatient is check for a page that patients read: somebody of 11 can.
func (b *tab) checkPatient(name string) {
	b.t.Helper()
	b.check(name)
	text, err := eval[string](b, blocks)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		b.t.Fatal(err)
	}
	var page strings.Builder
	for _, block := range all {
		if block == "" {
			continue
		}
		page.WriteString(strings.TrimRight(block, ".?!") + ". ")
		if grade := reading.Grade(block); len(strings.Fields(block)) >= 10 && grade > reading.MaxGrade {
			b.t.Errorf("%s: grade %.1f, want %.0f at most: %s", name, grade, reading.MaxGrade, block)
		}
	}
	if grade := reading.Grade(page.String()); grade > reading.MaxGrade {
		b.t.Errorf("%s: the page has grade %.1f, want %.0f at most: %s", name, grade, reading.MaxGrade, page.String())
	}
}

// artefacts is where pictures are kept.
func artefacts(t *testing.T) string {
	dir := os.Getenv("PKB_ARTEFACTS")
	if dir == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (b *tab) picture(name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Errorf("no picture: %v", err)
		return
	}
	if err := os.WriteFile(filepath.Join(artefacts(b.t), name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// axe is the text of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(npm.Install(t, "."), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// violation is what axe-core finds.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

func (b *tab) violations() []violation {
	b.t.Helper()
	// Evaluated from outside, so the page's own policy against scripts can stay.
	if _, err := eval[chromedp.Void](b, axe(b.t)+"; undefined"); err != nil {
		b.t.Fatalf("axe-core does not load: %v", err)
	}
	text, err := eval[string](b, "axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify({rules: r.passes.length, violations: r.violations}))", chromedp.EvalAwaitPromise)
	if err != nil {
		b.t.Fatalf("axe-core does not run: %v", err)
	}
	var found struct {
		Rules      int
		Violations []violation
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		b.t.Fatal(err)
	}
	if found.Rules == 0 {
		b.t.Errorf("axe-core checked nothing: %s", text)
	}
	return found.Violations
}
