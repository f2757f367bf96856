// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/advice"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/observe"
	"github.com/betawerk/pkb-go/tokenstore"
)

// importing is one run of import.
type importing struct {
	importOptions
	c      *call
	db     *database
	to     issuer
	client *pkb.Client
	pace   *pace
	copy   io.Writer // of -report, or nil
	began  time.Time
	done   importLine

	mu sync.Mutex
	// unasked counts the pairs in a row about which PKB could not be asked.
	unasked int
}

// importLine is a line of progress.
type importLine struct {
	progress
	Imported int `json:"imported"`
	Already  int `json:"already"`
	Waiting  int `json:"waiting"`
	Refused  int `json:"refused"`
	Ready    int `json:"ready,omitempty"`
	Expired  int `json:"expired,omitempty"` // of those that are ready
}

// verdict is what became of a pair.
type verdict string

const (
	imported verdict = "imported"
	ready    verdict = "ready"
	already  verdict = "already"
	waiting  verdict = "waiting"
	refused  verdict = "refused"
)

// fate is what became of a line. Its JSON is that of a line that was not imported.
type fate struct {
	Line      int     `json:"line"`
	AppUserID string  `json:"app_user_id,omitempty"`
	Link      string  `json:"link,omitempty"`
	Result    verdict `json:"result"`
	Code      string  `json:"code"`
	Reason    string  `json:"reason"`

	expired bool
	// stops is why no other line is tried.
	stops error
}

func (f fate) as(result verdict, code, reason string) fate {
	f.Result, f.Code, f.Reason = result, code, reason
	return f
}

const (
	// importAtOnce is how many pairs are imported at the same time, and importAhead, how
	// many are begun before the first of them is reported.
	importAtOnce = 8
	importAhead  = 64
	// importEvery is how many lines have one line of progress in a pipe.
	importEvery = 500
	// unaskedMost is about how many pairs in a row PKB cannot be asked before the rest
	// waits for another day: importAtOnce more may be under way.
	unaskedMost = 20
	// importClose bounds the wait for what is under way at the end.
	importClose = 4 * time.Minute
)

// all imports the lines, several at the same time, and reports them in their order.
func (i *importing) all(ctx context.Context, lines *pairs) error {
	i.began, i.pace = now(), newPace(i.rate)
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	fates := make(chan chan fate, importAhead)
	var unread error // before fates is closed
	go func() {
		defer close(fates)
		unread = i.begin(going, stop, lines, fates)
	}()
	var ended error
	for one := range fates {
		if err := i.note(<-one); err != nil && ended == nil { // what is under way is noted too
			ended = err
			stop(err)
		}
	}
	if ended == nil {
		ended = context.Cause(going)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), importClose)
	defer cancel()
	return i.end(errors.Join(ended, unread, i.client.Close(closing)))
}

// begin begins with one line after the other, until ctx ends, which it does itself when
// PKB cannot be asked.
func (i *importing) begin(ctx context.Context, stop context.CancelCauseFunc, lines *pairs, fates chan<- chan fate) error {
	var group sync.WaitGroup
	defer group.Wait()
	free := make(chan struct{}, importAtOnce)
	for ctx.Err() == nil {
		one, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errUnread
		}
		free <- struct{}{}
		became := make(chan fate, 1)
		fates <- became
		group.Go(func() {
			f := i.one(ctx, one)
			if err := i.asked(f); err != nil {
				stop(err)
			}
			became <- f
			<-free
		})
	}
	return nil
}

// one imports one line. Once it has begun it is not cut off: a refresh whose response is
// lost costs the patient a new authorization.
func (i *importing) one(ctx context.Context, p pair) fate {
	f := fate{Line: p.line, AppUserID: p.user}
	if p.user != "" {
		f.Link = observe.LinkName(p.user)
	}
	if p.wrong != nil {
		return f.as(refused, p.wrong.code, p.wrong.text)
	}
	r, err := i.db.Load(ctx, p.user)
	switch {
	case ctx.Err() != nil:
		f.stops = context.Cause(ctx)
		return f
	case err != nil && !errors.Is(err, tokenstore.ErrNotFound):
		f.stops = storeFailed(err)
		return f
	case err == nil && (issuer{r.Environment, r.ClientID}) != i.to:
		return f.because(pkb.ErrOtherEnvironment)
	case works(pkb.LinkOf(r)):
		return f.as(already, "", "")
	case inDoubt(r):
		return f.as(waiting, "in_doubt", "its refresh token was presented, and the response was not saved; Client.Tend asks once more, when nothing is left to lose (pkbctl show)")
	case i.dry:
		f.expired = !p.token.Expiry.IsZero() && p.token.Expiry.Before(now())
		return f.as(ready, "", "")
	}
	if i.pace.wait(ctx) != nil {
		f.stops = context.Cause(ctx)
		return f
	}
	link, err := i.client.Import(context.WithoutCancel(ctx), p.user, p.token)
	return i.judge(f, link, err)
}

