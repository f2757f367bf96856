// Copyright 2026 Betawerk
// SPDX-License-Identifier: Apache-2.0

// How a stranger and the test talk: the test gives the setting as the one
// argument; the stranger prints the address that the patient opens, reads the
// callback that comes of it, and prints how the story went.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under this name only

export const setting = JSON.parse(process.argv[2]);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** The patient opens the address; the callback's address comes back. */
export async function patient(address) {
  console.log(JSON.stringify({ authorize: address }));
  return new URL((await lines.next()).value);
}

/** Runs a story and prints how it went, or what the stranger says is wrong. */
export async function tell(story) {
  try {
    console.log(JSON.stringify(await story()));
  } catch (error) {
    console.log(JSON.stringify({ refused: error.error ?? error.message ?? String(error) }));
  }
  process.exit(0);
}
