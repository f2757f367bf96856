// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

// The steps at which a process dies. A refresh writes its intent, posts, and writes
// the answer; a delivery writes a claim, tells the host, and clears the notice; an
// import writes the pair, whose it is about to be, and that it is the link.
var (
	refreshSteps = []string{
		"before the intent is written",
		"after the intent, before the POST",
		duringPost,
		afterAnswer,
		"before the response is saved",
		"while the response is being saved",
		"after the response is saved",
		anyMoment,
	}
	noticeSteps = []string{
		"before a notice is claimed",
		"after a notice is claimed",
		beforeTaken,
		afterTaken,
		beforeCleared,
		"while a notice is being cleared",
		"after a notice is cleared",
	}
	importSteps = []string{
		"after imported tokens are saved",
		"after their patient is claimed",
		"before they become the link",
	}
)

// Those that are no save, or looked for.
const (
	beforeCleared = "before a notice is cleared"
	duringPost    = "while PKB works on the POST"
	afterAnswer   = "when the response arrives"
	anyMoment     = "at any moment"
	beforeTaken   = "before the host takes a notice"
	afterTaken    = "after the host has taken a notice"
)

// moment is when of a save.
type moment int

const (
	before moment = iota + 1
	during
	after
)

// saves are at which save of the process a step is.
var saves = map[string]struct {
	number int32
	moment moment
}{
	refreshSteps[0]: {1, before}, refreshSteps[1]: {1, after},
	refreshSteps[4]: {2, before}, refreshSteps[5]: {2, during}, refreshSteps[6]: {2, after},
	noticeSteps[0]: {1, before}, noticeSteps[1]: {1, after},
	noticeSteps[4]: {2, before}, noticeSteps[5]: {2, during}, noticeSteps[6]: {2, after},
	importSteps[0]: {1, after}, importSteps[1]: {2, after}, importSteps[2]: {3, before},
}
