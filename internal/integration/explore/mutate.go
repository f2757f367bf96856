// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// caught are the line of JSON.
type caught struct {
	Mutations int `json:"mutations"`
	Caught    int `json:"caught"`
}

// A mutation takes the place of a rule by another text. It should be caught by
// exploring a setup, or by a test.
type mutation struct {
	name  string
	edits []edit
	setup string // where it should show
	test  string // or the package and the tests, divided by a space
}

// edit is one change. The old text must be in the file exactly once.
type edit struct{ file, before, after string }

// bound is how long exploring may take to find a mutation. Most take a second.
const bound = "90s"

// mutations tries all that are wanted.
func mutations(ctx context.Context, out io.Writer, wanted *regexp.Regexp, together int) (caught, error) {
	root, err := findRoot(ctx)
	if err != nil {
		return caught{}, err
	}
	work, err := os.MkdirTemp("", "explore")
	if err != nil {
		return caught{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := fits(root, all); err != nil {
		return caught{}, err
	}
	var c caught
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed error
	free := make(chan struct{}, max(together, 1))
	for i, m := range all {
		if !wanted.MatchString(m.name) {
			continue
		}
		c.Mutations++
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			start := time.Now()
			by, err := m.try(ctx, root, filepath.Join(work, fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = errors.Join(failed, fmt.Errorf("%s: %w", m.name, err))
			case by == "":
				fmt.Fprintf(out, "%-44s NOT CAUGHT, %.0fs\n", m.name, time.Since(start).Seconds())
			default:
				c.Caught++
				fmt.Fprintf(out, "%-44s %s, %.0fs\n", m.name, by, time.Since(start).Seconds())
			}
		})
	}
	group.Wait()
	if c.Mutations == 0 {
		failed = errors.New("no mutation is called that")
	}
	return c, failed
}

// fits reports whether every old text is in its file exactly once.
func fits(root string, all []mutation) (err error) {
	for _, m := range all {
		for _, e := range m.edits {
			text, readErr := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file))) //nolint:gosec // a file of the list
			if readErr != nil {
				return readErr
			}
			if n := bytes.Count(text, []byte(e.before)); n != 1 {
				err = errors.Join(err, fmt.Errorf("%s: %s has this %d times: %s", m.name, e.file, n, e.before))
			}
		}
	}
	return err
}

// overlay writes the changed files, and the list that the compiler reads.
func (m *mutation) overlay(root, work string) (string, error) {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return "", err
	}
	changed := map[string]string{}
	for _, e := range m.edits {
		text, ok := changed[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file))) //nolint:gosec // a file of the list
			if err != nil {
				return "", err
			}
			text = string(read)
		}
		changed[e.file] = strings.Replace(text, e.before, e.after, 1)
	}
	replace := map[string]string{}
	for file, text := range changed {
		name := filepath.Join(work, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = name
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(work, "overlay.json")
	return name, os.WriteFile(name, text, 0o600)
}

// try says what catches a mutation, "" for nothing.
func (m *mutation) try(ctx context.Context, root, work string) (string, error) {
	overlay, err := m.overlay(root, work)
	if err != nil {
		return "", err
	}
	if m.test != "" {
		return m.tested(ctx, root, overlay)
	}
	program := filepath.Join(work, "explore")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, "./explore")
	build.Dir = filepath.Join(root, "internal", "integration")
	build.Env = append(os.Environ(), "GOWORK=off")
	if printed, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not compile, and shows nothing: %w\n%s", err, printed)
	}
	printed, err := exec.CommandContext(ctx, program, "-only", m.setup, "-for", bound, "-first").CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	rule := regexp.MustCompile(`(?m)^I\d+ .*, in ".*":$`).FindString(string(printed))
	if rule == "" {
		return "", fmt.Errorf("it ends without a violation: %w\n%s", err, tail(printed))
	}
	return strings.TrimSuffix(rule, ":"), nil
}

// tested runs the tests that should fail.
func (m *mutation) tested(ctx context.Context, root, overlay string) (string, error) {
	pkg, tests, _ := strings.Cut(m.test, " ")
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-run", tests, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	printed, err := cmd.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	if failed := regexp.MustCompile(`(?m)^--- FAIL: (\w+)`).FindSubmatch(printed); failed != nil {
		return string(failed[1]), nil
	}
	return "", fmt.Errorf("it does not compile, and shows nothing: %w\n%s", err, tail(printed))
}

func tail(b []byte) []byte { return b[max(len(b)-4000, 0):] }

// findRoot returns the directory of the root module.
func findRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/betawerk/pkb-go").Output()
	if err != nil {
		return "", errors.New("run it in a clone of the repository: it mutates the source")
	}
	return strings.TrimSpace(string(out)), nil
}
