// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// Command pkbctl is for the people who run a host: it shows the links in the host's
// database, finds out why one does not work, and does what needs an operator.
//
//	go run ./examples/pkbctl doctor -db webapp.db -keys webapp.keys
//	go run ./examples/pkbctl links -db postgres://...
//
// pkbctl -h lists the commands, pkbctl COMMAND -h describes one.
// Output is a table on a terminal and JSON in a pipe. It prints no token and no
// key.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/betawerk/pkb-go/pkb/advice"
)

// The exit codes. What scripts rely on is in the help too.
const (
	exitDone        = 0
	exitWrong       = 1
	exitUsage       = 2
	exitStore       = 3
	exitNoLink      = 4
	exitLater       = 5
	exitInterrupted = 130
)

const exitCodes = `Exit codes:
  0    done, and nothing is wrong
  1    something is wrong: a check failed, the link has ended, records do not open
  2    wrong flags or arguments, or no confirmation
  3    the database cannot be reached, or failed
  4    there is no such link
  5    not now: PKB is not available, or refuses the application; the link is kept
  130  interrupted (Ctrl-C); what was done is kept, and the command can be run again
`

// command is one of pkbctl's.
type command struct {
	name, args, summary string
	about               string
	examples            []string
	// define adds the command's own flags, and returns what it does.
	define func(*flag.FlagSet) func(context.Context, *call) error
}

var commands = []*command{doctorCommand, linksCommand, showCommand, noticesCommand, refreshCommand, relinkCommand, discardCommand, unlinkCommand, tendCommand, importCommand, resealCommand, copyCommand}

// failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

// errSaid: something is wrong, and the output describes it.
var errSaid = &failure{exitWrong, errors.New("something is wrong")}

// console is the input and output of pkbctl.
type console struct {
	in       io.Reader
	out, err io.Writer
	// terminal: out is one; asks: a person sits at in; watched: a person sees err.
	terminal, asks, watched bool
	// size is the terminal's, in characters.
	size   func() (width, height int)
	getenv func(string) string
	args   []string // the command line
}

// call is one command being carried out.
type call struct {
	console
	settings
	args  []string
	meter *meter
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	code := run(ctx, standardConsole(), os.Args[1:])
	stop()
	os.Exit(code)
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, c console, args []string) int {
	name := ""
	c.args = args
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "", "help", "-h", "-help", "--help":
		if len(args) < 2 {
			out, code := c.out, exitDone
			if name == "" {
				out, code = c.err, exitUsage
			}
			fmt.Fprint(out, overview())
			return code
		}
		name, args = args[1], []string{args[1], "-h"}
	}
	i := slices.IndexFunc(commands, func(cmd *command) bool { return cmd.name == name })
	if i < 0 {
		fmt.Fprintf(c.err, "pkbctl: there is no command %s; pkbctl -h lists them\n", c.say(strconv.Quote(name)))
		return exitUsage
	}
	cmd := commands[i]
	do, called, err := cmd.parse(c, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(c.out, cmd.help())
		return exitDone
	}
	if err == nil {
		err = do(ctx, called)
		called.meter.clear()
	}
	return c.exit(ctx, cmd, err)
}

// exit prints what went wrong, and returns the code.
func (c console) exit(ctx context.Context, cmd *command, err error) int {
	var f *failure
	done := ""
	if u, ok := errors.AsType[*unfinished](err); ok {
		done = "; " + u.done
	}
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		fmt.Fprintf(c.err, "pkbctl %s: interrupted%s\n", cmd.name, done)
		return exitInterrupted
	case errors.Is(err, errSaid):
		return codeOf(err)
	case errors.As(err, &f):
		fmt.Fprintf(c.err, "pkbctl %s: %s%s\n", cmd.name, c.say(err.Error()), done)
		if f.code == exitUsage && !errors.Is(err, errRefused) {
			fmt.Fprintf(c.err, "pkbctl %s -h has the usage\n", cmd.name)
		}
		return f.code
	}
	fmt.Fprintf(c.err, "pkbctl %s: %s%s\n", cmd.name, c.say(err.Error()), done)
	if a := advice.For(err); a.Code != "unforeseen" {
		fmt.Fprintln(c.err, a.Operator)
	}
	return codeOf(err)
}

// parse reads flags, which may come before and after the arguments.
func (cmd *command) parse(c console, args []string) (func(context.Context, *call) error, *call, error) {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	called := &call{console: c}
	do := cmd.define(fs)
	called.define(fs, c.getenv)
	for rest := args; ; {
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, nil, err
			}
			return nil, nil, &failure{exitUsage, err}
		}
		left := fs.Args()
		if parsed := len(rest) - len(left); parsed > 0 && rest[parsed-1] == "--" {
			called.args = append(called.args, left...)
			break
		}
		if len(left) == 0 {
			break
		}
		called.args, rest = append(called.args, left[0]), left[1:]
	}
	if want := len(strings.Fields(cmd.args)); len(called.args) != want {
		if want == 0 {
			return nil, nil, failed(exitUsage, "%q is one argument too many", called.args[0])
		}
		return nil, nil, failed(exitUsage, "it takes one argument, %s, and got %d", cmd.args, len(called.args))
	}
	if called.badLife != nil {
		return nil, nil, &failure{exitUsage, called.badLife}
	}
	called.keep(fs)
	called.terminal = c.terminal && !called.json
	called.watched = c.watched && called.terminal == c.terminal // no bar between JSON on a terminal
	called.meter = &meter{c: called}
	return do, called, nil
}

// user is the argument of the commands that are about one link.
func (c *call) user() string { return c.args[0] }

func overview() string {
	var b strings.Builder
	b.WriteString("pkbctl maintains the links between your users and their records at PKB.\n\nUsage: pkbctl COMMAND [flags]\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, cmd := range commands {
		fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.summary)
	}
	_ = w.Flush() // to memory
	b.WriteString(`
pkbctl COMMAND -h describes one of them. Begin with

  pkbctl doctor -db FILE|postgres://...|mysql://... -keys FILE

Output is a table on a terminal, and JSON in a pipe or with -json; a narrow terminal
gets fewer columns. Long work shows its progress on standard error if that is a
terminal. No token, no key and no password is ever printed, and what is not
printable is escaped. USER is an app_user_id, or the link=... of a log line.

`)
	b.WriteString(exitCodes)
	return b.String()
}

// help describes a command.
func (cmd *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: pkbctl %s\n\n%s\n", strings.TrimSpace(cmd.name+" [flags] "+cmd.args), cmd.about)
	own := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	cmd.define(own)
	describe(&b, "Flags:", own)
	common := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	new(settings).define(common, func(string) string { return "" })
	describe(&b, "Flags of every command, and the environment variables that set them (a flag wins):", common)
	b.WriteString("\nExamples:\n")
	for _, e := range cmd.examples {
		b.WriteString("  " + e + "\n")
	}
	b.WriteString("\n" + exitCodes)
	return b.String()
}

func describe(b *strings.Builder, title string, fs *flag.FlagSet) {
	var lines strings.Builder
	w := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		first := true
		for line := range strings.SplitSeq(usage, "\n") {
			if first {
				fmt.Fprintf(w, "  -%s\t%s\n", strings.TrimSpace(f.Name+" "+value), line)
			} else {
				fmt.Fprintf(w, "  \t%s\n", line)
			}
			first = false
		}
	})
	_ = w.Flush() // to memory
	if lines.Len() > 0 {
		b.WriteString("\n" + title + "\n" + lines.String())
	}
}

// now is the system clock, without the monotonic reading.
func now() time.Time { return time.Now().UTC().Round(0) }
