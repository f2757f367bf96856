// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

// routeTests are the tests of package pkb that the changes of routes must fail.
const routeTests = "ComingBack|CompleteAfterSuccess|SubmittedTwice|Meanwhile|AnotherBrowser|SeveralTabs|FetchedAhead|LinkScanner|Cookie|DoesNotFit|" +
	"FiveOpen|KeyService|HowAnAuthorization|BehindAProxy|SwitchByPOST|ThatIsNotOne|FailurePage|PageInAnother|RedirectURLs|NamesThatNew|ParseKeyring|TestWeb"

// routes are the lines that make the two routes of a browser forgive, and refuse.
var routes = []line{
	{"a callback that is loaded again is an error", "pkb/callback.go", "	case !made && !waits:", "	case true:"},
	{"anybody comes back to a link", "pkb/callback.go", "	case !made && !waits:", "	case false:"},
	{"an authorization that waits is the link", "pkb/callback.go", "	case waits && link.works():", "	case false:"},
	{"a denial after success is a success", "pkb/callback.go", "	case query.Get(\"error\") == accessDenied:", "	case false:"},
	{"an authorization that waits is unknown", "internal/custody/operate.go", "return of(r.Pair), of(r.Candidate)", "return of(r.Pair), false"},
	{"a cookie is kept after success", "pkb/web.go", "if found && (err == nil || over(err)) {", "if found && over(err) {"},
	{"another user's visit removes the cookie", "pkb/web.go", "if found && (err == nil || over(err)) {", "if found {"},
	{"the cookie is any user's", "pkb/cookie.go", "Purpose: \"authorization\", AppUserID: user}", "Purpose: \"authorization\"}"},
	{"the cookie is any client's", "pkb/cookie.go", "if kept.Client == w.clientMark() {", "if true {"},
	{"the cookie has the user", "pkb/cookie.go", "State: p.State, Verifier: p.Verifier, RedirectURL", "State: p.State, Verifier: user + p.Verifier, RedirectURL"},
	{"the cookie is of any size", "pkb/cookie.go", "size > maxCookie {", "size > 1<<20 {"},
	{"an ampersand takes six bytes", "pkb/cookie.go", "enc.SetEscapeHTML(false)", "enc.SetEscapeHTML(true)"},
	{"a cookie without its prefix is read", "pkb/cookie.go", "|| w.secure && !host {", "|| false && !host {"},
	{"the cookie of a RedirectTo over https is not Secure", "pkb/cookie.go", "if w.secure || isHTTPS(p.RedirectURL) {", "if w.secure {"},
	{"six are open", "pkb/cookie.go", "len(open)-maxAttempts+1)", "len(open)-maxAttempts)"},
	{"a start from elsewhere replaces one from here", "pkb/cookie.go", "if elsewhere(r) && surplus > len(replaced) {", "if false {"},
	{"starts from elsewhere go last", "pkb/cookie.go", "		if a.elsewhere {", "		if !a.elsewhere {"},
	{"a start from a sibling is one from here", "pkb/web.go", "case \"\", \"same-origin\", \"none\":", "case \"\", \"same-origin\", \"none\", \"same-site\":"},
	{"any number of cookies is removed", "pkb/cookie.go", "replaced[:min(surplus, maxReplaced)]", "replaced[:surplus]"},
	{"a key service out of reach is another user", "pkb/cookie.go", "		if _, _, err := w.ring.Seal(place(user), nil); err != nil {", "		if false {"},
	{"a switch starts by GET", "pkb/web.go", "	if a.another || a.share {", "	if a.share {"},
	{"sharing starts by GET", "pkb/web.go", "	if a.another || a.share {", "	if a.another {"},
	{"a switch starts from another site", "pkb/web.go", "	if w.forms.Check(r) != nil {", "	if false {"},
	{"a prefetch is a visit", "pkb/web.go", "	case ahead(r):", "	case false:"},
	{"a script's fetch is a visit", "pkb/web.go", "mode != \"\" && mode != \"navigate\" {", "false && mode != \"\" {"},
	{"what is fetched ahead may be kept", "pkb/web.go", "const statusAhead = http.StatusTooEarly", "const statusAhead = http.StatusNoContent"},
	{"HEAD is a visit", "pkb/web.go", "	case r.Method == http.MethodHead:", "	case false && r.Method == http.MethodHead:"},
	{"a query that is malformed is read", "pkb/web.go", "		return Link{}, errQuery\n", "		_ = errQuery\n"},
	{"a page claims that nothing is linked", "pkb/web.go", "		return standingLinked\n", "		return standingNone\n"},
	{"a page claims a link that has ended", "pkb/web.go", "	case link.works():", "	case link.works() || true:"},
	{"a page knows what it cannot", "pkb/web.go", "	case err != nil:\n		return standingUnknown", "	case err != nil:\n		return standingNone"},
	{"a page waits for the store", "pkb/web.go", "context.WithTimeout(ctx, 2*time.Second)", "context.WithTimeout(ctx, 2*time.Hour)"},
	{"a text is not escaped", "pkb/failurepage.go", "html.EscapeString(text) + \"</p>", "text + \"</p>"},
	{"a text of ours is in the host's language", "pkb/failurepage.go", "		lang = \"en\"\n", "		lang = \"\"\n"},
	{"a link in the dark is too dark", "pkb/failurepage.go", "a{color:#8fc7ff}", "a{color:#005eb8}"},
	{"a scheme in capitals is kept", "pkb/config.go", "return u.Scheme + s[len(u.Scheme):], \"\"", "return s, \"\""},
	{"a redirect URI is any text", "pkb/config.go", "	if !apicall.Printable(s) || strings.ContainsAny", "	if strings.ContainsAny"},
	{"a redirect URI is of any length", "pkb/config.go", "	if len(s) > maxRedirectURI {", "	if false {"},
	{"a name is any text", "pkb/environment.go", "!unicode.IsPrint(r)", "unicode.In(r)"},
	{"a header is any text", "pkb/config.go", "	if !apicall.Printable(strings.ReplaceAll(c.UserAgent, \" \", \"\")) ||", "	if"},
	{"a key is nothing", "pkb/keys/keyring.go", "	if len(key) == seal.KeySize && !slices.Contains", "	if len(key) > 99 && !slices.Contains"},
	{"one key has two ids", "internal/seal/seal.go", "other.sum == k.sum {", "false {"},
	{"a key is an id", "internal/seal/seal.go", "err == nil && len(b) == KeySize {", "false && err == nil && b != nil {"},
}
