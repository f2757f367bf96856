// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package fhir

// NamingSystem says what the system of an identifier or a code is.
type NamingSystem struct {
	Common
	Name         string                 `json:"name"`
	Status       string                 `json:"status"`
	Kind         string                 `json:"kind"`
	Date         DateTime               `json:"date"`
	Publisher    string                 `json:"publisher"`
	Contact      []ContactDetail        `json:"contact"`
	Responsible  string                 `json:"responsible"`
	Type         CodeableConcept        `json:"type"`
	Description  string                 `json:"description"`
	Jurisdiction []CodeableConcept      `json:"jurisdiction"`
	Usage        string                 `json:"usage"`
	UniqueID     []NamingSystemUniqueID `json:"uniqueId"`
	ReplacedBy   *Ref                   `json:"replacedBy"`
}

// NamingSystemUniqueID is one name of the system.
type NamingSystemUniqueID struct {
	Redacted
	Type      string  `json:"type"`
	Value     string  `json:"value"`
	Preferred Boolean `json:"preferred"`
	Comment   string  `json:"comment"`
	Period    Period  `json:"period"`
}
