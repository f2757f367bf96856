// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	oauth2 = "golang.org/x/oauth2"
	models = "github.com/samply/golang-fhir-models/fhir-models"
	goCmp  = "github.com/google/go-cmp"
	mock   = "github.com/jarcoal/httpmock"
	text   = "golang.org/x/text"
)

// requirements are what the root's go.mod requires, and why. A new module needs a
// reason first: it becomes every host's.
var requirements = map[string]string{
	oauth2: "TokenSource is the type other Go libraries take tokens in, and clientcredentials fetches a system client's",
	models: "patient resources as Go types, for hosts that read them; package fhir only",
	text:   "names are compared in Unicode's normal forms and case folding, which tables of our own would get wrong",
	goCmp:  "tests: reports where two values differ",
	mock:   "tests: responses of PKB without a server",
}

// testImports are the modules that tests of the root module may use.
var testImports = []string{oauth2, models, text, goCmp, mock}

// rule says what a package and its subpackages may import, tests aside.
type rule struct {
	// own are the packages of this module that it may import directly.
	own []string
	// modules are the other modules that may be linked with it, and why.
	modules map[string]string
	why     string
}

// rules are for packages of the root module, by path from the root; the longest
// prefix applies.
var rules = map[string]rule{
	".": {why: "it is a document"},
	"pkb": {
		own: []string{
			"pkb/identity", "pkb/record", "pkb/observe", "pkb/keys", "fhir", "tokenstore",
			"internal/custody", "internal/seal", "internal/tokenwire", "internal/apicall", "internal/listing", "internal/conceal", "internal/wording",
		},
		modules: map[string]string{
			oauth2: "Client.TokenSource returns its type",
			models: "linked with fhir, which reads the response of Purview",
			text:   "linked with identity",
		},
		why: "a host that wants one patient's id links no driver, browser or test package",
	},
	"pkb/identity": {
		own:     []string{"internal/conceal", "internal/jsonwalk"},
		modules: map[string]string{text: "two systems keep one name in two forms of Unicode"},
		why:     "who a patient is knows nothing of links and tokens",
	},
	"pkb/observe": {
		own: []string{"internal/conceal"},
		why: "it is a vocabulary",
	},
	"pkb/keys": {
		own: []string{"internal/conceal", "internal/seal"},
		why: "keys know what they seal with, and not what they seal",
	},
	"pkb/record": {
		own:     []string{"pkb/identity", "pkb/observe", "fhir", "internal/apicall", "internal/jsonwalk", "internal/wording"},
		modules: map[string]string{models: "linked with fhir", text: "linked with identity"},
		why:     "a record is read through what pkb hands it, and knows no tokens",
	},
	"pkb/advice": {
		own:     []string{"pkb", "internal/wording"},
		modules: map[string]string{oauth2: "linked with pkb", models: "linked with pkb", text: "linked with pkb"},
		why:     "advice knows pkb, and never the reverse",
	},
	"pkb/pkbsystem": {
		own:     []string{"pkb", "pkb/identity", "pkb/observe", "fhir", "internal/apicall", "internal/conceal", "internal/jsonwalk", "internal/wording"},
		modules: map[string]string{oauth2: "its clientcredentials fetch the token", models: "linked with pkb", text: "linked with pkb"},
		why:     "a system client knows pkb, and never the reverse: a host without one links none of it",
	},
	"pkb/pkbtest": {why: "a fake that shares code with what it tests shares its mistakes"},
	"tokenstore": {
		own: []string{"internal/listing"},
		why: "whoever writes a store needs this package and nothing else",
	},
	"tokenstore/sqlstore": {
		own: []string{"tokenstore"},
		why: "the host brings the driver",
	},
	"tokenstore/storetest": {
		own:     []string{"tokenstore"},
		modules: map[string]string{goCmp: "reports in which field a record has changed"},
		why:     "the suite runs in other people's stores",
	},
	"fhir": {
		own:     []string{"fhir", "internal/conceal", "internal/jsonwalk"},
		modules: map[string]string{models: "the resources"},
		why:     "reading FHIR knows nothing of links and tokens",
	},
	"internal/conceal":  {why: "it knows how values print, and not which"},
	"internal/jsonwalk": {why: "it knows JSON, and not what is in it"},
	"internal/seal":     {why: "sealing knows keys and bytes"},
	"internal/tokenwire": {
		own: []string{"internal/retryafter"},
		why: "it knows a token endpoint, and neither links nor stores",
	},
	"internal/apicall": {
		own: []string{"internal/retryafter"},
		why: "it sends one request, and knows neither links nor tokens",
	},
	"internal/listing":    {why: "it reads pages in order, and knows not of what"},
	"internal/retryafter": {why: "it reads one header"},
	"internal/wording":    {why: "it is texts, for whoever shows them"},
	"internal/reading":    {why: "it measures texts, and not whose they are; for tests"},
	"internal/custody": {
		own: []string{"tokenstore", "internal/listing", "internal/conceal", "internal/seal", "internal/tokenwire", "internal/custody/core"},
		why: "keeping tokens alive knows no PKB",
	},
	"internal/custody/core": {why: "the protocol is explored in every history, so it knows no clock, no store and no endpoint"},
	"internal/custody/explore": {
		own: []string{"internal/custody/core"},
		why: "it explores the protocol, and nothing that drives it",
	},
	"internal/house": {why: "it is made of tests"},
	"internal/canary": {
		own:     []string{"pkb", "pkb/identity", "pkb/record", "pkb/observe", "pkb/keys", "pkb/advice", "pkb/pkbsystem", "pkb/pkbtest", "tokenstore", "fhir"},
		modules: map[string]string{oauth2: "linked with pkb", models: "linked with pkb", text: "linked with pkb"},
		why:     "it is a host, for tests",
	},
	"examples": {
		own:     []string{"pkb", "pkb/identity", "pkb/record", "pkb/observe", "pkb/keys", "pkb/advice", "pkb/pkbsystem", "pkb/pkbtest", "tokenstore", "fhir"},
		modules: map[string]string{oauth2: "linked with pkb", models: "linked with pkb", text: "linked with pkb"},
		why:     "an example shows what a host can write, and runs with go run from anywhere",
	},
}

