// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// oauth4webapi links a patient. It checks the responses itself: state, JSON,
// content types, token_type, expires_in.

import * as oauth from "oauth4webapi";

import { patient, setting, tell } from "./story.mjs";

const server = {
  issuer: setting.pkb,
  authorization_endpoint: setting.pkb + "/apiAuthorize.action",
  token_endpoint: setting.pkb + "/apiToken.action",
};
const client = { client_id: setting.clientId };
const options = { [oauth.allowInsecureRequests]: true }; // a port of this machine

await tell(async () => {
  const state = oauth.generateRandomState();
  const address = new URL(server.authorization_endpoint);
  address.search = new URLSearchParams({
    response_type: "code", client_id: client.client_id, redirect_uri: setting.redirect, scope: "PATIENT", state,
  });
  let verifier = oauth.nopkce;
  if (setting.pkce) {
    verifier = oauth.generateRandomCodeVerifier();
    address.searchParams.set("code_challenge", await oauth.calculatePKCECodeChallenge(verifier));
    address.searchParams.set("code_challenge_method", "S256");
  }

  const callback = oauth.validateAuthResponse(server, client, await patient(address.href), state);
  const first = await oauth.processAuthorizationCodeResponse(server, client,
    await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), callback, setting.redirect, verifier, options));

  const refresh = async (token) => oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, options));
  const second = await refresh(first.refresh_token);

  const call = (method, path, token) => oauth.protectedResourceRequest(token, method, new URL(setting.pkb + path), undefined, undefined, options);
  const self = await (await call("GET", "/json/users/self", second.access_token)).json();
  const purview = await (await call("GET", "/fhir/Consent/$purview", second.access_token)).json();

  const again = await refresh(first.refresh_token).then(() => "", (error) => error.error ?? String(error));
  const afterwards = await call("GET", "/json/users/self", second.access_token).then((r) => r.status, (error) => error.status);
  return {
    tokenType: first.token_type, expiresIn: first.expires_in, scope: first.scope,
    newPair: second.access_token !== first.access_token && second.refresh_token !== first.refresh_token,
    lastName: self.lastName, patient: purview.parameter[0].valueReference.reference, again, afterwards,
  };
});
