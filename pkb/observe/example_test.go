// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package observe_test

import (
	"fmt"

	"github.com/betawerk/pkb-go/pkb/observe"
)

// A log line says link=..., and this is whose.
func ExampleLinkName() {
	fmt.Println(observe.LinkName("app-user-1"))
	// Output:
	// cc5a80a8177e
}
