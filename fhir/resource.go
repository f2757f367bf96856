// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// The errors of the decoders. No text repeats what was decoded.
var (
	// ErrMalformed: the data is not one JSON object.
	ErrMalformed = errors.New("fhir: not a JSON object")
	// ErrResourceType: the data is not a resource of the requested type. The error
	// is a *ResourceTypeError, which names both types.
	ErrResourceType = errors.New("fhir: not a resource of the requested type")
	// ErrTooLarge: a resource has more than 100,000 elements in its lists, and is not
	// decoded: "{}" can take 600 bytes of memory. Resource.Raw has it.
	ErrTooLarge = errors.New("fhir: a resource of more than 100,000 elements")
	// ErrDateTime: a date or time has no form that is known.
	ErrDateTime = errors.New("fhir: not a date or time of FHIR")
)

// maxElements is how many elements of lists a resource may have to be decoded. Those
// of the public STU3 examples have up to a few thousand.
const maxElements = 100_000

// ResourceTypeError is ErrResourceType with both types.
type ResourceTypeError struct {
	// Want is the requested type. Got is the type of the resource, "" if it has
	// none or its name has characters other than letters.
	Want, Got string
}

func (e *ResourceTypeError) Error() string {
	if e.Got == "" {
		return "fhir: no resourceType, want " + e.Want
	}
	return "fhir: a resource of type " + e.Got + ", want " + e.Want
}

// Is reports whether target is ErrResourceType.
func (e *ResourceTypeError) Is(target error) bool { return target == ErrResourceType }

// ResourceType returns the resourceType of a resource, or [ErrMalformed]. It is ""
// for an object without one, with two, or with one that is not a name.
func ResourceType(data []byte) (string, error) {
	is, _, err := object(data)
	return is.kind, err
}