// onlyIn names modules that only packages under one directory may import
// themselves.
var onlyIn = map[string]string{models: "fhir"}

func ruleFor(rel string) (rule, bool) {
	for dir := rel; ; {
		if r, ok := rules[dir]; ok {
			return r, true
		}
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return rule{}, false
		}
		dir = dir[:i]
	}
}

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath string
	ForTest    string
	Standard   bool
	Module     *struct {
		Path string
		Main bool
	}
	Imports []string
	Deps    []string
}

func inModule(p, module string) bool { return p == module || strings.HasPrefix(p, module+"/") }

// rel returns the path of an own package from the root.
func rel(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(importPath, modulePath+"/")
}

// wrongImports finds, among all packages of a build, what a package of ours
// must not import or link.
func wrongImports(packages []goPackage) (problems []string) {
	byPath := make(map[string]goPackage)
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}
	for _, p := range packages {
		if !inModule(p.ImportPath, modulePath) {
			continue
		}
		name := rel(p.ImportPath)
		r, ok := ruleFor(name)
		if !ok {
			problems = append(problems, name+" has no rule: add to rules what it may import, and why")
			continue
		}
		for _, imported := range p.Imports {
			if inModule(imported, modulePath) && !slices.Contains(r.own, rel(imported)) {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", name, rel(imported), r.why))
			}
			for module, dir := range onlyIn {
				if inModule(imported, module) && name != dir && !under(name, dir) {
					problems = append(problems, fmt.Sprintf("%s imports %s, which is for %s only", name, imported, dir))
				}
			}
		}
		linked := make(map[string]bool)
		for _, dep := range p.Deps {
			d := byPath[dep]
			if d.Standard || inModule(dep, modulePath) {
				continue
			}
			module := dep
			if d.Module != nil {
				module = d.Module.Path
			}
			if r.modules[module] == "" {
				linked[module] = true
			}
		}
		for _, module := range sortedKeys(linked) {
			problems = append(problems, fmt.Sprintf("%s links %s: %s", name, module, r.why))
		}
	}
	return problems
}

// foreignTestModules finds modules, among all packages of a test build, that
// are not for tests of this module.
func foreignTestModules(packages []goPackage, allowed []string) []string {
	problems := make(map[string]bool)
	for _, p := range packages {
		if p.Standard || p.Module == nil || p.Module.Main || slices.Contains(allowed, p.Module.Path) {
			continue
		}
		problems[p.Module.Path+" is linked with a test of the root module"] = true
	}
	return sortedKeys(problems)
}

