// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package sinks sends every wrapper to wherever Go programs send values: loggers,
// encoders, templates, test output, databases. What is secret or about a patient comes
// out nowhere, and is written nowhere as "[redacted]".
package sinks_test

import (
	"bytes"
	"context"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"expvar"
	"fmt"
	htmltemplate "html/template"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/BurntSushi/toml"
	"github.com/bytedance/sonic"
	"github.com/davecgh/go-spew/spew"
	"github.com/fxamacker/cbor/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/render"
	kitlog "github.com/go-kit/log"
	gojson "github.com/goccy/go-json"
	goyaml "github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	jsoniter "github.com/json-iterator/go"
	"github.com/kr/pretty"
	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/assert"
	"github.com/vmihailenco/msgpack/v5"
	bsonv1 "go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"github.com/betawerk/pkb-go/internal/conceal"
)

// sink is somewhere that a host's values go. to sends v there and returns what
// arrived.
type sink struct {
	name string
	// stores says that it writes for a program, and not for a human: "[redacted]" there
	// would be data that is lost.
	stores bool
	to     func(v any) (string, error)
}

// printed is a sink that has no errors.
func printed(to func(w io.Writer, v any)) func(any) (string, error) {
	return func(v any) (string, error) {
		var b bytes.Buffer
		to(&b, v)
		return b.String(), nil
	}
}

// encoded is a sink that returns what it writes.
func encoded(to func(v any) ([]byte, error)) func(any) (string, error) {
	return func(v any) (string, error) {
		data, err := to(v)
		return string(data), err
	}
}

// paged is a template.
func paged(execute func(w io.Writer, v any) error) func(any) (string, error) {
	return func(v any) (string, error) {
		var b bytes.Buffer
		err := execute(&b, v)
		return b.String(), err
	}
}

func textPage(text string) func(any) (string, error) {
	page := template.Must(template.New("").Parse(text))
	return paged(func(w io.Writer, v any) error { return page.Execute(w, map[string]any{"v": v}) })
}

func webPage(text string) func(any) (string, error) {
	page := htmltemplate.Must(htmltemplate.New("").Parse(text))
	return paged(func(w io.Writer, v any) error { return page.Execute(w, map[string]any{"v": v}) })
}

func verb(verb string) func(any) (string, error) {
	return printed(func(w io.Writer, v any) { fmt.Fprintf(w, verb, v) })
}

// failing is a test that keeps what it is told.
type failing struct{ bytes.Buffer }

func (f *failing) Errorf(format string, args ...any) { fmt.Fprintf(f, format, args...) }

func zapped(config zapcore.EncoderConfig, encoder func(zapcore.EncoderConfig) zapcore.Encoder, write func(*zap.Logger, any)) func(any) (string, error) {
	return printed(func(w io.Writer, v any) {
		write(zap.New(zapcore.NewCore(encoder(config), zapcore.AddSync(w), zap.DebugLevel)), v)
	})
}

func quietly[L interface{ SetOutput(io.Writer) }](l L, w io.Writer) L {
	l.SetOutput(w)
	return l
}

// dropping is logrus's JSON formatter. What it returns an error for, logrus drops, and
// says so on the standard error output of every test that runs.
type dropping struct{ logrus.JSONFormatter }

func (d *dropping) Format(e *logrus.Entry) ([]byte, error) {
	line, err := d.JSONFormatter.Format(e)
	if err != nil {
		return nil, nil
	}
	return line, nil
}

var jsoniterCompatible = jsoniter.ConfigCompatibleWithStandardLibrary

