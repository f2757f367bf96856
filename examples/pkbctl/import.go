// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/observe"
)

var importCommand = &command{
	name: "import", args: "FILE",
	summary: "make links of tokens that other code obtained",
	about: `import makes a link of each pair of tokens in a file, or with - on standard input: one
JSON object on a line, in UTF-8,

  {"app_user_id": "...", "access_token": "...", "refresh_token": "...",
   "expiry": "2026-03-01T12:00:00Z"}

expiry is that of the access token; without it the access token is tried as it is.
token_type, scope and expires_in may be there too, as encoding/json writes an
oauth2.Token. The file is refused if others than its owner can read it (chmod 600).

First stop whatever has refreshed these tokens until now, for good: a refresh token works
once, and PKB ends the session when it comes twice. On a terminal import asks whether
that is so; elsewhere it wants -yes.

Each pair is saved, then PKB is asked whose record it opens (Purview), and then it is the
user's link. A pair whose access token has expired is refreshed first, once. Say with -check
who decides: purview; or program, if your program has Config.Identify, and then the pairs
are saved and wait until your program checks them (at the next call, or by Client.Tend).
Users who are linked already keep their link, and nothing of their pair is sent. So an
import that was interrupted or killed is started again with the same file. After some
twenty pairs in a row that PKB could not be asked about it stops by itself: they wait, and
the rest is imported when it is started again.

With -n nothing is sent and nothing written: each line is looked at, and whether its
user is linked.

A terminal sees the progress, and the lines that were not imported, with the reason.
In a pipe it prints JSON lines: of progress, with {"records", "total", "imported",
"already", "waiting", "refused", "rate", "left_seconds", "done"}, the last one with "done":
true, and with -n also "ready" and "expired"; and for each line that is refused or waits
{"line", "app_user_id", "link", "result", "code", "reason"}, which -report writes to a file
too. The exit code is 1 if a line was refused, and 5 if none was and PKB could not be
asked about some.`,
	examples: []string{
		"pkbctl import -n pairs.jsonl -db webapp.db -keys webapp.keys -env sandbox -client-id ID",
		"pkbctl import pairs.jsonl -check purview -report refused.jsonl",
		"psql -AtX -c \"SELECT json_build_object(...) FROM tokens\" | pkbctl import - -check purview -yes",
	},
	define: func(fs *flag.FlagSet) func(context.Context, *call) error {
		o := &importOptions{}
		fs.BoolVar(&o.dry, "n", false, "only look at the lines: send nothing, write nothing")
		fs.BoolVar(&o.dry, "dry-run", false, "the same as -n")
		fs.BoolVar(&o.yes, "yes", false, "do not ask: nothing else refreshes these tokens any more")
		fs.BoolVar(&o.notices, "notices", false, "keep a notice of each new link for the Config.Notify of your program")
		fs.Float64Var(&o.rate, "rate", 10, "import at most this `number` of pairs a second; 0 for no limit")
		fs.StringVar(&o.report, "report", "", "`file` for the lines that were not imported; one that is there is replaced")
		o.check.define(fs, "`who` decides whose record a pair opens: purview; or program, if yours has\nConfig.Identify")
		return o.run
	},
}

// importOptions are import's flags.
type importOptions struct {
	dry, yes, notices bool
	rate              float64
	report            string
	check             checking
}

func (o *importOptions) run(ctx context.Context, c *call) error {
	switch {
	case o.check == "" && !o.dry:
		return failed(exitUsage, "say with -check who decides whose record each pair opens: -check purview, or -check program if your program has Config.Identify")
	case o.rate < 0:
		return failed(exitUsage, "-rate is %v; it is a number of pairs a second, or 0 for no limit", o.rate)
	case !o.dry && !o.yes && (!c.asks || c.args[0] == "-"):
		return failed(exitUsage, "there is no terminal to ask on: give -yes, if nothing else refreshes these tokens any more")
	}
	in, total, err := c.input(c.args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	db, err := c.open()
	if err != nil {
		return err
	}
	defer db.close()
	i := &importing{importOptions: *o, c: c, db: db, done: importLine{progress: progress{Total: total}}}
	if err := i.prepare(ctx); err != nil {
		return err
	}
	const question = "A refresh token works once. Has everything that refreshed these tokens until now stopped, for good?"
	if !o.dry && !o.yes && !c.ask(ctx, question) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &failure{exitUsage, errRefused}
	}
	return i.reported(ctx, newPairs(in))
}

// errReadable: others can read the tokens.
var errReadable = errors.New("others on this machine can read the file with the tokens, or change it: chmod 600 it; patients whose tokens somebody may have read approve again")

// input opens the file of tokens, and counts its lines if they can be read twice. Its
// errors do not repeat its name.
func (c *call) input(name string) (in io.ReadCloser, lines int, err error) {
	file, ok := c.in.(*os.File)
	switch {
	case name != "-":
		if file, err = os.Open(name); err != nil { //nolint:gosec // it is the operator's own file
			return nil, 0, failed(exitUsage, "the file with the tokens cannot be opened: %w", errors.Unwrap(err))
		}
	case !ok:
		return io.NopCloser(c.in), 0, nil
	}
	info, err := file.Stat()
	switch {
	case err != nil || info.IsDir():
		err = errUnread
	case exposed(info):
		err = &failure{exitUsage, errReadable}
	case info.Mode().IsRegular():
		lines, err = countLines(file)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, lines, nil
}

var errUnread = &failure{exitUsage, errors.New("the file with the tokens cannot be read")}

// countLines returns how many lines there are from here on, and goes back.
func countLines(file *os.File) (n int, err error) {
	begin, err := file.Seek(0, io.SeekCurrent)
	for lines := newPairs(file); err == nil; {
		var text []byte
		var long bool
		if text, long, err = lines.read(); long || len(bytes.TrimSpace(text)) > 0 {
			n++
		}
	}
	if errors.Is(err, io.EOF) {
		_, err = file.Seek(begin, io.SeekStart)
	}
	if err != nil {
		return 0, errUnread
	}
	return n, nil
}

// prepare makes the client that imports.
func (i *importing) prepare(ctx context.Context) error {
	if _, err := i.db.Count(ctx); err != nil {
		return storeFailed(err)
	}
	keys, err := i.c.keys()
	if err != nil {
		return err
	}
	if i.to, err = i.c.issuer(ctx, i.db); err != nil {
		return err
	}
	cfg, err := i.c.reaching(i.to, "the environment")
	if err != nil {
		return err
	}
	cfg.Store, cfg.Keys = i.db, keys
	i.check.leave(&cfg)
	if i.notices {
		cfg.Notify = func(context.Context, observe.Notice) error { return errForProgram } // import delivers none
	}
	if i.client, err = pkb.New(cfg); err != nil {
		return &failure{exitUsage, err}
	}
	return nil
}

// reported imports all lines, with those that were not imported in the file of -report.
func (i *importing) reported(ctx context.Context, lines *pairs) error {
	if i.report == "" {
		return i.all(ctx, lines)
	}
	file, err := os.OpenFile(i.report, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // it is the operator's own file
	if err != nil {
		return failed(exitUsage, "the file of -report cannot be made: %w", errors.Unwrap(err))
	}
	i.copy = file
	err = i.all(ctx, lines)
	if closed := file.Close(); closed != nil && err == nil {
		err = failed(exitWrong, "the file of -report cannot be written: %w", errors.Unwrap(closed))
	}
	return err
}
