// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Facade is PKB's FHIR API, except Purview: fhir/... .
const Facade Endpoint = "facade"

// record is what the server has of patients' records.
type record struct {
	resources []*resource
	withheld  map[string][]string // privacy labels, by public id
	results   map[string]*result
	newest    map[string]time.Time
	pages     int
}

// resource is one resource, and whose it is; "" for everybody's.
type resource struct {
	owner, kind, id string
	body            json.RawMessage
	tree            map[string]any
}

// result is what one search found: its pages are read from it.
type result struct {
	owner   string
	matches []*resource
	include []*resource
}

// AddResource adds a FHIR resource to a patient's record, or, if the patient is
// nil, to what every patient may read, such as an Organization. It is served as it
// is given. One of the same type and id is replaced. AddResource returns an
// error for what is not a JSON object with a resourceType.
func (s *Server) AddResource(p *Patient, body []byte) error {
	r := &resource{body: slices.Clone(body)}
	if err := json.Unmarshal(body, &r.tree); err != nil {
		return fmt.Errorf("pkbtest: not a JSON object: %w", err)
	}
	r.kind, _ = r.tree["resourceType"].(string)
	r.id, _ = r.tree["id"].(string)
	if r.kind == "" {
		return errors.New("pkbtest: not a resource: it has no resourceType")
	}
	if p != nil {
		r.owner = p.PublicID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil {
		if s.record.newest == nil {
			s.record.newest = map[string]time.Time{}
		}
		s.record.newest[p.PublicID] = s.now().UTC()
	}
	same := func(q *resource) bool { return r.id != "" && q.kind == r.kind && q.id == r.id && q.owner == r.owner }
	if i := slices.IndexFunc(s.record.resources, same); i >= 0 {
		s.record.resources[i] = r
	} else {
		s.record.resources = append(s.record.resources, r)
	}
	return nil
}

// Withhold hides what has one of these privacy labels in meta.security from the
// patient's app, as consents do: searches leave it out silently. No label
// means that nothing is hidden any more.
func (s *Server) Withhold(p *Patient, labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.record.withheld == nil {
		s.record.withheld = map[string][]string{}
	}
	s.record.withheld[p.PublicID] = slices.Clone(labels)
}

// parameterRule is what PKB's CapabilityStatement has about a search parameter.
type parameterRule struct {
	required bool
	prefixes []string // of a date
	element  []string // where it looks
}

var (
	anyPrefix = []string{"eq", "gt", "lt", "ge", "le"}
	ofPatient = parameterRule{required: true, element: []string{"subject", "patient"}}
)

// facadeSearches are the searches of PKB's CapabilityStatement. What each
// parameter looks at is FHIR's definition of it.
var facadeSearches = map[string]map[string]parameterRule{
	"Appointment": {
		"patient": {required: true, element: []string{"participant.actor"}},
		"date":    {prefixes: anyPrefix, element: []string{"start"}},
	},
	"Communication": {"patient": ofPatient, "sent": {prefixes: anyPrefix, element: []string{"sent"}}},
	"Consent":       {"patient": ofPatient},
	"DiagnosticReport": {
		"patient": ofPatient, "category": {required: true, element: []string{"category"}},
		"date": {prefixes: anyPrefix, element: []string{"effectiveDateTime", "effectivePeriod"}},
	},
	"DocumentReference": {
		"patient": {element: []string{"subject"}}, "created": {prefixes: anyPrefix, element: []string{"created"}},
		"indexed": {prefixes: []string{"eq"}, element: []string{"indexed"}}, "document-status": {element: []string{"docStatus"}},
		"source-organisation": {element: []string{"custodian"}},
	},
	"Encounter":    {"patient": ofPatient, "date": {prefixes: []string{"gt", "lt", "eq"}, element: []string{"period"}}},
	"NamingSystem": {"value": {required: true, element: []string{"uniqueId.value"}}},
	"Observation": {
		"patient": ofPatient, "category": {required: true, element: []string{"category"}},
		"date": {prefixes: anyPrefix, element: []string{"effectiveDateTime", "effectivePeriod"}},
	},
	"Patient":       {"identifier": {required: true, element: []string{"identifier"}}},
	"Questionnaire": {"publisher-reference": {element: []string{"publisherReference"}}},
	"QuestionnaireResponse": {
		"patient": {element: []string{"subject"}}, "authored": {prefixes: anyPrefix, element: []string{"authored"}},
		"based-on": {element: []string{"basedOn"}}, "questionnaire": {element: []string{"questionnaire"}}, "_include": {},
	},
}

var facadeReads = []string{"Organization", "Patient", "Practitioner", "ProcedureRequest", "Questionnaire"}

const nhsNumberSystem = "https://fhir.nhs.uk/Id/nhs-number"

// routeFacade finds what serves a path that begins with /fhir.
func (s *Server) routeFacade(path string) (Endpoint, http.Handler) {
	path = strings.Trim(strings.TrimPrefix(path, "/fhir"), "/")
	kind, id, deep := strings.Cut(path, "/")
	_, searchable := facadeSearches[kind]
	if path == "" || path == lastDataPointPath || path == statusQueryPath || !deep && searchable || deep && slices.Contains(facadeReads, kind) && !strings.Contains(id, "/") {
		return Facade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.facade(w, r, path) })
	}
	return "", http.HandlerFunc(fhirNotFound)
}

