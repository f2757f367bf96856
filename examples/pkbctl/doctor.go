// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/tokenstore"
	"github.com/betawerk/pkb-go/tokenstore/sqlstore"
	"github.com/betawerk/pkb-go/tokenstore/storetest"
)

var doctorCommand = &command{
	name:    "doctor",
	summary: "check configuration, database, keys, links and PKB, and print how to fix what is wrong",
	about: `doctor checks, one after the other, what can keep links from working, and prints for
each problem how to fix it:

  database   it can be reached, the table of links is there, and no setting of -db and no
             pooler hides or mixes up what is written
  clock      the database's clock and PKB's agree with the system clock
  store      the database keeps the promises that links depend on; only with -write,
             which makes a table of its own, writes to it, and drops it
  config     what pkb.New reports
  redirect   the redirect URI, if you name it with -redirect
  keys       every link is sealed with a key of the keyring, and opens
  links      how many are in which state, and for which client id they were issued
  tending    whether links are looked after though nobody calls, and whether your program
             accepts its notices
  pkb        PKB's four addresses respond (to a GET without credentials, which changes
             nothing), over TLS 1.2 or better, with a certificate that does not expire soon

No link is written to, and nothing is sent for a patient: to check that a link
opens, it is sealed again in memory and the result is thrown away.

In a pipe it prints one JSON document: {"ok", "checks": [{"check", "status",
"found", "fix"}]} with status ok, warn, fail or skip. The exit code is 1 if a check
failed, 3 if the database is the reason, and 0 with warnings.`,
	examples: []string{
		"pkbctl doctor -db webapp.db -keys webapp.keys",
		"pkbctl doctor -env sandbox -client-id ID -redirect https://app.example/pkb/callback",
		"pkbctl doctor -write | jq '.checks[] | select(.status != \"ok\")'",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		d := &doctor{}
		fs.BoolVar(&d.write, "write", false, "also try what the database promises, in a table of its own")
		fs.BoolVar(&d.offline, "offline", false, "send nothing to PKB")
		fs.DurationVar(&d.expiry, "expiry", 14*24*time.Hour, "warn about a certificate that expires within this `time`")
		return d.run
	},
}

// status is what a check has found.
type status string

const (
	statusOK   status = "ok"
	statusWarn status = "warn"
	statusFail status = "fail"
	statusSkip status = "skip"
)

var statusStyles = map[status]style{statusOK: green, statusWarn: yellow, statusFail: red, statusSkip: dim}

// check is one of the doctor's.
type check struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"`
}

// doctor goes through the checks.
type doctor struct {
	write, offline bool
	expiry         time.Duration

	*call
	db     *database // nil if there is none to look at
	checks []check
	// storeFailed: something failed because the database did.
	storeFailed bool
}

// add reports one check, on a terminal at once.
func (d *doctor) add(name string, s status, fix, format string, args ...any) {
	one := check{name, s, d.say(fmt.Sprintf(format, args...)), d.say(fix)}
	d.checks = append(d.checks, one)
	if !d.terminal {
		return
	}
	d.meter.clear()
	const indent = 16 // "warn  " and the name
	fmt.Fprintf(d.out, "%s%s %-9s %s\n", d.paint(string(s), statusStyles[s]), strings.Repeat(" ", 5-len(s)), name, wrap(one.Found, d.width(), indent))
	if fix != "" {
		fmt.Fprintf(d.out, "%s%s\n", strings.Repeat(" ", indent), d.paint(wrap("fix: "+one.Fix, d.width(), indent), bold))
	}
}

func (d *doctor) ok(name, format string, args ...any) { d.add(name, statusOK, "", format, args...) }

