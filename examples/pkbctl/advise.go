// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// step is something for the operator to do: a command to copy, or only a text.
type step struct {
	Why     string `json:"why"`
	Command string `json:"command,omitempty"`
}

// advised is what to do about a link.
type advised struct {
	Do []step `json:"do"`
	// Patient is what to tell the patient; "" for nothing.
	Patient string `json:"patient,omitempty"`
}

// advise returns what to do about a link in its state, and for its cause.
func (c *call) advise(r tokenstore.Record, damaged bool, at time.Time) advised {
	link := pkb.LinkOf(r)
	good := r.ExpiresAt.Sub(at) > margin
	if damaged {
		return c.about(pkb.ErrKeys, step{"whether the keys open the other links", c.withKeys("doctor")})
	}
	switch r.State {
	case tokenstore.StateUnlinked:
		return c.about(pkb.ErrNotLinked, c.relinkStep(r, "if the patient wants to link the record again: where to send them"))
	case tokenstore.StatePending:
		if r.Candidate != "" {
			return advised{Do: []step{{"whether it is checked by now", c.toCopy("show", user(r))}}, Patient: advice.For(pkb.ErrUnchecked).Patient}
		}
		return c.about(pkb.ErrNotLinked, c.relinkStep(r, "if the patient has given up: where to start again"))
	case tokenstore.StateRelinkRequired:
		return c.adviseEnded(r)
	}
	switch tryLater := advice.For(pkb.ErrTryLater).Patient; {
	case link.Unread:
		return c.adviseUnread(r, good, tryLater)
	case r.Lease.Owner != "" && at.Sub(r.Lease.TakenAt) < leaseStands:
		return advised{Do: []step{{"after a minute: whether its holder has saved the response", c.toCopy("show", user(r))}}, Patient: unless(good, tryLater)}
	case link.Refusals > 0:
		return advised{Do: []step{
			{"what the next call would do; the log has the code with which PKB refuses", c.toCopy("refresh", "-n", user(r))},
			c.relinkStep(r, "a new authorization by the patient also helps: where to send them"),
		}, Patient: unless(good, tryLater)}
	case link.Tried > 0 && good:
		return advised{Do: []step{{"nothing before " + stamp(r.ExpiresAt) + "; then: whether it has recovered", c.toCopy("show", user(r))}}}
	case r.Candidate != "" || !good:
		return advised{Do: c.refreshSteps(r), Patient: unless(good, tryLater)}
	case needOf(r, at) == needsSoon:
		return advised{Do: []step{c.relinkStep(r, "the session ends "+distance(r.EndsAt, at)+", and the patient may approve again before: where to send them")}}
	}
	return advised{Do: []step{}}
}

// about returns what package advice has about an error, and steps.
func (c *call) about(err error, steps ...step) advised {
	a := advice.For(err)
	if !strings.HasPrefix(a.Operator, "Nothing") {
		steps = append([]step{{Why: a.Operator}}, steps...)
	}
	return advised{Do: steps, Patient: a.Patient}
}

func (c *call) adviseEnded(r tokenstore.Record) advised {
	if r.Candidate != "" {
		return advised{Do: c.refreshSteps(r), Patient: advice.For(pkb.ErrUnchecked).Patient}
	}
	steps := []step{c.relinkStep(r, "where to send the patient, who approves again")}
	switch observe.Cause(r.Cause) {
	case observe.CauseShared:
		if r.PublicID != "" {
			steps = append([]step{{"who else is linked with the record", c.toCopy("links", "-filter", r.PublicID)}}, steps...)
		}
	case observe.CauseResponseUnreadable:
		steps = append(steps, c.discardStep(r))
	case observe.CauseRefusedUnclear:
		steps = append(steps, step{"what the next call would do", c.toCopy("refresh", "-n", user(r))})
	}
	return c.about(&pkb.RelinkError{Cause: observe.Cause(r.Cause)}, steps...)
}

