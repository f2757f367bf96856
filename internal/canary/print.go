// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log/slog"
	"reflect"
	"strings"
	"text/template"
)

// Verbs are the verbs and flags of package fmt, but for %p, with which it calls no
// methods.
var Verbs = []string{
	"%v", "%+v", "%#v", "%s", "%q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%t", "%b", "%o", "%O", "%U", "%c", "%e", "%g",
	"%40s", "%-40v", "%.3s", "%z",
}

// Print returns v as everything prints it that can call its methods: fmt, slog,
// JSON, templates, panics; by itself, behind a pointer, and in what
// holds it.
func Print(v any) string {
	var p printer
	p.print(v)
	return p.String()
}

// PrintFmt returns v under every verb.
func PrintFmt(v any) string {
	var p printer
	p.fmt(v)
	return p.String()
}

// PrintHidden returns v as fmt prints it where it calls no methods: in a field
// that is not exported, under %p, and in an error of its own under verbs that are
// not for texts. What is secret stays hidden there too.
func PrintHidden(v any) string {
	var p printer
	fmt.Fprintf(&p, "%p %[1]p\n", v)
	p.fmt(struct{ v any }{v})
	p.fmt(&struct{ v []any }{[]any{v}})
	p.fmt(struct{ m map[string]any }{map[string]any{"k": v}})
	if err, ok := v.(error); ok {
		p.fmt(fmt.Errorf("wrapped: %w", err))
		p.fmt(errors.Join(err, err))
	}
	return p.String()
}

// PrintChain prints an error and all errors behind it, as those do that report
// chains.
func PrintChain(err error) string {
	var p printer
	p.chain(err)
	return p.String()
}

// PrintAll prints a value and every value of a type of this module that can be
// reached from it through exported fields, lists and pointers.
func PrintAll(v any) string {
	var p printer
	p.all(v)
	return p.String()
}

// PrintError is PrintChain and PrintAll of an error, and prints once what is
// reached in both ways.
func PrintError(err error) string {
	p := printer{once: make(map[any]bool)}
	p.chain(err)
	p.all(err)
	return p.String()
}

// printer collects what is printed. All of it is in one buffer: there is much.
type printer struct {
	bytes.Buffer
	once map[any]bool // pointers to what was printed; nil means that they are ignored
}

func (p *printer) print(v any) {
	of := reflect.TypeOf(v)
	if p.once != nil && of.Kind() == reflect.Pointer {
		if p.once[v] {
			return
		}
		p.once[v] = true
	}
	pointer := reflect.New(of)
	pointer.Elem().Set(reflect.ValueOf(v))
	for _, w := range holders(v, pointer.Interface()) {
		p.fmt(w)
		p.paged(w)
	}
	encodes := v
	if encodesIDs[of.String()] {
		p.loggedWith(v, withoutIDs(pointer.Elem())) // by itself it names nobody
		encodes = withoutIDs(pointer.Elem())
	}
	for _, w := range holders(encodes, pointer.Interface()) {
		p.encoded(w)
		p.logged(w)
	}
	if err, ok := v.(error); ok {
		wrapped := fmt.Errorf("wrapped: %w", err)
		joined := errors.Join(errors.New("another"), wrapped)
		for _, w := range []error{wrapped, joined} {
			fmt.Fprintf(p, "%v %+v %s %q %x %X\n", w, w, w, w, w, w)
			p.logged(w)
		}
	}
	p.WriteString(panicked(v))
}

// holders are v by itself, behind a pointer, and in what holds it.
func holders(v, pointer any) []any {
	return []any{v, pointer, []any{v}, map[string]any{"k": v}, struct{ V any }{v}, &struct{ V any }{v}}
}

// encodesIDs are the types that print without ids and encode with them, by decision:
// a database or an API of a host's needs them. Whatever else they hold stays in.
var encodesIDs = map[string]bool{"pkb.Link": true, "observe.Event": true}

// withoutIDs takes the ids out of a value that encodes them, and returns it.
func withoutIDs(v reflect.Value) any {
	for _, name := range []string{"AppUserID", "PublicID"} {
		if f := v.FieldByName(name); f.IsValid() {
			f.SetString("")
		}
	}
	return v.Interface()
}

func (p *printer) fmt(v any) {
	for _, verb := range verbLines {
		fmt.Fprintf(p, verb, v)
	}
}

