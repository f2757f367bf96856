// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"net/http"
	"testing"

	"github.com/go-oauth2/oauth2/v4"
	oautherrors "github.com/go-oauth2/oauth2/v4/errors"
	"github.com/go-oauth2/oauth2/v4/manage"
	"github.com/go-oauth2/oauth2/v4/models"
	oauthserver "github.com/go-oauth2/oauth2/v4/server"
	"github.com/go-oauth2/oauth2/v4/store"
)

// rotating and lasting are go-oauth2's two ways: a refresh token works once,
// though nothing ends when it comes twice; or again and again.
func rotating(t *testing.T) server { return goOAuth2(t, true) }
func lasting(t *testing.T) server  { return goOAuth2(t, false) }

func goOAuth2(t *testing.T, once bool) server {
	t.Helper()
	manager := manage.NewDefaultManager()
	manager.MustTokenStorage(store.NewMemoryTokenStore())
	clients := store.NewClientStore()
	if err := clients.Set(clientID, &models.Client{ID: clientID, Public: true, Domain: "https://app.example"}); err != nil {
		t.Fatal(err)
	}
	manager.MapClientStorage(clients)
	manager.SetAuthorizeCodeTokenCfg(&manage.Config{AccessTokenExp: tokenLife, RefreshTokenExp: 24 * tokenLife, IsGenerateRefresh: true})
	manager.SetRefreshTokenCfg(&manage.RefreshingConfig{AccessTokenExp: tokenLife, IsGenerateRefresh: true, IsRemoveRefreshing: once})
	provider := oauthserver.NewServer(oauthserver.NewConfig(), manager)
	provider.SetClientInfoHandler(oauthserver.ClientFormHandler)
	provider.SetAllowedGrantType(oauth2.AuthorizationCode, oauth2.Refreshing)
	return server{
		authorize: func(w http.ResponseWriter, r *http.Request, allow bool) {
			provider.SetUserAuthorizationHandler(func(http.ResponseWriter, *http.Request) (string, error) {
				if !allow {
					return "", oautherrors.ErrAccessDenied
				}
				return patient, nil
			})
			if err := provider.HandleAuthorizeRequest(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		},
		token: func(w http.ResponseWriter, r *http.Request) {
			if err := provider.HandleTokenRequest(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		},
		takes: func(r *http.Request) bool {
			info, err := provider.ValidationBearerToken(r)
			return err == nil && info.GetUserID() == patient && info.GetScope() == scope
		},
	}
}