func (d *doctor) run(ctx context.Context, c *call) error {
	d.call = c
	d.lookAtDatabase(ctx)
	if d.db != nil {
		defer d.db.close()
		d.lookAtClock(ctx)
		d.lookAtStore(ctx)
	}
	from := d.lookAtConfig(ctx)
	d.lookAtRedirect(from)
	if d.db != nil && ctx.Err() == nil {
		d.lookAtLinks(ctx, from)
	}
	wrong := slices.ContainsFunc(d.checks, func(c check) bool { return c.Check == "config" && c.Status == statusFail })
	switch env, known := d.environment(from.Environment); {
	case wrong:
		d.add("pkb", statusSkip, "", "PKB was not asked: the configuration is wrong")
	case !known:
		d.add("pkb", statusSkip, "", "PKB was not asked: its address is not known")
	case d.offline:
		d.add("pkb", statusSkip, "", "PKB was not asked: -offline")
	default:
		d.lookAtPKB(ctx, env)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failures := 0
	for _, one := range d.checks {
		if one.Status == statusFail {
			failures++
		}
	}
	if !d.terminal {
		if err := d.document(struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{failures == 0, d.checks}); err != nil {
			return err
		}
	}
	switch {
	case d.storeFailed:
		return &failure{exitStore, errSaid}
	case failures > 0:
		return errSaid
	}
	return nil
}

// lookAtDatabase opens it, and leaves d.db nil if that fails.
func (d *doctor) lookAtDatabase(ctx context.Context) {
	if d.call.db == "" {
		d.add("database", statusSkip, "", "no database: give -db to have it and its links checked")
		return
	}
	db, err := d.open()
	if err != nil {
		d.storeFailed = true
		d.add("database", statusFail, "write -db as a file, as postgres://user@host/database or as mysql://user@host/database", "%s", err.Error())
		return
	}
	n, err := db.Count(ctx)
	if err != nil {
		db.close()
		d.storeFailed = true
		d.add("database", statusFail, fixOf(err), "%s", err.Error())
		return
	}
	d.db = db
	if err := db.Check(ctx); err != nil {
		d.add("database", statusFail, fixOf(err), "%s", err.Error())
		return
	}
	d.ok("database", "%s, %d records in %s", dialectNames[db.dialect], n, d.tableName())
}

func (d *doctor) tableName() string {
	name := "pkb_links"
	if d.table != "" {
		name = d.table
	}
	if d.schema != "" {
		name = d.schema + "." + name
	}
	return name
}

var dialectNames = map[sqlstore.Dialect]string{sqlstore.Postgres: "PostgreSQL", sqlstore.MySQL: "MySQL or MariaDB", sqlstore.SQLite: "SQLite"}

// fixOf returns what to do about an error of the database.
func fixOf(err error) string {
	for kind, fix := range map[error]string{
		sqlstore.ErrNoTable:     "call Store.Migrate once, or run Store.Schema with your own tool; or name the table with -table and -schema",
		sqlstore.ErrRefused:     "check user and password, and grant SELECT, INSERT, UPDATE and DELETE on the table",
		sqlstore.ErrReadOnly:    "connect to the primary",
		sqlstore.ErrFull:        "free some space",
		sqlstore.ErrSettings:    "change that, for your program too",
		sqlstore.ErrUnavailable: "start the database, and check address and network",
	} {
		if errors.Is(err, kind) {
			return fix
		}
	}
	return "check the address of -db, and the log of the database"
}

// lookAtClock compares the database's clock with the system clock.
func (d *doctor) lookAtClock(ctx context.Context) {
	query := ""
	switch d.db.dialect {
	case sqlstore.SQLite:
		d.ok("clock", "the database is on this machine")
		return
	case sqlstore.Postgres:
		query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)"
	case sqlstore.MySQL:
		query = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
	}
	var micros int64
	before := now()
	if err := d.db.db.QueryRowContext(ctx, query).Scan(&micros); err != nil {
		d.add("clock", statusWarn, "run the query by hand", "the database does not return the time")
		return
	}
	d.judgeClock("the database's", time.UnixMicro(micros), before, now())
}

// How far clocks may differ. No lease depends on it; tokens that expire, and the times
// that operators read, do.
const (
	skewNoticed = 5 * time.Second
	skewTooMuch = time.Minute
)

// judgeClock compares a clock that was read between before and after.
func (d *doctor) judgeClock(whose string, there, before, after time.Time) {
	skew := there.Sub(before.Add(after.Sub(before) / 2)).Round(10 * time.Millisecond)
	off := fmt.Sprintf("%s clock is %v ahead of the system clock", whose, skew)
	if skew < 0 {
		off = fmt.Sprintf("%s clock is %v behind the system clock", whose, -skew)
	}
	const fix = "synchronize all clocks with NTP: tokens are refreshed too late, or too early, when they differ"
	switch {
	case skew.Abs() > skewTooMuch:
		d.add("clock", statusFail, fix, "%s", off)
	case skew.Abs() > skewNoticed:
		d.add("clock", statusWarn, fix, "%s", off)
	default:
		d.ok("clock", "%s clock agrees with the system clock, within %v", whose, skewNoticed)
	}
}

