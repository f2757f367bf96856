// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb/observe"
)

// words are what a patient reads about the link: how it is, what that means and what to
// do. A test keeps them so that an 11-year-old can read them.
type words struct {
	// Title is how it is. Tone is green, amber, red or grey.
	Title, Tone string
	Text        []string
	// Approve is the text of the button that starts an approval; "" for none.
	Approve string
}

const useYourAccount = "Sign in at PKB with the account that you used before."

var (
	wordsNone = words{
		"Not linked", "grey", []string{
			"Link your record to see it here.",
			"You sign in at Patients Know Best (PKB) and say yes. It takes two minutes.",
		}, "Link your PKB record",
	}
	wordsLinked   = words{Title: "Linked", Tone: "green"}
	wordsChecking = words{
		"We are checking your link", "amber", []string{
			"You have said yes at Patients Know Best (PKB). We are waiting for PKB to tell us that all is well.",
			"You do not need to do anything. Come back in a few minutes.",
		}, "",
	}
	wordsFrozen = words{
		"PKB has paused your link", "amber", []string{
			"Patients Know Best (PKB) does not share your record at the moment. We do not know why.",
			"Ask PKB, or ask our support team.",
		}, "",
	}
	wordsBroken = words{
		"Your link has stopped working", "red", []string{
			"Something went wrong between us and Patients Know Best (PKB). It is not your fault, and your record is safe.",
			"Say yes again to see it here. " + useYourAccount,
		}, "Approve again",
	}
	wordsOver = words{
		"Your link has run out", "red", []string{
			"A link to Patients Know Best (PKB) lasts for a set time. Your time is up.",
			"Say yes again to see your record here. " + useYourAccount,
		}, "Approve again",
	}
	wordsStopped = words{
		"PKB has ended your link", "red", []string{
			"Patients Know Best (PKB) has ended your link. That can be to keep your record safe.",
			"Say yes again to see your record here. " + useYourAccount,
		}, "Approve again",
	}
)

// wordsDown are about a record that cannot be read now, and may be in a while.
const wordsDown = "We cannot get your record from PKB just now. Come back and try again in a few minutes."

// wordsOf are about links that have ended.
var wordsOf = map[observe.Cause]words{
	observe.CauseSessionExpired:     wordsOver,
	observe.CauseFinalTokenExpired:  wordsOver,
	observe.CauseSessionInvalid:     wordsStopped,
	observe.CauseGrantRejected:      wordsStopped,
	observe.CauseOutcomeUnknown:     wordsBroken,
	observe.CauseRefusedUnclear:     wordsBroken,
	observe.CauseResponseUnreadable: wordsBroken,
	observe.CauseFrozen: {
		wordsFrozen.Title, wordsFrozen.Tone, []string{
			wordsFrozen.Text[0],
			"Ask PKB, or ask our support team. When PKB has lifted the pause, come back here and approve again.",
		}, "Approve again",
	},
	observe.CauseWrongPatient: {
		"This is not your record", "red", []string{
			"The account that you used at Patients Know Best (PKB) is not the account of the right patient. So we do not show the record.",
			"Start again with your own PKB account.",
		}, "Start again",
	},
	observe.CauseShared: {
		"This record is linked with another account", "red", []string{
			"Another account of Example Health has linked this record. So we do not show it here.",
			"If that is your account too, sign in with it. If not, tell our support team at once.",
		}, "",
	},
}

// wordsEnded returns the words about a link that has ended.
func wordsEnded(cause observe.Cause) words {
	if w, ok := wordsOf[cause]; ok {
		return w
	}
	return wordsBroken
}

// wordsSoon are about a link that works and will end.
func wordsSoon(end time.Time) words {
	return words{"Linked", "green", []string{
		"Your link will end on " + end.UTC().Format("2 January 2006") + ".",
		"Approve again before that day to keep it.",
	}, "Approve again"}
}

// wordsNotice returns what a patient reads about something that has happened, and
// whether they should approve again.
func wordsNotice(n observe.Notice) (text string, again bool) {
	switch n.Kind {
	case observe.EventEndsSoon:
		return strings.Join(wordsSoon(n.EndsAt).Text, " "), true
	case observe.EventRelinkRequired:
		w := wordsEnded(n.Cause)
		return w.Title + ".", w.Approve != ""
	case observe.EventSharedRecord:
		return "You said yes to a record that another account has linked. So we did not link it here.", false
	case observe.EventWrongPatient:
		return "You said yes with an account that is not yours. So we did not link it.", true
	}
	return "You said yes at PKB, but we could not check it in time. Please start again.", true
}
