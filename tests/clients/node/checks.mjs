// What the programs say of their checks: nothing until one fails, and at the end how many there were.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export const host = process.env.NEARSIDE_HOST;
export const port = Number(process.env.NEARSIDE_PORT);
export const socket = process.env.NEARSIDE_SOCKET;

// Keys that meet in one command share a hash tag in front of a cluster; elsewhere nothing of the kind is needed.
export const cluster = process.env.NEARSIDE_CLUSTER !== undefined;
export const together = (name) => (cluster ? `{${name}}` : name);

let count = 0;

// Counts a check; fails when it does not hold.
export function check(holds, what) {
  count += 1;
  assert.ok(holds, what);
}

// Counts a check that two values are equal, part by part.
export function equal(found, wanted, what) {
  count += 1;
  assert.deepEqual(found, wanted, `${what}: found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
}

// Counts a check that the promise fails with a message like this.
export async function rejects(promise, message, what) {
  count += 1;
  await assert.rejects(promise, { message }, what);
}

// Counts a check that `look()` becomes true within so many milliseconds.
export async function eventually(look, what, limit = 10_000) {
  const deadline = Date.now() + limit;
  let found;
  while (!(found = await look()) && Date.now() < deadline) await sleep(10);
  check(found, `${what}: not within ${limit} ms`);
  return found;
}

// The numbers from 0 to below `end`.
export const range = (end) => [...Array(end).keys()];

// The last line of a program, which the harness insists on. What a program left open does not keep it alive.
export function passed() {
  console.log(`passed: ${count} checks`);
  process.exit(0);
}
