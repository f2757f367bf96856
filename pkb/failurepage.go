// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"

	"github.com/betawerk/pkb-go/internal/wording"
)

// PageTexts are the texts of the page that Web shows when no link was made, for an
// app in another language. An empty one is in English.
type PageTexts struct {
	// Lang is the language, such as "cy"; empty means "en".
	Lang string
	// NotLinked, StillLinked and Trouble are the titles: for a user without a link
	// that works, for one with a link that works, and where that is not known.
	NotLinked, StillLinked, Trouble string
	// Unchanged comes first on the page of a user with a link that works.
	Unchanged string
	// GoBack leads to WebConfig.Done.
	GoBack string
	// Errors are what happened and what the patient can do, by Failure.Code.
	Errors map[string]string
}

// The colours are those of the NHS website, and in the dark those of the same hue
// with the same contrast; a test measures them.
const failureStyle = `:root{color-scheme:light dark}` +
	`body{font:1.1875rem/1.5 sans-serif;max-width:40rem;margin:0 auto;padding:1.5rem 1rem;overflow-wrap:break-word;color:#212b32;background:#f0f4f5}` +
	`h1{font-size:2rem;line-height:1.25;margin:0 0 1.5rem}` +
	`a{color:#005eb8;display:inline-block;padding:.5rem 0}` +
	`a:focus{color:#212b32;background:#ffeb3b;outline:4px solid transparent;box-shadow:0 -2px #ffeb3b,0 4px #212b32;text-decoration:none}` +
	`@media(prefers-color-scheme:dark){body{color:#f0f4f5;background:#212b32}a{color:#8fc7ff}}`

// failurePolicy lets the page load nothing but its own style.
var failurePolicy = func() string {
	sum := sha256.Sum256([]byte(failureStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// standing is whether a user's link works.
type standing int

const (
	standingUnknown standing = iota
	standingNone
	standingLinked
)

// failurePage is the page for a visit that made no link.
type failurePage struct {
	texts PageTexts
	code  wording.Code
	state standing
	back  string
}

func (p failurePage) title() string {
	switch p.state {
	case standingLinked:
		return cmp.Or(p.texts.StillLinked, wording.StillLinked)
	case standingNone:
		return cmp.Or(p.texts.NotLinked, wording.NotLinked)
	}
	return cmp.Or(p.texts.Trouble, wording.Trouble)
}

// unchanged is empty where it would not be true.
func (p failurePage) unchanged() string {
	if p.state != standingLinked || p.code == "overtaken" {
		return ""
	}
	return cmp.Or(p.texts.Unchanged, wording.Unchanged)
}

// text is what happened and what to do, and the language if it is not the page's.
func (p failurePage) text() (text, lang string) {
	if text = p.texts.Errors[string(p.code)]; text != "" {
		return text, ""
	}
	if p.texts.Lang != "" && p.texts.Lang != "en" {
		lang = "en"
	}
	return wording.Of(p.code).Patient, lang
}

func (p failurePage) failure(err error) Failure {
	text, _ := p.text()
	if unchanged := p.unchanged(); unchanged != "" {
		text = unchanged + " " + text
	}
	return Failure{Err: err, Code: string(p.code), Status: wording.Of(p.code).Status, Linked: p.state == standingLinked, Title: p.title(), Text: text}
}

func (p failurePage) write(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Content-Security-Policy", failurePolicy)
	rw.WriteHeader(wording.Of(p.code).Status)
	_, _ = io.WriteString(rw, p.html())
}

// html escapes every text, though all come from this program. It uses no template
// engine, which would keep the linker from dropping unused methods, at a cost of
// several MiB.
func (p failurePage) html() string {
	text, lang := p.text()
	title := html.EscapeString(p.title())
	page := `<!doctype html>
<html lang="` + html.EscapeString(cmp.Or(p.texts.Lang, "en")) + `" dir="auto">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>` + title + `</title>
<style>` + failureStyle + `</style>
</head>
<body>
<main>
<h1>` + title + `</h1>
`
	if unchanged := p.unchanged(); unchanged != "" {
		page += paragraph("", unchanged)
	}
	return page + paragraph(lang, text) + `<p><a href="` + html.EscapeString(p.back) + `">` + html.EscapeString(cmp.Or(p.texts.GoBack, wording.GoBack)) + `</a></p>
</main>
</body>
</html>
`
}

func paragraph(lang, text string) string {
	if lang != "" {
		lang = ` lang="` + lang + `"`
	}
	return "<p" + lang + ">" + html.EscapeString(text) + "</p>\n"
}
