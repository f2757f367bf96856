// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Package fhir decodes and encodes the FHIR STU3 (3.0.2) that PKB's Facade sends.
//
// A [Resource] holds a resource of a patient. It prints as [redacted] and refuses to
// be encoded. [Resource.Reveal] returns the resource as a plain struct, and
// [Resource.Raw] as the JSON that was received. A host builds the structs in its
// tests; [NewResource] wraps them.
//
// # What the structs hold
//
// The structs of this package have every element of STU3, with its extensions wherever
// STU3 has them. Encoding one gives the JSON value that it was decoded from, with
// numbers as they were written.
//
// Text of every kind is a string, a number is a [json.Number], a boolean is a *bool, and
// a date or time is a [DateTime]. An element of a complex type is a struct where STU3
// requires it or PKB usually sends it, and a pointer elsewhere. An absent element is the
// zero value, and is absent in the JSON. The id and the extensions of a primitive
// element, which FHIR writes as _birthDate, are in a field of their own, such as
// BirthDateElement. Contained resources are JSON; [Resource.Contained] wraps them.
//
// An extension that changes the meaning of what has it is a modifier extension.
// [Resource.Modifiers] finds it, wherever it is: call it before you use a resource.
//
// Two kinds of type do not hold all; Raw does. [Bundle] has what reading a search
// takes, and [Patient], [Person], [Practitioner], [Organization] and [Parameters] are
// types of another library, made for FHIR R4: see there for what they lack.
//
// # What is read that is not FHIR
//
// Servers differ from the specification, and [Decode] loses no more than what cannot be
// understood: one value in place of a list is a list of one, numbers and booleans may be
// text, codes may be unknown, and times may lack the seconds or the zone. Of members of
// the same name the last is used, as a whole, and STATUS is not status. A resource whose
// type is unknown stays a Resource of [Any]; [As] decodes it into a struct of yours.
//
// # References
//
// [Bundle.Resolve] returns the resource that a reference in the same page refers to, and
// [Resource.Resolve] one that a resource contains. [ParseReference] reads the address of
// one that has to be read from the server.
package fhir
