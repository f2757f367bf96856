// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbotel

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The first save_failed of a process is the one to alert on, and a counter that
// appears with its first count has no increase: every kind and every cause that
// pkb has must begin with 0.
func TestEverythingIsCountedFromTheStart(t *testing.T) {
	for prefix, n := range map[string]struct {
		file string
		have int
	}{
		"Event": {"../observe/event.go", len(slices.Compact(slices.Sorted(slices.Values(kinds))))},
		"Cause": {"../observe/cause.go", len(slices.Compact(slices.Sorted(slices.Values(causes))))},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), n.file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var declared []string
		ast.Inspect(f, func(node ast.Node) bool {
			if spec, ok := node.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, prefix) {
				declared = append(declared, spec.Names[0].Name)
			}
			return true
		})
		if len(declared) == 0 || len(declared) != n.have {
			t.Errorf("%d are counted from the start, and pkb has %d:\n%s", n.have, len(declared), cmp.Diff(nil, declared))
		}
	}
}

// The same for notices: a kind that pkb makes begins with 0, or its first refusal has
// no increase.
func TestNoticesAreCountedFromTheStart(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../tend.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	ast.Inspect(f, func(node ast.Node) bool {
		if fn, ok := node.(*ast.FuncDecl); ok && fn.Name.Name != "noticeKind" {
			return false
		}
		if s, ok := node.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Event") && s.Sel.Name != "EventKind" {
			made[s.Sel.Name] = true
		}
		return true
	})
	if n := len(slices.Compact(slices.Sorted(slices.Values(noticed)))); len(made) == 0 || n != len(made) {
		t.Errorf("%d are counted from the start, and pkb makes %v", n, made)
	}
}