const lastDataPointPath = "Patient/$date-of-last-data-point"

// facade serves searches and reads of the record. Documented, by PKB's
// CapabilityStatement: which there are, their parameters, which of those are
// required, and the prefixes of dates. Inferred: paging, errors, and the
// response about somebody else.
func (s *Server) facade(w http.ResponseWriter, r *http.Request, path string) {
	if s.isSystem(r) {
		s.systemFacade(w, r, path)
		return
	}
	kind, id, deep := strings.Cut(path, "/")
	lastDataPoint := path == lastDataPointPath
	methods := []string{http.MethodGet}
	if lastDataPoint || path == statusQueryPath {
		methods = append(methods, http.MethodPost)
		if lastDataPoint && s.cfg.PurviewGETOnly {
			methods = methods[:1]
		}
	}
	patient := s.caller(w, r, "this is not offered with this method", methods...)
	if patient == nil {
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		sendProblem(w, r, http.StatusBadRequest, "the query cannot be read")
		return
	}
	switch {
	case path == statusQueryPath:
		sendCode(w, r, userType)
	case lastDataPoint:
		sendResource(w, s.lastDataPoint(patient))
	case path == "":
		s.page(w, r, patient, q.Get("_getpages"), q.Get("_getpagesoffset"))
	case deep:
		s.readOne(w, r, patient, kind, id)
	default:
		s.search(w, r, patient, kind, q)
	}
}

func sendResource(w http.ResponseWriter, body []byte) {
	w.Header().Set("Cache-Control", "no-store")
	send(w, http.StatusOK, mediaTypeFHIR, body)
}

// lastDataPoint responds as PKB's example does, which is not FHIR: the time is
// next to the identifier, and the system ends in a space. The response for a
// record without data is inferred.
func (s *Server) lastDataPoint(p *Patient) []byte {
	s.mu.Lock()
	newest, ok := s.record.newest[p.PublicID]
	s.mu.Unlock()
	if !ok {
		return []byte(`{"resourceType":"Parameters"}`)
	}
	return mustJSON(map[string]any{"resourceType": "Parameters", "parameter": []any{map[string]any{
		"name": "lastDataPointsResult", "part": []any{map[string]any{
			"name": "patientIdentifier", "valueIdentifier": map[string]any{"system": nhsNumberSystem + " ", "value": p.NHSNumber},
			"lastRecordUpdate": newest.Format("2006-01-02T15:04:05.9999Z07:00"),
		}},
	}}})
}

// readOne serves a read by id.
func (s *Server) readOne(w http.ResponseWriter, r *http.Request, p *Patient, kind, id string) {
	if kind == "Patient" {
		if id != p.PublicID {
			sendCode(w, r, "NO_ASSOCIATION")
			return
		}
		sendResource(w, facadePatient(p))
		return
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.record.resources, func(q *resource) bool {
		return q.kind == kind && q.id == id && (q.owner == "" || q.owner == p.PublicID) && !s.hidden(p, q)
	})
	var body []byte
	if i >= 0 {
		body = s.record.resources[i].body
	}
	s.mu.Unlock()
	if body == nil {
		fhirNotFound(w, r)
		return
	}
	sendResource(w, body)
}

// hidden reports whether a label of q is withheld from p. Callers hold the lock.
func (s *Server) hidden(p *Patient, q *resource) bool {
	for _, label := range values(q.tree, "meta.security") {
		coding, _ := label.(map[string]any)
		code, _ := coding["code"].(string)
		if slices.Contains(s.record.withheld[p.PublicID], code) {
			return true
		}
	}
	return false
}

