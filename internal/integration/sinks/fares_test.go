// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package sinks_test

// fare is what comes of the values in a sink.
type fare struct {
	// wrappers is how every wrapper fares: what comes of most of the forms in which a
	// host holds it, and then of the others.
	wrappers string
	// others are all the outcomes of the rest in any form: AccessToken and Candidate,
	// which are structs with exported fields, and Keyring, Config, Client and Patient,
	// which nobody means to print or keep. "prints" is ids: those of a Candidate, and the
	// app_user_id of a Patient, where no methods are called. They name somebody to whoever
	// has the table of users, and say nothing about a patient.
	others string
	// lossy says what is lost where a wrapper is neither redacted nor refused.
	lossy string
}

// What comes of wrappers most often. fmt and encoders do not look into unexported fields
// for methods, and find a function there.
const (
	isPrinted = redacts + "; " + nothing + ": unexported"
	isRefused = refuses + "; " + nothing + ": unexported"
	isDropped = drops + "; " + nothing + ": unexported"
	hasError  = complains + "; " + nothing + ": unexported"
	// logsJSON asks a value by itself to print, and a struct to encode.
	logsJSON = hasError + "; " + redacts + ": itself, pointer"
)

// fares are the outcomes, pinned.
var fares = map[string]fare{
	"fmt %v":                  {isPrinted, "nothing, prints, redacts", ""},
	"fmt %+v":                 {isPrinted, "nothing, prints, redacts", ""},
	"fmt %#v":                 {isPrinted, "nothing, prints, redacts", ""},
	"fmt %s":                  {isPrinted, "nothing, prints, redacts", ""},
	"fmt %q":                  {isPrinted, "nothing, prints, redacts", ""},
	"fmt %x":                  {isPrinted, "nothing, prints, redacts", ""},
	"fmt %d":                  {isPrinted, "nothing, prints, redacts", ""},
	"fmt Errorf %v":           {isPrinted, "nothing, prints, redacts", ""},
	"errors.Join":             {isPrinted, "nothing, prints, redacts", ""},
	"log":                     {isPrinted, "nothing, prints, redacts", ""},
	"slog text":               {isPrinted, "nothing, prints, redacts", ""},
	"slog JSON":               {logsJSON, "complains, nothing, redacts", "in a host's struct: the error stands in place of the whole attribute"},
	"panic":                   {isPrinted, "nothing, prints, redacts", ""},
	"expvar":                  {isDropped, "drops, nothing", "the variable is empty: expvar passes over errors"},
	"logrus text":             {isPrinted, "nothing, prints, redacts", ""},
	"logrus JSON":             {isDropped, "drops, nothing", "the line is dropped, with a sentence on standard error"},
	"zap Any JSON":            {logsJSON, "complains, nothing, redacts", "in a host's struct: vError has the error, v is absent"},
	"zap Any console":         {logsJSON, "complains, nothing, redacts", "in a host's struct: vError has the error, v is absent"},
	"zap Sugar":               {isPrinted, "complains, nothing, prints, redacts", ""},
	"zerolog Interface":       {hasError, "complains, nothing", "the error stands in place of the value"},
	"zerolog console":         {isPrinted, "complains, nothing, prints, redacts", ""},
	"go-kit logfmt":           {"nothing; complains: itself, pointer", "complains, nothing, redacts", "the error stands in place of the value; logfmt writes no structs at all"},
	"go-kit JSON":             {isDropped, "drops, nothing, redacts", "Log returns the error and writes no line"},
	"hclog text":              {isPrinted, "nothing, prints, redacts", ""},
	"hclog JSON":              {isDropped, "drops, nothing", "the line is dropped"},
	"text/template":           {isPrinted, "nothing, prints, redacts", ""},
	"html/template page":      {isPrinted, "nothing, prints, redacts", ""},
	"html/template attribute": {isPrinted, "nothing, prints, redacts", ""},
	"html/template script":    {hasError, "complains, nothing", "null, with the error in a comment"},
	"go-cmp Diff":             {isPrinted, "nothing, redacts", ""},
	"testify Equal":           {isPrinted, "nothing, prints, redacts", ""},
	"spew":                    {redacts, "redacts", ""},
	"spew without methods":    {nothing, "nothing, prints", "none of the methods is called: it prints the address of a function"},
	"kr/pretty":               {isPrinted, "nothing, prints, redacts", ""},
	"encoding/json":           {isRefused, "nothing, refuses", ""},
	"encoding/json/v2":        {refuses, "refuses", ""},
	"goccy/go-json":           {isRefused, "nothing, refuses", ""},
	"json-iterator":           {isRefused, "nothing, refuses", ""},
	"sonic":                   {isRefused, "nothing, refuses", ""},
	"sonic fastest":           {isRefused, "nothing, refuses", ""},
	"encoding/xml":            {isRefused, "nothing, refuses", ""},
	"gob":                     {refuses, "refuses", ""},
	"yaml.v3":                 {isRefused, "nothing, refuses", ""},
	"goccy/go-yaml":           {isRefused, "nothing, refuses", ""},
	"msgpack":                 {isRefused, "nothing, refuses", ""},
	"cbor":                    {isRefused, "nothing, refuses", ""},
	"bson v1":                 {isRefused, "nothing, refuses", ""},
	"bson v2":                 {isRefused, "nothing, refuses", ""},
	"bson v2 document":        {isRefused, "nothing, refuses", ""},
	"toml":                    {isRefused, "nothing, refuses", ""},
	"TextMarshaler":           {refuses, "refuses", ""},
	"BinaryMarshaler":         {refuses, "refuses", ""},
	"gin c.JSON":              {isRefused, "nothing, refuses", ""},
	"echo c.JSON":             {isRefused, "nothing, refuses", ""},
	"chi render.JSON":         {isRefused, "nothing, refuses", ""},
}
