// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/betawerk/pkb-go/internal/apicall"
)

// facade is PKB's FHIR STU3 endpoint. PKB has announced its end: its successor
// needs changes here and in the table of searches.
type facade struct{ base string } // without a trailing slash

func (f facade) search(resource string, q url.Values) string {
	// PKB's examples leave these as they are, which a query may.
	return f.base + "/" + resource + "?" + strings.NewReplacer("%2F", "/", "%3A", ":").Replace(q.Encode())
}

func (f facade) read(resource, id string) string { return f.base + "/" + resource + "/" + id }

func (f facade) operation(resource, name string) string { return f.base + "/" + resource + "/$" + name }

// next resolves the link to the next page. The request goes to the origin of the
// record, with the bearer, whatever a page contains: a server behind a proxy may write
// http, and its own port.
func (f facade) next(current, link string) (string, error) {
	from, err := url.Parse(current)
	if err != nil {
		return "", &PagingError{Reason: unreadable}
	}
	to, err := from.Parse(strings.TrimSpace(link))
	if err != nil || to.User != nil {
		return "", &PagingError{Reason: unreadable}
	}
	base, err := url.Parse(f.base)
	if err != nil || !apicall.SameServer(f.base, to.String()) || !within(base.Path, to.Path) {
		return "", &PagingError{Reason: elsewhere}
	}
	// The transport adds the bearer only to an origin that is written like the base.
	to.Scheme, to.Host, to.Fragment, to.RawFragment = base.Scheme, base.Host, "", ""
	to.RawQuery = escaped(to.RawQuery)
	return to.String(), nil
}

// escaped returns a query with what a URL may not have escaped: PKB's own examples have
// "|" as it is, which some servers refuse.
func escaped(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func within(base, p string) bool {
	base, clean := strings.TrimRight(base, "/"), path.Clean("/"+p)
	return strings.TrimRight(p, "/") == strings.TrimRight(clean, "/") && strings.HasPrefix(clean+"/", base+"/")
}

// parameter is one search parameter of PKB's CapabilityStatement.
type parameter struct {
	required bool
	// prefixes are those of a date; nil for other types.
	prefixes []string
	// repeats reports that the parameter may be given several times, which are
	// ANDed.
	repeats bool
}

var (
	anyTime = parameter{prefixes: []string{"eq", "gt", "lt", "ge", "le"}, repeats: true}
	whose   = parameter{required: true}
)

// searches are the searches of PKB's CapabilityStatement, with their parameters.
// patient is always sent, required or not.
var searches = map[string]map[string]parameter{
	"Appointment":       {"patient": whose, "date": anyTime},
	"Communication":     {"patient": whose, "sent": anyTime},
	"Consent":           {"patient": whose},
	"DiagnosticReport":  {"patient": whose, "category": {required: true}, "date": anyTime},
	"DocumentReference": {"patient": {}, "created": anyTime, "indexed": {prefixes: []string{"eq"}}, "document-status": {}, "source-organisation": {}},
	"Encounter":         {"patient": whose, "date": {prefixes: []string{"gt", "lt", "eq"}, repeats: true}},
	"NamingSystem":      {"value": {required: true}},
	"Observation":       {"patient": whose, "category": {required: true}, "date": anyTime},
	"Patient":           {"identifier": {required: true}},
	"Questionnaire":     {"publisher-reference": {}},
	"QuestionnaireResponse": {
		"patient": {}, "authored": anyTime, "based-on": {}, "questionnaire": {}, "_include": {repeats: true},
	},
}

// includes are the values of _include.
var includes = []string{"QuestionnaireResponse:basedOn:ProcedureRequest", "QuestionnaireResponse:subject:Patient"}

// checkSearch returns an error for a search that PKB does not offer. q has no
// patient yet.
func checkSearch(resource string, q url.Values) error {
	parameters, ok := searches[resource]
	if !ok {
		return &SearchError{Problem: "PKB does not offer a search for this type of resource"}
	}
	refuse := func(name, problem string) error {
		return &SearchError{Resource: resource, Parameter: name, Problem: problem}
	}
	for name, values := range q {
		p, ok := parameters[name]
		switch {
		case !ok:
			return refuse(name, "PKB does not offer this parameter")
		case name == "patient":
			return refuse(name, "it is always the link's patient")
		case len(values) > 1 && !p.repeats:
			return refuse(name, "PKB accepts one value")
		}
		for _, v := range values {
			switch {
			case strings.TrimSpace(v) == "" || strings.HasSuffix(v, "|"):
				return refuse(name, "it is empty")
			case strings.ContainsAny(v, ",\\$"):
				return refuse(name, "PKB accepts no list of values and no escapes") // FHIR gives these a meaning
			case name == "_include" && !slices.Contains(includes, v):
				return refuse(name, "PKB does not offer to include this")
			case p.prefixes != nil && !slices.Contains(p.prefixes, prefix(v)):
				return refuse(name, "PKB offers only "+strings.Join(p.prefixes, ", ")+" here")
			}
		}
	}
	for name, p := range parameters {
		if p.required && name != "patient" && len(q[name]) == 0 {
			return refuse(name, "it is required and empty")
		}
	}
	return nil
}

// prefix returns the comparison of a date; eq is the default.
func prefix(date string) string {
	if date[0] >= '0' && date[0] <= '9' {
		return "eq"
	}
	return date[:min(2, len(date))]
}