// goCommand runs go in a module of this repository and returns what it prints.
func goCommand(t *testing.T, module string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root + "/" + module
	cmd.Env = append(os.Environ(), "GOWORK=off") // as a host sees it
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func goList(t *testing.T, args ...string) (packages []goPackage) {
	t.Helper()
	out := goCommand(t, ".", append([]string{"list", "-deps", "-json=ImportPath,ForTest,Standard,Module,Imports,Deps"}, args...)...)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestDependencies(t *testing.T) {
	bad := `[
		{"ImportPath": "fmt", "Standard": true},
		{"ImportPath": "example.com/db/driver", "Module": {"Path": "example.com/db"}},
		{"ImportPath": "` + models + `/fhir", "Module": {"Path": "` + models + `"}},
		{"ImportPath": "` + modulePath + `/fhir", "Imports": ["fmt", "` + models + `/fhir", "` + modulePath + `/tokenstore"], "Deps": ["fmt", "` + models + `/fhir"]},
		{"ImportPath": "` + modulePath + `/internal/custody", "Imports": ["` + modulePath + `/pkb"], "Deps": ["example.com/db/driver"]},
		{"ImportPath": "` + modulePath + `/pkb", "Imports": ["` + models + `/fhir"], "Deps": ["example.com/db/driver"]},
		{"ImportPath": "` + modulePath + `/pkb/pkbtest", "Imports": ["` + modulePath + `/pkb"]},
		{"ImportPath": "` + modulePath + `/examples/x", "Imports": ["` + modulePath + `/internal/seal"]},
		{"ImportPath": "` + modulePath + `/internal/util"}
	]`
	var packages []goPackage
	if err := json.Unmarshal([]byte(bad), &packages); err != nil {
		t.Fatal(err)
	}
	finds(t, wrongImports(packages),
		"fhir imports tokenstore", "internal/custody imports pkb", "internal/custody links example.com/db",
		"pkb imports "+models, "pkb links example.com/db", "pkb/pkbtest imports pkb", "examples/x imports internal/seal", "internal/util has no rule")

	report(t, "dependencies run one way, and what a package links is paid by every host that imports it",
		wrongImports(goList(t, "./...")))
}

func TestTestDependencies(t *testing.T) {
	var packages []goPackage
	if err := json.Unmarshal([]byte(`[
		{"ImportPath": "fmt", "Standard": true},
		{"ImportPath": "example.com/db/driver", "Module": {"Path": "example.com/db"}},
		{"ImportPath": "`+goCmp+`/cmp", "Module": {"Path": "`+goCmp+`"}},
		{"ImportPath": "`+modulePath+`/pkb", "Module": {"Path": "`+modulePath+`", "Main": true}}
	]`), &packages); err != nil {
		t.Fatal(err)
	}
	finds(t, foreignTestModules(packages, testImports), "example.com/db is linked")
	finds(t, foreignTestImports(parse(t, map[string]string{
		"pkb/a_test.go": "package pkb\nimport (\n\"testing\"\n_ \"example.com/db/driver\"\n\"" + goCmp + "/cmp\"\n)",
	})), "example.com/db/driver")

	const why = "what tests of the root module import lands in every host's go.sum; drivers, browsers and servers are for internal/integration"
	report(t, why, foreignTestModules(goList(t, "-test", "./..."), testImports))
	report(t, why, foreignTestImports(parse(t, files(t, func(name string) bool {
		return isTest(name) && !inOtherModule(name)
	}))))
}

// foreignTestImports does the same by reading, so that it also sees files that
// a build constraint keeps out of this build.
func foreignTestImports(sources []source) (problems []string) {
	allowed := append([]string{modulePath}, testImports...)
	for _, s := range sources {
		for _, spec := range s.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && !slices.ContainsFunc(allowed, func(module string) bool { return inModule(p, module) }) {
				problems = append(problems, fmt.Sprintf("%s imports %s", s.name, p))
			}
		}
	}
	return problems
}

// notAsListed compares modules with a list that has the reason for each.
func notAsListed(what string, modules []string, reasons map[string]string) (problems []string) {
	for _, m := range modules {
		if reasons[m] == "" {
			problems = append(problems, fmt.Sprintf("%s has %s: remove it, or add the reason to the list", what, m))
		}
	}
	for _, m := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(modules, m) {
			problems = append(problems, fmt.Sprintf("%s does not have %s: remove it from the list", what, m))
		}
	}
	return problems
}

