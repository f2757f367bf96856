// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe_test

import (
	"fmt"

	"github.com/betawerk/pkb-go/pkb/observe"
)

// LinkName finds a user's log lines.
func ExampleLinkName() {
	fmt.Println(observe.LinkName("app-user-1"))
	// Output:
	// cc5a80a8177e
}

// A rate to alert on: how many links ended for a cause, per million refreshes.
func ExampleStats_LostPerMillion() {
	stats := observe.Stats{Refreshes: 2_000_000, Lost: map[observe.Cause]uint64{observe.CauseOutcomeUnknown: 3}}
	fmt.Println(stats.LostPerMillion(observe.CauseOutcomeUnknown))
	// Output: 1.5
}
