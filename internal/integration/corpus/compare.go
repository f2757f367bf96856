// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/betawerk/pkb-go/fhir"
)

// reading is a type of package fhir without its type parameter.
type reading struct {
	samply bool
	decode func(data []byte) (resource, error)
}

// resource is a Resource without its type parameter.
type resource struct {
	model     any // a pointer
	raw       json.RawMessage
	contained []fhir.Resource[fhir.Any]
}

func read[T any]() reading {
	return reading{
		samply: reflect.TypeFor[T]().PkgPath() != reflect.TypeFor[fhir.Observation]().PkgPath(),
		decode: func(data []byte) (resource, error) {
			r, err := fhir.Decode[T](data)
			return resource{r.Reveal(), r.Raw(), r.Contained()}, err
		},
	}
}

var readings = map[string]reading{
	"Appointment": read[fhir.Appointment](), "Communication": read[fhir.Communication](), "Consent": read[fhir.Consent](),
	"DiagnosticReport": read[fhir.DiagnosticReport](), "DocumentReference": read[fhir.DocumentReference](), "Encounter": read[fhir.Encounter](),
	"NamingSystem": read[fhir.NamingSystem](), "Observation": read[fhir.Observation](), "OperationOutcome": read[fhir.OperationOutcome](),
	"ProcedureRequest": read[fhir.ProcedureRequest](), "Questionnaire": read[fhir.Questionnaire](), "QuestionnaireResponse": read[fhir.QuestionnaireResponse](),
	"RelatedPerson": read[fhir.RelatedPerson](),
	"Patient":       read[fhir.Patient](), "Person": read[fhir.Person](), "Practitioner": read[fhir.Practitioner](), "Organization": read[fhir.Organization](),
	"Parameters": read[fhir.Parameters](),
}

// other reads a resource of a type that package fhir has no struct for.
var other = read[fhir.Any]()

// comparison collects what differs.
type comparison struct {
	figures
	seen     map[string]int // resources by type
	lacking  map[string]int // values by the element that samply's types do not hold
	problems []string

	// skim says to compare one in so many files of types that have no struct, which
	// are most, and none of over 4 MiB, which have nothing else in them.
	skim, others int
}

func newComparison() *comparison {
	return &comparison{seen: map[string]int{}, lacking: map[string]int{}, skim: 1}
}

// maxProblems are printed; all are counted.
const maxProblems = 50

func (c *comparison) problem(count *int, n int, format string, args ...any) {
	if *count += n; n > 0 && len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Sprintf(format, args...))
	}
}

// generic decodes JSON without a type, and with numbers as they are written.
func generic(data []byte) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&tree)
	return tree, err
}

// file compares a file, if it has a resource.
func (c *comparison) file(name string, data []byte) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if c.skim > 1 && len(data) > 4<<20 {
		return
	}
	if kind, _ := fhir.ResourceType(data); kind != "Bundle" && readings[kind].decode == nil {
		if c.others++; c.others%c.skim != 0 {
			return
		}
	}
	tree, err := generic(data)
	if object, ok := tree.(map[string]any); err == nil && ok && object["resourceType"] != nil {
		c.Files++
		c.resource(name, object, data)
	}
}

// resource compares a resource with what package fhir decodes of it.
func (c *comparison) resource(name string, tree map[string]any, data []byte) {
	kind, _ := tree["resourceType"].(string)
	c.Resources++
	c.seen[kind]++
	if kind == "Bundle" {
		c.bundle(name, tree, data)
		return
	}
	r, ours := readings[kind]
	if !ours {
		r = other
	}
	got, err := r.decode(data)
	if err != nil || !bytes.Equal(got.raw, data) {
		c.problem(&c.Lost, leaves(tree), "%s: %v, or Raw is not what was decoded", name, err)
		return
	}
	inside, _ := tree["contained"].([]any)
	if len(inside) != len(got.contained) {
		c.problem(&c.Lost, 1, "%s: %d contained resources of %d", name, len(got.contained), len(inside))
		return
	}
	for i, one := range got.contained {
		if object, ok := inside[i].(map[string]any); ok {
			c.resource(fmt.Sprintf("%s contained[%d]", name, i), object, one.Raw())
		}
	}
	switch {
	case !ours:
	case r.samply:
		c.samply(name, kind, tree, got.model)
	default:
		c.value(name, tree, reflect.ValueOf(got.model).Elem())
		c.again(name, tree, got.model)
	}
}

