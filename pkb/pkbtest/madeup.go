// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkbtest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"
)

// facadePatient is a patient as PKB's profile describes it (PKB: Facade
// Patient).
func facadePatient(p *Patient) []byte {
	gender := map[string]string{"M": "male", "F": "female", "I": "other"}[p.Gender]
	if gender == "" {
		gender = "unknown"
	}
	tree := map[string]any{
		"resourceType": "Patient", "id": p.PublicID,
		"extension":       []any{map[string]any{"url": "http://fhir.patientsknowbest.com/structuredefinition/sharing-disabled", "valueBoolean": false}},
		"name":            []any{map[string]any{"family": p.LastName, "given": []any{p.FirstName}, "prefix": []any{p.Title}}},
		"telecom":         []any{map[string]any{"system": "email", "value": p.Email}},
		"gender":          gender,
		"birthDate":       p.DateOfBirth,
		"deceasedBoolean": false,
		"address":         []any{map[string]any{"line": []any{"1 Sample Street"}, "city": "Sample City", "state": "COUNTY", "postalCode": "ZZ99 3WZ", "country": "GB-ENG"}},
	}
	var identifiers []any
	for _, id := range nationalIDsOf(p) {
		if system := nationalSystems[id.Name]; system != "" {
			identifiers = append(identifiers, map[string]any{"system": system, "value": id.Value})
		}
	}
	if identifiers != nil {
		tree["identifier"] = identifiers
	}
	return mustJSON(tree)
}

// nationalSystems are the systems of national ids by the names that users/self
// has for them (PKB: Identifier systems).
var nationalSystems = map[string]string{
	"NHS number": nhsNumberSystem,
	"CHI number": "urn:oid:2.16.840.1.113883.2.1.3.2.4.16.53",

	"Health and Care number": "urn:uuid:1479257a-ce8f-482a-89fa-429ac066c158",
}

// nationalIDsOf returns the national ids of a patient, as users/self has them.
func nationalIDsOf(p *Patient) []nationalID {
	if ids, ok := p.Self["nationalIds"].([]nationalID); ok {
		return ids
	}
	if p.NHSNumber == "" {
		return nil
	}
	return []nationalID{{p.NHSNumber, "NHS number", []string{"GB-ENG", "GB-WLS"}}}
}

// MadeUpKinds returns the types that MadeUpResource makes.
func MadeUpKinds() []string {
	return []string{
		"Appointment", "Communication", "Consent", "DiagnosticReport", "DocumentReference", "Encounter", "NamingSystem", "Observation",
		"Organization", "Practitioner", "ProcedureRequest", "Questionnaire", "QuestionnaireResponse",
	}
}

const (
	categorySystem     = "http://fhir.patientsknowbest.com/codesystem/observation-category"
	privacyLabelSystem = "http://fhir.patientsknowbest.com/codesystem/privacy-label"
)

