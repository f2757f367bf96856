// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package house

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// names are how many exported names each package has at most at its top level: constants,
// variables, functions and types. fhir is FHIR's, and has as many as FHIR.
var names = map[string]int{
	"pkb": 60, "pkb/identity": 46, "pkb/record": 25, "pkb/observe": 80, "pkb/keys": 8, "pkb/advice": 8, "pkb/pkbsystem": 20, "pkb/pkbtest": 30, "pkb/pkbotel": 5,
	"tokenstore": 30, "tokenstore/sqlstore": 15, "tokenstore/etcdstore": 10, "tokenstore/storetest": 5,
}

// ordinaryMethods are how many methods there are at most that do something: all but those
// that print, encode or decode.
const ordinaryMethods = 220

// printing is a method that prints, encodes or decodes. Error, Is and Unwrap are what an
// error is made of, and ordinary.
var printing = regexp.MustCompile(`^(String|GoString|Format|LogValue|Marshal\w*|Unmarshal\w*|Value|Scan)$`)

// printers are the types that may have such methods, and why.
var printers = map[string]string{
	"pkb.Secret": wraps, "pkb.Pending": wraps, "pkb.Response": wraps, "pkb.Candidate": wraps, "pkb/keys.Keyring": wraps,
	"pkb/identity.Self": wraps, "pkb/identity.Known": wraps, "pkb/identity.NHSNumber": wraps + "; and it has a column", "fhir.Resource": wraps,
	"pkb/pkbsystem.PatientStatus": wraps,

	"pkb/pkbsystem.Config": hides, "pkb/pkbsystem.Client": hides,
	"pkb.Config": hides, "pkb.Client": hides, "pkb.Patient": hides, "pkb.Web": hides,
	"tokenstore.Memory": hides, "tokenstore.Blob": hides, "tokenstore.Record": hides, "tokenstore/sqlstore.Store": hides, "tokenstore/etcdstore.Store": hides,
	"pkb/pkbtest.Server": hides, "pkb/pkbtest.Request": hides,

	"pkb.Link": namesNobody, "pkb/observe.Event": namesNobody, "pkb/observe.Notice": namesNobody,

	"pkb.APIError": tells, "pkb.TryLaterError": tells, "pkb.SharedRecordError": tells, "tokenstore/sqlstore.Error": tells, "tokenstore/etcdstore.Error": tells,

	"fhir.List":          "it writes null for a value that is absent, where an extension stands for it",
	"pkb/identity.Match": "a host logs what a comparison has shown",
}

const (
	wraps       = "a wrapper: package conceal prints and refuses for it"
	hides       = "it holds what is secret or about a patient, in fields that are not exported or are for asking"
	namesNobody = "it prints with the link's name in a log in place of ids"
	tells       = "an error whose causes may speak of the patient: only its own text is printed"
)

// line is one of the listing, with the package that it is under.
type apiLine struct{ pkg, text string }

func apiLines(listing string) (all []apiLine) {
	pkg := ""
	for line := range strings.Lines(listing) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "package "); ok {
			pkg = name
		} else if line != "" {
			all = append(all, apiLine{pkg, line})
		}
	}
	return all
}

var (
	topName    = regexp.MustCompile(`^(const|var|func|type) (\w+)`)
	methodName = regexp.MustCompile(`^method \(\*?(\w+)\) (\w+)\(`)
)

// tooMuch says where a listing has more than it may.
func tooMuch(lines []apiLine, most map[string]int, methods int, mayPrint map[string]string) (problems []string) {
	found := make(map[string]map[string]bool)
	ordinary := 0
	prints := make(map[string]bool)
	for _, line := range lines {
		if m := topName.FindStringSubmatch(line.text); m != nil {
			if found[line.pkg] == nil {
				found[line.pkg] = make(map[string]bool)
			}
			found[line.pkg][m[2]] = true
		}
		if m := methodName.FindStringSubmatch(line.text); m != nil {
			if printing.MatchString(m[2]) {
				prints[line.pkg+"."+m[1]] = true
			} else {
				ordinary++
			}
		}
	}
	for _, pkg := range sortedKeys(found) {
		if _, ok := most[pkg]; !ok && pkg != "fhir" {
			problems = append(problems, pkg+" has no bound: say in names how many exported names it may have")
		} else if n := len(found[pkg]); ok && n > most[pkg] {
			problems = append(problems, fmt.Sprintf("%s has %d exported names, and %d are its bound", pkg, n, most[pkg]))
		}
	}
	for _, pkg := range sortedKeys(most) {
		if found[pkg] == nil {
			problems = append(problems, pkg+" has a bound and is not listed")
		}
	}
	if ordinary > methods {
		problems = append(problems, fmt.Sprintf("there are %d methods that do something, and %d are the bound", ordinary, methods))
	}
	for _, name := range slices.Sorted(maps.Keys(prints)) {
		if mayPrint[name] == "" {
			problems = append(problems, name+" prints or encodes by a method of its own, and printers does not say why")
		}
	}
	for _, name := range sortedKeys(mayPrint) {
		if !prints[name] {
			problems = append(problems, name+" has no method that prints or encodes any more")
		}
	}
	return problems
}

func TestSurface(t *testing.T) {
	listing := files(t, func(name string) bool { return name == apiFile })[apiFile]
	report(t, "a host reads the list before it writes a line: what is not needed stands in the way of what is",
		tooMuch(apiLines(listing), names, ordinaryMethods, printers))
	finds(t, tooMuch(apiLines("package a\nconst A int = 1\nfunc B()\ntype C struct\ntype C struct, F int\nmethod (C) Do()\nmethod (*C) Undo()\nmethod (C) Error() string\nmethod (C) String() string\n"+
		"package b\nvar V int\nmethod (D) MarshalJSON() ([]byte, error)\n"), map[string]int{"a": 2, "gone": 1}, 2, map[string]string{"b.D": "x", "b.E": "x"}),
		"a has 3 exported names", "b has no bound", "gone has a bound", "there are 3 methods", "a.C prints", "b.E has no method")
}