// again compares a resource with what is encoded.
func (c *comparison) again(name string, tree any, model any) {
	encoded, err := encode(model)
	if err != nil {
		c.problem(&c.Changed, leaves(tree), "%s: %v", name, err)
		return
	}
	differences(name, tree, encoded, func(path string) { c.problem(&c.Changed, 1, "%s: changed by encoding", path) })
}

func encode(model any) (any, error) {
	data, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	return generic(data)
}

// samply counts what the types that are made for R4 do not give back.
func (c *comparison) samply(name, kind string, tree map[string]any, model any) {
	c.SamplyValues += leaves(tree)
	encoded, err := encode(model)
	if err != nil {
		c.problem(&c.Lost, leaves(tree), "%s: %v", name, err)
		return
	}
	differences(kind, tree, encoded, func(path string) {
		c.SamplyLost++
		c.lacking[element(path)]++
	})
}

// element returns a path without the places in lists, and without what is below an
// extension or a contained resource.
func element(path string) string {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		part, _, _ = strings.Cut(part, "[")
		if parts[i] = part; strings.HasPrefix(part, "_") || part == "extension" || part == "contained" {
			return strings.Join(parts[:i+1], ".")
		}
	}
	return strings.Join(parts, ".")
}

// bundle compares what is around the resources of a page, and each resource.
func (c *comparison) bundle(name string, tree map[string]any, data []byte) {
	r, err := fhir.Decode[fhir.Bundle](data)
	if err != nil || !bytes.Equal(r.Raw(), data) {
		c.problem(&c.Lost, leaves(tree), "%s: %v", name, err)
		return
	}
	b := r.Reveal()
	held := 1 // of the values that are around the resources
	c.equal(name+".type", text(tree["type"]), b.Type)
	links, _ := tree["link"].([]any)
	for _, l := range links {
		if link, _ := l.(map[string]any); link["relation"] == "next" {
			held += 2
			c.equal(name+".link", text(link["url"]), b.Next)
		}
	}
	around, next := leaves(tree), 0
	entries, _ := tree["entry"].([]any)
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		inside, ok := entry["resource"].(map[string]any)
		if !ok {
			continue
		}
		path := fmt.Sprintf("%s.entry[%d]", name, i)
		if next >= len(b.Entries) {
			c.problem(&c.Lost, leaves(inside), "%s is lost", path)
			continue
		}
		got := b.Entries[next]
		next++
		search, _ := entry["search"].(map[string]any)
		for _, member := range []struct{ sent, got string }{{text(entry["fullUrl"]), got.FullURL}, {text(search["mode"]), got.Mode}} {
			if member.sent != "" {
				held++
			}
			c.equal(path, member.sent, member.got)
		}
		around -= leaves(inside)
		c.resource(path, inside, got.Resource.Raw())
	}
	c.BundleRaw += around - held - 1 // the resourceType
}

// equal compares a value around a resource.
func (c *comparison) equal(path, sent, got string) {
	c.Values++
	if sent != got {
		c.problem(&c.Changed, 1, "%s is %q, want %q", path, got, sent)
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// leaves counts the values of a tree. null is one: its place in a list has a meaning.
func leaves(tree any) (n int) {
	switch tree := tree.(type) {
	case map[string]any:
		for _, v := range tree {
			n += leaves(v)
		}
	case []any:
		for _, v := range tree {
			n += leaves(v)
		}
	default:
		n = 1
	}
	return n
}

// differences calls differ for each value that only one of two trees has, or that
// differs.
func differences(path string, a, b any, differ func(path string)) {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		for name, v := range a {
			differences(path+"."+name, v, b[name], differ)
		}
		for name, v := range b {
			if _, both := a[name]; !both {
				differences(path+"."+name, nil, v, differ)
			}
		}
	case []any:
		b, _ := b.([]any)
		for i := range max(len(a), len(b)) {
			differences(fmt.Sprintf("%s[%d]", path, i), at(a, i), at(b, i), differ)
		}
	default:
		switch b.(type) {
		case map[string]any, []any:
			for range max(1, leaves(b)) {
				differ(path)
			}
		default:
			if a != b {
				differ(path)
			}
		}
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}