// works reports whether a link works.
func works(l pkb.Link) bool {
	return l.State == tokenstore.StateLinked || l.State == tokenstore.StateUncertain
}

// inDoubt reports whether the refresh token of a pair that waits was presented without a
// known outcome: by a run of import that was killed, say. It is not presented again here.
func inDoubt(r tokenstore.Record) bool {
	return r.Candidate != "" && (r.Lease.Owner != "" || r.Pair == "" && pkb.LinkOf(r).Tried > 0)
}

// judge turns what Import returned into what became of the line.
func (i *importing) judge(f fate, link pkb.Link, err error) fate {
	switch {
	case err == nil:
		return f.as(imported, "", "")
	case errors.Is(err, pkb.ErrOvertaken) && works(link):
		return f.as(already, "", "")
	case errors.Is(err, pkb.ErrOvertaken):
		return f.as(waiting, "overtaken", "an authorization of this user waits to be checked already")
	case errors.Is(err, pkb.ErrUnchecked) && i.check == byProgram:
		return f.as(waiting, "unchecked", "it is saved, and waits for your program to check it")
	case errors.Is(err, pkb.ErrUnchecked):
		return f.unasked(err)
	case errors.Is(err, pkb.ErrStore), errors.Is(err, pkb.ErrClosed):
		f.stops = err
		return f
	}
	return f.because(err)
}

// unasked is a pair that is saved, while PKB has not told whose record it opens.
func (f fate) unasked(err error) fate {
	if api, ok := errors.AsType[*pkb.APIError](err); ok && (api.Status == http.StatusUnauthorized || api.Status == http.StatusForbidden) {
		return f.as(waiting, "token_rejected", "it is saved, and PKB does not accept its access token; once that has expired, another import, the next call or Client.Tend presents the refresh token")
	}
	return f.as(waiting, "unchecked", "it is saved, and PKB could not be asked whose record it opens; another import, the next call or Client.Tend checks it")
}

// because is a refusal for an error of the library's, whose text names nobody.
func (f fate) because(err error) fate {
	reason := ""
	if lost, ok := errors.AsType[*pkb.RelinkError](err); ok {
		reason = "PKB does not accept it: " + lostBecause(lost.Cause) + "; the patient has to approve"
	}
	if shared, ok := errors.AsType[*pkb.SharedRecordError](err); ok {
		reason = "the record is linked with another user" + listed(shared.AppUserIDs) + ": find out whose it is"
	}
	for _, known := range []struct {
		err    error
		reason string
	}{
		{pkb.ErrState, "it was imported before, and is not the link (pkbctl show has why); the patient has to approve"},
		{pkb.ErrWrongPatient, "it opens the record of another patient than the one this user was linked with"},
		{identity.ErrNotAPatient, "the account that it opens is not a patient's"},
		{pkb.ErrOtherEnvironment, "this user has a link of another environment or client id"},
		{pkb.ErrNotLinked, "the user was unlinked meanwhile"},
		{pkb.ErrKeys, "the user's record does not open with these keys, or is damaged"},
		{pkb.ErrNewer, "a later version of the library has written the user's record"},
	} {
		if reason == "" && errors.Is(err, known.err) {
			reason = known.reason
		}
	}
	if reason == "" {
		reason = err.Error()
	}
	return f.as(refused, advice.For(err).Code, reason)
}

// lostBecause is why PKB does not accept a pair.
func lostBecause(c observe.Cause) string {
	switch c {
	case observe.CauseSessionExpired:
		return "its session has expired (session_expired)"
	case observe.CauseSessionInvalid:
		return "its session was ended, as when other code has refreshed it since, or still does (session_invalid)"
	case observe.CauseGrantRejected:
		return "PKB does not know it for this client id, or other code has refreshed it since (grant_rejected)"
	case observe.CauseFrozen:
		return "it has frozen the patient's access (frozen)"
	}
	return clean(string(c))
}

func listed(users []string) string {
	if len(users) == 0 {
		return ""
	}
	var shown []string
	for _, user := range users[:min(len(users), 3)] {
		shown = append(shown, cut(clean(user), name))
	}
	return " (" + strings.Join(shown, ", ") + ")"
}

