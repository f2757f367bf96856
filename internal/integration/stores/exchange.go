// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/oauth2"
)

// exchanger does by hand what a refresh is besides its statements: it opens a pair,
// exchanges it, and seals the next one.
type exchanger struct {
	oauth  oauth2.Config
	client *http.Client
	key    cipher.AEAD
	sealed []byte // a pair that has expired
}

func newExchanger(pkb http.RoundTripper) (*exchanger, error) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	x := &exchanger{client: &http.Client{Transport: pkb}, oauth: oauth2.Config{
		ClientID: "client", Endpoint: oauth2.Endpoint{TokenURL: "https://pkb.example/apiToken.action", AuthStyle: oauth2.AuthStyleInParams},
	}}
	if x.key, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	x.sealed, err = x.seal(&oauth2.Token{AccessToken: token(), RefreshToken: token(), Expiry: time.Now().Add(-time.Minute)})
	return x, err
}

func (x *exchanger) seal(t *oauth2.Token) ([]byte, error) {
	plain, err := json.Marshal(t)
	return x.key.Seal(nil, nil, plain, nil), err
}

func (x *exchanger) exchange(ctx context.Context) error {
	plain, err := x.key.Open(nil, nil, x.sealed, nil)
	if err != nil {
		return err
	}
	var old oauth2.Token
	if err := json.Unmarshal(plain, &old); err != nil {
		return err
	}
	next, err := x.oauth.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, x.client), &old).Token()
	if err != nil {
		return err
	}
	_, err = x.seal(next)
	return err
}
