// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package npm installs what a package-lock.json names, for tests that run other
// people's JavaScript.
package npm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/integration/services"
)

const how = "apt-get install nodejs npm (or see nodejs.org)"

// patience is how long npm may take.
const patience = 3 * time.Minute

// Node returns the path of Node.js.
func Node(t testing.TB) string {
	t.Helper()
	return services.Program(t, "Node.js", how, "node", "nodejs")
}

// Install returns the node_modules that belong to the package-lock.json in dir.
// They are kept in the user's cache, outside the repository, and installed
// there the first time; no script of a package is run.
func Install(t testing.TB, dir string) string {
	t.Helper()
	npm := services.Program(t, "npm", how, "npm")
	modules, err := install(t.Context(), npm, dir, cache(t))
	if err != nil {
		t.Fatal(err)
	}
	return modules
}

// cache is where installed packages stay.
func cache(t testing.TB) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir() // no home: they are installed each time
	}
	return filepath.Join(dir, "pkb-go", "npm")
}

func install(ctx context.Context, npm, dir, cache string) (modules string, err error) {
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil { //nolint:gosec // a test names its own directory
			return "", err
		}
		_, _ = sum.Write(files[name])
	}
	installed := filepath.Join(cache, hex.EncodeToString(sum.Sum(nil)[:12]))
	modules = filepath.Join(installed, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}

	if err := os.MkdirAll(cache, 0o750); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a leftover in a cache
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(work, name), data, 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci in a copy of %s: %w\n%s", dir, err, out)
	}
	// Whole or not at all; another test may have been faster.
	if err := os.Rename(work, installed); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(modules); there != nil {
			return "", err
		}
	}
	return modules, nil
}