// lookAtStore runs the contract of a store in a table that is made for it.
func (d *doctor) lookAtStore(ctx context.Context) {
	if !d.write {
		d.add("store", statusSkip, "", "what the database promises was not tried: -write tries it, in a table of its own")
		return
	}
	cfg := sqlstore.Config{Dialect: d.db.dialect, Schema: d.schema, Table: "pkb_links_check_" + strings.ToLower(rand.Text()[:10])}
	scratch, err := sqlstore.New(d.db.db, cfg)
	if err == nil {
		defer func() {
			name := cfg.Table
			if cfg.Schema != "" {
				name = cfg.Schema + "." + name
			}
			if _, err := d.db.db.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+name); err != nil {
				d.add("store", statusWarn, "drop it by hand", "the table %s is left behind", name)
			}
		}()
		err = scratch.Migrate(ctx)
	}
	if err != nil {
		d.add("store", statusFail, fixOf(err), "a table for the check could not be made: %s", err.Error())
		return
	}
	results, err := storetest.Check(ctx, func() (tokenstore.Store, error) { return sqlstore.New(d.db.db, cfg) })
	if err != nil {
		d.add("store", statusFail, fixOf(err), "%s", err.Error())
		return
	}
	if ctx.Err() == nil {
		d.judgeStore(results)
	}
}

// judgeStore reports what the contract has shown. What could not be tried is not among
// what is kept.
func (d *doctor) judgeStore(results []storetest.Result) {
	broken, kept := 0, 0
	for _, r := range results {
		switch {
		case len(r.Problems) > 0:
			broken++
			d.add("store", statusFail, "compare the database's settings with the documentation of sqlstore: "+r.Why, "%s: %s", r.Name, r.Problems[0])
		case r.Skipped != "":
			d.add("store", statusSkip, "", "%s was not tried: %s", r.Name, r.Skipped)
		default:
			kept++
		}
	}
	if broken == 0 {
		d.ok("store", "the database keeps all %d promises of a store", kept)
	}
}

// lookAtConfig reports what pkb.New reports, and returns for which client it is.
func (d *doctor) lookAtConfig(ctx context.Context) (from issuer) {
	from = issuer{d.named(), d.clientID}
	whence := ""
	if d.db != nil && (from.Environment == "" || from.ClientID == "") {
		switch found, err := d.issuer(ctx, d.db); {
		case err == nil:
			from, whence = found, ", from the links"
		case errors.Is(err, errNoIssuer) && from == issuer{}:
			d.add("config", statusSkip, "", "%s", err.Error())
			return from
		default:
			d.add("config", statusWarn, "name them with -env and -client-id", "%s", err.Error())
		}
	}
	cfg := d.config(from)
	if from.Environment == "" {
		cfg.Environment = pkb.Environment{}
	}
	cfg.Store = tokenstore.NewMemory() // keys and database have checks of their own
	_, err := pkb.New(cfg)
	mistakes := configErrors(err)
	for _, m := range mistakes {
		d.add("config", statusFail, fixOfField(m.Field), "%s %s", m.Field, m.Problem)
	}
	if len(mistakes) == 0 {
		d.ok("config", "%s%s", from, whence)
	}
	if _, known := d.environment(from.Environment); from.Environment != "" && !known {
		d.add("config", statusWarn, fmt.Sprintf("give -env %s=ADDRESS; or, if that is not a name of yours, sandbox or production", from.Environment), "the address of the environment %q is not known", from.Environment)
	}
	return from
}

// configErrors returns all of New's complaints.
func configErrors(err error) (all []*pkb.ConfigError) {
	var one *pkb.ConfigError
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case ok:
		for _, e := range joined.Unwrap() {
			all = append(all, configErrors(e)...)
		}
	case errors.As(err, &one):
		all = append(all, one)
	}
	return all
}

func fixOfField(field string) string {
	name, _, _ := strings.Cut(field, ".")
	switch name {
	case "Environment":
		return "give -env sandbox, production, an address or NAME=ADDRESS; in your program, Config.Environment"
	case "ClientID":
		return "give -client-id, the User Client id that PKB issued to you; in your program, Config.ClientID"
	case "RedirectURL":
		return "give -redirect, as registered with PKB; in your program, Config.RedirectURL"
	}
	return "set Config." + field
}

// lookAtRedirect looks at the redirect URI as PKB and a browser will.
func (d *doctor) lookAtRedirect(from issuer) {
	if d.redirect == "" {
		d.add("redirect", statusSkip, "", "no redirect URI: give -redirect to have it checked")
		return
	}
	cfg := d.config(issuer{"sandbox", "client"})
	cfg.RedirectURL, cfg.Store = d.redirect, tokenstore.NewMemory()
	_, err := pkb.New(cfg)
	for _, m := range configErrors(err) {
		d.add("redirect", statusFail, fixOfField(m.Field), "it %s", m.Problem)
		return
	}
	s, fix, found := judgeRedirect(d.redirect, from.Environment == pkb.Production().Name)
	d.add("redirect", s, fix, "%s", found)
}

