// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// AddScenarios adds named patients, each of whom is a scenario, and returns
// them. Log in as one, or Approve with one, and the rest happens by itself:
//
//	approves           approves, and everything works
//	denies             refuses, whichever button is pressed
//	session ends soon  a session of one and a half access tokens: once half of
//	                   the first has ended, a refresh brings the last, without a
//	                   refresh token
//	no NHS number      a record without national ids
//	CHI number only    a record with a Scottish number and no NHS number
//	two NHS numbers    a record with two different NHS numbers
//	frozen             calls get ACCESS_FROZEN_OUTWARD; see Freeze
//	wrong person       somebody else: for a user whose link is another patient's
//	professional       approves by mistake: the record is no patient's
//	slow               every response to the app takes 3 seconds of real time
//	flaky              every second request of the app fails; see Patient
//
// The names stand in Patient.Scenario, and FindPatient finds them. All ids are
// the same on every server, whoever was added before. To change one, such as
// the delay of "slow", find it, change the copy and add it with AddPatient.
func (s *Server) AddScenarios() []*Patient {
	scenarios := []Patient{
		{
			Scenario: "approves", About: "approves, and everything works",
			FirstName: "Ava", LastName: "Approves", Gender: "F", NHSNumber: "9990000018",
		}, {
			Scenario: "denies", About: "refuses, whichever button is pressed", Denies: true,
			FirstName: "Dennis", LastName: "Denies", Gender: "M", NHSNumber: "9990000026",
		}, {
			Scenario: "session ends soon", About: "has a session of one and a half access tokens, so a refresh soon brings the last token",
			SessionLife: s.cfg.TokenLife + s.cfg.TokenLife/2,
			FirstName:   "Sonia", LastName: "Soonover", Gender: "F", NHSNumber: "9990000034",
		}, {
			Scenario: "no NHS number", About: "has a record without national ids", NoNHSNumber: true,
			FirstName: "Noah", LastName: "Numberless", Gender: "M",
		}, {
			Scenario: "CHI number only", About: "has a Scottish number and no NHS number", NoNHSNumber: true,
			// A real one begins with a date of birth, and no month has 99 days.
			Self: map[string]any{
				"nationalIds": []nationalID{{"9990000042", "CHI number", []string{"GB-SCT"}}},
				"country":     "GB-SCT",
			},
			FirstName: "Catriona", LastName: "Chionly", Gender: "F",
		}, {
			Scenario: "two NHS numbers", About: "has a record with two different NHS numbers",
			Self: map[string]any{"nationalIds": []nationalID{
				{"9990000050", "NHS number", []string{"GB-ENG", "GB-WLS"}},
				{"9990000069", "NHS number", []string{"GB-ENG", "GB-WLS"}},
			}},
			FirstName: "Toby", LastName: "Twonumbers", Gender: "M", NHSNumber: "9990000050",
		}, {
			Scenario: "frozen", About: "approves, but access is frozen: calls get ACCESS_FROZEN_OUTWARD", Frozen: true,
			FirstName: "Freya", LastName: "Frozen", Gender: "F", NHSNumber: "9990000077",
		}, {
			Scenario: "wrong person", About: "is somebody else: approve as this one for a user who is linked to another",
			FirstName: "Wilf", LastName: "Wrongone", Gender: "M", NHSNumber: "9990000085",
		}, {
			Scenario: "professional", About: "approves by mistake: the record is no patient's", NoNHSNumber: true, NotPatient: true,
			Purview:   []string{"Practitioner/5ce0a000-0000-4000-8000-000000000009"},
			FirstName: "Petra", LastName: "Professional", Title: "Dr.", Gender: "F",
		}, {
			Scenario: "slow", About: "approves, and every response to the app takes 3 seconds", Delay: 3 * time.Second,
			FirstName: "Sloane", LastName: "Slowly", Gender: "M", NHSNumber: "9990000093",
		}, {
			Scenario: "flaky", About: "approves, and every second request of the app fails", Flaky: true,
			FirstName: "Flora", LastName: "Flaky", Gender: "F", NHSNumber: "9990000107",
		},
	}
	added := make([]*Patient, len(scenarios))
	for i, p := range scenarios {
		p.PublicID = fmt.Sprintf("5ce0a000-0000-4000-8000-%012d", i+1)
		p.UserID = fmt.Sprint(7320001 + i)
		p.DateOfBirth = fmt.Sprintf("19%d-%02d-%02d", 60+i, 1+i, 1+i)
		p.Email = strings.ToLower(strings.ReplaceAll(p.Scenario, " ", "-")) + "@example.org"
		if p.Title == "" {
			p.Title = map[string]string{"F": "Ms.", "M": "Mr."}[p.Gender]
		}
		added[i] = s.AddPatient(p)
	}
	return added
}

// troubled is where a flaky patient's requests are counted.
type troubled struct {
	publicID string
	endpoint Endpoint
}

// nature returns the faults that lie in the patient whom a request is about,
// the inner first. form is the request's. Callers hold the lock.
func (s *Server) nature(e Endpoint, r *http.Request, form url.Values) (faults []Fault) {
	p, exchange := s.about(e, r, form)
	if p == nil {
		return nil
	}
	if p.Flaky && !exchange {
		at := troubled{p.PublicID, e}
		s.flaky[at]++
		switch s.flaky[at] % 4 {
		case 2:
			faults = append(faults, Respond(http.StatusServiceUnavailable, "text/html; charset=utf-8", "<h1>Service Unavailable</h1>\n"))
		case 0:
			faults = append(faults, Drop())
		}
	}
	if p.Delay > 0 {
		faults = append(faults, Delay(p.Delay))
	}
	return faults
}

// about returns the patient whose token or code the app sent, live or not, and
// whether it was a code. A browser sends neither.
func (s *Server) about(e Endpoint, r *http.Request, form url.Values) (p *Patient, exchange bool) {
	if e != Token {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if a := s.access[token]; a != nil {
			return s.patient(a.session.publicID), false
		}
		return nil, false
	}
	for _, sent := range form["code"] {
		if c := s.codes[sent]; c != nil {
			return s.patient(c.publicID), true
		}
	}
	for _, sent := range form["refresh_token"] {
		if t := s.refresh[sent]; t != nil {
			return s.patient(t.session.publicID), false
		}
	}
	return nil, false
}
