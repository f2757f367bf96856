// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package pkb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

// Get reads any other resource of PKB by its path.
func ExamplePatient_Get() {
	ctx := context.Background()
	server, ada, client := demo()
	demoLink(ctx, server, ada, client)
	server.Next("", pkbtest.Respond(200, "application/json", `{"results":[{"value":"72"}]}`)) // made up for this example

	patient := client.ForUser("app-user-1")
	answer, err := patient.Get(ctx, "/json/v2-beta/measurements", url.Values{"apiRefs": {"weight"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var measurements struct {
		Results []struct{ Value string }
	}
	if err := json.Unmarshal(answer.Raw(), &measurements); err != nil {
		fmt.Println("not what was expected") // err can repeat what it read
		return
	}
	fmt.Println(answer, measurements.Results[0].Value)

	_, err = patient.Get(ctx, "/json/../apiToken.action", nil)
	fmt.Println(err != nil)
	// Output:
	// [redacted] 72
	// true
}