// lookAtLinks looks at every record once.
func (d *doctor) lookAtLinks(ctx context.Context, from issuer) {
	byState, byKey, byIssuer := map[tokenstore.State]int{}, map[string]int{}, map[issuer]int{}
	late := 0
	at := now()
	cared := care{at: at}
	for r, err := range d.db.records(ctx) {
		if err != nil {
			d.storeFailed = true
			d.add("links", statusFail, fixOf(err), "%s", err.Error())
			return
		}
		byState[r.State]++
		byIssuer[issuer{r.Environment, r.ClientID}]++
		cared.look(r)
		if len(r.Sealed) > 0 {
			byKey[r.KeyID]++
		}
		if isLink(r) && r.State != tokenstore.StateRelinkRequired && r.Tried > 0 && r.Lease.Owner != "" && at.Sub(r.Lease.TakenAt) > time.Hour {
			late++
		}
	}
	d.lookAtKeys(ctx, from, byKey)
	var parts []string
	for _, s := range states {
		if byState[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", byState[s], s))
		}
	}
	switch {
	case len(parts) == 0:
		d.ok("links", "there are none")
	case byState[tokenstore.StateRelinkRequired] > 0:
		d.add("links", statusWarn, "links that have ended need their patients: pkbctl links -state relink_required, then pkbctl relink-url", "%s", strings.Join(parts, ", "))
	default:
		d.ok("links", "%s", strings.Join(parts, ", "))
	}
	d.judgeCare(cared)
	if late > 0 {
		d.add("links", statusWarn, "the next call for each patient, or pkbctl refresh, takes the lease over", "%d have a lease that a process left behind more than an hour ago", late)
	}
	for _, other := range slices.SortedFunc(maps.Keys(byIssuer), func(a, b issuer) int { return strings.Compare(a.String(), b.String()) }) {
		if other != from && from.Environment != "" {
			d.add("links", statusWarn, "the library refuses them (ErrOtherEnvironment): use the configuration they were made with, or unlink them", "%d were issued for %s", byIssuer[other], other)
		}
	}
}

// lookAtKeys finds out whether every link opens; byKey counts the records that
// each key sealed.
func (d *doctor) lookAtKeys(ctx context.Context, from issuer, byKey map[string]int) {
	keys, err := d.keys()
	switch {
	case errors.Is(err, errNoKeys):
		d.add("keys", statusSkip, "", "no keys: name their file with -keys, or set PKB_KEYS, to see whether the links open")
		return
	case errors.Is(err, errExposed):
		d.add("keys", statusFail, "chmod 600 the file; if somebody may have read it, put a new key first and run pkbctl reseal; a file that is mounted for a group can be given through a pipe", "others on this machine can read the file with the keys, or change it; it was not used")
		return
	case err != nil:
		d.add("keys", statusFail, "a key is id:base64 on one line, as keys.Generate makes it; several are separated by commas", "%s", err.Error())
		return
	}
	missing := false
	for _, id := range slices.Sorted(maps.Keys(byKey)) {
		if !slices.Contains(keys.KeyIDs(), id) {
			missing = true
			d.add("keys", statusFail, "put that key back on the keyring of every replica, after the first; without it these patients have to approve again", "%d links are sealed with the key %q, which is not on the keyring", byKey[id], id)
		}
	}
	opened, failed, names, err := d.rehearse(ctx, from)
	switch {
	case err != nil:
		d.add("keys", statusFail, fixOf(err), "the links could not be opened: %s", err.Error())
	case failed > 0 && !missing:
		d.add("keys", statusFail, "check whether the key of that name was replaced by another one, or rows were moved by hand", "%d links do not open with the key they name: %s", failed, strings.Join(names, ", "))
	case failed == 0:
		d.ok("keys", "%s; all %d sealed links open", counts(keys.KeyIDs(), byKey), opened)
	}
}

// counts lists how many records each key sealed.
func counts(ids []string, byKey map[string]int) string {
	var parts []string
	for i, id := range ids {
		seals := ""
		if i == 0 {
			seals = ", which seals"
		}
		parts = append(parts, fmt.Sprintf("%q%s (%d)", id, seals, byKey[id]))
	}
	return strings.Join(parts, ", ")
}
