// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command mutate takes the redaction off one type after the other and runs the
// tests that search for what must not be printed:
//
//	go run ./internal/integration/mutate
//
// It finds the types by their methods: whatever has Format, GoString, LogValue or
// MarshalJSON in a package that hosts or tokens meet. Those
// methods are taken out of a copy of the source that only the compiler sees (go
// test -overlay); beside them, the few lines that keep others' words out of
// errors and logs are changed one by one. Each mutation is printed, with the test
// that caught it; the last line is JSON. The status is 1 if one was not caught.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// figures are the line of JSON.
type figures struct {
	Mutations int `json:"mutations"`
	Caught    int `json:"caught"`
}

// searches are the tests, the quick one first: how each type prints, and then the
// search for canaries. The package of the type has a say about what only it has.
var searches = []string{"^(TestTypesPrintWhatTheyAreMeantTo|TestNothingOfTokensIsPrinted)$", "^(TestCanariesDoNotGetOut|TestPanicsTellNothing)$"}

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "try the mutations that match this regular expression only")
	together := flag.Int("p", 2, "how many to try at a time")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		log.Fatal(err)
	}
	f, err := mutate(context.Background(), os.Stdout, wanted, *together)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
	if f.Caught != f.Mutations {
		os.Exit(1)
	}
}

// mutate tries all wanted mutations.
func mutate(ctx context.Context, out io.Writer, wanted *regexp.Regexp, together int) (figures, error) {
	root, err := findRoot()
	if err != nil {
		return figures{}, err
	}
	all, err := mutations(root)
	if err != nil {
		return figures{}, err
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return figures{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if caught, output, err := try(ctx, root, work, 0, mutation{name: "none", dir: "internal/custody"}); err != nil || caught != "" {
		return figures{}, fmt.Errorf("the tests do not pass as it is, so a failure shows nothing: %s%w\n%s", caught, err, output)
	}

	var f figures
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed error
	free := make(chan struct{}, max(together, 1))
	for i, m := range all {
		if !wanted.MatchString(m.name) {
			continue
		}
		f.Mutations++
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			start := time.Now()
			caught, output, err := try(ctx, root, work, i+1, m)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = errors.Join(failed, fmt.Errorf("%s: %w\n%s", m.name, err, output))
			case caught == "":
				fmt.Fprintf(out, "%-50s NOT CAUGHT\n", m.name)
			default:
				f.Caught++
				fmt.Fprintf(out, "%-50s caught by %s, %.0fs\n", m.name, caught, time.Since(start).Seconds())
			}
		})
	}
	group.Wait()
	if f.Mutations == 0 && failed == nil {
		failed = errors.New("no mutation is called that")
	}
	return f, failed
}

// try runs the tests with one mutation, and names the one that failed.
func try(ctx context.Context, root, work string, number int, m mutation) (caught, output string, err error) {
	overlay := filepath.Join(work, fmt.Sprintf("overlay%d.json", number))
	replace := make(map[string]string)
	for name, text := range m.files {
		changed := filepath.Join(work, fmt.Sprintf("%d-%s", number, strings.ReplaceAll(name, "/", "-")))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			return "", "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(name))] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", "", err
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return "", "", err
	}
	packages := []string{"./internal/canary"}
	if m.dir == "internal/custody" {
		packages = append(packages, "./internal/custody")
	}
	for _, search := range searches {
		args := append([]string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-run", search}, packages...)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOWORK=off")
		printed, err := cmd.CombinedOutput()
		switch exit := (*exec.ExitError)(nil); {
		case err == nil:
			continue
		case !errors.As(err, &exit):
			return "", string(printed), err
		}
		if failed := regexp.MustCompile(`(?m)^--- FAIL: (\w+)`).FindSubmatch(printed); failed != nil {
			return string(failed[1]), string(printed), nil
		}
		if m.gentler != nil {
			return try(ctx, root, work, number, *m.gentler)
		}
		return "", string(printed), errors.New("it does not compile, and shows nothing")
	}
	return "", "", nil
}

// findRoot returns the directory of the root module.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module github.com/betawerk/pkb-go\n") { //nolint:gosec // the clone it runs in
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it in a clone of the repository: it mutates the source")
		}
		dir = filepath.Dir(dir)
	}
}
