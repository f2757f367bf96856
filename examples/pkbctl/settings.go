// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/keys"
	"github.com/betawerk/pkb-go/tokenstore"
)

// settings are the flags that every command takes.
type settings struct {
	db, table, schema string
	env, clientID     string
	redirect          string
	keysFile          string
	sessionLife       time.Duration
	json              bool

	// keysText and secret come from the environment only: a command line can be
	// read by others on the machine.
	keysText, secret string
	// badLife is what is wrong with PKB_SESSION_LIFE.
	badLife error

	// flags are those of the command line, for the commands that are printed.
	flags []string
}

func (s *settings) define(fs *flag.FlagSet, getenv func(string) string) {
	fs.StringVar(&s.db, "db", getenv("PKB_DB"), "the host's `database`: a SQLite file, postgres://..., mysql://... (MariaDB\ntoo), or a DSN of go-sql-driver/mysql; PKB_DB")
	fs.StringVar(&s.table, "table", getenv("PKB_TABLE"), "`name` of the table, if not pkb_links; PKB_TABLE")
	fs.StringVar(&s.schema, "schema", getenv("PKB_SCHEMA"), "`name` of the table's schema, if not the connection's own; PKB_SCHEMA")
	fs.StringVar(&s.env, "env", getenv("PKB_ENV"), "PKB's `environment`: sandbox, production, an address, or NAME=ADDRESS for one that\nyour program has named itself; PKB_ENV. Default: that of the links, if they have one")
	fs.StringVar(&s.clientID, "client-id", getenv("PKB_CLIENT_ID"), "your User Client `id` at PKB; PKB_CLIENT_ID. Default: that of the links")
	fs.StringVar(&s.redirect, "redirect", getenv("PKB_REDIRECT_URL"), "your redirect `URI` at PKB, which only doctor checks; PKB_REDIRECT_URL")
	fs.StringVar(&s.keysFile, "keys", getenv("PKB_KEYS_FILE"), "`file` with the keys that seal tokens, as for keys.Parse; PKB_KEYS_FILE. It is refused\nif others than its owner can read it (chmod 600), unless it is a pipe. PKB_KEYS holds\nthe keys themselves; there is no flag for that")
	life, err := time.ParseDuration(cmp.Or(getenv("PKB_SESSION_LIFE"), "0s"))
	if s.badLife = nil; err != nil {
		s.badLife = errors.New("PKB_SESSION_LIFE is no time, such as 2160h")
	}
	fs.DurationVar(&s.sessionLife, "session-life", life, "the `time` that PKB's sessions last for your client id, as Config.SessionLife of your\nprogram; PKB_SESSION_LIFE. Without it, what pkbctl writes has no end of the session")
	fs.BoolVar(&s.json, "json", false, "print JSON on a terminal too")
	s.keysText, s.secret = getenv("PKB_KEYS"), getenv("PKB_CLIENT_SECRET")
}

// errNoKeys: none were given.
var errNoKeys = errors.New("no keys: give a file with -keys or PKB_KEYS_FILE, or set PKB_KEYS")

// errExposed: others can read the keys.
var errExposed = errors.New("others on this machine can read the file with the keys, or change it: chmod 600 it, and seal with a new key if somebody may have read it (pkbctl reseal)")

