// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/betawerk/pkb-go/pkb"
	"github.com/betawerk/pkb-go/pkb/identity"
	"github.com/betawerk/pkb-go/pkb/pkbsystem"
	"github.com/betawerk/pkb-go/pkb/pkbtest"
)

const systemSecret = "millet-51d0-millet-b2e8"

// systems prints what a host with a system client gets, and meets each fault in each
// of its calls.
func (h *host) systems(ctx context.Context) error {
	h.Secrets.Plant("system secret", systemSecret)
	config := pkbsystem.Config{
		Environment: pkb.BaseURL(h.server.URL()), TokenURL: h.server.URL() + "/api/oauth/token",
		Organisation: h.server.AddOrganisation(pkbtest.Organisation{}).PublicID, ClientID: "test-system-client", ClientSecret: pkb.NewSecret(systemSecret),
		HTTPClient: &http.Client{Transport: tap{h}}, Now: h.server.Now, Logger: h.config.Logger, Telemetry: h.config.Telemetry, Retries: -1,
	}
	user, err := h.link(ctx)
	if err != nil {
		return err
	}
	self, err := h.client.ForUser(user).Self(ctx)
	if err != nil {
		return err
	}
	if err := h.systemValues(ctx, config, self); err != nil {
		return err
	}
	met := 0
	for _, endpoint := range []pkbtest.Endpoint{pkbtest.SystemToken, pkbtest.Facade, pkbtest.Messaging} {
		for _, fault := range h.faults() {
			system, err := pkbsystem.New(config) // it has no token
			if err != nil {
				return err
			}
			h.server.Next(endpoint, fault, fault)
			number, _ := self.NHSNumber()
			_, found := system.FindByNHSNumber(ctx, number)
			_, asked := system.Status(ctx, identity.KindNHSNumber, number)
			added := system.AddPatient(ctx, pkbsystem.Addition{Self: self})
			for _, err := range []error{found, asked, added} {
				if h.failed(err); err != nil {
					met++
				}
			}
			h.server.ClearFaults()
		}
	}
	if met < 200 {
		return fmt.Errorf("only %d faults were met by a system client", met)
	}
	return nil
}

func (h *host) systemValues(ctx context.Context, config pkbsystem.Config, self identity.Self) error {
	system, err := pkbsystem.New(config)
	if err != nil {
		return err
	}
	number, _ := self.NHSNumber()
	statuses, err := system.Status(ctx, identity.KindNHSNumber, number)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.server.URL()+"/fhir/Patient", nil)
	if err != nil {
		return err
	}
	resp, err := system.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	for _, v := range []any{system, system.HTTPClient(), system.HTTPClient().Transport, config, statuses, pkbsystem.Addition{Self: self}, resp.Request.Header} {
		h.value(v)
	}
	h.failed(system.AddPatient(ctx, pkbsystem.Addition{Self: identity.NewSelf(identity.Demographics{FirstName: self.Reveal().FirstName, Gender: identity.Gender(h.canaries)})}))
	return errors.Join(err, resp.Body.Close())
}