// sinks are all but databases, which are in databases_test.go.
var sinks = []sink{
	{"fmt %v", false, verb("%v")},
	{"fmt %+v", false, verb("%+v")},
	{"fmt %#v", false, verb("%#v")},
	{"fmt %s", false, verb("%s")},
	{"fmt %q", false, verb("%q")},
	{"fmt %x", false, verb("%x")},
	{"fmt %d", false, verb("%d")},
	{"fmt Errorf %v", false, printed(func(w io.Writer, v any) { fmt.Fprintf(w, "%+v", fmt.Errorf("saving %v", v)) })},
	{"errors.Join", false, printed(func(w io.Writer, v any) {
		fmt.Fprintf(w, "%+v", errors.Join(fmt.Errorf("saving %+v", v), fmt.Errorf("then %#v", v)))
	})},
	{"log", false, printed(func(w io.Writer, v any) { log.New(w, "", 0).Println("saved", v); log.New(w, "", 0).Printf("%+v", v) })},
	{"slog text", false, printed(func(w io.Writer, v any) { slog.New(slog.NewTextHandler(w, nil)).Info("m", "v", v) })},
	{"slog JSON", false, printed(func(w io.Writer, v any) { slog.New(slog.NewJSONHandler(w, nil)).Info("m", "v", v) })},
	{"panic", false, printed(func(w io.Writer, v any) {
		defer func() { fmt.Fprint(w, "recovered: ", recover()) }()
		panic(v)
	})},
	{"expvar", false, printed(func(w io.Writer, v any) { fmt.Fprint(w, expvar.Func(func() any { return v })) })},

	{"logrus text", false, printed(func(w io.Writer, v any) {
		l := quietly(logrus.New(), w)
		l.WithField("v", v).Info("m")
	})},
	{"logrus JSON", false, printed(func(w io.Writer, v any) {
		l := quietly(logrus.New(), w)
		l.SetFormatter(&dropping{})
		l.WithField("v", v).Info("m")
	})},
	{"zap Any JSON", false, zapped(zap.NewProductionEncoderConfig(), zapcore.NewJSONEncoder, func(l *zap.Logger, v any) { l.Info("m", zap.Any("v", v)) })},
	{"zap Any console", false, zapped(zap.NewDevelopmentEncoderConfig(), zapcore.NewConsoleEncoder, func(l *zap.Logger, v any) { l.Info("m", zap.Any("v", v)) })},
	{"zap Sugar", false, zapped(zap.NewProductionEncoderConfig(), zapcore.NewJSONEncoder, func(l *zap.Logger, v any) {
		l.Sugar().Infow("m", "v", v)
		l.Sugar().Infof("saved %+v", v)
	})},
	{"zerolog Interface", false, printed(func(w io.Writer, v any) { l := zerolog.New(w); l.Info().Interface("v", v).Msg("m") })},
	{"zerolog console", false, printed(func(w io.Writer, v any) {
		l := zerolog.New(zerolog.ConsoleWriter{Out: w, NoColor: true})
		l.Info().Interface("v", v).Msgf("saved %v", v)
	})},
	{"go-kit logfmt", false, printed(func(w io.Writer, v any) { _ = kitlog.NewLogfmtLogger(w).Log("v", v) })},
	{"go-kit JSON", false, printed(func(w io.Writer, v any) { _ = kitlog.NewJSONLogger(w).Log("v", v) })},
	{"hclog text", false, printed(func(w io.Writer, v any) { hclog.New(&hclog.LoggerOptions{Output: w}).Info("m", "v", v) })},
	{"hclog JSON", false, printed(func(w io.Writer, v any) {
		hclog.New(&hclog.LoggerOptions{Output: w, JSONFormat: true}).Info("m", "v", v)
	})},

	{"text/template", false, textPage(`{{.v}} {{printf "%v %+v %#v %q" .v .v .v .v}} {{html .v}} {{js .v}}`)},
	{"html/template page", false, webPage(`<p>{{.v}}</p>`)},
	{"html/template attribute", false, webPage(`<p title="{{.v}}" class={{.v}}><a href="/?q={{.v}}">x</a></p>`)},
	{"html/template script", false, webPage(`<script>var x = {{.v}}</script>`)},

	{"go-cmp Diff", false, printed(func(w io.Writer, v any) {
		defer func() { fmt.Fprint(w, recover()) }() // fields that it may not look into
		fmt.Fprint(w, cmp.Diff(v, any(1)), cmp.Diff([]any{v}, []any{v, v}))
	})},
	{"testify Equal", false, printed(func(w io.Writer, v any) {
		var f failing
		assert.Equal(&f, v, 1)
		assert.Nil(&f, v)
		assert.Contains(&f, []any{v}, 1)
		_, _ = f.WriteTo(w)
	})},
	{"spew", false, printed(func(w io.Writer, v any) { spew.Fdump(w, v) })},
	{"spew without methods", false, printed(func(w io.Writer, v any) { (&spew.ConfigState{DisableMethods: true, MaxDepth: 12}).Fdump(w, v) })},
	{"kr/pretty", false, printed(func(w io.Writer, v any) { _, _ = pretty.Fprintf(w, "%# v", v) })},

	{"encoding/json", true, encoded(json.Marshal)},
	{"goccy/go-json", true, encoded(gojson.Marshal)},
	{"json-iterator", true, encoded(jsoniterCompatible.Marshal)},
	{"sonic", true, encoded(sonic.ConfigStd.Marshal)},
	{"sonic fastest", true, encoded(sonic.ConfigFastest.Marshal)},
	{"encoding/xml", true, encoded(xml.Marshal)},
	{"gob", true, paged(func(w io.Writer, v any) error { return gob.NewEncoder(w).Encode(v) })},
	{"yaml.v3", true, encoded(func(v any) (data []byte, err error) {
		defer recovered(&err)
		return yaml.Marshal(v)
	})},
	{"goccy/go-yaml", true, encoded(goyaml.Marshal)},
	{"msgpack", true, encoded(msgpack.Marshal)},
	{"cbor", true, encoded(cbor.Marshal)},
	{"bson v1", true, encoded(func(v any) ([]byte, error) { return bsonv1.Marshal(map[string]any{"v": v}) })},
	{"bson v2", true, encoded(func(v any) ([]byte, error) { return bson.Marshal(map[string]any{"v": v}) })},
	{"bson v2 document", true, encoded(bson.Marshal)},
	{"toml", true, paged(func(w io.Writer, v any) error { return toml.NewEncoder(w).Encode(map[string]any{"v": v}) })},
	{"TextMarshaler", true, encoded(func(v any) ([]byte, error) {
		if m, ok := v.(encoding.TextMarshaler); ok {
			return m.MarshalText()
		}
		return nil, errNone
	})},
	{"BinaryMarshaler", true, encoded(func(v any) ([]byte, error) {
		if m, ok := v.(encoding.BinaryMarshaler); ok {
			return m.MarshalBinary()
		}
		return nil, errNone
	})},

	{"gin c.JSON", true, func(v any) (string, error) {
		w := httptest.NewRecorder()
		gin.SetMode(gin.TestMode)
		c, _ := gin.CreateTestContext(w)
		c.JSON(200, v)
		return answered(w, c.Errors.Last())
	}},
	{"echo c.JSON", true, func(v any) (string, error) {
		w := httptest.NewRecorder()
		c := echo.New().NewContext(httptest.NewRequestWithContext(context.Background(), "GET", "/", nil), w)
		err := c.JSON(200, v)
		return w.Body.String(), err
	}},
	{"chi render.JSON", true, func(v any) (string, error) {
		w := httptest.NewRecorder()
		render.JSON(w, httptest.NewRequestWithContext(context.Background(), "GET", "/", nil), v)
		if w.Code != 200 {
			return w.Body.String(), errors.New("status 500")
		}
		return w.Body.String(), nil
	}},
}