func (c *call) adviseUnread(r tokenstore.Record, good bool, tryLater string) advised {
	return advised{Do: []step{
		{Why: "look for a later version of the library that reads the response"},
		c.relinkStep(r, "a new authorization by the patient also helps: where to send them"),
		c.discardStep(r),
	}, Patient: unless(good, tryLater)}
}

func unless(good bool, text string) string {
	if good {
		return ""
	}
	return text
}

func (c *call) discardStep(r tokenstore.Record) step {
	return step{"only if it is clear that the response holds no tokens", c.withKeys("discard", user(r))}
}

func (c *call) refreshSteps(r tokenstore.Record) []step {
	now := step{"do it now", c.withKeys("refresh", user(r))}
	if r.Candidate != "" {
		now = step{"check it now, if your program has no Config.Identify", c.withKeys("refresh", "-check", "purview", user(r))}
	}
	return []step{{"what the next call would do", c.toCopy("refresh", "-n", user(r))}, now}
}

// relinkStep has the address to send a patient to, if it is known.
func (c *call) relinkStep(r tokenstore.Record, why string) step {
	if c.getenv("PKB_LINK_ROUTE") == "" {
		return step{why, c.toCopy("relink-url", "-link-route", "https://YOUR-APP/pkb/link", user(r))}
	}
	return step{why, c.toCopy("relink-url", user(r))}
}

// user is the argument for the user of r: the link's name in logs if a shell or the flag
// package could misread the id.
func user(r tokenstore.Record) string {
	if clean(r.AppUserID) != r.AppUserID || strings.HasPrefix(r.AppUserID, "-") {
		return observe.LinkName(r.AppUserID)
	}
	return r.AppUserID
}

// keep notes the flags of the command line that every command takes. An address that may
// hold a password is not among them.
func (s *settings) keep(fs *flag.FlagSet) {
	common := flag.NewFlagSet("", flag.ContinueOnError)
	new(settings).define(common, func(string) string { return "" })
	fs.Visit(func(f *flag.Flag) {
		value := word(f.Value.String())
		switch {
		case common.Lookup(f.Name) == nil || f.Name == "json" || f.Name == "redirect":
			return
		case holdsPassword.MatchString(f.Value.String()):
			value = `"$PKB_` + strings.ToUpper(f.Name) + `"` // for the operator to set
		}
		s.flags = append(s.flags, "-"+f.Name+" "+value)
	})
}

// toCopy returns a command with the flags of this one.
func (c *call) toCopy(name string, args ...string) string {
	words := append([]string{"pkbctl", name}, c.flags...)
	for _, arg := range args {
		words = append(words, word(arg))
	}
	return strings.Join(words, " ")
}

// withKeys is toCopy for a command that needs the keys.
func (c *call) withKeys(name string, args ...string) string {
	if c.keysFile == "" && c.keysText == "" {
		args = append([]string{"-keys", "FILE"}, args...)
	}
	return c.toCopy(name, args...)
}

// printAdvice prints what to do, with each command on a line of its own.
func (c *call) printAdvice(a advised) {
	if len(a.Do) == 0 {
		fmt.Fprintf(c.out, "\n%s\n", c.paint("Nothing to do.", bold))
	} else {
		fmt.Fprintf(c.out, "\n%s\n", c.paint("What to do", bold))
	}
	for _, s := range a.Do {
		for line := range strings.SplitSeq(wrap(s.Why, c.width(), len("  # ")), "\n") {
			fmt.Fprintln(c.out, c.paint("  # "+strings.TrimSpace(line), dim))
		}
		if s.Command != "" {
			fmt.Fprintln(c.out, "  "+s.Command)
		}
	}
	if a.Patient != "" {
		fmt.Fprintf(c.out, "\n%s\n  %s\n", c.paint("What to tell the patient", bold), wrap(a.Patient, c.width(), 2))
	}
}