func TestRequirements(t *testing.T) {
	finds(t, notAsListed("go.mod", []string{"a", "b"}, map[string]string{"a": "reason", "c": "reason"}), "has b", "does not have c")

	var mod struct {
		Require []struct{ Path string }
		Replace []struct{ Old struct{ Path string } }
		Exclude []struct{ Path string }
	}
	if err := json.Unmarshal(goCommand(t, ".", "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, r := range mod.Require {
		required = append(required, r.Path) // indirect ones too: there are none
	}
	report(t, "go.mod must be readable at a glance, with a reason for every line", notAsListed("go.mod", required, requirements))
	if len(mod.Replace)+len(mod.Exclude) > 0 {
		t.Error("go.mod replaces or excludes a module: hosts do not see that, and go run ...@latest refuses it")
	}
}

// hostSums are the modules in the go.sum of internal/testdata/consumer, a host that
// links a patient and tests that with pkbtest. The FHIR models are not among them:
// only a host that reads resources needs those.
var hostSums = map[string]string{
	oauth2: "linked with pkb",
	models: "linked with pkb through fhir",
	text:   "linked with pkb through identity",
	goCmp:  "used by the tests of pkb, which go mod tidy counts; never linked",
	mock:   "used by the tests of pkb, which go mod tidy counts; never linked",
}

// summed returns the modules that a go.sum names.
func summed(goSum string) (modules []string) {
	for line := range strings.Lines(goSum) {
		if name, _, ok := strings.Cut(line, " "); ok && !slices.Contains(modules, name) {
			modules = append(modules, name)
		}
	}
	return modules
}

func TestConsumerSums(t *testing.T) {
	finds(t, notAsListed("go.sum", summed("a v1.0.0 h1:x=\na v1.0.0/go.mod h1:y=\nb v1.0.0/go.mod h1:z=\n"),
		map[string]string{"a": "reason"}), "has b")

	const name = "internal/testdata/consumer/go.sum"
	all := files(t, func(string) bool { return true })
	if all[name] == "" {
		t.Fatalf("%s is missing: it is what a host's go.sum grows by", name)
	}
	report(t, "every line here is a module that each host has to trust because of us", notAsListed(name, summed(all[name]), hostSums))
}

// adapterImports are what the inner modules that hosts link may import in addition to
// the standard library.
var adapterImports = map[string][]string{
	"pkb/pkbotel": {
		modulePath + "/pkb", modulePath + "/pkb/observe", modulePath + "/tokenstore",
		"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes",
		"go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/metric/noop",
		"go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/trace/noop",
	},
	"tokenstore/etcdstore": {
		modulePath + "/tokenstore",
		"go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/api/v3/mvccpb", "go.etcd.io/etcd/api/v3/v3rpc/rpctypes",
		"google.golang.org/grpc/codes", "google.golang.org/grpc/status",
	},
}

func foreignAdapterImports(sources []source) (problems []string) {
	for _, s := range sources {
		for _, spec := range s.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && !slices.Contains(adapterImports[path.Dir(s.name)], p) {
				problems = append(problems, fmt.Sprintf("%s imports %s", s.name, p))
			}
		}
	}
	return problems
}

func TestAdapterImports(t *testing.T) {
	report(t, "an adapter is for the API of somebody else's library: of OpenTelemetry the SDK, the exporters and the global providers are the host's choice, and of etcd the server",
		foreignAdapterImports(parse(t, files(t, func(name string) bool {
			return isGo(name) && !isTest(name) && isAdapter(name)
		}))))
	finds(t, foreignAdapterImports(parse(t, map[string]string{
		"pkb/pkbotel/a.go":          "package pkbotel\nimport (\n\"context\"\n_ \"go.opentelemetry.io/otel\"\n_ \"go.opentelemetry.io/otel/sdk/trace\"\n_ \"go.opentelemetry.io/otel/trace\"\n)",
		"tokenstore/etcdstore/a.go": "package etcdstore\nimport (\n_ \"go.etcd.io/etcd/client/v3\"\n_ \"go.etcd.io/etcd/server/v3\"\n_ \"go.opentelemetry.io/otel/trace\"\n)",
	})), "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/sdk/trace", "go.etcd.io/etcd/server/v3", "tokenstore/etcdstore/a.go imports go.opentelemetry.io/otel/trace")
}