// errNone: the type has no such method. A struct of the host's has none.
var errNone = errors.New("there is no such method")

// recovered makes an error of a panic.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

// answered returns what a browser gets, with gin's error, which a handler may look
// at or not.
func answered(w *httptest.ResponseRecorder, err *gin.Error) (string, error) {
	if err != nil {
		return w.Body.String(), err.Err
	}
	return w.Body.String(), nil
}

// The outcomes of a cell.
const (
	redacts   = "redacts"   // it prints [redacted], or what the type prints of itself
	refuses   = "refuses"   // an error
	complains = "complains" // the line has the error in place of the value
	nothing   = "nothing"   // what it writes has nothing of the value: an address, {}, the host's field left out
	drops     = "drops"     // it writes not even the line
	prints    = "prints"    // ids, by decision
	leaks     = "LEAKS"
)

// send returns the outcome, and what came out.
func (s sink) send(v any, found planted) (outcome, out string) {
	out, err := s.to(v)
	all := out
	if err != nil {
		all += fmt.Sprintf(" %v %+v", err, err)
	}
	switch {
	case len(found.secrets.Find(all)) > 0:
		return leaks, strings.Join(found.secrets.Find(all), ", ") + " in " + all
	case s.stores && err == nil && strings.Contains(out, "redacted"):
		return leaks, "it stores " + out // what is stored there is lost
	case err != nil:
		return refuses, all
	case strings.Contains(out, "[redacted]"), strings.Contains(out, "pkb.Client{Env"), strings.Contains(out, "pkbsystem.Client{Env"), strings.Contains(out, "pkb.Config{Env"), strings.Contains(out, "pkb.Patient{link="):
		return redacts, all
	case strings.Contains(out, conceal.ErrEncoding.Error()):
		return complains, all
	case len(found.ids.Find(all)) > 0:
		return prints, all
	case strings.TrimSpace(out) == "":
		return drops, all
	}
	return nothing, all
}

