// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package transports

import (
	"fmt"
	"strings"
)

const head = `# Transports of your own

` + "`Config.HTTPClient`" + ` sends all requests of this library. Requests to the token endpoint hold what cannot be had twice, so they are
not bound by your client's ` + "`Timeout`" + `, and follow no redirect. If its ` + "`Transport`" + ` is a ` + "`*http.Transport`" + `, they are sent with a copy
that keeps no connection and has no ` + "`ResponseHeaderTimeout`" + `; proxies, dialling and TLS are yours. Any other transport is used as it
is. If it sends a token request again with net/http, that is cut off before the token is in it. If it sends with anything
else, such as HTTP/3, this library cannot notice.

This table is written by a test that runs each row (` + "`go test ./internal/integration/transports -write`" + `); do not edit.
In each row two users link, read and refresh for an hour; token responses are lost, slow by 20 seconds, and redirects; and responses
about patients may be cached. In every row no code and no refresh token is presented twice, no user reads another's record, and no
other server gets a token.

| transport | setting | result |
|---|---|---|
`

// page is the page of the docs. Each row has its results over HTTP/1.1 and HTTP/2.
func page(found [][2]result) string {
	var b strings.Builder
	b.WriteString(head)
	for i, r := range rows {
		one, two := text(&found[i][0]), text(&found[i][1])
		both := one
		if one != two {
			both = fmt.Sprintf("over HTTP/1.1 %s; over HTTP/2 %s", one, two)
		}
		if r.advice != "" {
			both += ". " + r.advice
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.transport, r.setting, strings.ReplaceAll(both, "|", "\\|"))
	}
	return b.String()
}

func text(r *result) string {
	switch {
	case len(r.faults) > 0:
		return "FAILS: " + strings.Join(r.faults, "; ")
	case r.refused != "":
		return "refused by `New`: " + strings.ReplaceAll(r.refused, "\n", "; ")
	case r.unlinked != "":
		return "no link is made: " + r.unlinked
	case len(r.notes) > 0:
		return "works, with a note: " + strings.Join(r.notes, "; ")
	}
	return "works"
}