// asked returns an error when PKB could not be asked about many pairs in a row, in the
// order in which that was known: of those begun first, one may take long.
func (i *importing) asked(f fate) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case f.stops != nil || i.check == byProgram:
	case f.Code == "unchecked":
		i.unasked++
	case f.Result == imported || f.Result == refused || f.Code == "token_rejected":
		i.unasked = 0
	}
	if i.unasked >= unaskedMost {
		return failed(exitLater, "PKB could not be asked about %d pairs in a row, which are saved and wait; pkbctl doctor finds out why", unaskedMost)
	}
	return nil
}

// note counts a line, and prints it if it was not imported.
func (i *importing) note(f fate) error {
	if f.stops != nil {
		return f.stops
	}
	d := &i.done
	d.Records++
	switch f.Result {
	case imported:
		d.Imported++
	case ready:
		d.Ready++
		if f.expired {
			d.Expired++
		}
	case already:
		d.Already++
	case refused:
		d.Refused++
	case waiting:
		d.Waiting++
	}
	if err := i.list(f); err != nil {
		return err
	}
	if i.c.terminal || d.Records%importEvery == 0 {
		return i.progressed()
	}
	return nil
}

// list prints a line that was refused or waits. Those that wait for the program are
// counted only: they are what was asked for.
func (i *importing) list(f fate) error {
	if f.Code == "" || f.Code == "unchecked" && i.check == byProgram {
		return nil
	}
	b, err := encode(f, "")
	if err != nil {
		return err
	}
	if i.copy != nil {
		if _, err := i.copy.Write(b); err != nil {
			return failed(exitWrong, "the file of -report cannot be written: %w", errors.Unwrap(err))
		}
	}
	c := i.c
	if !c.terminal {
		_, err = c.out.Write(b)
		return err
	}
	c.meter.clear()
	as := red
	if f.Result == waiting {
		as = yellow
	}
	text := fmt.Sprintf("line %d, %s: %s", f.Line, cut(clean(f.AppUserID), name), clean(f.Reason))
	if f.AppUserID == "" {
		text = fmt.Sprintf("line %d: %s", f.Line, clean(f.Reason))
	}
	fmt.Fprintf(c.out, "%s  %s\n", c.paint(string(f.Result), as), wrap(text, c.width(), len(f.Result)+2))
	return nil
}

// progressed shows how far the import is.
func (i *importing) progressed() error {
	d := &i.done
	finished := d.Done
	d.progress = newProgress(d.Records, d.Total, now().Sub(i.began))
	if d.Done = finished; !i.c.terminal {
		return i.c.line(d)
	}
	i.c.meter.bar(d.progress, fmt.Sprintf("%d imported, %d refused", d.Imported, d.Refused))
	return nil
}

// end reports the whole import. Its errors leave the rest for another run.
func (i *importing) end(err error) error {
	d := &i.done
	i.c.meter.clear()
	switch {
	case err != nil:
		return &unfinished{i.summary() + "; run it again with the same file for the rest: what is done is not done twice", err}
	case d.Records == 0:
		return failed(exitUsage, "there is no line in the file")
	}
	d.Done = true
	if i.c.terminal {
		fmt.Fprintln(i.c.out, wrap(i.summary()+"."+i.hint(), i.c.width(), 0))
	} else if err := i.progressed(); err != nil {
		return err
	}
	switch {
	case d.Refused > 0:
		return errSaid
	case d.Waiting > 0 && i.check == byPurview:
		const advice = "%s to be checked: import the same file again once PKB can be asked (pkbctl doctor); the next call and Client.Tend check them too"
		return failed(exitLater, advice, plural(d.Waiting, "pair waits", "pairs wait"))
	}
	return nil
}

// summary is what was done so far.
func (i *importing) summary() string {
	d := i.done
	if i.dry {
		return fmt.Sprintf("%s: %d can be imported, %d of them after a refresh because the access token has expired; %d linked already, %d in doubt, %d refused; nothing was sent or written",
			number(d.Records, "line"), d.Ready, d.Expired, d.Already, d.Waiting, d.Refused)
	}
	return fmt.Sprintf("%s: %d imported, %d linked already, %d wait to be checked, %d refused", number(d.Records, "line"), d.Imported, d.Already, d.Waiting, d.Refused)
}

// hint is what to know at the end.
func (i *importing) hint() string {
	switch {
	case i.dry:
		return ""
	case i.done.Waiting > 0 && i.check == byProgram:
		return " Your program checks those that wait, at the next call or by Client.Tend."
	case i.done.Imported > 0 && !i.notices:
		return " No notice of these links is kept (-notices)."
	}
	return ""
}

func number(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}
