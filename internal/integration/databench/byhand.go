// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// selfByHand is the documented response of users/self, as one writes it down.
type selfByHand struct {
	ID                string `json:"id"`
	UserType          string `json:"userType"`
	HeightCm          string `json:"heightCm"`
	HeightFeet        string `json:"heightFeet"`
	HeightInches      string `json:"heightInches"`
	HeightInchesTotal string `json:"heightInchesTotal"`
	WeightKg          string `json:"weightKg"`
	WeightLbs         string `json:"weightLbs"`
	Title             string `json:"title"`
	FirstName         string `json:"firstName"`
	LastName          string `json:"lastName"`
	DOB               string `json:"dob"`
	DateDeceased      string `json:"dateDeceased"`
	GenderMF          string `json:"genderMF"`
	Gender            string `json:"gender"`
	Email             string `json:"email"`
	Phone             string `json:"phone"`
	Address1          string `json:"address1"`
	Address2          string `json:"address2"`
	City              string `json:"city"`
	State             string `json:"state"`
	PostalCode        string `json:"postalCode"`
	Country           string `json:"country"`
	JobTitle          string `json:"jobTitle"`
	OrganizationName  string `json:"organizationName"`
	TeamName          string `json:"teamName"`
	NationalIDs       []struct {
		Value        string   `json:"value"`
		Name         string   `json:"name"`
		CountryCodes []string `json:"countryCodes"`
	} `json:"nationalIds"`
	Contacts []struct {
		ID           string `json:"id"`
		ContactType  string `json:"contactType"`
		ContactValue string `json:"contactValue"`
		PhoneUseType string `json:"phoneUseType"`
		Primary      bool   `json:"primary"`
		Confirmed    bool   `json:"confirmed"`
	} `json:"contacts"`
	Patient bool `json:"patient"`
}

func (b *bench) self(ctx context.Context) (selfByHand, error) {
	var self selfByHand
	err := b.ask(ctx, http.MethodGet, "/json/users/self", "application/json", nil, &self)
	return self, err
}

func (b *bench) publicID(ctx context.Context) (string, error) {
	var answer struct {
		ResourceType string `json:"resourceType"`
		Parameter    []struct {
			Name           string `json:"name"`
			ValueReference struct {
				Reference string `json:"reference"`
			} `json:"valueReference"`
		} `json:"parameter"`
	}
	body := strings.NewReader(`{"resourceType":"Parameters"}`)
	if err := b.ask(ctx, http.MethodPost, "/fhir/Consent/$purview", "application/fhir+json", body, &answer); err != nil {
		return "", err
	}
	for _, p := range answer.Parameter {
		if id, ok := strings.CutPrefix(p.ValueReference.Reference, "Patient/"); ok && p.Name == "purview" {
			return id, nil
		}
	}
	return "", errors.New("the response names no patient")
}

func (b *bench) ask(ctx context.Context, method, path, mediaType string, body io.Reader, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	req.Header.Set("Accept", mediaType)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := b.hand.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// sameAnswers checks that both read the same before they are compared.
func (b *bench) sameAnswers(ctx context.Context) error {
	ours, err := b.patient.Self(ctx)
	if err != nil {
		return err
	}
	theirs, err := b.self(ctx)
	if err != nil {
		return err
	}
	number, _ := ours.NHSNumber()
	if ours.Reveal().LastName != theirs.LastName || theirs.LastName == "" || len(theirs.NationalIDs) != 1 || number.Reveal() != theirs.NationalIDs[0].Value {
		return errors.New("users/self is not read alike")
	}
	id, err := b.patient.Purview(ctx)
	if err != nil {
		return err
	}
	if other, err := b.publicID(ctx); err != nil || string(id) != other {
		return fmt.Errorf("purview is not read alike: %w", err)
	}
	return errors.Join(decode(ctx, b.page), bareDecode(b.page))
}
