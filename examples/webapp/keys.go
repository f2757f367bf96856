// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/betawerk/pkb-go/pkb/keys"
)

// keyring reads the keys that seal tokens, and makes one the first time. All
// replicas need the same; without it every patient has to approve again. A real
// host keeps it with its other secrets, and not next to the database.
func keyring(path string) (*keys.Keyring, error) {
	if err := makeKey(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others on this machine: chmod 600 it, and change the key if somebody may have", path)
	}
	text, err := os.ReadFile(path) //nolint:gosec // whoever starts the program names the file
	if err != nil {
		return nil, err
	}
	return keys.Parse(string(text))
}

// makeKey makes the file if it is missing, whole or not at all: another replica
// may be doing the same.
func makeKey(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key, err := keys.Generate("webapp-1")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".key-") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is there under its own name too
	_, err = file.WriteString(key + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
