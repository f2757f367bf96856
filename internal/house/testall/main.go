// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command testall runs the tests of modules, one after the other and each even
// if an earlier one fails, and ends with what failed, what was skipped, and how
// to get what was missing:
//
//	go run ./internal/house/testall [-race] [-short] [-long "DIRECTORY ..."] [-alone "DIRECTORY ..."] [-p N] [-not "MODULE ..."] MODULE...
//
// It is what make test and make integration do.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeout is how long the tests of one package may take. Half of the processor
// may belong to somebody else.
const timeout = "30m"

func main() {
	race := flag.Bool("race", false, "use the race detector")
	short := flag.Bool("short", false, "run the short form of tests that have one")
	long := flag.String("long", "", "directories whose tests are run first without the race detector, with which they take a shorter form")
	alone := flag.String("alone", "", "directories of packages in which nothing runs beside anything else, and which are tested without the race detector")
	not := flag.String("not", "", "modules that are not among these, to be named in the end")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: go run ./internal/house/testall [flags] MODULE...")
		flag.PrintDefaults()
	}
	together := flag.Int("p", 0, "how many packages are tested at a time; 0 for as many as there are processors")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	for _, dir := range strings.Fields(*alone) {
		if _, err := os.Stat(dir); err != nil { // a name that is misspelt would change nothing
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	always := []string{"test", "-json", "-timeout", timeout}
	if *together > 0 {
		always = append(always, "-p", strconv.Itoa(*together))
	}
	plain := slices.Clone(always)
	if *short {
		plain = append(plain, "-short")
	}
	raced := plain
	if *race {
		raced = append(slices.Clone(plain), "-race")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	began := time.Now()
	r := results{out: os.Stdout, skipped: make(map[string]int)}
	all := func(dir string, args, packages []string) {
		if ctx.Err() == nil && len(packages) > 0 {
			fmt.Printf("== %s\n", strings.Join(append([]string{dir}, args[len(always):]...), " "))
			r.module(dir, goTest(ctx, dir, slices.Concat(args, packages), &r))
		}
	}
	for _, dir := range strings.Fields(*long) {
		all(dir, plain, []string{"./..."})
	}
	for _, module := range flag.Args() {
		if !*race {
			all(module, plain, []string{"./..."})
			continue
		}
		rest, single, err := split(ctx, module, strings.Fields(*alone))
		if err != nil {
			r.module(module, err)
		}
		all(module, plain, single)
		all(module, raced, rest)
	}
	interrupted := ctx.Err() != nil
	stop()
	r.summary(strings.Fields(*not), time.Since(began))
	if interrupted || len(r.failed) > 0 {
		os.Exit(1)
	}
}

// split divides a module's packages into those in the directories named by alone, and
// the rest, which is tested with the race detector.
func split(ctx context.Context, module string, alone []string) (rest, single []string, err error) {
	if !slices.ContainsFunc(alone, func(dir string) bool { return within(module, dir) }) {
		return []string{"./..."}, nil, nil
	}
	printed, err := goIn(ctx, module, "list", "-f", "{{.Dir}}", "./...").Output()
	if err != nil {
		return nil, nil, err
	}
	root, err := filepath.Abs(module)
	if err != nil {
		return nil, nil, err
	}
	for dir := range strings.Lines(string(printed)) {
		name, err := filepath.Rel(root, strings.TrimSpace(dir))
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(alone, path.Join(module, filepath.ToSlash(name))) {
			single = append(single, "./"+filepath.ToSlash(name))
		} else {
			rest = append(rest, "./"+filepath.ToSlash(name))
		}
	}
	return rest, single, nil
}

// within reports whether dir is in a module, or in one that is inside it.
func within(module, dir string) bool {
	return module == "." || dir == module || strings.HasPrefix(dir, module+"/")
}

// goIn is a go command in a module.
func goIn(ctx context.Context, module string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = module, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD=") // each module stands on its own
	return cmd
}

// goTest runs go in a module and lets r read what it prints.
func goTest(ctx context.Context, module string, args []string, r *results) error {
	cmd := goIn(ctx, module, args...)
	printed, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return errors.Join(r.read(printed), cmd.Wait())
}

// event is a line of go test -json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// results are those of all modules.
type results struct {
	out    io.Writer
	passed int
	// failed are tests, packages and modules; skipped are the reasons for which
	// tests were skipped, with how many.
	failed  []string
	skipped map[string]int
}

// read reads what go test -json prints, passes on the line of each package, and
// of tests what those have printed that fail.
func (r *results) read(printed io.Reader) error {
	said := make(map[string]*bytes.Buffer) // by package, or package and test
	buffer := func(of string) *bytes.Buffer {
		if said[of] == nil {
			said[of] = new(bytes.Buffer)
		}
		return said[of]
	}
	lines := bufio.NewReader(printed)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line, buffer)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *results) line(line []byte, buffer func(of string) *bytes.Buffer) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		fmt.Fprintf(r.out, "%s", line) // of a go command that does not get as far as tests
		return
	}
	of := cmp.Or(e.Package, e.ImportPath)
	if e.Test != "" {
		of += " " + e.Test
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		switch {
		case e.Test != "":
			buffer(of).WriteString(e.Output)
		case strings.HasPrefix(e.Output, "ok "), strings.HasPrefix(e.Output, "ok\t"):
			fmt.Fprint(r.out, e.Output)
		default:
			buffer(of).WriteString(e.Output)
		}
	case "pass":
		if e.Test != "" {
			r.passed++
		}
	case "skip":
		if e.Test != "" { // a package is skipped that has no tests
			r.skipped[reason(buffer(of).String())]++
		}
	case "fail":
		// A test fails with the tests in it, which have been named, and a package
		// with its tests.
		named := slices.ContainsFunc(r.failed, func(f string) bool { return strings.HasPrefix(f, of+"/") || strings.HasPrefix(f, of+" ") })
		if !named {
			r.failed = append(r.failed, of)
		}
		_, _ = buffer(of).WriteTo(r.out)
	}
}

// module notes how the go command ended that ran a module's tests.
func (r *results) module(name string, err error) {
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || len(r.failed) == 0 {
		fmt.Fprintln(r.out, err)
		r.failed = append(r.failed, name+": "+err.Error())
	}
}

var place = regexp.MustCompile(`(?m)^\s*\S+\.go:\d+: `)

// reason is what a skipped test has said.
func reason(output string) string {
	last := ""
	for line := range strings.Lines(output) {
		if at := place.FindString(line); at != "" {
			last = strings.TrimSpace(strings.TrimPrefix(line, at))
		}
	}
	return cmp.Or(last, "without a reason")
}

func (r *results) summary(elsewhere []string, took time.Duration) {
	fmt.Fprintln(r.out)
	if len(r.failed) > 0 {
		fmt.Fprintln(r.out, "Failed:")
		for _, name := range r.failed {
			fmt.Fprintf(r.out, "  %s\n", name)
		}
	}
	skipped := 0
	if len(r.skipped) > 0 {
		fmt.Fprintln(r.out, "Skipped:")
		for _, why := range slices.Sorted(maps.Keys(r.skipped)) {
			skipped += r.skipped[why]
			fmt.Fprintf(r.out, "  %d: %s\n", r.skipped[why], why)
		}
	}
	if len(elsewhere) > 0 {
		fmt.Fprintf(r.out, "Not among these, because they need servers, browsers or minutes to compile (make integration):\n  %s\n", strings.Join(elsewhere, "\n  "))
	}
	fmt.Fprintf(r.out, "It took %v.\n%d passed, %d failed, %d skipped\n", took.Round(time.Second), r.passed, len(r.failed), skipped)
}
