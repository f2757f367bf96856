// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/ast"
	"go/doc"
	"path"
	"slices"
	"testing"
)

// exampled are the packages in which every exported call has an example.
var exampled = []string{"pkb", "pkb/advice", "pkb/identity", "pkb/keys", "pkb/observe", "pkb/record", "pkb/pkbsystem", "pkb/pkbotel", "tokenstore", "tokenstore/etcdstore", "fhir"}

// plain are methods that need no example: they implement an interface of the
// standard library, or observe.Telemetry, which a Client calls.
var plain = []string{
	"String", "GoString", "Format", "LogValue", "MarshalJSON", "MarshalText", "UnmarshalJSON", "UnmarshalText",
	"Error", "Unwrap", "Is", "As", "Begin", "Event", "Follow", "Swept", "Notified",
}

// call is a function or method, as it shows in the source: where a method is called,
// its receiver's type is not known.
type call struct {
	name   string
	method bool
}

// exported returns the exported functions and methods that sources declare,
// with the name to report each by.
func exported(sources []source) map[string]call {
	calls := make(map[string]call)
	for _, s := range sources {
		for _, decl := range s.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() {
				continue
			}
			if fn.Recv == nil {
				calls[s.Name.Name+"."+fn.Name.Name] = call{fn.Name.Name, false}
				continue
			}
			receiver := receiverType(fn.Recv.List[0].Type)
			if ast.IsExported(receiver) && !slices.Contains(plain, fn.Name.Name) {
				calls[s.Name.Name+"."+receiver+"."+fn.Name.Name] = call{fn.Name.Name, true}
			}
		}
	}
	return calls
}

func receiverType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverType(e.X)
	case *ast.IndexExpr:
		return receiverType(e.X)
	case *ast.IndexListExpr:
		return receiverType(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// shown returns what the examples of a package call. An example without output is
// compiled and not run, so it shows nothing.
func shown(tests []source, pkg string) map[call]bool {
	var trees []*ast.File
	for _, s := range tests {
		trees = append(trees, s.File)
	}
	calls := make(map[call]bool)
	for _, example := range doc.Examples(trees...) {
		if example.Output == "" && !example.EmptyOutput {
			continue
		}
		ast.Inspect(example.Code, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun := c.Fun
			switch f := fun.(type) { // type arguments
			case *ast.IndexExpr:
				fun = f.X
			case *ast.IndexListExpr:
				fun = f.X
			}
			switch f := fun.(type) {
			case *ast.Ident:
				calls[call{f.Name, false}] = true
			case *ast.SelectorExpr:
				if x, ok := f.X.(*ast.Ident); ok && x.Name == pkg {
					calls[call{f.Sel.Name, false}] = true
				} else {
					calls[call{f.Sel.Name, true}] = true
				}
			}
			return true
		})
	}
	return calls
}

func withoutExample(sources []source) (problems []string) {
	dirs := byDirectory(sources)
	for _, dir := range sortedKeys(dirs) {
		var code, tests []source
		for _, s := range dirs[dir] {
			if isTest(s.name) {
				tests = append(tests, s)
			} else {
				code = append(code, s)
			}
		}
		calls := exported(code)
		shown := shown(tests, path.Base(dir))
		for _, name := range sortedKeys(calls) {
			if !shown[calls[name]] {
				problems = append(problems, fmt.Sprintf("%s is called in no example of %s that runs (with // Output:)", name, dir))
			}
		}
	}
	return problems
}

func TestExamples(t *testing.T) {
	sources := parse(t, files(t, func(name string) bool {
		return isGo(name) && slices.Contains(exampled, path.Dir(name))
	}))
	report(t, "a call that nobody shows is a call that nobody has tried to use", withoutExample(sources))
	finds(t, withoutExample(parse(t, map[string]string{
		"pkb/a.go": `package pkb
func New() T { return T{} }
func Hidden() {}
func internal() {}
type T struct{}
func (T) Do() {}
func (*T) Undone() {}
func (T) Unrun() {}
func (T) String() string { return "" }
type t struct{}
func (t) Exported() {}
func Of[V any](V) {}`,
		"pkb/example_test.go": `package pkb_test
func Example() {
	pkb.New().Do()
	pkb.Of[int](1)
	x.Hidden()
	// Output:
}
func ExampleT_Unrun() {
	pkb.New().Unrun()
}`,
	})), "pkb.Hidden", "pkb.T.Undone", "pkb.T.Unrun")
}
