// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// decode decodes what fits T. What has the shape of T is decoded at the cost of
// encoding/json alone; odd means that the names of members need a closer look.
func decode[T any](raw []byte, odd bool, into *T) (err error) {
	if b, ok := any(into).(*Bundle); ok {
		*b, err = DecodeBundle(raw)
		return err
	}
	t := reflect.TypeFor[T]()
	if !odd && !isModel(t) && json.Unmarshal(raw, into) == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // 1.50 stays 1.50
	var tree any
	if err := d.Decode(&tree); err != nil {
		return err
	}
	tree, _ = shape(tree, t, isModel(t))
	shaped, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	*into = *new(T)
	return json.Unmarshal(shaped, into)
}

var (
	decodesItself = reflect.TypeFor[json.Unmarshaler]()
	rawMessage    = reflect.TypeFor[json.RawMessage]()
	number        = reflect.TypeFor[json.Number]()
)

// shape returns what of tree t can hold; ok is false if that is nothing. One value in
// place of a list is a list of one, and the reverse. An element of a list that does
// not fit is null, so that the others keep their places; in samply's models, which
// would read something into null, it is left out.
func shape(tree any, t reflect.Type, model bool) (_ any, ok bool) {
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
		return shapeList(tree, t.Elem(), model)
	}
	if list, isList := tree.([]any); isList && len(list) == 1 && t.Kind() != reflect.Interface {
		return shape(list[0], t, model)
	}
	switch {
	case t == number:
		if _, isNumber := tree.(json.Number); isNumber {
			return tree, true
		}
		if s, isText := tree.(string); isText && s != "" { // "" would be encoded as 0
			tree = json.Number(s)
		}
	case t.Kind() == reflect.Struct:
		object, isObject := tree.(map[string]any)
		return object, isObject && shapeMembers(object, t, model)
	case t.Kind() == reflect.String:
		switch v := tree.(type) {
		case string:
			return v, true
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

func shapeList(tree any, element reflect.Type, model bool) (any, bool) {
	list, isList := tree.([]any)
	if !isList {
		v, ok := shape(tree, element, model)
		return []any{v}, ok
	}
	shaped := make([]any, 0, len(list))
	for _, e := range list {
		if v, ok := shape(e, element, model); ok {
			shaped = append(shaped, v)
		} else if !model {
			shaped = append(shaped, nil)
		}
	}
	return shaped, true
}

// shapeMembers removes the members that t has no element for, or that do not fit it:
// encoding/json would read NAME as name. It reports whether the object still means
// the same.
func shapeMembers(object map[string]any, t reflect.Type, model bool) bool {
	for name, value := range object {
		element, known := elementOf(t, name)
		if known {
			if value, known = shape(value, element, model); known {
				object[name] = value
			}
		}
		if !known {
			delete(object, name)
		}
	}
	return !model || hasCodes(object, t)
}

// elements are the elements of a struct: by name, and those of fields without a tag,
// which a host's own type may have, by name in lower case.
type elements struct{ exact, folded map[string]reflect.Type }

var elementsOf sync.Map // from reflect.Type to elements

// elementOf returns the type of the field of t for an element. A field without a tag
// is found as encoding/json finds it.
func elementOf(t reflect.Type, name string) (element reflect.Type, known bool) {
	cached, ok := elementsOf.Load(t)
	if !ok {
		all := elements{make(map[string]reflect.Type), make(map[string]reflect.Type)}
		for _, f := range reflect.VisibleFields(t) {
			switch tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); {
			case !f.IsExported() || f.Anonymous && tag == "":
			case tag == "":
				all.folded[strings.ToLower(f.Name)] = f.Type
			default:
				all.exact[tag] = f.Type
			}
		}
		cached, _ = elementsOf.LoadOrStore(t, all)
	}
	all := cached.(elements)
	if element, known = all.exact[name]; !known {
		element, known = all.folded[strings.ToLower(name)]
	}
	return element, known
}
