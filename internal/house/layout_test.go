// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// topLevel is what the root of the repository holds, in addition to dot files.
var topLevel = []string{
	"pkb", "tokenstore", "fhir", "examples", "internal",
	"doc.go", "go.mod", "go.sum", "go.work", "go.work.sum",
	"README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "Makefile",
	"llms.txt", // what a coding assistant reads first (llmstxt.org)
}

func strangersAtTheTop(names []string) []string {
	seen := make(map[string]bool)
	for _, name := range names {
		top, _, _ := strings.Cut(name, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(topLevel, top) {
			seen[top+" does not belong at the top of the repository"] = true
		}
	}
	return sortedKeys(seen)
}

func TestTopLevel(t *testing.T) {
	all := files(t, func(string) bool { return true })
	report(t, "the top of the repository is the first thing a reader sees, and holds only what a reader looks for",
		strangersAtTheTop(sortedKeys(all)))
	finds(t, strangersAtTheTop([]string{"util/a.go", "notes.md", "pkb/config.go", ".ci/run", "util/b.go"}),
		"notes.md", "util")
}

const header = "// Copyright 2026 Betawerk\n// SPDX-License-Identifier: Apache-2.0\n\n"

func withoutHeader(files map[string]string) (problems []string) {
	for _, name := range sortedKeys(files) {
		if !strings.HasPrefix(files[name], header) {
			problems = append(problems, name+" does not begin with the two header lines and an empty one")
		}
	}
	return problems
}

func TestHeaders(t *testing.T) {
	report(t, "a file that is copied elsewhere must carry its licence, and without the empty line the header becomes the package's documentation",
		withoutHeader(files(t, isGo)))
	finds(t, withoutHeader(map[string]string{
		"a.go": "package a\n",
		"b.go": strings.TrimSuffix(header, "\n") + "package b\n",
		"c.go": header + "package c\n",
	}), "a.go", "b.go")
}

func withoutPackageDoc(sources []source) (problems []string) {
	dirs := byDirectory(sources)
	for _, dir := range sortedKeys(dirs) {
		var documented []string
		name := ""
		for _, s := range dirs[dir] {
			if name == "" || !isTest(s.name) {
				name = strings.TrimSuffix(s.Name.Name, "_test")
			}
			if s.Doc == nil {
				continue
			}
			documented = append(documented, path.Base(s.name))
			begin := "Package " + strings.TrimSuffix(s.Name.Name, "_test") + " "
			if s.Name.Name == "main" {
				begin = "Command " + path.Base(dir) + " "
			}
			if !strings.HasPrefix(s.Doc.Text(), begin) {
				problems = append(problems, fmt.Sprintf("%s: the package comment does not begin with %q", s.name, begin))
			}
		}
		switch len(documented) {
		case 0:
			problems = append(problems, fmt.Sprintf("%s: package %s has no package comment", dir, name))
		case 1:
		default:
			problems = append(problems, fmt.Sprintf("%s: package %s has %d package comments, in %s: go doc runs them together",
				dir, name, len(documented), strings.Join(documented, " and ")))
		}
	}
	return problems
}

func TestPackageDocs(t *testing.T) {
	report(t, "a reader meets a package in its package comment: what it is for, in one sentence",
		withoutPackageDoc(parse(t, files(t, isGo))))
	finds(t, withoutPackageDoc(parse(t, map[string]string{
		"a/a.go":              "package a\n",
		"b/b.go":              "// Package b is one.\npackage b\n",
		"b/c.go":              "// Package b is two.\npackage b\n",
		"c/c.go":              "// Some things.\npackage c\n",
		"d/d.go":              "// Package d is fine.\npackage d\n",
		"d/d_test.go":         "package d_test\n",
		"examples/e/e.go":     "// Command e is fine.\npackage main\n",
		"examples/f/f.go":     "// Package main is not how a command begins.\npackage main\n",
		"onlytests/o_test.go": "// Package onlytests is fine.\npackage onlytests_test\n",
	})), "a: package a has no", "b: package b has 2", "c/c.go", "examples/f/f.go")
}

// modules are the directories of this repository that have a go.mod, with the
// Go version in it.
func modules(goMods map[string]string) (dirs []string, versions map[string]string) {
	versions = make(map[string]string)
	for _, name := range sortedKeys(goMods) {
		dir := path.Dir(name)
		dirs = append(dirs, dir)
		if m := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(goMods[name]); m != nil {
			versions[dir] = m[1]
		}
	}
	slices.Sort(dirs)
	return dirs, versions
}

// listed returns the directories that a file names as modules.
func listed(text, pattern string) []string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	var dirs []string
	for word := range strings.FieldsSeq(m[1]) {
		dirs = append(dirs, path.Clean(word))
	}
	slices.Sort(dirs)
	return dirs
}

// tabled returns the directories in the module table of CONTRIBUTING.
func tabled(text string) (dirs []string) {
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `[^`]+` \\| (?:yes|never)").FindAllStringSubmatch(text, -1) {
		dirs = append(dirs, m[1])
	}
	slices.Sort(dirs)
	return dirs
}

func forgottenModules(dirs []string, lists map[string][]string) (problems []string) {
	for _, name := range sortedKeys(lists) {
		if diff := cmp.Diff(dirs, lists[name]); diff != "" {
			problems = append(problems, fmt.Sprintf("%s lists other modules (+) than there are (-):\n%s", name, diff))
		}
	}
	return problems
}

func TestModuleLists(t *testing.T) {
	all := files(t, func(string) bool { return true })
	goMods := files(t, func(name string) bool { return path.Base(name) == "go.mod" })
	dirs, versions := modules(goMods)
	report(t, "a module that one of the lists forgets is a module whose tests nobody runs", forgottenModules(dirs, map[string][]string{
		"go.work":         listed(all["go.work"], `(?s)use \((.*?)\)`),
		"Makefile":        listed(all["Makefile"], `(?m)^MODULES := (.*)$`),
		"CONTRIBUTING.md": tabled(all["CONTRIBUTING.md"]),
	}))
	for dir, version := range versions {
		if version != versions["."] {
			t.Errorf("%s/go.mod says go %s, the root says go %s: one policy holds for all modules", dir, version, versions["."])
		}
	}
	if !regexp.MustCompile(`^1\.\d+\.0$`).MatchString(versions["."]) {
		t.Errorf("go.mod says go %s: never a patch level above what the code needs, because every host must follow", versions["."])
	}

	finds(t, forgottenModules([]string{".", "inner"}, map[string][]string{
		"a": listed("MODULES := .\n", `(?m)^MODULES := (.*)$`),
		"b": listed("use (\n\t.\n\t./inner\n)", `(?s)use \((.*?)\)`),
		"c": tabled("| `.` | `m` | yes |\n| `other` | `m/other` | never: tests |\n"),
		"d": tabled("| `inner` | `m/inner` | never: tests |\n| `.` | `m` | yes |\n"),
	}), "a lists", "c lists")
}
