import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeEngine, fakeServer } from "../../test/helpers/fake-engine.js";
import { fuzzBodies, fuzzMessages } from "../../test/helpers/serve-fuzz.js";
import { audio, metric, post } from "../../test/helpers/uploads.js";
import type { Server } from "./server.js";

// Plan: damaged forms and messages of a seed, over an engine without a model. Each form is answered
// or refused in one line; then no upload, request or session is left, and the next upload is
// answered. `npm run check:serve` sends 10,000 of each to the real process.

let engine: FakeEngine;
let server: Server;
beforeAll(async () => {
  ({ engine, server } = await fakeServer());
});
afterAll(() => server.stop());

async function expectNothingLeft(): Promise<void> {
  for (const name of ["uploads", "requests_open", "sessions"])
    await expect
      .poll(() => metric(server.address, `funasr_${name}`), { timeout: 60_000, message: name })
      .toBe(0);
  const open = (): object[] => engine.lives.filter(({ closed }) => !closed);
  await expect.poll(open, { timeout: 60_000 }).toEqual([]);
  expect((await post(server.address, {}, audio())).status).toBe(200);
}

test("damaged forms", async () => {
  const statuses = await fuzzBodies(`${server.address}/v1/audio/transcriptions`, 400);
  expect(statuses).toMatch(/\b400: \d/);
  expect(statuses).toMatch(/\b200: \d/);
  await expectNothingLeft();
});

test("damaged WebSocket messages", async () => {
  const sessions = await fuzzMessages(server.address.replace("http", "ws"), 400);
  expect(sessions).toMatch(/^[1-9]\d* sessions, [1-9]\d* ended by the server$/);
  await expectNothingLeft();
});
