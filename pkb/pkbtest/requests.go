// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// redacted stands for every value that is or may be a secret.
const redacted = "[redacted]"

// Request is one request that arrived. It holds no secret: codes, tokens,
// secrets, verifiers, states and whatever is not known to be harmless read
// "[redacted]". It prints as one line under every verb of package fmt.
type Request struct {
	// Endpoint is where the path leads, whatever the method; "" if nowhere.
	Endpoint Endpoint
	// Method and Path are as they were received, Path decoded and with BasePath.
	Method, Path string
	// Host is the Host header.
	Host string
	// Header has an Authorization value as its scheme and "[redacted]"; the
	// values of cookies and of Referer are redacted.
	Header http.Header
	// Form is the form in the body, or the query if the body holds none. The
	// names are all there, a repeated one with each value.
	Form url.Values
	// Body is what was sent to Purview; nil for every other endpoint.
	Body []byte
	// At is the server's time of arrival.
	At time.Time
	// Status is the response's status; 0 while there is none, and for good if the
	// connection was cut.
	Status int
}

// harmless are the parameters whose values are shown.
var harmless = []string{
	"response_type", "client_id", "redirect_uri", "scope", "code_challenge", "code_challenge_method",
	"grant_type", "decision", "patient",
}

// String returns method, path, grant type and status.
func (q Request) String() string {
	line := q.Method + " " + q.Path
	if grant := q.Form.Get("grant_type"); grant != "" {
		line += " " + grant
	}
	if q.Status == 0 {
		return line + ": no response"
	}
	return fmt.Sprintf("%s: %d", line, q.Status)
}

// Format prints String under every verb.
func (q Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, q.String()) }

// arrived takes a request down and returns its log entry and the faults it
// meets, the inner first.
func (s *Server) arrived(e Endpoint, r *http.Request, body []byte) (*Request, []Fault) {
	form := r.URL.Query()
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType == "application/x-www-form-urlencoded" {
		form, _ = url.ParseQuery(string(body)) // what can be read of it
	}
	grant := ""
	if e == Token && r.Method == http.MethodPost {
		grant = form.Get("grant_type")
	}
	entry := &Request{Endpoint: e, Method: r.Method, Path: r.URL.Path, Host: r.Host, Header: redactHeader(r.Header), Form: redactForm(form)}
	if e == Purview {
		entry.Body = body
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	entry.At = s.now()
	s.counts[e]++
	if grant != "" {
		s.grants[grant]++
	}
	if len(s.log) >= 2*s.cfg.KeepRequests {
		s.log = slices.Clone(s.log[len(s.log)-s.cfg.KeepRequests:])
	}
	s.log = append(s.log, entry)
	faults := s.nature(e, r, form)
	if queue := s.faults[e]; len(queue) > 0 {
		faults = append(faults, queue[0])
		s.faults[e] = queue[1:]
	}
	return entry, faults
}

func redactHeader(h http.Header) http.Header {
	h = h.Clone()
	for name, values := range h {
		switch name {
		case "Authorization", "Proxy-Authorization":
			for i, v := range values {
				values[i] = redacted
				for _, scheme := range []string{"Bearer ", "Basic "} {
					if len(v) > len(scheme) && v[:len(scheme)] == scheme {
						values[i] = scheme + redacted
					}
				}
			}
		case "Cookie", "Referer":
			for i := range values {
				values[i] = redacted
			}
		}
	}
	return h
}

func redactForm(form url.Values) url.Values {
	out := make(url.Values, len(form))
	for name, values := range form {
		values = slices.Clone(values)
		if !slices.Contains(harmless, name) {
			for i := range values {
				values[i] = redacted
			}
		}
		out[name] = values
	}
	return out
}

// Requests returns the requests that arrived, in order, as copies; at most the
// newest KeepRequests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log[max(0, len(s.log)-s.cfg.KeepRequests):]
	out := make([]Request, len(log))
	for i, entry := range log {
		out[i] = *entry
		out[i].Header = entry.Header.Clone()
		out[i].Body = slices.Clone(entry.Body)
		out[i].Form = maps.Clone(entry.Form)
		for name, values := range out[i].Form {
			out[i].Form[name] = slices.Clone(values)
		}
	}
	return out
}

// Count returns the number of requests to the endpoint, whatever their method,
// response or fault.
func (s *Server) Count(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[e]
}

// Exchanges returns how many times a code was posted to the token endpoint,
// counted on arrival, whatever the outcome.
func (s *Server) Exchanges() int { return s.grantCount("authorization_code") }

// Refreshes returns how many times a refresh token was posted to the token
// endpoint, counted on arrival, whatever the outcome.
func (s *Server) Refreshes() int { return s.grantCount("refresh_token") }

func (s *Server) grantCount(grant string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grants[grant]
}

// ReusedRefreshTokens returns how often a refresh token was presented after it
// had been spent. The first time kills the session: the patient must approve
// again. A test of token keeping wants 0.
func (s *Server) ReusedRefreshTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reused
}
