// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package npm

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// program puts a program named npm, and nothing else, in the path.
func program(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func integrityOf(data string) string {
	sum := sha512.Sum512([]byte(data))
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// A package is fetched once, and taken for what is meant by its checksum only.
func TestPack(t *testing.T) {
	cache := t.TempDir()
	const writes = `[ "$1 $2 $3" = "pack a@1.0.0 --pack-destination" ] && printf content > "$4/a-1.0.0.tgz"`
	program(t, writes)
	if got, err := pack(t.Context(), "a@1.0.0", integrityOf("content"), cache); string(got) != "content" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := pack(t.Context(), "a@1.0.0", integrityOf("other"), cache); err == nil || errors.Is(err, ErrUnreachable) || got != nil {
		t.Errorf("another package is taken: %q, %v", got, err)
	}

	program(t, "exit 1")
	if got, err := pack(t.Context(), "a@1.0.0", integrityOf("content"), cache); string(got) != "content" || err != nil {
		t.Errorf("from the cache: %q, %v", got, err)
	}
	kept, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q stay in the cache, %v", kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := pack(t.Context(), "a@1.0.0", integrityOf("content"), cache); !errors.Is(err, ErrUnreachable) || got != nil {
		t.Errorf("no registry, and a damaged cache: %q, %v", got, err)
	}
	program(t, writes)
	if got, err := pack(t.Context(), "a@1.0.0", integrityOf("content"), cache); string(got) != "content" || err != nil {
		t.Errorf("after a damaged cache: %q, %v", got, err)
	}

	program(t, "")
	if _, err := pack(t.Context(), "b@1.0.0", integrityOf("b"), cache); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without npm: %v", err)
	}
}
