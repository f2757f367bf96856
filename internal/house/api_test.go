// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite internal/house/testdata/api.txt or internal/custody/protocol.md")

// apiFile lists the public API, so that a change to it shows in review.
const apiFile = "internal/house/testdata/api.txt"

// exportedNames lists what a package exports, a line each: constants with their
// values, variables, functions, types, their exported fields and all methods that a
// caller sees, including those of embedded types.
func exportedNames(pkg *types.Package) (lines []string) {
	// Names of other packages have the package's name, as a caller writes them.
	qualify := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}
	text := func(t types.Type) string { return types.TypeString(t, qualify) }
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			add("const %s %s = %s", name, text(object.Type()), object.Val().ExactString())
		case *types.Var:
			add("var %s %s", name, text(object.Type()))
		case *types.Func:
			add("func %s%s", name, strings.TrimPrefix(text(object.Type()), "func"))
		case *types.TypeName:
			if object.IsAlias() {
				add("type %s = %s", name, text(types.Unalias(object.Type())))
				continue
			}
			lines = append(lines, exportedOf(object, text)...)
		}
	}
	slices.Sort(lines)
	return lines
}

// exportedOf lists a type, its exported fields and its methods.
func exportedOf(name *types.TypeName, text func(types.Type) string) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	head := "type " + name.Name()
	switch of := name.Type().Underlying().(type) {
	case *types.Struct:
		add("%s struct", head)
		for field := range of.Fields() {
			if field.Exported() {
				add("%s struct, %s %s", head, field.Name(), text(field.Type()))
			}
		}
	case *types.Interface:
		add("%s interface", head)
		for method := range of.Methods() {
			if method.Exported() {
				add("%s interface, %s%s", head, method.Name(), strings.TrimPrefix(text(method.Type()), "func"))
			}
		}
		return lines
	default:
		add("%s %s", head, text(of))
	}
	values := types.NewMethodSet(name.Type())
	for method := range types.NewMethodSet(types.NewPointer(name.Type())).Methods() {
		receiver := name.Name()
		if values.Lookup(name.Pkg(), method.Obj().Name()) == nil {
			receiver = "*" + receiver
		}
		if method.Obj().Exported() {
			add("method (%s) %s%s", receiver, method.Obj().Name(), strings.TrimPrefix(text(method.Type()), "func"))
		}
	}
	return lines
}

// api lists what the packages of one module export, with a heading for each.
func api(t *testing.T, module string) (lines []string) {
	t.Helper()
	exports := make(map[string]string)
	out := goCommand(t, module, "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./...")
	var own []string
	for line := range strings.Lines(string(out)) {
		importPath, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[importPath] = file
		name := rel(importPath)
		// Only packages that a host can import, and that have something to import.
		if inModule(importPath, path.Join(modulePath, module)) && !strings.Contains("/"+name+"/", "/internal/") && !under(name, "examples") && name != "." {
			own = append(own, importPath)
		}
	}
	slices.Sort(own)
	from := importer.ForCompiler(token.NewFileSet(), "gc", func(importPath string) (io.ReadCloser, error) { return os.Open(exports[importPath]) })
	for _, importPath := range own {
		pkg, err := from.Import(importPath)
		if err != nil {
			t.Fatalf("%s: %v", importPath, err)
		}
		lines = append(lines, "", "package "+rel(importPath))
		lines = append(lines, exportedNames(pkg)...)
	}
	return lines
}

// changed returns the removed and added lines of a listing, each under its package.
func changed(before, after []string) (problems []string) {
	inPackage := func(lines []string) (all []string) {
		heading := ""
		for _, line := range lines {
			if name, ok := strings.CutPrefix(line, "package "); ok {
				heading = name
			} else if line != "" {
				all = append(all, heading+": "+line)
			}
		}
		return all
	}
	was, is := inPackage(before), inPackage(after)
	for _, line := range was {
		if !slices.Contains(is, line) {
			problems = append(problems, "gone: "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			problems = append(problems, "new:  "+line)
		}
	}
	return problems
}

func TestAPI(t *testing.T) {
	finds(t, changed([]string{"package a", "func F()", "func G()", "package b", "func H()"}, []string{"package a", "func F()", "package b", "func G()", "func H()"}),
		"gone: a: func G", "new:  b: func G")

	var lines []string
	goMods := files(t, func(name string) bool { return path.Base(name) == "go.mod" })
	for _, name := range sortedKeys(goMods) {
		if module := path.Dir(name); !under(name, "internal", "examples") {
			lines = append(lines, api(t, module)...)
		}
	}
	now := strings.TrimSpace(strings.Join(lines, "\n")) + "\n"
	if *update {
		if err := os.MkdirAll(path.Dir(root+"/"+apiFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/"+apiFile, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept := files(t, func(name string) bool { return name == apiFile })[apiFile]
	problems := changed(strings.Split(kept, "\n"), strings.Split(now, "\n"))
	if len(problems) == 0 && kept != now {
		problems = []string{apiFile + " differs from what -update would write"}
	}
	report(t, "what hosts can call is promised to them: after a change on purpose run\n\tgo test ./internal/house -run TestAPI -update\n"+
		"and say in CHANGELOG.md what changes for them", problems)
}
