// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/betawerk/pkb-go/pkb/keys"
)

// A key that others can read, or change, is not used.
func TestKeyFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such modes here")
	}
	key, err := keys.Generate("first")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, private := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o440: false, 0o604: false, 0o644: false, 0o620: false, 0o602: false, 0o777: false,
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := (&settings{keysFile: file}).keys()
		if private && err != nil || !private && !errors.Is(err, errExposed) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

// A pipe, such as bash's <(...), has no file for others to read.
func TestKeysFromAPipe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/dev/fd is another thing here")
	}
	key, err := keys.Generate("first")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(key); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ring, err := (&settings{keysFile: fmt.Sprintf("/dev/fd/%d", r.Fd())}).keys()
	if err != nil || len(ring.KeyIDs()) != 1 {
		t.Errorf("%v, %v", ring, err)
	}
}
