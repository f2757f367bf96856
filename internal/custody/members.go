// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package custody

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// unknown are members that another version has written, and that are kept.
type unknown map[string]json.RawMessage

// decode reads a JSON object into a struct, and returns the members that the struct
// lacks.
func decode(data []byte, into any) (unknown, error) {
	if len(data) == 0 {
		return nil, nil
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if strict.Decode(into) == nil && !strict.More() {
		return nil, nil // only this version has written it
	}
	reflect.ValueOf(into).Elem().SetZero()
	if err := json.Unmarshal(data, into); err != nil {
		return nil, err
	}
	var all unknown
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for field := range reflect.TypeOf(into).Elem().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		delete(all, name)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// encode writes a struct as a JSON object, with the members that it lacks.
func encode(of any, rest unknown) ([]byte, error) {
	b, err := json.Marshal(of)
	if err != nil || len(rest) == 0 {
		return b, err
	}
	all := unknown{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range rest {
		if _, known := all[name]; !known {
			all[name] = value
		}
	}
	return json.Marshal(all)
}
