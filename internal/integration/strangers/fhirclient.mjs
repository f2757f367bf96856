// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// fhirclient, of SMART on FHIR, links a patient. It goes by a discovery
// document, which the test serves: PKB's pages know of none.

import smart from "fhirclient";

import { patient, setting, tell } from "./story.mjs";

const kept = new Map();
const storage = {
  get: async (key) => kept.get(key),
  set: async (key, value) => (kept.set(key, value), value),
  unset: async (key) => kept.delete(key),
};

// What fhirclient asks of a request.
const request = (address) => ({ url: address.pathname + address.search, headers: { host: address.host }, socket: {} });

await tell(async () => {
  const address = await smart(request(new URL(setting.redirect)), {}, storage).authorize({
    iss: setting.pkb + "/fhir", clientId: setting.clientId, scope: "PATIENT", redirectUri: setting.redirect, noRedirect: true,
  });
  const app = smart(request(await patient(address)), {}, storage);
  app.options.refreshTokenWithClientId = true; // a public client: PKB wants its id
  const client = await app.ready();
  const first = { ...client.state.tokenResponse };

  const refresh = () => {
    // SMART wants a scope for this; PKB's scope is a user type.
    client.state.tokenResponse.scope += " online_access";
    return client.refresh();
  };
  await refresh();
  const second = { ...client.state.tokenResponse };

  const self = await client.request(setting.pkb + "/json/users/self");
  const purview = await client.request("Consent/$purview");

  client.state.tokenResponse.refresh_token = first.refresh_token;
  const again = await refresh().then(() => "", (error) => /invalid_grant/.exec(error.message)?.[0] ?? error.message);
  const afterwards = await client.request(setting.pkb + "/json/users/self").then(() => 200, (error) => error.status);
  return {
    tokenType: first.token_type, expiresIn: first.expires_in, scope: first.scope,
    newPair: second.access_token !== first.access_token && second.refresh_token !== first.refresh_token,
    lastName: self.lastName, patient: purview.parameter[0].valueReference.reference, again, afterwards,
  };
});
