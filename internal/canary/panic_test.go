// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

const dies = "PKB_CANARY_DIES_OF"

// A process that dies of a value writes it, and who was running with what, to
// where logs are kept.
func TestPanicsTellNothing(t *testing.T) {
	if name := os.Getenv(dies); name != "" {
		panic(types(t)[name][0].value)
	}
	for name := range types(t) {
		if strings.HasPrefix(name, "tokenwire.") || strings.HasPrefix(name, "custody.") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicsTellNothing$")
			cmd.Env = append(os.Environ(), dies+"="+name, "GOTRACEBACK=all")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "panic: ") {
				t.Fatalf("it did not die: %v\n%s", err, out)
			}
			for _, told := range []string{"canary-", "canarina", "Ada", "9991000011"} {
				// The runtime writes a string as it is, and a public id is one.
				if strings.Contains(string(out), told) {
					t.Errorf("%q is in\n%s", told, out)
				}
			}
			if strings.Contains(string(out), publicID) && name != "pkb.PublicID" {
				t.Errorf("the public id is in\n%s", out)
			}
		})
	}
}