// longDocs says which outputs of go doc have more lines than they may.
func longDocs(outputs map[string]string, most map[string]int) (problems []string) {
	for _, command := range sortedKeys(outputs) {
		if n := strings.Count(outputs[command], "\n"); n > most[command] {
			problems = append(problems, fmt.Sprintf("%s prints %d lines, and %d are its bound", command, n, most[command]))
		}
	}
	return problems
}

func TestDocsAreShort(t *testing.T) {
	most := map[string]int{"go doc ./pkb": 160, "go doc -all ./pkb": 1100}
	report(t, "go doc ./pkb is the first thing that a reader in a terminal sees: it fits on two screens, and all of it can be read in half an hour", longDocs(map[string]string{
		"go doc ./pkb":      string(goCommand(t, ".", "doc", "./pkb")),
		"go doc -all ./pkb": string(goCommand(t, ".", "doc", "-all", "./pkb")),
	}, most))
	finds(t, longDocs(map[string]string{"a": "1\n2\n3\n", "b": "1\n"}, map[string]int{"a": 2, "b": 1}), "a prints 3 lines")
}

// keepers are packages that look for methods by name: a program that links one keeps
// every exported method of every type that it can reach.
var keepers = []string{"html/template", "text/template"}

func linksKeepers(packages []goPackage, of string) (problems []string) {
	for _, p := range packages {
		if p.ImportPath != of {
			continue
		}
		for _, dep := range p.Deps {
			if slices.Contains(keepers, dep) {
				problems = append(problems, rel(of)+" links "+dep)
			}
		}
	}
	return problems
}

// A host of the calls that most hosts make, and what every server links anyway.
const (
	plainHost = `package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
)

func main() {
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("starting")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(r.URL.Query()) })
	resp, err := http.Get("https://127.0.0.1/")
	if err == nil {
		_ = resp.Body.Close()
	}
	_ = http.ListenAndServe("127.0.0.1:0", nil)
}
`
	linkingHost = `package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/record"
	"github.com/betawerk/pkb-go/tokenstore"
)

func main() {
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("starting")
	client, err := pkb.New(pkb.Config{Environment: pkb.Sandbox(), ClientID: "c", RedirectURL: "https://app.example/cb", Store: tokenstore.NewMemory()})
	if err != nil {
		slog.Error("pkb", "error", err)
		return
	}
	web := client.Web(pkb.WebConfig{User: func(*http.Request) string { return "user" }, Done: "/"})
	http.Handle("/link", web.Link())
	http.Handle("/callback", web.Callback())
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		patient := client.ForUser("user")
		self, err := patient.Self(r.Context())
		if err != nil {
			http.Error(w, "later", http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(self.Compare(identity.NewKnown(identity.Person{FirstName: r.FormValue("first")})))
		_ = json.NewEncoder(w).Encode(self.Reveal())
		for observation, err := range patient.Record().Observations(r.Context(), record.Laboratory) {
			if err != nil {
				return
			}
			_ = json.NewEncoder(w).Encode(observation.Reveal())
		}
	})
	_ = http.ListenAndServe("127.0.0.1:0", nil)
}
`
)

// mostOfBinary is how much a binary grows at most.
const mostOfBinary = 2.5 * (1 << 20)

// tooHeavy says whether a host grows by more than it may.
func tooHeavy(plain, linking int64) (problems []string) {
	if grown := linking - plain; float64(grown) > mostOfBinary {
		problems = append(problems, fmt.Sprintf("a host grows by %.2f MiB, and %.1f are the bound", float64(grown)/(1<<20), mostOfBinary/(1<<20)))
	}
	return problems
}

func TestLightToImport(t *testing.T) {
	const why = "a library that links accounts is a small part of a host's program. What makes it grow is most often a package that looks for methods by name: " +
		"the linker then keeps every method (go build -ldflags=-dumpdep names what keeps one)"
	pkb := modulePath + "/pkb"
	packages := goList(t, "./pkb")
	report(t, why, linksKeepers(packages, pkb))
	finds(t, linksKeepers([]goPackage{{ImportPath: pkb, Deps: []string{"fmt", "text/template"}}, {ImportPath: "x", Deps: keepers}}, pkb), "pkb links text/template")
	finds(t, tooHeavy(8<<20, 11<<20), "grows by 3.00 MiB")
	if testing.Short() {
		t.Skip("two programs are built in the long form")
	}
	plain, linking := built(t, "plain", plainHost), built(t, "linking", linkingHost)
	t.Logf("a host of Link, Callback, Self, Compare and Observations is %.2f MiB, %.2f more than one of net/http, encoding/json and log/slog",
		float64(linking)/(1<<20), float64(linking-plain)/(1<<20))
	report(t, why, tooHeavy(plain, linking))
	if linking <= plain {
		t.Error("the host of pkb is not larger than the other: what is measured is something else")
	}
}

// built builds a program in this module and returns its size.
func built(t *testing.T, name, source string) int64 {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	overlay := filepath.Join(work, "overlay.json")
	file := filepath.Join(work, "main.go")
	// The program is in the module for the compiler only.
	inside := filepath.Join(dir, "internal", "house", "testdata", name, "main.go")
	for path, text := range map[string]string{file: source, overlay: fmt.Sprintf("{%q: {%q: %q}}", "Replace", inside, file)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(work, name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-overlay", overlay, "-o", program, "./internal/house/testdata/"+name)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, bytes.TrimSpace(out))
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
