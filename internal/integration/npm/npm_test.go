// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package npm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// A lock names packages by version and checksum, and no place to get them from:
// whoever runs the tests has a registry of their own, and must get the same
// bytes.
func TestLocksNameNoRegistry(t *testing.T) {
	locks, err := filepath.Glob("../*/package-lock.json")
	if err != nil || len(locks) == 0 {
		t.Fatalf("no locks found: %v", err)
	}
	for _, name := range locks {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var lock struct {
			Packages map[string]struct{ Version, Resolved, Integrity string }
		}
		if err := json.Unmarshal(data, &lock); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for path, p := range lock.Packages {
			if path == "" {
				continue // the package itself
			}
			if p.Resolved != "" {
				t.Errorf("%s: %s names the address it came from; write the lock with npm install --package-lock-only --omit-lockfile-registry-resolved", name, path)
			}
			if p.Version == "" || p.Integrity == "" {
				t.Errorf("%s: %s has no version or no checksum", name, path)
			}
		}
	}
}
