// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package npm

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrUnreachable: npm is not installed, or its registry does not have the package or
// cannot be reached.
var ErrUnreachable = errors.New("npm cannot fetch it; " + how + ", and a registry in npm's configuration")

// Pack returns the tarball of a package such as "name@1.0.0", from the registry that npm
// is configured for, and from the user's cache after that. The integrity is that of a
// package-lock.json. Nothing of the package is installed or run.
func Pack(ctx context.Context, spec, integrity string) (tarball []byte, err error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		if dir, err = os.MkdirTemp("", "pkb-go-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // no home: they are fetched each time
	}
	return pack(ctx, spec, integrity, filepath.Join(dir, "pkb-go", "npm"))
}

func pack(ctx context.Context, spec, integrity, cache string) ([]byte, error) {
	sum := sha256.Sum256([]byte(integrity))
	kept := filepath.Join(cache, hex.EncodeToString(sum[:12])+".tgz")
	if tarball, err := os.ReadFile(kept); err == nil && has(tarball, integrity) { //nolint:gosec // a file of our own
		return tarball, nil
	}
	if err := os.MkdirAll(cache, 0o750); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(cache, "packing-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a leftover in a cache
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "pack", spec, "--pack-destination", work, "--ignore-scripts", "--loglevel=error")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w\n%s", spec, ErrUnreachable, err, out)
	}
	fetched, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(fetched) != 1 {
		return nil, fmt.Errorf("npm pack %s left %d tarballs", spec, len(fetched))
	}
	tarball, err := os.ReadFile(fetched[0])
	if err != nil {
		return nil, err
	}
	if !has(tarball, integrity) {
		return nil, fmt.Errorf("%s is not the package that is meant: its checksum differs", spec)
	}
	return tarball, os.Rename(fetched[0], kept)
}

// has reports whether data has the checksum.
func has(data []byte, integrity string) bool {
	sum := sha512.Sum512(data)
	return integrity == "sha512-"+base64.StdEncoding.EncodeToString(sum[:])
}
