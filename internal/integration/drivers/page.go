// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/betawerk/pkb-go/internal/integration/drivers/trial"
)

const head = `# Drivers, engines and poolers

Written by a command that runs each row (` + "`go run ./internal/integration/drivers`" + `); do not edit.
Every row that works passes the whole contract of storetest, and then writes and reads
through sixteen goroutines without an error or another's record. Every row that is
refused is refused by ` + "`Store.Migrate`, and by `Store.Check`" + `, before anything is written.

| driver | setting | engine | result |
|---|---|---|---|
`

// page is the page of the docs.
func page(rows []trial.Row) string {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range rows {
		result := "works"
		switch {
		case r.Fault != "":
			result = "FAILS: " + r.Fault
		case r.Refused != "":
			result = "refused: " + r.Refused
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Driver, r.Setting, r.Engine, strings.ReplaceAll(result, "|", "\\|"))
	}
	return b.String()
}