// search serves the first page of a search.
func (s *Server) search(w http.ResponseWriter, r *http.Request, p *Patient, kind string, q url.Values) {
	rules := facadeSearches[kind]
	bad := func(format string, args ...any) {
		sendProblem(w, r, http.StatusBadRequest, fmt.Sprintf(format, args...))
	}
	for name, sent := range q {
		rule, ok := rules[name]
		switch {
		case !ok:
			bad("the parameter %q is not known here", name)
			return
		case len(sent) > 1 && len(rule.prefixes) < 2 && name != "_include":
			bad("the parameter %q was sent more than once", name)
			return
		}
		for _, v := range sent {
			if _, _, _, err := dateCondition(v); rule.prefixes != nil && (err != nil || !slices.Contains(rule.prefixes, prefixOf(v))) {
				bad("the parameter %q is no date with a prefix that is known here", name)
				return
			}
			if v == "" || strings.Contains(v, ",") {
				bad("the parameter %q is empty or a list", name)
				return
			}
		}
	}
	for name, rule := range rules {
		if rule.required && q.Get(name) == "" {
			bad("the parameter %q is required", name)
			return
		}
	}
	found := &result{owner: p.PublicID}
	if system, value, _ := strings.Cut(q.Get("identifier"), "|"); kind == "Patient" {
		if system != nhsNumberSystem {
			bad("only NHS numbers are supported")
			return
		}
		if slices.ContainsFunc(nationalIDsOf(p), func(id nationalID) bool { return id.Name == "NHS number" && id.Value == value }) {
			found.matches = []*resource{{kind: kind, id: p.PublicID, body: facadePatient(p)}}
		}
		s.send(w, found, "", 0)
		return
	}
	if of := q.Get("patient"); of != "" && of != "Patient/"+p.PublicID && of != p.PublicID {
		s.send(w, found, "", 0) // silently nothing
		return
	}
	s.mu.Lock()
	for _, candidate := range s.record.resources {
		if candidate.kind == kind && (candidate.owner == "" || candidate.owner == p.PublicID) && !s.hidden(p, candidate) && fits(candidate, rules, q) {
			found.matches = append(found.matches, candidate)
		}
	}
	if slices.Contains(q["_include"], "QuestionnaireResponse:basedOn:ProcedureRequest") {
		for _, m := range found.matches {
			for _, ref := range values(m.tree, "basedOn.reference") {
				for _, candidate := range s.record.resources {
					if ref == candidate.kind+"/"+candidate.id && (candidate.owner == "" || candidate.owner == p.PublicID) && !slices.Contains(found.include, candidate) {
						found.include = append(found.include, candidate)
					}
				}
			}
		}
	}
	if slices.Contains(q["_include"], "QuestionnaireResponse:subject:Patient") && len(found.matches) > 0 {
		found.include = append(found.include, &resource{kind: "Patient", id: p.PublicID, body: facadePatient(p)})
	}
	token := ""
	if len(found.matches) > s.cfg.PageSize {
		s.record.pages++
		token = fmt.Sprintf("made-up-%d", s.record.pages)
		if s.record.results == nil {
			s.record.results = map[string]*result{}
		}
		s.record.results[token] = found
	}
	s.mu.Unlock()
	s.send(w, found, token, 0)
}

// page serves a page behind the first one, as HAPI servers address them.
func (s *Server) page(w http.ResponseWriter, r *http.Request, p *Patient, token, from string) {
	s.mu.Lock()
	found := s.record.results[token]
	s.mu.Unlock()
	offset, err := strconv.Atoi(from)
	if found == nil || found.owner != p.PublicID || err != nil || offset < 0 || offset > len(found.matches) {
		sendProblem(w, r, http.StatusGone, "the search is not known any more")
		return
	}
	s.send(w, found, token, offset)
}

