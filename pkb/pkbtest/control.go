// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// controlPath is where the control API is, under BasePath.
	controlPath = "/sandbox/"

	maxCommand = 1 << 16
	maxTimes   = 1000
	maxDelay   = 10 * time.Minute
	maxAdvance = 10 * 365 * 24 * time.Hour
)

// controls are the control API's calls, as the package comment lists them. Each
// returns the response, or a sentence about what is wrong with the body.
var controls = []struct {
	method, path string
	do           func(s *Server, body []byte) (answer any, problem string)
}{
	{http.MethodGet, "patients", (*Server).controlPatients},
	{http.MethodGet, "requests", (*Server).controlRequests},
	{http.MethodGet, "clock", (*Server).controlNow},
	{http.MethodPost, "clock", (*Server).controlAdvance},
	{http.MethodPost, "faults", (*Server).controlFault},
	{http.MethodDelete, "faults", (*Server).controlClear},
	{http.MethodPost, "sessions/end", (*Server).controlEnd},
	{http.MethodPost, "sessions/revoke", (*Server).controlRevoke},
	{http.MethodPost, "freeze", (*Server).controlFreeze},
}

// control serves the control API; path is what follows controlPath.
func (s *Server) control(w http.ResponseWriter, r *http.Request, path string) {
	w.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
	refuse := func(status int, problem string) { sendControl(w, status, map[string]string{"error": problem}) }
	if problem := s.fromABrowser(r); problem != "" {
		refuse(http.StatusForbidden, problem)
		return
	}
	var methods, all []string
	for _, c := range controls {
		all = append(all, c.method+" "+controlPath+c.path)
		if c.path != path {
			continue
		}
		methods = append(methods, c.method)
		if c.method != r.Method {
			continue
		}
		var body []byte
		var err error
		if r.Body != nil {
			body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
		}
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must have at most %d bytes", maxCommand))
			return
		}
		if err != nil {
			refuse(http.StatusBadRequest, "the body could not be read")
			return
		}
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if c.method == http.MethodPost && mediaType != "application/json" {
			refuse(http.StatusUnsupportedMediaType, "send JSON with the header Content-Type: application/json")
			return
		}
		if c.method != http.MethodPost && len(body) > 0 {
			refuse(http.StatusBadRequest, "send no body with "+c.method)
			return
		}
		answer, problem := c.do(s, body)
		if problem != "" {
			refuse(http.StatusBadRequest, problem)
			return
		}
		sendControl(w, http.StatusOK, answer)
		return
	}
	if methods == nil {
		refuse(http.StatusNotFound, "there is nothing at this address; there are: "+strings.Join(all, ", "))
		return
	}
	allow(w, r, func() { refuse(http.StatusMethodNotAllowed, "use "+strings.Join(methods, " or ")) }, methods...)
}

// fromABrowser refuses what another site's page could make a developer's
// browser send: a request with an origin, or to a name that may be that site's
// own, pointed here (DNS rebinding).
func (s *Server) fromABrowser(r *http.Request) string {
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin" {
		return "web pages may not use the control API"
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	own := ""
	if u, err := url.Parse(s.url); err == nil {
		own = u.Hostname()
	}
	if net.ParseIP(host) == nil && host != "localhost" && !strings.HasSuffix(host, ".localhost") && (host == "" || host != own) {
		return "call the control API by an IP address or as localhost, not by this name"
	}
	return ""
}

