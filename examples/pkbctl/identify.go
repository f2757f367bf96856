// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"

	"github.com/betawerk/pkb-go/pkb"
)

// checking is who decides whose record an authorization opens. pkbctl does not have the
// host's Config.Identify, and must not take its place in silence.
type checking string

const (
	byPurview checking = "purview"
	byProgram checking = "program"
)

const checkUsage = "`who` decides whose record a waiting authorization opens: purview, if your program has no\nConfig.Identify; or program, and then it waits for that (default program)"

func (k *checking) define(fs *flag.FlagSet, usage string) {
	fs.Func("check", usage, func(text string) error {
		if *k = checking(text); *k != byPurview && *k != byProgram {
			return errors.New("it is purview or program")
		}
		return nil
	})
}

// errForProgram is what pkbctl says in place of the host's Config.Identify: neither yes
// nor no, so the authorization waits.
var errForProgram = errors.New("the program decides")

// leave makes authorizations wait for the host's program, unless Purview decides.
func (k checking) leave(cfg *pkb.Config) {
	if k != byPurview {
		cfg.Identify = func(context.Context, pkb.Candidate) error { return errForProgram }
	}
}