// send sends one page.
func (s *Server) send(w http.ResponseWriter, found *result, token string, offset int) {
	type link struct {
		Relation string `json:"relation"`
		URL      string `json:"url"`
	}
	type entry struct {
		FullURL  string            `json:"fullUrl"`
		Resource json.RawMessage   `json:"resource"`
		Search   map[string]string `json:"search"`
	}
	page := struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Total        int     `json:"total"`
		Link         []link  `json:"link"`
		Entry        []entry `json:"entry,omitempty"`
	}{ResourceType: "Bundle", Type: "searchset", Total: len(found.matches)}
	end := min(offset+s.cfg.PageSize, len(found.matches))
	address := func(offset int) string {
		return fmt.Sprintf("%s/fhir?_getpages=%s&_getpagesoffset=%d", s.url, token, offset)
	}
	page.Link = append(page.Link, link{"self", address(offset)})
	if end < len(found.matches) {
		page.Link = append(page.Link, link{"next", address(end)})
	}
	add := func(q *resource, mode string) {
		page.Entry = append(page.Entry, entry{s.url + "/fhir/" + q.kind + "/" + q.id, q.body, map[string]string{"mode": mode}})
	}
	for _, q := range found.matches[offset:end] {
		add(q, "match")
	}
	if end == len(found.matches) {
		for _, q := range found.include {
			add(q, "include")
		}
	}
	sendResource(w, mustJSON(page))
}

// fits reports whether a resource fits all parameters.
func fits(q *resource, rules map[string]parameterRule, query url.Values) bool {
	for name, sent := range query {
		rule := rules[name]
		if name == "patient" && q.owner != "" || name == "_include" {
			continue // whose it is was settled when it was added
		}
		var there []any
		for _, element := range rule.element {
			there = append(there, values(q.tree, element)...)
		}
		for _, v := range sent {
			fit := slices.ContainsFunc(there, func(e any) bool {
				if rule.prefixes != nil {
					return dateFits(e, v)
				}
				return valueFits(e, v)
			})
			if !fit {
				return false
			}
		}
	}
	return true
}

// values returns what is at a path of a tree, lists taken apart.
func values(tree any, path string) []any {
	if list, ok := tree.([]any); ok {
		var all []any
		for _, e := range list {
			all = append(all, values(e, path)...)
		}
		return all
	}
	if path == "" {
		return []any{tree}
	}
	object, _ := tree.(map[string]any)
	name, rest, _ := strings.Cut(path, ".")
	if next, ok := object[name]; ok {
		return values(next, rest)
	}
	return nil
}

// valueFits compares a text, a reference, or the codings of a concept with a
// parameter.
func valueFits(e any, want string) bool {
	switch e := e.(type) {
	case string:
		return e == want
	case map[string]any:
		if ref, ok := e["reference"].(string); ok {
			return ref == want || strings.HasSuffix(ref, "/"+want)
		}
		system, code, hasSystem := strings.Cut(want, "|")
		for _, c := range values(e, "coding") {
			coding, _ := c.(map[string]any)
			if hasSystem && coding["system"] == system && coding["code"] == code || !hasSystem && coding["code"] == want {
				return true
			}
		}
	}
	return false
}

func prefixOf(date string) string {
	if date == "" || date[0] >= '0' && date[0] <= '9' {
		return "eq"
	}
	return date[:min(2, len(date))]
}

// dateCondition reads a date with or without a prefix, as the time it covers.
func dateCondition(s string) (prefix string, from, to time.Time, err error) {
	prefix = prefixOf(s)
	from, to, err = span(strings.TrimPrefix(s, prefix))
	return prefix, from, to, err
}

// span returns the time that a date of FHIR covers.
func span(s string) (from, to time.Time, err error) {
	for _, form := range []struct {
		layout              string
		years, months, days int
	}{{"2006", 1, 0, 0}, {"2006-01", 0, 1, 0}, {time.DateOnly, 0, 0, 1}, {time.RFC3339, 0, 0, 0}} {
		if from, err = time.Parse(form.layout, s); err == nil {
			if to = from.AddDate(form.years, form.months, form.days); to.Equal(from) {
				to = from.Add(time.Nanosecond)
			}
			return from, to, nil
		}
	}
	return time.Time{}, time.Time{}, errors.New("pkbtest: not a date")
}

// dateFits compares a date or a period with a parameter.
func dateFits(e any, want string) bool {
	prefix, from, to, err := dateCondition(want)
	if err != nil {
		return false
	}
	var start, end time.Time
	switch e := e.(type) {
	case string:
		start, end, err = span(e)
	case map[string]any: // an open end lasts
		end = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		if s, ok := e["start"].(string); ok {
			start, _, err = span(s)
		}
		if s, ok := e["end"].(string); ok && err == nil {
			_, end, err = span(s)
		}
	default:
		return false
	}
	if err != nil {
		return false
	}
	switch prefix {
	case "gt":
		return end.After(to)
	case "ge":
		return end.After(from)
	case "lt":
		return start.Before(from)
	case "le":
		return start.Before(to)
	}
	return start.Before(to) && end.After(from)
}
