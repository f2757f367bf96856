// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package record

import "time"

// When narrows a search to a time. Several are ANDed. Which of them a search
// accepts is PKB's choice: a search for encounters accepts After, Before and On
// only.
//
// PKB decides how a day or month without a time of day compares; an instant is sent
// in UTC, to the millisecond.
type When struct {
	values  []string
	problem string
	indexed bool
}

// From matches a time or later (ge).
func From(t time.Time) When { return instant("ge", t) }

// Until matches a time or earlier (le).
func Until(t time.Time) When { return instant("le", t) }

// After matches later than a time (gt).
func After(t time.Time) When { return instant("gt", t) }

// Before matches earlier than a time (lt).
func Before(t time.Time) When { return instant("lt", t) }

// On matches the day of t in t's own location (eq).
func On(t time.Time) When {
	if t.IsZero() {
		return When{problem: noTime}
	}
	return When{values: []string{"eq" + t.Format(time.DateOnly)}}
}

// During matches from a beginning to before an end (ge and lt).
func During(from, to time.Time) When {
	w := instant("ge", from)
	end := instant("lt", to)
	switch {
	case w.problem != "" || end.problem != "":
		return When{problem: noTime}
	case !from.Before(to):
		return When{problem: "it ends before it begins"}
	}
	w.values = append(w.values, end.values...)
	return w
}

const noTime = "it is not a time"

func instant(prefix string, t time.Time) When {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return When{problem: noTime}
	}
	return When{values: []string{prefix + t.UTC().Format("2006-01-02T15:04:05.999Z07:00")}}
}

func (w When) trouble() string {
	if w.problem == "" {
		return noTime // the zero When
	}
	return w.problem
}

// parameter returns the date parameter of a search.
func (w When) parameter(resource string) string {
	switch {
	case w.indexed:
		return "indexed"
	case resource == "Communication":
		return "sent"
	case resource == "DocumentReference":
		return "created"
	case resource == "QuestionnaireResponse":
		return "authored"
	}
	return "date"
}
