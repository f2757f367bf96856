// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// literal returns a string literal's value.
func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// logLine is a line that the library logs: a call with a message of this library.
type logLine struct {
	at   token.Position
	keys []string
	// odd: a key of it is no string literal.
	odd bool
}

// logLines returns what sources log, each line with its keys and those that its
// function adds by With or by package slog.
func logLines(sources []source) (lines []logLine) {
	for _, s := range sources {
		for _, decl := range s.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			var here []logLine
			var shared []string
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, _ := call.Fun.(*ast.SelectorExpr)
				if sel != nil && len(call.Args) > 1 {
					key, isKey := literal(call.Args[0])
					x, isIdent := sel.X.(*ast.Ident)
					if isKey && (sel.Sel.Name == "With" || isIdent && x.Name == "slog") {
						shared = append(shared, key)
					}
				}
				for i, arg := range call.Args {
					if message, ok := literal(arg); !ok || !strings.HasPrefix(message, "pkb: ") || sel != nil && slices.Contains([]string{"New", "Errorf", "Sprintf"}, sel.Sel.Name) {
						continue
					}
					line := logLine{at: s.fset.Position(call.Pos())}
					for rest := call.Args[i+1:]; len(rest) > 0 && !call.Ellipsis.IsValid(); rest = rest[min(2, len(rest)):] {
						key, ok := literal(rest[0])
						line.keys, line.odd = append(line.keys, key), line.odd || !ok
					}
					here = append(here, line)
				}
				return true
			})
			for _, line := range here {
				line.keys = append(line.keys, shared...)
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// keysFile has the package comment that lists the keys.
const keysFile = "pkb/observe/observe.go"

// documentedKeys returns the keys in the package comment's section on log lines.
func documentedKeys(doc string) (keys []string) {
	_, section, _ := strings.Cut(doc, "// # Log")
	section, _, _ = strings.Cut(section, "\n// # ")
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z_]+)  +\S`).FindAllStringSubmatch(section, -1) {
		keys = append(keys, m[1])
	}
	return keys
}

func wrongKeys(sources []source, documented []string) (problems []string) {
	used := make(map[string]bool)
	for _, line := range logLines(sources) {
		if line.odd {
			problems = append(problems, fmt.Sprintf("%v: a key of this line is not a string literal", line.at))
			continue
		}
		for _, key := range line.keys {
			if used[key] = true; !slices.Contains(documented, key) {
				problems = append(problems, fmt.Sprintf("%v: the key %s is not in the package comment of pkb/observe", line.at, key))
			}
		}
	}
	for _, key := range documented {
		if !used[key] {
			problems = append(problems, "no line has the key "+key)
		}
	}
	return problems
}

func TestLogKeys(t *testing.T) {
	doc := files(t, func(name string) bool { return name == keysFile })[keysFile]
	sources := parse(t, files(t, func(name string) bool { return isLibrary(name) && !under(name, "pkb/pkbtest") }))
	report(t, "people search and alert by the keys of a log: a renamed one fails nobody's build and somebody's night",
		wrongKeys(sources, documentedKeys(doc)))
	if n := len(logLines(sources)); n < 8 {
		t.Errorf("only %d lines were found: how the library logs has changed, and this rule has to learn it", n)
	}
	finds(t, wrongKeys(parse(t, map[string]string{"pkb/a.go": `package pkb
func f(log *slog.Logger) {
	log = log.With("link", 1)
	log.Warn("pkb: a", "error", 1, "user", 2)
	log.Info("pkb: b", key, 1)
	level("pkb: c", "status", 1)
	_ = errors.New("pkb: not a line")
}
func g(log *slog.Logger) {
	attrs := []slog.Attr{slog.String("event", ""), slog.Int("count", 1)}
	log.LogAttrs(ctx, level, "pkb: d", attrs...)
}`}), documentedKeys("// # Logs\n//\n//\tlink   whose\n//\tevent   what\n//\terror  why\n//\tstatus  s\n//\tgone    g\n//\n// # More\n//\tmore  m\n")),
		"pkb/a.go:4:2: the key user", "pkb/a.go:5:2", "pkb/a.go:11:2: the key count", "no line has the key gone")
}
