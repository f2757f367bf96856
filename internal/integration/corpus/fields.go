// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// value finds each value of a tree in the fields of a struct.
func (c *comparison) value(path string, tree any, v reflect.Value) {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if raw, ok := v.Interface().(json.RawMessage); ok {
		c.raw(path, tree, raw)
		return
	}
	switch tree := tree.(type) {
	case map[string]any:
		if v.Kind() != reflect.Struct {
			c.missing(path, tree)
			return
		}
		fields := fieldsOf(v.Type())
		for name, value := range tree {
			if index, ok := fields[name]; ok {
				c.value(path+"."+name, value, v.FieldByIndex(index))
				continue
			}
			c.Values += leaves(value)
			c.problem(&c.Unreachable, max(1, leaves(value)), "%s.%s: %s has no field for it", path, name, v.Type())
		}
	case []any:
		if v.Kind() != reflect.Slice || v.Len() != len(tree) {
			c.missing(path, tree)
			return
		}
		for i, value := range tree {
			c.value(fmt.Sprintf("%s[%d]", path, i), value, v.Index(i))
		}
	default:
		c.scalar(path, tree, v)
	}
}

func (c *comparison) missing(path string, tree any) {
	c.Values += leaves(tree)
	c.problem(&c.Lost, leaves(tree), "%s is lost", path)
}

// scalar compares one value.
func (c *comparison) scalar(path string, want any, v reflect.Value) {
	c.Values++
	var got any
	switch {
	case v.IsZero() && v.Kind() != reflect.Bool: // an absent boolean is a nil pointer
	case v.Type() == reflect.TypeFor[json.Number]():
		got = json.Number(v.String())
	case v.Kind() == reflect.String:
		got = v.String()
	default:
		got = v.Interface()
	}
	switch {
	case got == want || got == nil && want == "":
	case got == nil:
		c.problem(&c.Lost, 1, "%s is lost", path)
	default:
		c.problem(&c.Changed, 1, "%s is %v, want %v", path, got, want)
	}
}

// raw compares a part that stays JSON.
func (c *comparison) raw(path string, tree any, raw json.RawMessage) {
	c.Values += leaves(tree)
	got, err := generic(raw)
	if err != nil {
		c.problem(&c.Lost, leaves(tree), "%s: %v", path, err)
		return
	}
	differences(path, tree, got, func(path string) { c.problem(&c.Changed, 1, "%s is changed", path) })
}

var fieldsByType = map[reflect.Type]map[string][]int{}

// fieldsOf returns the fields of a struct by their names in JSON.
func fieldsOf(t reflect.Type) map[string][]int {
	if found, ok := fieldsByType[t]; ok {
		return found
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			fields[name] = f.Index
		}
	}
	fieldsByType[t] = fields
	return fields
}
