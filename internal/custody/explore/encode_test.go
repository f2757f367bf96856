// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/betawerk/pkb-go/internal/custody/core"
)

// unread lists the fields that the encoding leaves out, and why no two worlds that
// differ only in them can diverge.
var unread = map[string]string{
	"Generation": "it is for operators, and no decision reads it",
	"Out":        "a flight that has it has ended, and is forgotten",
	"Long":       "the driver decides how long a wait is",
	"Result":     "it is judged when the effect is returned, and the flight is forgotten",
	"Tell":       "it is judged when the effect is returned",
	"Look":       "it is a hint for the driver",
	"After":      "it is a hint for callers",
}

// If the encoding missed a field, the explorer would take two different worlds for
// one, and leave out what follows from one of them.
func TestEncodingNoticesEveryField(t *testing.T) {
	pair := core.Pair{ID: core.PairID{Session: "s1", Seq: 1}, Tried: 1, Unclear: 1}
	record := core.Record{
		Version: 1, Phase: core.Relink, Cause: sessionEnded, Active: pair, Candidate: pair, Public: "p1", Claim: "p1",
		Lease: core.Lease{Owner: "n1", Beat: 1, TTL: tick, Pair: pair.ID}, Marks: []core.Mark{{Session: "s1", By: "n1", State: core.Open}}, Unlinks: 1,
	}
	known := record
	flight := core.Flight{
		Goal: core.Call, Session: "s1", Kept: record, Newest: pair.ID, Rec: record, Owner: "n1", Pair: pair.ID, Asked: "s1", Whose: "p1", Bought: pair.ID,
		Ev: core.Event{Kind: core.Restore, Owner: "n1", Pair: pair.ID, Next: pair, Session: "s1", Patient: "p1", Cause: sessionEnded, TTL: tick, Known: &known},
		Sight: core.Sight{
			Lease: core.Stopwatch[core.Lease]{Of: record.Lease, For: tick},
			Tried: core.Stopwatch[core.Count]{Of: core.Count{Pair: pair.ID, N: 1}, For: tick},
		},
	}
	effect := core.Effect{Kind: core.Save, Rec: record, Pair: pair.ID, Patient: "p1"}
	for _, of := range []struct {
		name   string
		sample any
		encode func(e *encoder, v reflect.Value)
		except []string
	}{
		{"Record", &record, func(e *encoder, v reflect.Value) { e.record(v.Addr().Interface().(*core.Record)) }, []string{"Generation"}},
		{"Flight", &flight, func(e *encoder, v reflect.Value) {
			e.flight(&setup{policy: visiting()}, v.Addr().Interface().(*core.Flight))
		}, []string{"Generation", "Out"}},
		{"Effect", &effect, func(e *encoder, v reflect.Value) { e.effect(v.Addr().Interface().(*core.Effect)) }, []string{"Generation", "Long", "Result", "Tell", "Look", "After"}},
	} {
		encoded := func(v reflect.Value) []byte {
			e := newEncoder()
			e.versions = []uint64{1, 2, 3}
			e.owner("n1")
			of.encode(e, v)
			return bytes.Clone(e.buf)
		}
		sample := reflect.ValueOf(of.sample).Elem()
		before := encoded(sample)
		checked := 0
		mutate(sample, of.name, func(path string) {
			last := path[strings.LastIndexByte(path, '.')+1:]
			excepted := false
			for _, name := range of.except {
				excepted = excepted || name == last
			}
			checked++
			if noticed := !bytes.Equal(before, encoded(sample)); noticed == excepted {
				t.Errorf("%s: noticed is %t, and %q", path, noticed, unread[last])
			}
		})
		if !bytes.Equal(before, encoded(sample)) || checked < 10 {
			t.Errorf("%s: %d fields, and the sample is another one now", of.name, checked)
		}
	}
}

// mutate changes one field after the other, calls check, and restores it.
func mutate(v reflect.Value, path string, check func(path string)) {
	was := reflect.New(v.Type()).Elem()
	was.Set(v)
	changed := func(set func()) {
		set()
		check(path)
		v.Set(was)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mutate(v.Field(i), path+"."+v.Type().Field(i).Name, check)
		}
	case reflect.Bool:
		changed(func() { v.SetBool(!v.Bool()) })
	case reflect.String:
		changed(func() { v.SetString("x9") })
	case reflect.Int, reflect.Int64:
		changed(func() {
			more := int64(1)
			if v.Type() == reflect.TypeFor[time.Duration]() {
				more = int64(tick)
			}
			v.SetInt(v.Int() + more)
		})
	case reflect.Uint8, reflect.Uint64:
		changed(func() { v.SetUint(v.Uint() + 1) })
	case reflect.Slice:
		changed(func() { v.Set(reflect.Append(v.Slice3(0, v.Len(), v.Len()), reflect.Zero(v.Type().Elem()))) })
		if v.Len() > 0 {
			mutate(v.Index(0), path+"[0]", check)
		}
	case reflect.Pointer:
		changed(func() { v.SetZero() })
		if !v.IsNil() {
			mutate(v.Elem(), path, check)
		}
	default:
		panic("nothing is known of " + v.Kind().String())
	}
}

// Nonces and versions are renamed: worlds that differ only in them are the same.
func TestEncodingRenames(t *testing.T) {
	c := setups()[0]
	encoded := func(nonce string, version uint64) string {
		w := c.start()
		w.row[0].Lease.Owner, w.row[0].Version = nonce, version
		w.own(0).flying = true
		w.proc[0].f.Owner, w.proc[0].f.Rec.Version = nonce, version
		e := newEncoder()
		e.world(c, &w)
		return string(e.buf)
	}
	if encoded("n3", 7) != encoded("n41", 99) {
		t.Error("names make a difference")
	}
}
