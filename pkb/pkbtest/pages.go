// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
)

// Every colour has a contrast of at least 4.5 to what it stands on.
const pageStyle = `body{margin:0;font:1.1rem/1.5 system-ui,sans-serif;color:#212b32;background:#fff}` +
	`header{background:#005eb8;color:#fff;font-weight:600}` +
	`header p,main,footer{max-width:38rem;margin:0 auto;padding:.8rem 1rem}` +
	`h1{font-size:1.8rem;line-height:1.2}label{display:block;font-weight:600}` +
	`select,input{font:inherit;box-sizing:border-box;width:100%;padding:.4rem;border:2px solid #4c6272;border-radius:0;color:#212b32;background:#fff}` +
	`button{font:inherit;font-weight:600;padding:.6rem 1.4rem;margin:.4rem .6rem .4rem 0;border:2px solid transparent;border-radius:4px;color:#fff;background:#00703c}` +
	`button[value=deny]{background:#4c6272}a{color:#005eb8}` +
	`:focus-visible{outline:4px solid #212b32;outline-offset:2px}` +
	`.problem{border-left:.3rem solid #d5281b;padding-left:.8rem;color:#aa1a10}` +
	`.hint{margin:0;color:#4c6272}.note{border-left:.3rem solid #005eb8;padding-left:.8rem}` +
	`footer{border-top:1px solid #4c6272;color:#4c6272}`

// pagePolicy lets a page do nothing but show its own style. There is no
// form-action: Chromium applies it to the redirect too, which must reach the
// app.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

func page(title, content string) *template.Template {
	return template.Must(template.New(title).Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>` + title + ` - PKB for tests</title>
<style>` + pageStyle + `</style>
</head>
<body>
<header><p>PKB for tests</p></header>
<main>
` + content + `
</main>
<footer><p>This is a PKB for tests. It is not Patients Know Best, and its patients are made up.</p></footer>
</body>
</html>
`))
}

var errorPage = page("Error", `<h1>This did not work</h1>
<p role="alert">{{.}}</p>
<p>Nothing was sent to the app.</p>`)

// The forms' address is relative, so that it works under any path.
var loginPage = page("{{if .Problem}}Error: {{end}}Log in", `<h1>Log in</h1>
{{if .Problem}}<p role="alert" class="problem" id="problem">{{.Problem}}</p>
{{end}}<p>To go on to <strong>{{.Client}}</strong>, choose who you are. There is no password.</p>
<form method="get" action="apiAuthorize.action">
{{range .Params}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}{{if or .Scenarios .Others}}<p><label for="patient">Log in as</label>
<select id="patient" name="patient">
{{if .Scenarios}}<optgroup label="Scenarios">
{{range .Scenarios}}<option value="{{.PublicID}}">{{.Scenario}}: {{.FirstName}} {{.LastName}}{{if .About}}, who {{.About}}{{end}}</option>
{{end}}</optgroup>
{{end}}{{if .Others}}<optgroup label="Patients">
{{range .Others}}<option value="{{.PublicID}}">{{.Title}} {{.FirstName}} {{.LastName}}, born {{.DateOfBirth}}</option>
{{end}}</optgroup>
{{end}}</select></p>
{{else}}<p>This server has no patients yet.</p>
{{end}}<p><label for="who">Or type a public id or an e-mail address</label>
<span class="hint" id="hint">This counts if it is not empty.{{if .Unlisted}} The list leaves out {{.Unlisted}} of the patients here.{{end}}</span>
<input id="who" name="who" value="{{.Who}}" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="hint{{if .Problem}} problem{{end}}"{{if .Problem}} aria-invalid="true"{{end}}></p>
<button type="submit">Log in</button>
</form>`)

var consentPage = page("Approve access", `<h1>Approve access to your record</h1>
<p>You are logged in as <strong>{{.Patient.FirstName}} {{.Patient.LastName}}</strong>. <a href="{{.Again}}">Log in as somebody else</a></p>
<p>The app <strong>{{.Client}}</strong> asks for access to your health record.</p>
{{if .Patient.Scenario}}<p class="note">Scenario: {{.Patient.Scenario}}.{{if .Patient.About}} This patient {{.Patient.About}}.{{end}}</p>
{{end}}<form method="post" action="apiAuthorize.action">
{{range .Params}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}<input type="hidden" name="patient" value="{{.Patient.PublicID}}">
<button type="submit" name="decision" value="approve">Approve</button>
<button type="submit" name="decision" value="deny">Deny</button>
</form>`)

func sendPage(w http.ResponseWriter, status int, t *template.Template, data any) {
	page := mustRender(t, data)
	guardPage(w)
	send(w, status, "text/html; charset=utf-8", page)
}

// mustRender panics when a page cannot be made; the pages are constants.
func mustRender(t *template.Template, data any) []byte {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		panic(fmt.Sprintf("pkbtest: a page could not be made: %v", err))
	}
	return b.Bytes()
}

// guardPage keeps what the page and its address hold from caches and others.
func guardPage(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", pagePolicy)
}
