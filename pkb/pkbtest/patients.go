// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Patient is one made-up patient. AddPatient fills the empty fields with
// made-up values. Put no real person in.
type Patient struct {
	// PublicID is the PKB public id, a UUID: what Purview returns.
	PublicID string
	// UserID is the "id" of users/self: a decimal number, not the public id.
	UserID string
	// NHSNumber is ten digits without spaces. Made-up numbers begin with 999, a
	// range that is not issued, and have a right check digit.
	NHSNumber string
	// NoNHSNumber makes a patient without national ids. NHSNumber stays empty.
	NoNHSNumber bool
	// Title, FirstName and LastName are the name, such as "Ms.", "Ada", "Example".
	Title, FirstName, LastName string
	// DateOfBirth has the form YYYY-MM-DD.
	DateOfBirth string
	// Gender is U, M, F or I: unknown, male, female, indeterminate.
	Gender string
	// Email is also the patient's contact.
	Email string

	// Self overrides single members of the users/self response, by their JSON
	// name, with values that encoding/json can write. nil overrides nothing; a
	// member with the value nil becomes null.
	Self map[string]any
	// Purview overrides the references that Purview returns, such as
	// {"Practitioner/..."}. nil means the patient's own Patient/PublicID; empty
	// but not nil means none.
	Purview []string
	// NotPatient makes users/self return "patient": false, as for a
	// professional who approved by mistake.
	NotPatient bool

	// Scenario is a name by which FindPatient and the control API find the
	// patient, such as "slow". About describes what is special, and continues a sentence
	// after "who": "approves, and everything works". The pages show both.
	Scenario, About string
	// Denies refuses whichever button is pressed on the consent page.
	Denies bool
	// SessionLife is the life of this patient's sessions. 0 or less means that
	// of the Config.
	SessionLife time.Duration
	// Frozen freezes the patient's access when the patient is added; see Freeze.
	// false leaves it as it is.
	Frozen bool
	// Delay is the wait before each response to the app about this patient, as
	// with the Fault of that name. The patient's own pages do not wait.
	Delay time.Duration
	// Flaky lets every second request of the app about this patient fail, counted
	// at each endpoint: the second gets 503, the fourth is cut as by Drop, and
	// so on in turn. Nothing is done before it fails, so no token is spent;
	// exchanges of a code are not counted and work.
	Flaky bool
}

// AddPatient adds a patient, who can then approve, and returns it with all
// fields filled. What is made up depends only on how many were added before, so
// two servers make up the same patients. Adding a patient with a PublicID that
// is known replaces the known one and keeps its sessions. The server keeps a
// copy: changing what is returned changes nothing.
func (s *Server) AddPatient(p Patient) *Patient {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(p)
}

// add is AddPatient for those who hold the lock.
func (s *Server) add(p Patient) *Patient {
	s.added++
	p = s.fill(p, s.added)
	kept := p
	kept.Self, kept.Purview = maps.Clone(p.Self), slices.Clone(p.Purview)
	if i, ok := s.places[p.PublicID]; ok {
		s.patients[i] = &kept
	} else {
		s.places[p.PublicID] = len(s.patients)
		s.patients = append(s.patients, &kept)
	}
	if p.Frozen {
		s.frozen[p.PublicID] = true
	}
	return &p
}

// FindPatient returns a copy of the patient with this Scenario, PublicID or
// Email, in whatever case. Of several, it is the one added first. The error
// lists the scenarios that there are.
func (s *Server) FindPatient(who string) (*Patient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(who)
	if p == nil {
		return nil, errors.New("pkbtest: " + s.nobody(who))
	}
	found := *p
	found.Self, found.Purview = maps.Clone(p.Self), slices.Clone(p.Purview)
	return &found, nil
}

// find is FindPatient for those who hold the lock; nil if there is nobody.
func (s *Server) find(who string) *Patient {
	who = strings.TrimSpace(who)
	for _, p := range s.patients {
		for _, name := range []string{p.Scenario, p.PublicID, p.Email} {
			if name != "" && strings.EqualFold(name, who) {
				return p
			}
		}
	}
	return nil
}

// nobody returns the error of find, which lists who there is. Callers hold the lock.
func (s *Server) nobody(who string) string {
	var names []string
	for _, p := range s.patients {
		if p.Scenario != "" {
			names = append(names, strconv.Quote(p.Scenario))
		}
	}
	text := fmt.Sprintf("nobody here has the scenario, public id or e-mail %q", who)
	if len(names) == 0 {
		return text
	}
	return text + "; the scenarios are: " + strings.Join(names, ", ")
}

var (
	firstNames = []string{"Ada", "Ben", "Cleo", "Dev", "Effie", "Finn", "Gita", "Hugo", "Ines", "Jon"}
	lastNames  = []string{"Example", "Sample", "Specimen", "Placeholder", "Fixture", "Mockridge", "Testerly"}
)

// fill makes up what is empty; n counts from 1.
func (s *Server) fill(p Patient, n int) Patient {
	female := n%2 == 1 // the first names alternate
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&p.PublicID, madeUpUUID(n))
	set(&p.UserID, fmt.Sprint(7310000+n))
	set(&p.FirstName, firstNames[(n-1)%len(firstNames)])
	set(&p.LastName, lastNames[(n-1)%len(lastNames)])
	set(&p.DateOfBirth, fmt.Sprintf("%d-%02d-%02d", 1950+n%50, 1+n%12, 1+n%28))
	set(&p.Email, fmt.Sprintf("%s.%d@example.org", strings.ToLower(p.FirstName), n))
	if female {
		set(&p.Title, "Ms.")
		set(&p.Gender, "F")
	} else {
		set(&p.Title, "Mr.")
		set(&p.Gender, "M")
	}
	if p.NoNHSNumber {
		p.NHSNumber = ""
	} else if p.NHSNumber == "" {
		p.NHSNumber = s.madeUpNHSNumber()
	}
	return p
}

// madeUpUUID returns a UUID of version 4 in form, though nothing is random.
func madeUpUUID(n int) string {
	b := sha256.Sum256(fmt.Appendf(nil, "pkbtest patient %d", n))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// madeUpNHSNumber returns the next number of the 999 range with a right check
// digit (modulus 11).
func (s *Server) madeUpNHSNumber() string {
	for {
		s.nhs++
		digits := fmt.Sprintf("999%06d", 100000+s.nhs%900000)
		sum := 0
		for i, d := range digits {
			sum += int(d-'0') * (10 - i)
		}
		switch check := (11 - sum%11) % 11; check {
		case 10: // no such check digit: the number does not exist
		default:
			return digits + fmt.Sprint(check)
		}
	}
}

// patient finds a patient; nil if nobody has that public id. Callers hold the
// lock; what it returns is never written again.
func (s *Server) patient(publicID string) *Patient {
	if i, ok := s.places[publicID]; ok {
		return s.patients[i]
	}
	return nil
}
