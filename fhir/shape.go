// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// decode decodes what fits T. What has the shape of T is decoded at the cost of
// encoding/json alone; odd says that the names of members need a closer look.
func decode[T any](raw []byte, odd bool, into *T) error {
	t := reflect.TypeFor[T]()
	if b, ok := any(into).(*Bundle); ok {
		var err error
		*b, err = DecodeBundle(raw)
		return err
	}
	if isModel(t) {
		return decodeReshaped(raw, into, func(tree any) any {
			tree, _ = fit(tree, t)
			return tree
		})
	}
	if !odd && json.Unmarshal(raw, into) == nil {
		return nil
	}
	*into = *new(T)
	return decodeReshaped(raw, into, func(tree any) any {
		tree, _ = shape(tree, t)
		return tree
	})
}

// decodeReshaped decodes what reshape makes of a resource.
func decodeReshaped(raw []byte, into any, reshape func(tree any) any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // 1.50 stays 1.50
	var tree any
	if err := d.Decode(&tree); err != nil {
		return err
	}
	reshaped, err := json.Marshal(reshape(tree))
	if err != nil {
		return err
	}
	return json.Unmarshal(reshaped, into)
}

var (
	decodesItself = reflect.TypeFor[json.Unmarshaler]()
	rawMessage    = reflect.TypeFor[json.RawMessage]()
	number        = reflect.TypeFor[json.Number]()
)

// shape returns what of tree t can hold; ok is false if that is nothing. One
// value in place of a list is a list of one, and a list of one is that value; an
// element of a list that does not fit is null, so that the others keep their
// places.
func shape(tree any, t reflect.Type) (_ any, ok bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case tree == nil:
		return nil, false
	case t == rawMessage:
		return tree, true
	case reflect.PointerTo(t).Implements(decodesItself):
		return tree, holds(t, tree)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return shapeList(tree, t.Elem())
	}
	if list, isList := tree.([]any); isList && len(list) == 1 && t.Kind() != reflect.Interface {
		return shape(list[0], t)
	}
	switch {
	case t == number:
		if s, isText := tree.(string); isText && s != "" { // "" would be encoded as 0
			tree = json.Number(s)
		}
	case t.Kind() == reflect.Struct:
		object, isObject := tree.(map[string]any)
		if isObject {
			shapeMembers(object, t)
		}
		return object, isObject
	case t.Kind() == reflect.String:
		switch v := tree.(type) {
		case json.Number:
			return v.String(), true
		case bool:
			return map[bool]string{true: "true", false: "false"}[v], true
		}
	case t.Kind() == reflect.Bool:
		switch tree {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	return tree, holds(t, tree)
}

// holds reports whether t can be decoded from tree.
func holds(t reflect.Type, tree any) bool {
	written, err := json.Marshal(tree)
	return err == nil && json.Unmarshal(written, reflect.New(t).Interface()) == nil
}

func shapeList(tree any, element reflect.Type) (any, bool) {
	list, isList := tree.([]any)
	if !isList {
		v, ok := shape(tree, element)
		return []any{v}, ok
	}
	for i, e := range list {
		if v, ok := shape(e, element); ok {
			list[i] = v
		} else {
			list[i] = nil
		}
	}
	return list, true
}

// shapeMembers removes the members that t has no element for, or that do not fit
// it. encoding/json would read NAME as name.
func shapeMembers(object map[string]any, t reflect.Type) {
	for name, value := range object {
		element, known := elementOf(t, name)
		if known {
			if value, known = shape(value, element); known {
				object[name] = value
			}
		}
		if !known {
			delete(object, name)
		}
	}
}

// elementOf returns the type of the field of t for an element. A field without a
// tag, which a host's own type may have, is found as encoding/json finds it.
func elementOf(t reflect.Type, name string) (element reflect.Type, known bool) {
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous && f.Tag.Get("json") == "" {
			continue
		}
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name || tag == "" && strings.EqualFold(f.Name, name) {
			return f.Type, true
		}
	}
	return nil, false
}
