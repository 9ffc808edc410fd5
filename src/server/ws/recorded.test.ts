import { expect, test } from "vitest";
import { Admission } from "../http/admission.js";
import type { Peer, SessionParts } from "./peer.js";
import { Recorded } from "./recorded.js";
import { twoPassDefaults } from "./two-pass-settings.js";

// Plan: a client of a disk that takes nothing is not read, and is read again once its recording is
// closed: its connection would never end otherwise.

test("a closed recording reads its client on", async () => {
  const spool = { write: () => new Promise(() => undefined) };
  const settings = { maxUploadBytes: 1e9 };
  const parts = { admission: new Admission(1, 0), spool, settings } as unknown as SessionParts;
  const readings: boolean[] = [];
  const peer = { reading: (on: boolean) => readings.push(on) } as unknown as Peer;
  const recorded = new Recorded(parts, twoPassDefaults);
  recorded.push(Buffer.alloc(100_000), peer);
  recorded.push(Buffer.alloc(100_000), peer);
  expect(readings).toEqual([false]);
  void recorded.close();
  await expect.poll(() => readings, { timeout: 60_000 }).toEqual([false, true]);
});