// verbLines are the verbs, each with the end of a line.
var verbLines = func() (lines []string) {
	for _, verb := range Verbs {
		lines = append(lines, verb+"\n")
	}
	return lines
}()

func (p *printer) encoded(v any) {
	if text, err := json.Marshal(v); err == nil {
		p.Write(text)
	} else {
		fmt.Fprintln(p, err)
	}
	if err := webScript.Execute(p, v); err != nil {
		fmt.Fprintln(p, err)
	}
}

func (p *printer) paged(v any) {
	if err := textPage.Execute(p, v); err != nil {
		fmt.Fprintln(p, err)
	}
	if err := webPage.Execute(p, v); err != nil {
		fmt.Fprintln(p, err)
	}
}

var (
	textPage = template.Must(template.New("text").Parse("{{.}} {{printf `%v %+v %#v %s %q %x %d` . . . . . . .}} {{print .}} {{html .}} {{js .}} {{urlquery .}}\n"))
	// In a script, html/template writes JSON.
	webScript = htmltemplate.Must(htmltemplate.New("script").Parse(`<script>var x = {{.}}</script>` + "\n"))
	webPage   = htmltemplate.Must(htmltemplate.New("web").Parse(`<p title="{{.}}">{{.}}</p><a href="/{{.}}?q={{.}}">x</a>` + "\n"))
)

func (p *printer) logged(v any) { p.loggedWith(v, v) }

// loggedWith logs v by itself, and listed in a list.
func (p *printer) loggedWith(v, listed any) {
	for _, handler := range []slog.Handler{slog.NewTextHandler(p, nil), slog.NewJSONHandler(p, nil)} {
		logger := slog.New(handler)
		logger.Info("m", "v", v)
		logger.With("v", v).WithGroup("g").With("v", v).Info("m", slog.Group("h", "v", v, "w", []any{listed}))
		logger.LogAttrs(context.Background(), slog.LevelError, "m", slog.Attr{Key: "v", Value: slog.AnyValue(v)})
	}
	fmt.Fprint(p, v)
	fmt.Fprintln(p, "v", v)
}

// panicked returns v as the runtime prints a panic that nobody recovers, and as
// a handler does that has recovered one. The test of this package compares with
// the runtime.
func panicked(v any) (text string) {
	switch v := v.(type) {
	case error:
		text = v.Error()
	case fmt.Stringer:
		text = v.String()
	}
	return text + "\n" + fmt.Sprint("recovered: ", v) + fmt.Sprintf("recovered: %v", v)
}

func (p *printer) chain(err error) {
	if err == nil {
		return
	}
	p.print(err)
	p.WriteString(err.Error() + "\n")
	switch err := err.(type) { //nolint:errorlint // each error of the chain has its turn
	case interface{ Unwrap() error }:
		p.chain(err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, behind := range err.Unwrap() {
			p.chain(behind)
		}
	}
}

// all prints a value and every value of a type of this module that can be reached
// from it through exported fields, lists and pointers. The structs of FHIR and of
// users/self are plain, and left out: whoever holds one has asked for it.
func (p *printer) all(v any) { p.reach(reflect.ValueOf(v), make(map[uintptr]bool), 0) }

const module = "github.com/betawerk/pkb-go"

// isPlain reports whether a type prints all that it holds, by decision.
func isPlain(t reflect.Type) bool {
	return t.PkgPath() == module+"/fhir" && !strings.HasPrefix(t.Name(), "Resource[")
}

func (p *printer) reach(v reflect.Value, seen map[uintptr]bool, depth int) {
	for v.IsValid() && v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() || depth > 8 {
		return
	}
	of := v.Type()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() || seen[v.Pointer()] {
			return
		}
		seen[v.Pointer()] = true
		of = of.Elem()
	}
	if isPlain(of) {
		return
	}
	// A text by itself prints as it is: that of a field is for whoever asks for it.
	if strings.HasPrefix(of.PkgPath(), module) && of.Kind() != reflect.String && v.CanInterface() {
		p.print(v.Interface())
	}
	// What a pointer points to is printed as a host has it: by the pointer.
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		p.reach(v, seen, depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				p.reach(v.Field(i), seen, depth+1)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			p.reach(v.Index(i), seen, depth+1)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			p.reach(v.MapIndex(key), seen, depth+1)
		}
	}
}
