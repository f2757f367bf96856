// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

import (
	"errors"
	"net/url"
	"strings"

	"github.com/betawerk/pkb-go/internal/conceal"
	"github.com/betawerk/pkb-go/internal/jsonwalk"
)

// ErrReference: the text is not a reference to one resource.
var ErrReference = errors.New("fhir: not a reference of the form Type/id")

// Reference points to a resource.
type Reference struct {
	// Base is the address of the server in an absolute reference, without a
	// trailing slash; "" in a relative one.
	Base string
	// Type and ID are the type and the id of the resource.
	Type, ID string
	// Version is the version of the resource; "" if the reference names none, and
	// means the current one.
	Version string
}

// ParseReference parses "Type/id", relative or at the end of an http or https
// address, and "/_history/version" after that. It returns [ErrReference] for others,
// such as "#1", which [Resource.Resolve] finds, and "urn:uuid:...", which
// [Bundle.Resolve] does.
func ParseReference(s string) (Reference, error) {
	var base string
	path := s
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
			return Reference{}, ErrReference
		}
		base, path = u.Scheme+"://"+u.Host, strings.TrimPrefix(u.EscapedPath(), "/")
	}
	parts := strings.Split(path, "/")
	version := ""
	if n := len(parts); n >= 4 && parts[n-2] == "_history" {
		if version = parts[n-1]; !isID(version) {
			return Reference{}, ErrReference
		}
		parts = parts[:n-2]
	}
	n := len(parts)
	if n < 2 || base == "" && n != 2 || !isName(parts[n-2]) || !isID(parts[n-1]) {
		return Reference{}, ErrReference
	}
	if n > 2 {
		base += "/" + strings.Join(parts[:n-2], "/")
	}
	return Reference{Base: base, Type: parts[n-2], ID: parts[n-1], Version: version}, nil
}

// isID reports whether s is a FHIR id: 1 to 64 letters, digits, '-' and '.'.
func isID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Resolve returns the resource that ref refers to, if this resource contains it: ref is
// "#" and an id, in this resource or in one that it contains. "#" alone is this
// resource. It returns false for any other reference, and if two that differ have the
// id.
func (r Resource[T]) Resolve(ref Ref) (found Resource[Any], ok bool) {
	id, isContained := strings.CutPrefix(strings.TrimSpace(ref.Reference), "#")
	h := conceal.Open(r.hidden)
	switch {
	case h == nil || !isContained:
		return found, false
	case id == "":
		return wrap(h.form, h.raw), true
	}
	return only(r.Contained(), func(c Resource[Any]) bool { return c.ID() == id })
}

// Resolve returns the resource that ref refers to, where ref is in the resource of the
// entry from. It finds what from contains ("#1"), and among the entries those with the
// address of ref, absolute or relative to the FullURL of from, and with the version, if
// ref names one; and those whose FullURL is the URN ("urn:uuid:..."). http and https are
// the same. An entry without a FullURL is taken to be of the same server as from.
//
// It returns false if there is none: the resource may be on another page, or has to be
// read from the server. It does so, too, if there are several that differ.
func (b Bundle) Resolve(from Entry, ref Ref) (found Resource[Any], ok bool) {
	address := strings.TrimSpace(ref.Reference)
	if strings.HasPrefix(address, "#") {
		return from.Resource.Resolve(ref)
	}
	want, err := ParseReference(address)
	isURN := err != nil && hasPrefixFold(address, "urn:")
	source, _ := ParseReference(from.FullURL)
	if err != nil && !isURN || want.Base == "" && source.Base == "" && !isURN && from.FullURL != "" {
		return found, false
	}
	var all []Resource[Any]
	for _, e := range b.Entries {
		if isURN && strings.EqualFold(e.FullURL, address) || !isURN && e.is(want, source.Base) {
			all = append(all, e.Resource)
		}
	}
	return only(all, func(Resource[Any]) bool { return true })
}

// is reports whether e has the resource that ref refers to, relative to base.
func (e Entry) is(ref Reference, base string) bool {
	if e.FullURL != "" && !strings.Contains(e.FullURL, ref.ID) {
		return false // parsing the address of each entry would take most of the time
	}
	at, err := ParseReference(e.FullURL)
	switch {
	case e.FullURL == "" && e.Resource.Type() == ref.Type: // its ID is read only then
		at = Reference{Base: base, Type: ref.Type, ID: e.Resource.ID()}
	case err != nil:
		return false
	}
	if ref.Base == "" {
		ref.Base = base
	}
	if ref.Base == "" { // the address of the server is not known
		at.Base = ""
	}
	return at.Type == ref.Type && at.ID == ref.ID && withoutScheme(at.Base) == withoutScheme(ref.Base) &&
		(ref.Version == "" || ref.Version == e.Resource.version())
}

// only returns the one of all that is meant; several that are equal are one.
func only(all []Resource[Any], meant func(Resource[Any]) bool) (found Resource[Any], ok bool) {
	for _, r := range all {
		switch {
		case !meant(r):
		case ok && !found.Equal(r):
			return Resource[Any]{}, false
		default:
			found, ok = r, true
		}
	}
	return found, ok
}

// version returns the version of the resource, or "".
func (r Resource[T]) version() (version string) {
	_, _ = whole(r.raw(), func(w *jsonwalk.Walk, name []byte) { // an object, or nothing
		if string(name) == "meta" {
			version = ""
			w.Object(func(name []byte) {
				if string(name) == "versionId" {
					version = w.Scalar()
				}
			})
		}
	})
	return version
}

func withoutScheme(base string) string {
	_, rest, _ := strings.Cut(base, ":")
	return rest
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