// summary says how a value fares in a sink: the outcome of most forms first, and then
// those that differ.
func summary(outcomes map[string]string) string {
	forms := make(map[string][]string)
	for _, form := range slices.Sorted(maps.Keys(outcomes)) {
		forms[outcomes[form]] = append(forms[outcomes[form]], form)
	}
	kinds := slices.SortedFunc(maps.Keys(forms), func(a, b string) int {
		if n := len(forms[b]) - len(forms[a]); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	text := kinds[0]
	for _, other := range kinds[1:] {
		text += "; " + other + ": " + strings.Join(forms[other], ", ")
	}
	return strings.ReplaceAll(text, "hidden any, hidden field, hidden pointer", "unexported")
}

// collected returns the outcomes of a value in every form, and what leaked.
func (s sink) collected(v value, found planted) (outcomes map[string]string, leaked []string) {
	outcomes = make(map[string]string)
	for _, f := range v.forms {
		outcome, out := s.send(f.v, found)
		if outcomes[f.name] = outcome; outcome == leaks {
			leaked = append(leaked, fmt.Sprintf("%s, %s, %s: %.600s", s.name, v.name, f.name, out))
		}
	}
	return outcomes, leaked
}

// clear is a text of a host's that hides nothing.
type clear string

func (c clear) MarshalText() ([]byte, error)   { return []byte(c), nil }
func (c clear) MarshalBinary() ([]byte, error) { return []byte(c), nil }

// bites reports whether the search finds in a sink what a host writes in clear: else
// that it finds nothing of ours shows nothing.
func (s sink) bites(found planted) bool {
	for _, v := range []any{exported[string]{firstName}, clear(firstName)} {
		if outcome, _ := s.send(v, found); outcome == leaks {
			return true
		}
	}
	return false
}

func TestSinks(t *testing.T) {
	all, found := values(t)
	if len(sinks) < 40 {
		t.Errorf("only %d sinks", len(sinks))
	}
	var names []string
	for _, s := range sinks {
		names = append(names, s.name)
		t.Run(s.name, func(t *testing.T) {
			if !s.bites(found) {
				t.Error("what a host writes in clear is not found: that nothing of ours is found shows nothing")
			}
			want, ok := fares[s.name]
			if !ok {
				t.Error("fares does not say what comes of this sink")
			}
			others := make(map[string]bool)
			for _, v := range all {
				outcomes, leaked := s.collected(v, found)
				for _, l := range leaked {
					t.Error(l)
				}
				got := summary(outcomes)
				t.Logf("%-24s %-28s %s", s.name, v.name, got)
				switch {
				case v.kind != wrapper && v.kind != number:
					for _, outcome := range outcomes {
						others[outcome] = true
					}
				case got != want.wrappers:
					t.Errorf("%s: %s, want %s", v.name, got, want.wrappers)
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(others)), ", "); got != want.others {
				t.Errorf("the others: %s, want %s", got, want.others)
			}
			if loses := strings.Contains(want.wrappers, drops) || strings.HasPrefix(want.wrappers, nothing) || strings.Contains(want.wrappers, complains); loses != (want.lossy != "") {
				t.Errorf("%s: what is lost is %q", want.wrappers, want.lossy)
			}
		})
	}
	for name := range fares {
		if !slices.Contains(names, name) && name != "encoding/json/v2" {
			t.Errorf("there is no sink %s any more", name)
		}
	}
}
