// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package conceal_test

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/betawerk/pkb-go/internal/conceal"
)

type hidden[T any] = conceal.Hidden[T]

type wrapper struct{ hidden[person] }

type person struct{ Name string }

func hide() wrapper { return wrapper{conceal.Of(person{"canary"})} }

func TestOpen(t *testing.T) {
	if got := conceal.Open(hide().hidden); got.Name != "canary" {
		t.Errorf("Open returns %+v", got)
	}
	if fmt.Sprint(wrapper{}) != conceal.Text || conceal.Open(wrapper{}.hidden).Name != "" || !conceal.Absent(wrapper{}.hidden) || conceal.Absent(hide().hidden) {
		t.Error("the zero Hidden is not absent")
	}
	if text := conceal.OfText("x"); conceal.Open(text) != "x" || conceal.Absent(text) || !conceal.Absent(conceal.OfText("")) {
		t.Error("OfText")
	}
}

// leaks reports whether out has the content, in any notation that fmt has.
func leaks(out string) bool {
	for _, canary := range []string{"canary", "63616e617279", "63616E617279", "99 97 110 97 114 121", "0x63, 0x61", "Y2FuYXJ5"} {
		if strings.Contains(out, canary) {
			return true
		}
	}
	return false
}

// Every sink prints [redacted], or refuses with ErrEncoding; what calls no methods
// finds a function.
func TestEverySink(t *testing.T) {
	w := hide()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%e", "%c", "%U", "%.3s", "%-20v"} {
		for _, v := range []any{w, &w} {
			if got := fmt.Sprintf(verb, v); got != conceal.Text {
				t.Errorf("%s: %s", verb, got)
			}
		}
		for _, v := range []any{struct{ w wrapper }{w}, &struct{ w *wrapper }{&w}, struct{ a any }{w}, []any{w}, map[string]wrapper{"k": w}, struct{ w []wrapper }{[]wrapper{w}}} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
	}
	for _, page := range []string{"{{.}}", "{{printf `%v %d` . .}}", "{{print .}}", "{{html .}}", "{{js .}}"} {
		if err := template.Must(template.New("").Parse(page)).Execute(&b, w); err != nil {
			t.Error(err)
		}
	}
	if err := htmltemplate.Must(htmltemplate.New("").Parse(`<p title="{{.}}">{{.}}</p><script>var x = {{.}}</script>`)).Execute(&b, w); err != nil {
		fmt.Fprintln(&b, err)
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(handler).Info("m", "w", w, "p", &w, "s", struct{ W wrapper }{w}, slog.Group("g", "w", w))
	}

	for name, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal, "xml": xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
		"JSON itself": func(v any) ([]byte, error) { return v.(json.Marshaler).MarshalJSON() }, // else json takes MarshalText
		"text":        func(v any) ([]byte, error) { return v.(encoding.TextMarshaler).MarshalText() },
		"binary":      func(v any) ([]byte, error) { return v.(encoding.BinaryMarshaler).MarshalBinary() },
		"cbor":        func(v any) ([]byte, error) { return v.(interface{ MarshalCBOR() ([]byte, error) }).MarshalCBOR() },
		"bson": func(v any) ([]byte, error) {
			_, data, err := v.(interface {
				MarshalBSONValue() (byte, []byte, error)
			}).MarshalBSONValue()
			return data, err
		},
		"bson document": func(v any) ([]byte, error) { return v.(interface{ MarshalBSON() ([]byte, error) }).MarshalBSON() },
		"yaml": func(v any) ([]byte, error) {
			data, err := v.(interface{ MarshalYAML() (any, error) }).MarshalYAML()
			return fmt.Append(nil, data), err
		},
		"column": func(v any) ([]byte, error) {
			value, err := v.(driver.Valuer).Value()
			return fmt.Append(nil, value), err
		},
	} {
		for _, v := range []any{w, &w, wrapper{}} {
			data, err := encode(v)
			if !errors.Is(err, conceal.ErrEncoding) && !(err != nil && strings.Contains(err.Error(), conceal.ErrEncoding.Error())) {
				t.Errorf("%s: %q, %v, want ErrEncoding", name, data, err)
			}
			b.Write(data)
		}
	}
	if out := b.String(); leaks(out) {
		t.Errorf("printed:\n%s", out)
	}

	for name, decode := range map[string]func(v any) error{
		"json":   func(v any) error { return json.Unmarshal([]byte(`{"Name":"x"}`), v) },
		"text":   func(v any) error { return v.(encoding.TextUnmarshaler).UnmarshalText([]byte("x")) },
		"binary": func(v any) error { return v.(encoding.BinaryUnmarshaler).UnmarshalBinary([]byte("x")) },
		"column": func(v any) error { return v.(sql.Scanner).Scan("x") },
	} {
		if err := decode(&w); !errors.Is(err, conceal.ErrEncoding) {
			t.Errorf("decoding %s: %v, want ErrEncoding", name, err)
		}
	}
	// Called by itself, each says so, too: fmt takes the first that it finds.
	var v any = w
	if v.(fmt.Stringer).String() != conceal.Text || v.(fmt.GoStringer).GoString() != conceal.Text || v.(slog.LogValuer).LogValue().String() != conceal.Text {
		t.Error("String, GoString or LogValue")
	}
	if _, ok := v.(fmt.Formatter); !ok {
		t.Error("there is no Format: under verbs for numbers, fmt would print fields")
	}
	if conceal.Open(w.hidden).Name != "canary" {
		t.Error("a decoder changed the content")
	}
}
