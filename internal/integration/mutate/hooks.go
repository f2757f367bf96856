// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// hook is a method that a kind of sink calls.
type hook struct {
	sink string
	// method is its name and signature, with named results; pointer says that it is
	// called on a pointer.
	method, args string
	pointer      bool
	// clear is what a wrapper says that does not hide.
	clear string
	// uses is the import that the signature needs.
	uses string
}

// hooks are those of package conceal, by the kind of sink.
var hooks = []hook{
	{"fmt", "Format(f fmt.State, verb rune)", "f, verb", false, "fmt.Fprint(f, \"canary\"); return", "fmt"},
	{"fmt", "String() string", "", false, "return \"canary\"", ""},
	{"fmt", "GoString() string", "", false, "return \"canary\"", ""},
	{"slog", "LogValue() slog.Value", "", false, "return slog.StringValue(\"canary\")", "log/slog"},
	{"JSON", "MarshalJSON() ([]byte, error)", "", false, "return []byte(\"7\"), nil", ""},
	{"JSON", "UnmarshalJSON(b []byte) error", "b", true, "return nil", ""},
	{"text", "MarshalText() ([]byte, error)", "", false, "return []byte(\"canary\"), nil", ""},
	{"text", "UnmarshalText(b []byte) error", "b", true, "return nil", ""},
	{"binary", "MarshalBinary() ([]byte, error)", "", false, "return []byte(\"canary\"), nil", ""},
	{"binary", "UnmarshalBinary(b []byte) error", "b", true, "return nil", ""},
	{"SQL", "Value() (driver.Value, error)", "", false, "return \"canary\", nil", "database/sql/driver"},
	{"SQL", "Scan(v any) error", "v", true, "return nil", ""},
	{"YAML", "MarshalYAML() (any, error)", "", false, "return \"canary\", nil", ""},
	{"CBOR", "MarshalCBOR() ([]byte, error)", "", false, "return []byte(\"canary\"), nil", ""},
	{"BSON", "MarshalBSONValue() (byte, []byte, error)", "", false, "return 2, []byte(\"canary\"), nil", ""},
	{"BSON", "MarshalBSON() ([]byte, error)", "", false, "return []byte(\"canary\"), nil", ""},
}

func (h hook) name() string { return h.method[:strings.IndexByte(h.method, '(')] }

// embedder is a struct type that embeds what conceals.
type embedder struct {
	pkg, name, parameters, field string
	// own are the hooks that it has itself.
	own []string
}

// wrapping are the packages with wrappers.
var wrapping = []string{"pkb", "pkb/identity", "pkb/keys", "pkb/pkbsystem", "fhir"}

const variable = "PKB_MUTATION"

// hookMutations returns a mutation for each hook of each wrapper, which then says canary
// or takes what it is given. All of them are in one build, and a variable of the
// environment chooses: a build for each would take an hour.
func hookMutations(root string) (all []mutation, files map[string][]byte, err error) {
	files = make(map[string][]byte)
	for _, dir := range wrapping {
		found, err := embedders(root, dir)
		if err != nil {
			return nil, nil, err
		}
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("no wrapper was found in %s", dir)
		}
		var methods bytes.Buffer
		uses := []string{"os"}
		for _, w := range found {
			for _, h := range hooks {
				if slices.Contains(w.own, h.name()) {
					continue // tests of its package know what it is for
				}
				key := w.pkg + "." + w.name + "." + h.name()
				all = append(all, mutation{name: fmt.Sprintf("%s in clear (%s)", key, h.sink), chosen: key})
				star, call := "", "return "
				if h.pointer {
					star = "*"
				}
				if h.name() == "Format" {
					call = ""
				}
				if h.uses != "" && !slices.Contains(uses, h.uses) {
					uses = append(uses, h.uses)
				}
				fmt.Fprintf(&methods, "\nfunc (w %s%s%s) %s {\n\tif os.Getenv(%q) == %q {\n\t\t%s\n\t}\n\t%sw.%s.%s(%s)\n}\n",
					star, w.name, w.parameters, h.method, variable, key, h.clear, call, w.field, h.name(), h.args)
			}
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "package %s\n\nimport (\n", found[0].pkg)
		for _, use := range uses {
			fmt.Fprintf(&text, "\t%q\n", use)
		}
		text.WriteString(")\n")
		files[path.Join(dir, "zz_mutations.go")] = append(text.Bytes(), methods.Bytes()...)
	}
	return all, files, nil
}

// embedders returns the types of a package that embed an alias of package conceal's.
func embedders(root, dir string) (found []embedder, err error) {
	paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		return nil, err
	}
	aliases := make(map[string]bool)
	own := make(map[string][]string)
	var structs []*ast.TypeSpec
	pkg := ""
	for _, name := range paths {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		pkg = parsed.Name.Name
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if x, ok := base(n.Type).(*ast.SelectorExpr); ok && n.Assign.IsValid() {
					if of, ok := x.X.(*ast.Ident); ok && of.Name == "conceal" {
						aliases[n.Name.Name] = true
					}
				}
				if _, ok := n.Type.(*ast.StructType); ok {
					structs = append(structs, n)
				}
			case *ast.FuncDecl:
				if n.Recv != nil {
					receiver := n.Recv.List[0].Type
					if star, ok := receiver.(*ast.StarExpr); ok {
						receiver = star.X
					}
					if of, ok := base(receiver).(*ast.Ident); ok {
						own[of.Name] = append(own[of.Name], n.Name.Name)
					}
				}
			}
			return true
		})
	}
	for _, of := range structs {
		for _, field := range of.Type.(*ast.StructType).Fields.List {
			alias, ok := base(field.Type).(*ast.Ident)
			if !ok || len(field.Names) > 0 || !aliases[alias.Name] {
				continue
			}
			e := embedder{pkg: pkg, name: of.Name.Name, field: alias.Name, own: own[of.Name.Name]}
			if of.TypeParams != nil {
				e.parameters = "[" + of.TypeParams.List[0].Names[0].Name + "]"
			}
			found = append(found, e)
		}
	}
	return found, nil
}

// base returns a type without its type arguments.
func base(e ast.Expr) ast.Expr {
	if index, ok := e.(*ast.IndexExpr); ok {
		return index.X
	}
	return e
}

// builtWithHooks builds the tests of package canary with all hooks in it, and returns
// the program.
func builtWithHooks(ctx context.Context, root, work string, files map[string][]byte) (string, error) {
	overlay, err := overlaid(root, work, "hooks", files)
	if err != nil {
		return "", err
	}
	program := filepath.Join(work, "hooks.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-vet=off", "-o", program, "./internal/canary")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	caught, out, err := tryHook(ctx, root, program, "none")
	if err == nil && caught != "" {
		err = errors.New("the tests do not pass with no hook chosen\n" + out)
	}
	return program, err
}

// tryHook runs the tests with one hook in clear.
func tryHook(ctx context.Context, root, program, chosen string) (caught, output string, err error) {
	cmd := exec.CommandContext(ctx, program, "-test.run", searches[0])
	cmd.Dir, cmd.Env = filepath.Join(root, "internal", "canary"), append(os.Environ(), variable+"="+chosen)
	printed, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return "", string(printed), err
	}
	return failedTest(printed), string(printed), nil
}
