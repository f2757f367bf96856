// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"strings"
)

// unknown are members that another version has written, and that are kept: with two
// versions side by side, the older one must not take away what the newer one needs.
type unknown struct {
	members map[string]json.RawMessage
	// within means that an object inside of this one has some.
	within bool
}

// object is a struct that is kept as a JSON object, with the members that it lacks.
type object interface{ lacks() **unknown }

func (d *details) lacks() **unknown  { return &d.rest }
func (s *secrets) lacks() **unknown  { return &s.rest }
func (a *answer) lacks() **unknown   { return &a.rest }
func (n *notice) lacks() **unknown   { return &n.rest }
func (m *mark) lacks() **unknown     { return &m.rest }
func (h *Happened) lacks() **unknown { return &h.rest }

// decode reads a JSON object into a struct, and the members that the struct lacks.
func decode(data []byte, into object) error {
	if len(data) == 0 {
		return nil
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if strict.Decode(into) == nil && !strict.More() {
		return nil // only this version has written it
	}
	reflect.ValueOf(into).Elem().SetZero()
	if err := json.Unmarshal(data, into); err != nil {
		return err
	}
	var rest unknown
	if err := json.Unmarshal(data, &rest.members); err != nil {
		return err
	}
	for name, field := range members(into) {
		if err := rest.decode(rest.members[name], field); err != nil {
			return err
		}
		delete(rest.members, name)
	}
	if len(rest.members) > 0 || rest.within {
		*into.lacks() = &rest
	}
	return nil
}

// decode decodes the objects in a member once more, with what they lack.
func (u *unknown) decode(member json.RawMessage, field reflect.Value) error {
	inner, list := objects(field)
	if len(inner) == 0 || len(member) == 0 {
		return nil
	}
	each := []json.RawMessage{member}
	if list {
		if err := json.Unmarshal(member, &each); err != nil {
			return err
		}
	}
	for i, o := range inner[:min(len(inner), len(each))] {
		if err := decode(each[i], o); err != nil {
			return err
		}
		u.within = u.within || *o.lacks() != nil
	}
	return nil
}

// encode writes a struct as a JSON object, with the members that it lacks.
func encode(of object) ([]byte, error) {
	b, err := json.Marshal(of)
	rest := *of.lacks()
	if err != nil || rest == nil {
		return b, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, field := range members(of) {
		inner, list := objects(field)
		if len(inner) == 0 {
			continue
		}
		each := make([]json.RawMessage, len(inner))
		for i, o := range inner {
			if each[i], err = encode(o); err != nil {
				return nil, err
			}
		}
		all[name] = each[0]
		if list {
			all[name], err = json.Marshal(each)
		}
		if err != nil {
			return nil, err
		}
	}
	for name, value := range rest.members {
		if _, known := all[name]; !known {
			all[name] = value
		}
	}
	return json.Marshal(all)
}

// members yields the fields of a struct by their names in JSON.
func members(of object) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		v := reflect.ValueOf(of).Elem()
		for field := range v.Type().Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && !yield(name, v.FieldByIndex(field.Index)) {
				return
			}
		}
	}
}

// objects returns the objects in a field, and whether it is a list of them; none of a
// list that is read and written briefly, which keeps what its elements lack itself.
func objects(field reflect.Value) (all []object, list bool) {
	if _, ok := field.Interface().(json.Marshaler); ok {
		return nil, false
	}
	switch field.Kind() { //nolint:exhaustive // no other kind holds any
	case reflect.Pointer:
		if o, ok := field.Interface().(object); ok && !field.IsNil() {
			return []object{o}, false
		}
	case reflect.Slice:
		for i := range field.Len() {
			o, ok := field.Index(i).Addr().Interface().(object)
			if !ok {
				break
			}
			all = append(all, o)
		}
	}
	return all, true
}
