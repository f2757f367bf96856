// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// standing is how a link is, in few words for an operator.
type standing struct {
	// Label is the state, Tone its colour, and Why says more.
	Label, Tone, Why string
}

func (a *app) standingOf(link pkb.Link) standing {
	switch {
	case link.State == tokenstore.StateRelinkRequired && link.Cause == observe.CauseFrozen:
		return standing{"Frozen", "amber", "by PKB"}
	case link.State == tokenstore.StateRelinkRequired:
		return standing{"Ended", "red", labelOf(link.Cause)}
	case link.Unread:
		return standing{"Uncertain", "amber", "A response cannot be read"}
	case link.State == tokenstore.StateUncertain:
		return standing{"Uncertain", "amber", "A response is lost or under way"}
	case link.State == tokenstore.StatePending:
		return standing{"Being checked", "amber", "PKB has not said whose record it is"}
	case link.Refusals > 0:
		return standing{"Refused", "amber", "PKB refuses it in unknown words"}
	case a.endsSoon(link):
		return standing{"Ends soon", "amber", ""}
	case link.State == tokenstore.StateLinked:
		return standing{"Linked", "green", ""}
	}
	return standing{"Not linked", "grey", ""}
}

func (a *app) endsSoon(link pkb.Link) bool {
	return link.State == tokenstore.StateLinked && !link.EndsAt.IsZero() && link.EndsAt.Before(a.now().Add(soon))
}

// meaningOf says what a cause means.
func meaningOf(c observe.Cause) string {
	return plain(advice.For(&pkb.RelinkError{Cause: c}).Cause)
}

// advised is what an operator does about a link.
type advised struct {
	Meaning string
	Steps   []string
	// Patient is what to tell the patient; "" for nothing.
	Patient string
	// Send: send the patient to the link route. Try: a refresh may help.
	Send, Try bool
	// Others leads to the other users of a record; "" if there are none.
	Others string
}

// advise returns what to do about a link.
func (a *app) advise(link pkb.Link) advised {
	works := link.ExpiresAt.After(a.now().Add(time.Minute))
	later := advice.For(pkb.ErrTryLater).Patient
	if works {
		later = ""
	}
	switch {
	case link.State == tokenstore.StateRelinkRequired:
		return adviseEnded(link)
	case link.Unread:
		return advised{
			Meaning: "The response to a refresh could not be read. It may hold the new tokens, so it is kept.",
			Steps:   []string{"Look for a later version of the library that reads it.", "If the patient approves again, that helps too."},
			Patient: later, Send: true,
		}
	case link.State == tokenstore.StateUncertain && works:
		return advised{Meaning: "The response to a refresh was lost, or is under way. The access token still works.", Steps: []string{"Nothing, before the access token expires. After that, see whether it has recovered."}}
	case link.State == tokenstore.StateUncertain:
		return advised{Meaning: "The response to a refresh was lost. The next call presents the refresh token once more.", Steps: []string{"Try it now, or wait for the patient's next visit."}, Patient: later, Try: true}
	case link.State == tokenstore.StatePending:
		return advised{Meaning: "The patient has approved, and PKB has not said yet whose record it is.", Steps: []string{"Nothing, unless it lasts: the next call asks again."}, Patient: advice.For(pkb.ErrUnchecked).Patient, Try: true}
	case link.Refusals > 0:
		return advised{Meaning: fmt.Sprintf("PKB has refused a refresh in unknown words, %d times, while it served others.", link.Refusals), Steps: []string{"The log has PKB's code: ask PKB what it means.", "If the patient approves again, that helps too."}, Patient: later, Send: true, Try: true}
	case a.endsSoon(link):
		return advised{Meaning: "PKB's session ends soon. The patient can approve again before that.", Steps: []string{"Send the patient here, if you remind patients."}, Send: true, Try: true}
	case link.State == tokenstore.StateLinked:
		return advised{Meaning: "The link works.", Steps: []string{"Nothing."}, Try: true}
	}
	told := advice.For(pkb.ErrNotLinked)
	return advised{Meaning: "The user is not linked.", Steps: []string{"If the patient wants to link a record: send them here."}, Patient: told.Patient, Send: true}
}

func adviseEnded(link pkb.Link) advised {
	told := advice.For(&pkb.RelinkError{Cause: link.Cause})
	d := advised{Meaning: plain(told.Cause), Patient: told.Patient, Send: true}
	if !strings.HasPrefix(told.Operator, "Nothing") {
		d.Steps = append(d.Steps, plain(told.Operator))
	}
	switch link.Cause {
	case observe.CauseShared:
		if link.PublicID != "" {
			d.Others = "/operator?" + url.Values{"q": {string(link.PublicID)}}.Encode()
		}
	case observe.CauseRefusedUnclear, observe.CauseResponseUnreadable:
		d.Try = true
	}
	d.Steps = append(d.Steps, "Send the patient here, to approve again.")
	return d
}

// plain is a text of package advice without its marks for code.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }
