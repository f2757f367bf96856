// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutation is a change of the source.
type mutation struct {
	name string
	dir  string
	// files are the changed files, by path from the root.
	files map[string][]byte
	// gentler is to be tried if this one does not compile.
	gentler *mutation
	// chosen is a hook of the build that has all of them, in place of files.
	chosen string
	// tests find it, in the package of dir, in place of the searches.
	tests string
}

// directories have types that hosts or tokens meet.
var directories = []string{"pkb", "pkb/observe", "pkb/keys", "pkb/pkbsystem", "pkb/pkbtest", "internal/conceal", "tokenstore", "tokenstore/sqlstore", "internal/tokenwire", "internal/custody"}

// redacting are the methods that make a type one that redacts itself, and texts
// those that go with them.
var (
	redacting = []string{"Format", "GoString", "LogValue", "MarshalJSON"}
	texts     = []string{"String", "MarshalText"}
)

// line is a change of one line.
type line struct{ name, file, before, after string }

// lines keep what others say out of errors, logs, requests and excerpts.
var lines = []line{
	{"errors of others speak in chains", "pkb/errors.go", "return &unspoken{says: says, cause: func() error { return err }}", "return err"},
	{"errors of others speak in texts", "pkb/errors.go", "return tokenwire.Explain(err)", "return err.Error()"},
	{"errors of others speak in logs", "pkb/config.go", "c.Logger = slog.New(quietLog{c.Logger.Handler(), &containment{}})", ""},
	{"a response's request has the token", "internal/apicall/bearer.go", "resp.Request = req //", "_ = req //"},
	{"an excerpt has every word", "pkb/excerpt.go", "return left", "return word"},
	{"an event has the app_user_id", "pkb/observe/event.go", "conceal.LinkName(e.AppUserID)", "e.AppUserID + conceal.LinkName(\"\")"},
	{"a log line has the app_user_id", "internal/custody/events.go", "slog.String(\"link\", conceal.LinkName(e.User))", "slog.String(\"link\", e.User+conceal.LinkName(\"\"))"},
}

func mutations(root string) (all []mutation, err error) {
	for _, dir := range directories {
		found, err := withoutRedaction(root, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	hooked, _, err := hookMutations(root)
	if err != nil {
		return nil, err
	}
	embedded, err := ofPrinting(root)
	if err != nil {
		return nil, err
	}
	all = append(append(all, hooked...), embedded...)
	for _, line := range lines {
		files, err := line.changed(root)
		if err != nil {
			return nil, err
		}
		all = append(all, mutation{name: line.name, dir: path.Dir(line.file), files: files})
	}
	for _, group := range []struct {
		name  string
		lines []line
		tests string
	}{{"routes", routes, routeTests}, {"watchers", watchers, watcherTests}} {
		for _, line := range group.lines {
			files, err := line.changed(root)
			if err != nil {
				return nil, err
			}
			all = append(all, mutation{name: group.name + ": " + line.name, dir: path.Dir(line.file), files: files, tests: group.tests})
		}
	}
	return all, nil
}

// changed returns the file with the line changed.
func (l line) changed(root string) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(l.file))) //nolint:gosec // a file of the lists
	if err != nil {
		return nil, err
	}
	if bytes.Count(text, []byte(l.before)) != 1 {
		return nil, fmt.Errorf("%s does not have this line once any more: %s", l.file, l.before)
	}
	return map[string][]byte{l.file: bytes.Replace(text, []byte(l.before), []byte(l.after), 1)}, nil
}

// method is one that says how a value prints.
type method struct {
	file       string
	name       string
	start, end int // in the file, with its comment
}

// withoutRedaction returns a mutation for each type of a package.
func withoutRedaction(root, dir string) (all []mutation, err error) {
	paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		return nil, err
	}
	sources := make(map[string][]byte)
	methods := make(map[string][]method) // by type
	pkg := ""
	for _, name := range paths {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name) //nolint:gosec // a file of the clone it runs in
		if err != nil {
			return nil, err
		}
		file := path.Join(dir, filepath.Base(name))
		sources[file] = text
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		pkg = parsed.Name.Name
		for _, decl := range parsed.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || !slices.Contains(redacting, fn.Name.Name) && !slices.Contains(texts, fn.Name.Name) {
				continue
			}
			receiver := fn.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			of, ok := receiver.(*ast.Ident)
			if !ok {
				continue
			}
			start := fn.Pos()
			if fn.Doc != nil {
				start = fn.Doc.Pos()
			}
			methods[of.Name] = append(methods[of.Name], method{file, fn.Name.Name, fset.Position(start).Offset, fset.Position(fn.End()).Offset})
		}
	}
	for _, of := range sortedKeys(methods) {
		if !slices.ContainsFunc(methods[of], func(m method) bool { return slices.Contains(redacting, m.name) }) {
			continue
		}
		m := mutation{name: pkg + "." + of + " without its redaction", dir: dir}
		if m.files, err = without(sources, methods[of], nil); err != nil {
			return nil, err
		}
		// Others may call String themselves.
		m.gentler = &mutation{name: m.name, dir: dir}
		if m.gentler.files, err = without(sources, methods[of], []string{"String"}); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// without returns the files that have the methods, without those that are not
// kept.
func without(sources map[string][]byte, methods []method, kept []string) (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, m := range methods {
		if slices.Contains(kept, m.name) {
			continue
		}
		if out[m.file] == nil {
			out[m.file] = bytes.Clone(sources[m.file])
		}
		for i := m.start; i < m.end; i++ { // blanks, so that the others stay where they are
			if out[m.file][i] != '\n' {
				out[m.file][i] = ' '
			}
		}
	}
	for file, text := range out {
		used, err := withUsedImports(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out[file] = used
	}
	return out, nil
}

// ofPrinting returns mutations of the type that all wrappers embed: each of its methods
// removed, and with an answer in clear.
func ofPrinting(root string) (all []mutation, err error) {
	const file = "internal/conceal/conceal.go"
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range parsed.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv == nil {
			continue
		}
		start, end := fset.Position(fn.Body.Pos()).Offset, fset.Position(fn.End()).Offset
		clear := strings.NewReplacer("ErrEncoding", "nil", "Text)", `"canary")`, "return Text", `return "canary"`).Replace(string(text[start:end]))
		if clear == string(text[start:end]) {
			return nil, fmt.Errorf("%s: %s neither refuses nor redacts", file, fn.Name.Name)
		}
		removed, err := without(map[string][]byte{file: text}, []method{{file, fn.Name.Name, fset.Position(fn.Pos()).Offset, end}}, nil)
		if err != nil {
			return nil, err
		}
		answers, err := withUsedImports(slices.Concat(text[:start], []byte(clear), text[end:]))
		if err != nil {
			return nil, err
		}
		all = append(all,
			mutation{name: "conceal.Printing." + fn.Name.Name + " removed", dir: path.Dir(file), files: removed},
			mutation{name: "conceal.Printing." + fn.Name.Name + " in clear", dir: path.Dir(file), files: map[string][]byte{file: answers}})
	}
	return all, nil
}

// withUsedImports names the imports that are not used any more "_".
func withUsedImports(text []byte) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	for _, spec := range slices.Backward(file.Imports) {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		name := path.Base(importPath)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if !used[name] {
			start, end := fset.Position(spec.Pos()).Offset, fset.Position(spec.End()).Offset
			text = slices.Concat(text[:start], []byte("_ "+spec.Path.Value), text[end:])
		}
	}
	return text, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
