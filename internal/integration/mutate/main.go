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
// test -overlay). Of each wrapper, each method that a kind of sink calls is made to
// return the content: fmt, slog, JSON, text, binary, SQL, YAML, BSON, CBOR; and of what
// all of them embed, each is removed, and made to return it. In addition, the few lines
// that keep the texts of other errors out of
// errors and logs are changed one by one, and so are the lines that make the two routes of
// a browser forgive and refuse (-only "^routes:"), and those that keep a Telemetry or a
// Logger from failing what it watches (-only "^watchers:"), which tests of package pkb
// find. Each mutation is printed, with the test that caught it; the last line is JSON. The
// status is 1 if one was not caught.
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
	"strconv"
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
	program := sync.OnceValues(func() (string, error) {
		_, files, err := hookMutations(root)
		if err != nil {
			return "", err
		}
		return builtWithHooks(ctx, root, work, files)
	})
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
			caught, output, err := "", "", error(nil)
			if m.chosen == "" {
				caught, output, err = try(ctx, root, work, i+1, m)
			} else if built, failed := program(); failed != nil {
				err = failed
			} else {
				caught, output, err = tryHook(ctx, root, built, m.chosen)
			}
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
	overlay, err := overlaid(root, work, strconv.Itoa(number), m.files)
	if err != nil {
		return "", "", err
	}
	packages, searches := []string{"./internal/canary"}, searches
	if m.tests != "" {
		packages, searches = []string{"./pkb"}, []string{m.tests}
	}
	switch m.dir {
	case "internal/custody":
		if m.tests == "" {
			packages = append(packages, "./internal/custody")
		}
	case "internal/conceal":
		packages = []string{"./internal/conceal"} // it is all that is in it, and quick
	}
	for _, search := range searches {
		if m.dir == "internal/conceal" {
			search = "^TestEverySink$"
		}
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
		if failed := failedTest(printed); failed != "" {
			return failed, string(printed), nil
		}
		if m.gentler != nil {
			return try(ctx, root, work, number, *m.gentler)
		}
		return "", string(printed), errors.New("it does not compile, and shows nothing")
	}
	return "", "", nil
}

// overlaid writes changed files, and the list of them that go takes; it returns its name.
func overlaid(root, work, name string, files map[string][]byte) (string, error) {
	replace := make(map[string]string)
	for file, text := range files {
		changed := filepath.Join(work, name+"-"+strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(file))] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(work, "overlay-"+name+".json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

var (
	failure = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	crash   = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

// failedTest names the test that failed, or is "" if none ran.
func failedTest(printed []byte) string {
	if failed := failure.FindSubmatch(printed); failed != nil {
		return string(failed[1])
	}
	if crash.Match(printed) {
		return "the end of the test's process"
	}
	return ""
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
