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
	var b strings.Builder
	pointer := reflect.New(reflect.TypeOf(v))
	pointer.Elem().Set(reflect.ValueOf(v))
	for _, w := range []any{
		v, pointer.Interface(), []any{v}, map[string]any{"k": v}, struct{ V any }{v}, &struct{ V any }{v},
	} {
		b.WriteString(PrintFmt(w))
		b.WriteString(printEncoded(w))
		b.WriteString(printLogged(w))
	}
	if err, ok := v.(error); ok {
		wrapped := fmt.Errorf("wrapped: %w", err)
		joined := errors.Join(errors.New("another"), wrapped)
		for _, w := range []error{wrapped, joined} {
			fmt.Fprintf(&b, "%v %+v %s %q %x %X\n", w, w, w, w, w, w)
			b.WriteString(printLogged(w))
		}
	}
	b.WriteString(panicked(v))
	return b.String()
}

// PrintFmt returns v under every verb.
func PrintFmt(v any) string {
	var b strings.Builder
	for _, verb := range Verbs {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	return b.String()
}

// PrintHidden returns v as fmt prints it where it calls no methods: in a field
// that is not exported, under %p, and in an error of its own under verbs that are
// not for texts. What is secret stays hidden there too.
func PrintHidden(v any) string {
	text := fmt.Sprintf("%p %[1]p\n", v) + PrintFmt(struct{ v any }{v}) + PrintFmt(&struct{ v []any }{[]any{v}}) + PrintFmt(struct{ m map[string]any }{map[string]any{"k": v}})
	if err, ok := v.(error); ok {
		text += PrintFmt(fmt.Errorf("wrapped: %w", err)) + PrintFmt(errors.Join(err, err))
	}
	return text
}

func printEncoded(v any) string {
	var b bytes.Buffer
	if text, err := json.Marshal(v); err == nil {
		b.Write(text)
	} else {
		fmt.Fprintln(&b, err)
	}
	if err := textPage.Execute(&b, v); err != nil {
		fmt.Fprintln(&b, err)
	}
	if err := webPage.Execute(&b, v); err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

var (
	textPage = template.Must(template.New("text").Parse("{{.}} {{printf `%v %+v %#v %s %q %x %d` . . . . . . .}} {{print .}} {{html .}} {{js .}} {{urlquery .}}\n"))
	webPage  = htmltemplate.Must(htmltemplate.New("web").Parse(`<p title="{{.}}">{{.}}</p><script>var x = {{.}}</script><a href="/{{.}}?q={{.}}">x</a>` + "\n"))
)

func printLogged(v any) string {
	var b bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		logger := slog.New(handler)
		logger.Info("m", "v", v)
		logger.With("v", v).WithGroup("g").With("v", v).Info("m", slog.Group("h", "v", v, "w", []any{v}))
		logger.LogAttrs(context.Background(), slog.LevelError, "m", slog.Attr{Key: "v", Value: slog.AnyValue(v)})
	}
	fmt.Fprint(&b, v)
	fmt.Fprintln(&b, "v", v)
	return b.String()
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

// PrintChain prints an error and all errors behind it, as those do that report
// chains.
func PrintChain(err error) string {
	if err == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString(Print(err) + err.Error() + "\n")
	switch err := err.(type) { //nolint:errorlint // each error of the chain has its turn
	case interface{ Unwrap() error }:
		b.WriteString(PrintChain(err.Unwrap()))
	case interface{ Unwrap() []error }:
		for _, behind := range err.Unwrap() {
			b.WriteString(PrintChain(behind))
		}
	}
	return b.String()
}

// PrintAll prints a value and every value of a type of this module that can be
// reached from it through exported fields, lists and pointers. The structs of FHIR are
// plain, and left out: whoever holds one has asked for it.
func PrintAll(v any) string {
	var b strings.Builder
	printAll(&b, reflect.ValueOf(v), make(map[uintptr]bool), 0)
	return b.String()
}

const module = "github.com/betawerk/pkb-go"

// isPlain reports whether a type prints all that it holds, by decision.
func isPlain(t reflect.Type) bool {
	return t.PkgPath() == module+"/fhir" && !strings.HasPrefix(t.Name(), "Resource[")
}

func printAll(b *strings.Builder, v reflect.Value, seen map[uintptr]bool, depth int) {
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
		b.WriteString(Print(v.Interface()))
	}
	// What a pointer points to is printed as a host has it: by the pointer.
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		printAll(b, v, seen, depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				printAll(b, v.Field(i), seen, depth+1)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			printAll(b, v.Index(i), seen, depth+1)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			printAll(b, v.MapIndex(key), seen, depth+1)
		}
	}
}