// form is what a walk through a resource finds for its decoding.
type form struct {
	kind string
	odd  bool // encoding/json would confuse some of its members
	long bool // it has more than maxElements
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

// object returns the form of data, and data without what is around the object; or
// ErrMalformed for anything but one object.
func object(data []byte) (form, []byte, error) {
	var k kinds
	data, odd, elements, err := jsonwalk.WholeWatched(data, k.member)
	if err != nil {
		return form{}, nil, ErrMalformed
	}
	return form{k.kind(), odd, elements > maxElements}, data, nil
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

// hidden is an alias, so that embedding it adds no exported field.
type hidden[T any] = conceal.Hidden[*held[T]]

// Resource is a resource and the struct that was decoded from it. It prints as
// [redacted], and encoding or decoding it is an error: use what [Resource.Reveal] or
// [Resource.Raw] returns. The zero Resource is absent. Compare resources with
// [Resource.Equal], which go-cmp uses, or compare what Reveal returns.
//
// A Resource from a [Bundle] keeps the whole page of the bundle in memory. To keep it
// for long, keep a copy made by Raw, or parts of what Reveal returns.
type Resource[T any] struct {
	hidden[T]
}

type held[T any] struct {
	form
	model T
	raw   []byte // valid JSON, and an object
}

// Any is the T of a Resource of any type that is not decoded yet: use [As].
type Any struct{}

// Decode decodes a resource of type T: one of the types of this package, or a struct
// of the host's that has the name of a FHIR type and the elements that are needed. It
// returns [ErrMalformed], [ErrResourceType] for a resource of another type, or
// [ErrTooLarge].
//
// Unknown codes are kept, and unknown elements ignored. An element whose JSON does
// not fit T is left at its zero value; the rest is decoded. One value in place of a
// list is decoded as a list of one, and the reverse; a number or boolean in place of
// text, as it is written. Names match exactly; of members of the same name the last
// is used as a whole. In the types that are made for R4, an element with a required
// code that is unknown or absent is left out.
//
// The Resource refers to data: do not change it afterwards.
func Decode[T any](data []byte) (Resource[T], error) {
	is, data, err := object(data)
	if err != nil {
		return Resource[T]{}, err
	}
	return As[T](wrap(is, data))
}

// As decodes a resource of any type as one of type T, as [Decode] does.
func As[T any](r Resource[Any]) (Resource[T], error) {
	t := reflect.TypeFor[T]()
	from := conceal.Open(r.hidden)
	if from == nil || from.kind != t.Name() && t != reflect.TypeFor[Any]() {
		return Resource[T]{}, &ResourceTypeError{Want: t.Name(), Got: r.Type()}
	}
	h := &held[T]{form: from.form, raw: from.raw}
	if h.long && grows(t) {
		return Resource[T]{}, ErrTooLarge
	}
	if err := decode(h.raw, h.odd, &h.model); err != nil {
		return Resource[T]{}, ErrMalformed
	}
	return Resource[T]{conceal.Of(h)}, nil
}

// grows reports whether a struct of type t takes much more memory than its JSON: a
// Bundle keeps its resources as they are written.
func grows(t reflect.Type) bool { return t != reflect.TypeFor[Bundle]() && t != reflect.TypeFor[Any]() }

// NewResource returns a Resource that holds model, as if it had been received, for
// tests. Raw is the JSON of model with the resourceType added if it is absent. It
// returns [ErrResourceType] for a model with another resourceType, and an error for
// a model that cannot be encoded, such as a [Bundle].
func NewResource[T any](model T) (Resource[T], error) {
	want := reflect.TypeFor[T]().Name()
	switch any(model).(type) {
	case Bundle, Any:
		return Resource[T]{}, fmt.Errorf("fhir: %s cannot be encoded", want)
	}
	data, err := json.Marshal(model)
	if err != nil {
		return Resource[T]{}, fmt.Errorf("fhir: encode %s: %w", want, err)
	}
	var k kinds
	if data, err = whole(data, k.member); err != nil {
		return Resource[T]{}, err
	}
	if k.n == 0 {
		data = append([]byte(`{"resourceType":"`+want+`",`), data[1:]...)
		if data[len(data)-2] == ',' { // there was no member
			data = append(data[:len(data)-2], '}')
		}
	}
	return Decode[T](data)
}

// wrap returns a JSON object as a resource of any type.
func wrap(is form, data []byte) Resource[Any] {
	return Resource[Any]{conceal.Of(&held[Any]{form: is, raw: data})}
}

// Reveal returns the decoded struct, which is personal data and prints all that it
// holds. The pointer is the same each time; the zero Resource returns a new zero T.
func (r Resource[T]) Reveal() *T {
	if h := conceal.Open(r.hidden); h != nil {
		return &h.model
	}
	return new(T)
}

// Raw returns a copy of the JSON that was received, nil for the zero Resource.
func (r Resource[T]) Raw() json.RawMessage { return bytes.Clone(r.raw()) }

func (r Resource[T]) raw() []byte {
	if h := conceal.Open(r.hidden); h != nil {
		return h.raw
	}
	return nil
}

// Type returns the resourceType, or "" as [ResourceType] does.
func (r Resource[T]) Type() string {
	if h := conceal.Open(r.hidden); h != nil {
		return h.kind
	}
	return ""
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

// Contained returns the resources that are contained in this one. It refers to them
// with "#" and their id.
func (r Resource[T]) Contained() []Resource[Any] {
	var found []Resource[Any]
	_, _ = whole(r.raw(), func(w *jsonwalk.Walk, name []byte) { // an object, or nothing
		if string(name) == "contained" {
			found = nil // the last is used
			w.Each(func() {
				if r, ok := resourceAt(w); ok {
					found = append(found, r)
				}
			})
		}
	})
	return found
}

// IsZero reports whether r is the zero Resource.
func (r Resource[T]) IsZero() bool { return conceal.Absent(r.hidden) }

// Equal reports whether both hold the same JSON value, with numbers written alike.
// Changes made through Reveal are not compared.
func (r Resource[T]) Equal(o Resource[T]) bool {
	a, b := r.raw(), o.raw()
	return bytes.Equal(a, b) || a != nil && b != nil && bytes.Equal(canonical(a), canonical(b))
}

// canonical returns JSON with the members of objects sorted.
func canonical(raw []byte) []byte {
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil
	}
	sorted, _ := json.Marshal(tree) // what was decoded can be encoded
	return sorted
}

// resourceAt walks through an object and returns it as a resource. It does not move
// if there is no object.
func resourceAt(w *jsonwalk.Walk) (Resource[Any], bool) {
	var k kinds
	begin, elements := w.At(), w.Elements()
	isObject := false
	odd := w.Watch(func() { isObject = w.Object(func(name []byte) { k.member(w, name) }) })
	if !isObject || w.Bad() {
		return Resource[Any]{}, false
	}
	return wrap(form{k.kind(), odd, w.Elements()-elements > maxElements}, w.Since(begin)), true
}

func whole(data []byte, member func(w *jsonwalk.Walk, name []byte)) ([]byte, error) {
	data, err := jsonwalk.Whole(data, member)
	if err != nil {
		return nil, ErrMalformed
	}
	return data, nil
}
