// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/betawerk/pkb-go"

// root is the repository, seen from this package.
const root = "../.."

// report fails the test with the problems a rule found and the reason for the rule.
func report(t *testing.T, why string, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) > 0 {
		t.Errorf("the reason for the rule: %s", why)
	}
}

// finds fails the test unless the rule finds, in a bad sample, one problem for each
// fragment, in this order.
func finds(t *testing.T, problems []string, fragments ...string) {
	t.Helper()
	ok := len(problems) == len(fragments)
	for i := range fragments {
		ok = ok && strings.Contains(problems[i], fragments[i])
	}
	if !ok {
		t.Errorf("the rule misses something: in a sample with problems about\n\t%s\nit found\n\t%s",
			strings.Join(fragments, "\n\t"), strings.Join(problems, "\n\t"))
	}
}

// tree is every file of the repository that git does not ignore, by
// slash-separated path from the root.
var tree = sync.OnceValues(func() (map[string]string, error) {
	ignored := ignoredByGit()
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".git", ignored[rel], ignored[rel+"/"]:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an editor's file that was deleted since
		}
		files[rel] = string(text)
		return err
	})
	return files, err
})

// ignoredByGit returns the files and, with a trailing slash, directories that
// .gitignore names; none where there is no git.
func ignoredByGit() map[string]bool {
	// The checkout may belong to another user, as in a CI container.
	cmd := exec.Command("git", "-c", "safe.directory=*",
		"ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	ignored := make(map[string]bool)
	for name := range strings.SplitSeq(string(out), "\x00") {
		ignored[name] = true
	}
	return ignored
}

func files(t *testing.T, keep func(name string) bool) map[string]string {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all["go.mod"]; !ok {
		t.Fatal("the repository's root was not found; these tests read the whole repository")
	}
	kept := make(map[string]string)
	for name, text := range all {
		if keep(name) {
			kept[name] = text
		}
	}
	return kept
}

func isGo(name string) bool   { return strings.HasSuffix(name, ".go") }
func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func under(name string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
}

// inOtherModule reports whether name belongs to an inner module.
func inOtherModule(name string) bool {
	return under(name, "internal/integration", "internal/testdata", "examples/webapp", "examples/pkbctl") || isAdapter(name)
}

// isAdapter reports whether name belongs to an inner module that hosts link.
func isAdapter(name string) bool { return under(name, sortedKeys(adapterImports)...) }

// isLibrary reports whether name is code that a host links.
func isLibrary(name string) bool {
	return isGo(name) && !isTest(name) && (!inOtherModule(name) || isAdapter(name)) &&
		under(name, "pkb", "tokenstore", "fhir", "internal") && !under(name, "internal/house")
}

// source is a parsed Go file.
type source struct {
	name string
	fset *token.FileSet
	*ast.File
}

// parse parses Go files, in the order of their names.
func parse(t *testing.T, files map[string]string) []source {
	t.Helper()
	var all []source
	for _, name := range sortedKeys(files) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, files[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%s does not parse: %v", name, err)
		}
		all = append(all, source{name, fset, f})
	}
	return all
}

// byDirectory groups files by the directory they are in.
func byDirectory(sources []source) map[string][]source {
	dirs := make(map[string][]source)
	for _, s := range sources {
		dirs[path.Dir(s.name)] = append(dirs[path.Dir(s.name)], s)
	}
	return dirs
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