// readKeys reads the file with the keys. Its errors do not repeat its name: keys are
// easily given in its place.
func readKeys(name string) (string, error) {
	file, err := os.Open(name) //nolint:gosec // it is the operator's own file
	if err != nil {
		return "", fmt.Errorf("the file with the keys cannot be opened: %w", errors.Unwrap(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("the file with the keys cannot be read: %w", errors.Unwrap(err))
	}
	if exposed(info) {
		return "", errExposed
	}
	b, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return "", fmt.Errorf("the file with the keys cannot be read: %w", errors.Unwrap(err))
	}
	return string(b), nil
}

// exposed reports whether others can read a file, or change it. Windows has no such
// modes, and nobody else can read a pipe.
func exposed(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows"
}

// keys reads the keyring.
func (s *settings) keys() (*keys.Keyring, error) {
	text := s.keysText
	if s.keysFile != "" {
		var err error
		if text, err = readKeys(s.keysFile); err != nil {
			return nil, &failure{exitUsage, err}
		}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &failure{exitUsage, errNoKeys}
	}
	k, err := keys.Parse(text)
	if err != nil {
		return nil, &failure{exitUsage, err}
	}
	return k, nil
}

// environment returns the environment of this name, with its addresses if those are
// known: a host may have given it a name of its own, and then -env has its address.
func (s *settings) environment(name string) (env pkb.Environment, known bool) {
	given, address, at := strings.Cut(s.env, "=")
	if at && given == name && !strings.Contains(given, "://") {
		env = pkb.BaseURL(address)
		env.Name = name
		return env, true
	}
	switch {
	case name == "sandbox":
		return pkb.Sandbox(), true
	case name == "production":
		return pkb.Production(), true
	case strings.Contains(name, "://"):
		return pkb.BaseURL(name), true
	}
	// For clients that send nothing: there is no such host.
	env = pkb.BaseURL("https://address-unknown.invalid")
	env.Name = name
	return env, false
}

// named is the name of the environment of -env, "" without one.
func (s *settings) named() string {
	if strings.Contains(s.env, "://") && !strings.Contains(s.env, "=") {
		return pkb.BaseURL(s.env).Name
	}
	name, _, _ := strings.Cut(s.env, "=")
	return name
}

// issuer is the environment and client id that tokens were issued for.
type issuer struct {
	Environment string `json:"environment"`
	ClientID    string `json:"client_id"`
}

func (i issuer) String() string { return clean(i.Environment) + ", client id " + clean(i.ClientID) }

// errNoIssuer: neither a flag nor a link has an issuer.
var errNoIssuer = errors.New("there is no link to take environment and client id from: give -env and -client-id")

// placeholderRedirect is for a client that starts no authorization.
const placeholderRedirect = "http://localhost/pkbctl"

// config is the Config of a client, without store and keys. Nothing is guessed: what no
// flag sets is taken from the records.
func (s *settings) config(from issuer) pkb.Config {
	env, _ := s.environment(from.Environment)
	cfg := pkb.Config{
		Environment: env, ClientID: from.ClientID,
		RedirectURL: placeholderRedirect, UserAgent: "pkbctl", SessionLife: s.sessionLife,
	}
	if s.secret != "" {
		cfg.ClientSecret = pkb.NewSecret(s.secret)
	}
	return cfg
}

// reaching is the config of a client that calls PKB, whose address must be known. of says
// whose environment it is.
func (s *settings) reaching(from issuer, of string) (pkb.Config, error) {
	if _, known := s.environment(from.Environment); !known {
		return pkb.Config{}, failed(exitUsage, "the address of %s %q is not known: give -env %[2]s=ADDRESS", of, clean(from.Environment))
	}
	return s.config(from), nil
}

// issuer returns the one of the flags, or the one of all links in the database.
func (s *settings) issuer(ctx context.Context, store *database) (issuer, error) {
	named := issuer{s.named(), s.clientID}
	if s.env != "" && s.clientID != "" {
		return named, nil
	}
	var found []issuer
	for r, err := range store.records(ctx) {
		if err != nil {
			return issuer{}, err
		}
		one := issuer{r.Environment, r.ClientID}
		if s.env != "" && one.Environment != named.Environment || s.clientID != "" && one.ClientID != named.ClientID {
			continue
		}
		if !slices.Contains(found, one) {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 0:
		return issuer{}, &failure{exitUsage, errNoIssuer}
	case 1:
		return found[0], nil
	}
	return issuer{}, failed(exitUsage, "the database holds links of several environments or client ids (%s; %s): choose one with -env and -client-id", found[0], found[1])
}

// codeOf returns the exit code of an error of the library's.
func codeOf(err error) int {
	var f *failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, pkb.ErrStore):
		return exitStore
	case errors.Is(err, pkb.ErrNotLinked), errors.Is(err, tokenstore.ErrNotFound):
		return exitNoLink
	case errors.Is(err, pkb.ErrTryLater):
		return exitLater
	case errors.Is(err, pkb.ErrAppUserID):
		return exitUsage
	}
	return exitWrong
}

// storeFailed gives an error of the database its exit code.
func storeFailed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &failure{exitStore, err}
}