func (s *Server) controlPatients([]byte) (any, string) {
	type entry struct {
		Scenario     string `json:"scenario,omitempty"`
		About        string `json:"about,omitempty"`
		PublicID     string `json:"publicId"`
		FirstName    string `json:"firstName"`
		LastName     string `json:"lastName"`
		Email        string `json:"email"`
		NHSNumber    string `json:"nhsNumber,omitempty"`
		Frozen       bool   `json:"frozen"`
		LiveSessions int    `json:"liveSessions"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live := map[string]int{}
	for _, e := range s.sessions {
		if e.over(s.now()) == "" {
			live[e.publicID]++
		}
	}
	patients := make([]entry, len(s.patients))
	for i, p := range s.patients {
		patients[i] = entry{
			p.Scenario, p.About, p.PublicID, p.FirstName, p.LastName, p.Email, p.NHSNumber,
			s.frozen[p.PublicID], live[p.PublicID],
		}
	}
	return map[string]any{"patients": patients}, ""
}

func (s *Server) controlRequests([]byte) (any, string) {
	type entry struct {
		At       time.Time   `json:"at"`
		Endpoint Endpoint    `json:"endpoint"`
		Method   string      `json:"method"`
		Path     string      `json:"path"`
		Status   int         `json:"status"`
		Host     string      `json:"host"`
		Header   http.Header `json:"header"`
		Form     url.Values  `json:"form,omitempty"`
		Body     string      `json:"body,omitempty"`
	}
	requests := []entry{}
	for _, q := range s.Requests() {
		requests = append(requests, entry{q.At, q.Endpoint, q.Method, q.Path, q.Status, q.Host, q.Header, q.Form, string(q.Body)})
	}
	return map[string]any{"requests": requests}, ""
}

func (s *Server) controlNow([]byte) (any, string) {
	return map[string]time.Time{"now": s.Now().UTC()}, ""
}

func (s *Server) controlAdvance(body []byte) (any, string) {
	var advance time.Duration
	if problem := readCommand(body, map[string]any{"advance": &advance}); problem != "" {
		return nil, problem
	}
	if advance <= 0 || advance > maxAdvance {
		return nil, `advance must be a duration such as "15m", more than nothing and at most 87600h: the clock moves only forward`
	}
	s.Advance(advance)
	return s.controlNow(nil)
}

// faultCommand is the body of POST faults.
type faultCommand struct {
	endpoint, contentType, body, refuse string
	header                              map[string]string
	status, times                       int
	delay                               time.Duration
	cut, commit                         bool
}

func (s *Server) controlFault(body []byte) (any, string) {
	c := faultCommand{times: 1}
	problem := readCommand(body, map[string]any{
		"endpoint": &c.endpoint, "times": &c.times, "delay": &c.delay, "commit": &c.commit, "cut": &c.cut,
		"refuse": &c.refuse, "status": &c.status, "contentType": &c.contentType, "header": &c.header, "body": &c.body,
	})
	if problem == "" {
		problem = c.check()
	}
	if problem != "" {
		return nil, problem
	}
	endpoint := Endpoint(c.endpoint)
	if c.endpoint == otherEndpoint {
		endpoint = ""
	}
	s.Next(endpoint, slices.Repeat([]Fault{c.fault()}, c.times)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]int{"queued": len(s.faults[endpoint])}, ""
}

// otherEndpoint is what the control API calls the Endpoint "".
const otherEndpoint = "other"

var (
	responseCodeForm = regexp.MustCompile(`^[A-Z][A-Z_]*$`)
	headerNameForm   = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	headerValueForm  = regexp.MustCompile(`^[\x20-\x7e]*$`)
)

func (c faultCommand) check() string {
	names := []string{otherEndpoint}
	for _, e := range endpoints {
		names = append(names, string(e))
	}
	effects := 0
	for _, set := range []bool{c.status != 0, c.cut, c.refuse != ""} {
		if set {
			effects++
		}
	}
	switch {
	case !slices.Contains(names, c.endpoint):
		return "endpoint must be one of: " + strings.Join(names, ", ")
	case effects > 1:
		return "status, cut and refuse exclude each other"
	case effects == 0 && c.delay == 0:
		return "what is to happen is missing: status, cut, refuse or delay"
	case c.times < 1 || c.times > maxTimes:
		return fmt.Sprintf("times must be 1 to %d", maxTimes)
	case c.delay < 0 || c.delay > maxDelay:
		return `delay must be a duration such as "1.5s", and at most 10m`
	case c.status != 0 && (c.status < 200 || c.status > 599):
		return "status must be 200 to 599"
	case c.status == 0 && (c.body != "" || c.contentType != "" || len(c.header) > 0):
		return "body, contentType and header need a status"
	case (c.status == http.StatusNoContent || c.status == http.StatusNotModified) && c.body != "":
		return fmt.Sprintf("a response with status %d has no body", c.status)
	case c.commit && c.status == 0 && !c.cut:
		return "commit needs status or cut: the work is done before that"
	case c.refuse != "" && (c.endpoint == string(Authorize) || c.endpoint == string(Token)):
		return "refuse is for calls with an access token, not for " + c.endpoint
	case c.refuse != "" && !responseCodeForm.MatchString(c.refuse):
		return "refuse must be a response code of PKB, such as ACC_TOKEN_EXPIRED"
	case !headerValueForm.MatchString(c.contentType):
		return "contentType must be printable ASCII"
	}
	for name, value := range c.header {
		switch http.CanonicalHeaderKey(name) {
		case "Content-Type":
			return "use contentType for the header Content-Type"
		case "Content-Length", "Transfer-Encoding", "Connection", "Date", "Trailer":
			return "the server itself sets the header " + http.CanonicalHeaderKey(name)
		}
		if !headerNameForm.MatchString(name) || !headerValueForm.MatchString(value) {
			return "header must have names as HTTP allows them and values of printable ASCII"
		}
	}
	return ""
}

func (c faultCommand) fault() Fault {
	fault := Pass()
	switch {
	case c.cut && c.commit:
		fault = DropAfter()
	case c.cut:
		fault = Drop()
	case c.refuse != "":
		fault = Refuse(c.refuse)
	case c.status != 0 && c.commit:
		fault = RespondAfter(c.status, c.contentType, c.body)
	case c.status != 0:
		fault = Respond(c.status, c.contentType, c.body)
	}
	return func(next http.Handler) http.Handler {
		next = fault(next)
		return Delay(c.delay)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range c.header {
				w.Header().Set(name, value)
			}
			next.ServeHTTP(w, r)
		}))
	}
}

func (s *Server) controlClear([]byte) (any, string) {
	return map[string]int{"cleared": s.ClearFaults()}, ""
}

func (s *Server) controlEnd(body []byte) (any, string) {
	return s.controlSessions(body, func(e *session) { e.ends = s.now() })
}

func (s *Server) controlRevoke(body []byte) (any, string) {
	return s.controlSessions(body, func(e *session) { e.invalid = true })
}

// controlSessions does something to the sessions of one patient, or of all when
// the body asks for it: nobody ends all sessions by mistake.
func (s *Server) controlSessions(body []byte, do func(*session)) (any, string) {
	var who string
	var all bool
	if problem := readCommand(body, map[string]any{"patient": &who, "all": &all}); problem != "" {
		return nil, problem
	}
	if all == (who != "") {
		return nil, `send either {"patient": "..."}, a scenario, public id or e-mail, or {"all": true}`
	}
	var p *Patient
	if !all {
		var problem string
		if p, problem = s.controlFind(who); p == nil {
			return nil, problem
		}
	}
	n := 0
	s.eachLive(p, func(e *session) { do(e); n++ })
	return map[string]int{"sessions": n}, ""
}

func (s *Server) controlFreeze(body []byte) (any, string) {
	var who string
	frozen := true
	if problem := readCommand(body, map[string]any{"patient": &who, "frozen": &frozen}); problem != "" {
		return nil, problem
	}
	p, problem := s.controlFind(who)
	if p == nil {
		return nil, problem
	}
	s.Freeze(p, frozen)
	return map[string]any{"publicId": p.PublicID, "frozen": frozen}, ""
}

func (s *Server) controlFind(who string) (*Patient, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.find(who); p != nil {
		return p, ""
	}
	return nil, s.nobody(who)
}

// readCommand reads a JSON object into the variables that its members point to.
// It is stricter than encoding/json: no other members, none twice, none null,
// nothing after it. What is wrong is returned as a sentence.
func readCommand(data []byte, members map[string]any) string {
	d := json.NewDecoder(bytes.NewReader(data))
	const wrong = "the body must be one JSON object"
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return wrong
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return wrong
		}
		name, _ := key.(string) // the decoder lets nothing else stand here
		into, known := members[name]
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return wrong
		}
		if !known {
			return fmt.Sprintf("there is no member %q here; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(members)), ", "))
		}
		if seen[name] {
			return fmt.Sprintf("the member %q stands there twice", name)
		}
		seen[name] = true
		if want := readMember(value, into); want != "" {
			return name + " must be " + want
		}
	}
	if _, err := d.Token(); err != nil {
		return wrong
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wrong
	}
	return ""
}

// readMember returns what the value should have been, "" if it was.
func readMember(value json.RawMessage, into any) string {
	bad := json.Unmarshal(value, into) != nil || string(value) == "null"
	switch into := into.(type) {
	case *time.Duration: // not as a number of nanoseconds
		var text string
		bad = json.Unmarshal(value, &text) != nil
		if !bad {
			d, err := time.ParseDuration(text)
			*into, bad = d, err != nil
		}
		if bad {
			return `a duration in quotes, such as "1.5s" or "15m"`
		}
	case *string:
		if bad {
			return "a string"
		}
	case *int:
		if bad {
			return "a whole number"
		}
	case *bool:
		if bad {
			return "true or false"
		}
	default:
		if bad {
			return "an object whose values are strings"
		}
	}
	return ""
}

// sendControl sends JSON that is easy to read.
func sendControl(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var b bytes.Buffer
	_ = json.Indent(&b, mustJSON(answer), "", "  ")
	b.WriteByte('\n')
	send(w, status, "application/json", b.Bytes())
}