// MadeUpResource returns a made-up resource of one of MadeUpKinds, in the shape
// that PKB's pages describe where they do: give it to AddResource. What it is
// depends only on kind, seed and the patient's public id; its id is the kind
// and the seed, so resources that refer to others of the same seed find them.
// It returns nil for another kind.
//
// Observations have values of every kind that STU3 has. Which one depends on the
// remainder of the seed divided by 15:
//
//	0  a quantity           5  a range        10  sampled data
//	1  words                6  a boolean      11  an attachment
//	2  two components       7  a period       12  none, with a reason
//	3  a coded value        8  a time         13  a quantity, "<"
//	4  a ratio              9  a date         14  components of several kinds
//
// Sampled data is of a period of time; the others have effectiveDateTime. A
// DiagnosticReport with an odd seed has its letter in it.
func MadeUpResource(kind string, seed uint64, p *Patient) []byte {
	r := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // made up, not secret
	pick := func(of ...string) string { return pick(r, of...) }
	text := inWords
	refer := func(kind string) object {
		return object{"reference": fmt.Sprintf("%s/%s-%d", kind, strings.ToLower(kind), seed)}
	}
	patient := object{"reference": "Patient/" + p.PublicID, "display": p.FirstName + " " + p.LastName}
	at := time.Date(2018, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(5*365*24*60)) * time.Minute)
	instant := func(after time.Duration) string { return at.Add(after).Format(time.RFC3339) }
	label := pick("GENERAL_HEALTH", "MENTAL_HEALTH", "SEXUAL_HEALTH", "SOCIAL_CARE")
	tree := object{
		"resourceType": kind, "id": fmt.Sprintf("%s-%d", strings.ToLower(kind), seed),
		"meta": object{"security": list{object{"system": privacyLabelSystem, "code": label}}},
	}
	put := func(members object) { maps.Copy(tree, members) }
	switch kind {
	case "Appointment":
		put(object{
			"status": pick("booked", "cancelled", "noshow"), "reason": list{text(pick("follow-up", "blood test", "review"))}, "comment": "made up",
			"start": instant(0), "end": instant(20 * time.Minute), "participant": list{object{"actor": patient, "status": "accepted"}},
		})
	case "Communication":
		put(object{
			"status": "completed", "subject": patient, "sent": instant(0), "sender": refer("Practitioner"),
			"payload": list{object{"contentString": "made up"}},
		})
	case "Consent":
		put(object{
			"status": pick("active", "inactive"), "patient": patient, "policyRule": "http://hl7.org/fhir/ConsentPolicy/opt-in",
			"actor":  list{object{"role": object{"coding": list{object{"system": "http://hl7.org/fhir/v3/RoleCode", "code": "CONSENTER"}}}, "reference": refer("Organization")}},
			"except": list{object{"type": "permit", "securityLabel": list{object{"system": privacyLabelSystem, "code": label}}}},
		})
	case "DiagnosticReport":
		put(object{
			"status": "final", "category": object{"coding": list{object{"system": categorySystem, "code": "LABORATORY"}}},
			"code": text("Full blood count"), "subject": patient, "effectiveDateTime": instant(0), "issued": instant(time.Hour),
			"performer": list{object{"actor": refer("Organization")}}, "result": list{refer("Observation")},
		})
		if seed%2 == 1 {
			put(object{"presentedForm": list{madeUpLetter("report.pdf", "application/pdf")}})
		}
	case "DocumentReference":
		put(object{
			"status": "current", "docStatus": "final", "type": text("Letter"), "class": text("Correspondence"), "subject": patient,
			"created": instant(0), "indexed": instant(time.Minute), "custodian": refer("Organization"), "description": "made up",
			"content": list{object{"attachment": object{"contentType": "application/pdf", "title": "letter.pdf", "url": "https://pkbtest.example/documents/" + fmt.Sprint(seed)}}},
		})
	case "Encounter":
		put(object{
			"status": "finished", "class": object{"system": "http://hl7.org/fhir/v3/ActCode", "code": "IMP"}, "subject": patient,
			"period": object{"start": instant(0), "end": instant(48 * time.Hour)}, "reason": list{text("observation")}, "serviceProvider": refer("Organization"),
		})
	case "NamingSystem":
		delete(tree, "meta")
		put(object{
			"name": fmt.Sprintf("Numbers%d", seed), "status": "active", "kind": "identifier", "date": "2018-01-01",
			"uniqueId": list{object{"type": "uri", "value": fmt.Sprintf("http://pkbtest.example/id/%d", seed), "preferred": true}},
		})
	case "Observation":
		put(object{
			"status": "unknown", "subject": patient, "effectiveDateTime": instant(0), "performer": list{object{"display": "Test Laboratory"}},
			"category": list{object{"coding": list{object{"system": categorySystem, "code": pick("LABORATORY", "MEASUREMENT")}}}},
		})
		put(madeUpValues[seed%uint64(len(madeUpValues))](r, at))
		if tree["effectivePeriod"] != nil { // effective[x] is one of them
			delete(tree, "effectiveDateTime")
		}
	case "Organization":
		delete(tree, "meta")
		put(object{"active": true, "name": pick("Test", "Sample", "Example") + " Hospital"})
	case "Practitioner":
		delete(tree, "meta")
		put(object{"active": true, "gender": pick("male", "female", "unknown"), "name": list{object{"family": pick(lastNames...), "given": list{pick(firstNames...)}}}})
	case "ProcedureRequest":
		put(object{
			"status": "active", "intent": "order", "code": text("Questionnaire"), "subject": patient, "authoredOn": instant(0),
			"requester": object{"agent": refer("Practitioner")},
		})
	case "Questionnaire":
		delete(tree, "meta")
		put(object{
			"status": "active", "title": "How are you?", "date": "2018-01", "subjectType": list{"Patient"},
			"item": list{object{"linkId": "1", "text": "Any pain?", "type": "boolean"}, object{"linkId": "2", "type": "choice", "option": list{object{"valueString": "some"}, object{"valueString": "a lot"}}}},
		})
	case "QuestionnaireResponse":
		put(object{
			"status": "completed", "questionnaire": refer("Questionnaire"), "basedOn": list{refer("ProcedureRequest")}, "subject": patient,
			"authored": instant(0), "item": list{object{"linkId": "1", "answer": list{object{"valueBoolean": r.IntN(2) == 0}}}},
		})
	default:
		return nil
	}
	return mustJSON(tree)
}
