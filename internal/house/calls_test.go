// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// forbidden is something that code must not use.
type forbidden struct {
	pkg  string // import path
	name string // a regular expression for the whole name
	in   func(file string) bool
	// except is a file that may use it once.
	except string
	why    string
}

func hasOwnClock(name string) bool {
	// The explorer measures its own time, which is no part of what it explores.
	return isLibrary(name) && under(name, "pkb", "internal/custody", "internal/tokenwire") && !under(name, "pkb/pkbtest", "pkb/pkbsystem", "internal/custody/explore")
}

var forbiddenUses = []forbidden{
	{pkg: "fmt", name: "Print(f|ln)?", in: isLibrary,
		why: "a library prints nothing: what it prints, a host cannot turn off"},
	{pkg: "log", name: ".*", in: isLibrary,
		why: "a library is silent unless it is given a *slog.Logger"},
	{pkg: "log/slog", name: "Default|SetDefault|Debug(Context)?|Info(Context)?|Warn(Context)?|Error(Context)?|Log", in: isLibrary,
		why: "a library logs through the logger it was given, and is silent without one"},
	{pkg: "net/http", name: "DefaultClient|Get|Post|PostForm|Head", in: isLibrary,
		why: "http.DefaultClient has no time-out, follows redirects and belongs to the whole process"},
	{pkg: "os", name: "Getenv|LookupEnv|Environ|ExpandEnv", in: isLibrary,
		why: "configuration comes in the Config: two clients side by side must not share hidden settings"},
	{pkg: "context", name: "TO" + "DO", in: isLibrary,
		why: "a caller must be able to stop waiting: pass the caller's context, or one with a deadline of its own"},
	{pkg: "time", name: "Now|Since|Until", in: hasOwnClock, except: "pkb/config.go",
		why: "the clock is injected, so that tests can let an hour pass; its default is in the Config only"},
	{pkg: "time", name: "Now|Since|Until", in: func(name string) bool { return isLibrary(name) && under(name, "pkb/pkbsystem") }, except: "pkb/pkbsystem/config.go",
		why: "the clock is injected, so that tests can let an hour pass; its default is in the Config only"},
	{pkg: "reflect", name: "DeepEqual", in: isGo,
		why: "it reports that values differ, but not where; go-cmp does"},
	{pkg: "testing", name: ".*", in: func(name string) bool {
		return !isTest(name) && !inOtherModule(name) && !under(name, "tokenstore/storetest")
	}, why: "package testing in a library puts test flags and code into a host's program"},
}

var majorVersion = regexp.MustCompile(`^v\d+$`)

// uses calls found for every use of an imported name in s.
func uses(s source, found func(pkg, name string, at ast.Node)) {
	imports := make(map[string]string)
	for _, spec := range s.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if majorVersion.MatchString(name) {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = p
		if name == "." || name == "_" {
			found(p, name, spec) // everything, or something unseen
		}
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && imports[x.Name] != "" {
			found(imports[x.Name], sel.Sel.Name, sel)
		}
		return true
	})
}

func forbiddenIn(sources []source, rules []forbidden) (problems []string) {
	var names []*regexp.Regexp
	for _, rule := range rules {
		names = append(names, regexp.MustCompile(`^(`+rule.name+`|\.)$`))
	}
	for _, s := range sources {
		for i, rule := range rules {
			if !rule.in(s.name) {
				continue
			}
			count := 0
			uses(s, func(p, used string, at ast.Node) {
				if p != rule.pkg || !names[i].MatchString(used) {
					return
				}
				if count++; count == 1 && s.name == rule.except {
					return
				}
				problems = append(problems, fmt.Sprintf("%v: %s.%s is not allowed here: %s", s.fset.Position(at.Pos()), p, used, rule.why))
			})
		}
	}
	return problems
}

func TestForbiddenUses(t *testing.T) {
	for _, p := range forbiddenIn(parse(t, files(t, isGo)), forbiddenUses) {
		t.Error(p)
	}

	bad := `package custody
import (
	"context"
	"fmt"
	"log"
	"log/slog"
	web "net/http"
	"os"
	"reflect"
	. "testing"
	"time"
)
func f() {
	fmt.Println()
	log.Fatal()
	slog.Info("")
	_ = web.DefaultClient
	_ = os.Getenv("X")
	_ = context.TO` + `DO()
	now := time.Now
	reflect.DeepEqual(1, now)
	fmt.Errorf("fine")
	slog.New(nil)
	_, _ = web.NewRequestWithContext, time.Second
}`
	finds(t, forbiddenIn(parse(t, map[string]string{"internal/custody/a.go": bad}), forbiddenUses),
		"fmt.Println", "log.Fatal", "log/slog.Info", "net/http.DefaultClient", "os.Getenv", "context.", "time.Now", "reflect.DeepEqual", "testing..")
	finds(t, forbiddenIn(parse(t, map[string]string{
		"pkb/config.go":         "package pkb\nimport \"time\"\nvar a, b = time.Now, time.Now",
		"pkb/pkbtest/clock.go":  "package pkbtest\nimport \"time\"\nvar a = time.Now",
		"pkb/a_test.go":         "package pkb\nimport \"reflect\"\nimport \"fmt\"\nvar a, b = reflect.DeepEqual, fmt.Println",
		"examples/quick/run.go": "package main\nimport \"fmt\"\nfunc main() { fmt.Println() }",
	}), forbiddenUses), "pkb/a_test.go", "pkb/config.go")
}

// mayPanic are functions other than mustX and MustX that may panic, and why.
var mayPanic = map[string]string{
	"pkb/web.go Web": "called once, when the program starts, with what the programmer wrote; http.Handle panics in the same place",
}

// panics finds the calls of panic outside functions that may, and whose comments
// mention it.
func panics(sources []source) (problems []string) {
	for _, s := range sources {
		for _, decl := range s.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Doc != nil && strings.Contains(fn.Doc.Text(), "panic") &&
				(strings.HasPrefix(strings.ToLower(fn.Name.Name), "must") || mayPanic[s.name+" "+fn.Name.Name] != "") {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "panic" {
					return true
				}
				// Both net/http and a fake abort a response so.
				if arg, ok := call.Args[0].(*ast.SelectorExpr); ok && arg.Sel.Name == "ErrAbortHandler" && under(s.name, "pkb/pkbtest") {
					return true
				}
				problems = append(problems, fmt.Sprintf("%v: panic outside a Must function whose comment mentions it", s.fset.Position(call.Pos())))
				return true
			})
		}
	}
	return problems
}

func TestNoPanics(t *testing.T) {
	report(t, "one patient's bad response must not end the process that serves all the others",
		panics(parse(t, files(t, isLibrary))))
	finds(t, panics(parse(t, map[string]string{
		"pkb/a.go": `package pkb
func f() { func() { panic("a") }() }
func MustB() { panic("undocumented") }
// MustC panics if it has to.
func MustC() { panic("fine") }
var d = func() int { panic("d") }
func e() { panic(http.ErrAbortHandler) }`,
		"pkb/pkbtest/a.go": "package pkbtest\nfunc f() { panic(http.ErrAbortHandler) }",
		"pkb/web.go":       "package pkb\n\n// Web panics if it has to.\nfunc Web() { panic(0) }\nfunc Other() { panic(0) }",
	})), "pkb/a.go:2", "pkb/a.go:3", "pkb/a.go:6", "pkb/a.go:7", "pkb/web.go:5")
}
