// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package fhir reads the FHIR STU3 (3.0.2) that PKB's Facade sends.
//
// It checks what the samply decoders do not, that a resource is of the type
// asked for, and survives what they do not, codes they do not know. Where R4,
// for which samply's types are made, has other elements than STU3, it has types
// of its own. It imports no other package of this module.
//
// What is about a patient prints as [redacted], until it is asked for: see
// [Resource].
package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// What can be wrong with a resource. No text repeats what was read.
var (
	// ErrMalformed: not one JSON object.
	ErrMalformed = errors.New("fhir: not a JSON object")
	// ErrResourceType: a resource of another type than asked for, or none.
	// errors.As with *ResourceTypeError tells which.
	ErrResourceType = errors.New("fhir: not a resource of the type asked for")
	// ErrDateTime: a date or time in no form that is known.
	ErrDateTime = errors.New("fhir: not a date or time of FHIR")
)

// ResourceTypeError is ErrResourceType with both types.
type ResourceTypeError struct {
	// Want is the type asked for; Got is the one that came, "" if there was
	// none or its name is not one of letters.
	Want, Got string
}

func (e *ResourceTypeError) Error() string {
	if e.Got == "" {
		return "fhir: the answer has no resourceType, and " + e.Want + " is expected"
	}
	return "fhir: the answer is of type " + e.Got + ", and " + e.Want + " is expected"
}

// Is reports whether target is ErrResourceType.
func (e *ResourceTypeError) Is(target error) bool { return target == ErrResourceType }

// ResourceType returns the resourceType of a resource, or ErrMalformed. It is
// "" for an object without one, with two, or with one that is not a name.
func ResourceType(data []byte) (string, error) {
	kind, _, err := object(data)
	return kind, err
}

// kinds collects the resourceType of an object.
type kinds struct {
	found string
	n     int
}

func (k *kinds) member(w *jsonwalk.Walk, name []byte) {
	if string(name) == "resourceType" {
		k.n++
		k.found = w.Text() // anything but a string is no type
	}
}

func (k *kinds) kind() string {
	if k.n != 1 || !isName(k.found) {
		return ""
	}
	return k.found
}

// object returns the resourceType of data, and data without what is around the
// object; or ErrMalformed for anything but one object.
func object(data []byte) (string, []byte, error) {
	var k kinds
	data, err := whole(data, k.member)
	if err != nil {
		return "", nil, err
	}
	return k.kind(), data, nil
}

func isName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// trim takes off what some servers put in front of JSON.
func trim(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }

func check(data []byte, want string) error {
	got, err := ResourceType(data)
	if err != nil {
		return err
	}
	if got != want {
		return &ResourceTypeError{Want: want, Got: got}
	}
	return nil
}

// Resource is a resource as it came, and what was read of it. It prints as
// [redacted]. Reveal steps out of that, and so do Raw and ID.
//
// A Resource from a bundle keeps the whole page of the bundle in memory, up to
// 4 MiB; keep what you need of it instead. The zero Resource is empty.
type Resource[T any] struct {
	Redacted
	held **held[T] // printers that walk fields follow one pointer, and not two
}

type held[T any] struct {
	self  *held[T] // what the second pointer points to
	model T
	kind  string
	raw   []byte // valid JSON, and an object
}

// Any is the T of a Resource of any type, of which nothing was read yet: Decode
// its Raw, or use As.
type Any struct{}

// Decode reads a resource of type T: one of the types of this package, or a
// struct of your own that is named after a type of FHIR and has the elements
// you need. It returns ErrMalformed, or ErrResourceType for a resource of
// another type.
//
// Unknown codes are kept, elements that T does not have are passed over, and an
// element in a shape that T does not have is empty, and costs that element only.
// In the types that are samply's, where an unknown or missing code would be
// another one, the element with it is left out. Raw has all of it, as a part of
// data: do not change that afterwards.
func Decode[T any](data []byte) (Resource[T], error) {
	kind, data, err := object(data)
	if err != nil {
		return Resource[T]{}, err
	}
	return As[T](wrap(kind, data))
}

// As reads a resource that came as one of any type, as Decode does.
func As[T any](r Resource[Any]) (Resource[T], error) {
	t := reflect.TypeFor[T]()
	want := t.Name()
	if r.held == nil || r.Type() != want && t != reflect.TypeFor[Any]() {
		return Resource[T]{}, &ResourceTypeError{Want: want, Got: r.Type()}
	}
	h := &held[T]{kind: r.Type(), raw: r.raw()}
	h.self = h
	if err := decode(h.raw, &h.model); err != nil {
		return Resource[T]{}, ErrMalformed
	}
	return Resource[T]{held: &h.self}, nil
}

// wrap takes a JSON object as a resource of any type.
func wrap(kind string, data []byte) Resource[Any] {
	h := &held[Any]{kind: kind, raw: data}
	h.self = h
	return Resource[Any]{held: &h.self}
}

// decode reads what it can.
func decode[T any](raw []byte, into *T) error {
	if isModel(reflect.TypeFor[T]()) {
		var err error
		if raw, err = withoutUnknown(raw, reflect.TypeFor[T]()); err != nil {
			return err
		}
	}
	err := json.Unmarshal(raw, into)
	if odd := (*json.UnmarshalTypeError)(nil); errors.As(err, &odd) {
		return nil // encoding/json reads on behind an element in an odd shape
	}
	return err
}

// Type returns the resourceType, or "" as ResourceType does.
func (r Resource[T]) Type() string {
	if r.held == nil {
		return ""
	}
	return (*r.held).kind
}

func (r Resource[T]) raw() []byte {
	if r.held == nil {
		return nil
	}
	return (*r.held).raw
}

// ID returns the id of the resource, or "".
func (r Resource[T]) ID() string {
	id := ""
	_, _ = whole(r.raw(), func(w *jsonwalk.Walk, name []byte) { // an object, or nothing
		if string(name) == "id" {
			id = w.Text()
		}
	})
	return id
}

// Reveal returns what was read: personal data, which the types of this package
// print as [redacted] and their single fields do not. The types of samply print
// all of it. The pointer is the same each time.
func (r Resource[T]) Reveal() *T {
	if r.held == nil {
		return new(T)
	}
	return &(*r.held).model
}

// Raw returns a copy of the resource as it came.
func (r Resource[T]) Raw() json.RawMessage { return bytes.Clone(r.raw()) }

// Contained returns the resources that are contained in this one, to which it
// points with "#" and their id.
func (r Resource[T]) Contained() []Resource[Any] {
	var found []Resource[Any]
	_, _ = whole(r.raw(), func(w *jsonwalk.Walk, name []byte) { // an object, or nothing
		if string(name) == "contained" {
			w.Each(func() {
				if r, ok := resourceAt(w); ok {
					found = append(found, r)
				}
			})
		}
	})
	return found
}

// resource walks through an object and returns it as a resource. It stays where
// it is if there is no object.
func resourceAt(w *jsonwalk.Walk) (Resource[Any], bool) {
	var k kinds
	begin := w.At()
	if !w.Object(func(name []byte) { k.member(w, name) }) || w.Bad() {
		return Resource[Any]{}, false
	}
	return wrap(k.kind(), w.Since(begin)), true
}

// whole walks through one object.
func whole(data []byte, member func(w *jsonwalk.Walk, name []byte)) ([]byte, error) {
	data, err := jsonwalk.Whole(data, member)
	if err != nil {
		return nil, ErrMalformed
	}
	return data, nil
}
