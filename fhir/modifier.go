// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"slices"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// Modifiers returns the url of each modifier extension in the resource, in an element of
// it at any depth, and in the resources that it contains. It returns nil if there is
// none, as there usually is.
//
// A modifier extension changes the meaning of what has it: a finding may be one of a
// relative, for example, or a result withdrawn. Do not use a resource that has one
// which your code does not know. Modifiers reads Raw, so that it
// finds those which T has no field for, and those of elements that do not fit T.
func (r Resource[T]) Modifiers() []string {
	raw := r.raw()
	if !bytes.Contains(raw, []byte(modifierExtension)) && !bytes.Contains(raw, []byte(`\u`)) {
		return nil // neither as it is, nor with an escape
	}
	var found modifiers
	_, _ = whole(raw, found.member) // an object, or nothing
	slices.Sort(found)
	return slices.Compact(found)
}

const modifierExtension = "modifierExtension"

// modifiers are the addresses of modifier extensions, "" where one has none.
type modifiers []string

// member walks through a member of an object, and collects what is in it.
func (m *modifiers) member(w *jsonwalk.Walk, name []byte) {
	if string(name) == modifierExtension {
		w.Each(func() { m.extension(w) })
		return
	}
	m.value(w)
}

func (m *modifiers) value(w *jsonwalk.Walk) {
	if !w.Object(func(name []byte) { m.member(w, name) }) {
		w.Array(func() { m.value(w) })
	}
}

// extension walks through a modifier extension. One that is no object is one, too.
func (m *modifiers) extension(w *jsonwalk.Walk) {
	url := ""
	isNull := w.Next() == 'n'
	w.Object(func(name []byte) {
		if string(name) == "url" {
			url = w.Text()
			return
		}
		m.member(w, name)
	})
	if !isNull {
		*m = append(*m, url)
	}
}
