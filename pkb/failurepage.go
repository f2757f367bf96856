// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
)

const failureStyle = `body{font:1.1rem/1.5 sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}` +
	`a{color:#005eb8}a:focus{outline:3px solid #1a1a1a;background:#ffeb3b;color:#1a1a1a}`

// failurePolicy lets the page load nothing but its own style.
var failurePolicy = func() string {
	sum := sha256.Sum256([]byte(failureStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// failurePage returns the page for a visit that made no link. It escapes text and
// back, though both come from this program. It uses no template engine, which would
// keep the linker from dropping unused methods, at a cost of several MiB.
func failurePage(text, back string) string {
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Your record was not linked</title>
<style>` + failureStyle + `</style>
</head>
<body>
<main>
<h1>Your record was not linked</h1>
<p>` + html.EscapeString(text) + `</p>
<p><a href="` + html.EscapeString(back) + `">Go back to the app</a></p>
</main>
</body>
</html>
`
}
