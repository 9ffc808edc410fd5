import { expect, test } from "vitest";
import { Admission } from "../http/admission.js";
import type { Peer, SessionParts } from "./peer.js";
import { Recorded } from "./recorded.js";
import { twoPassDefaults } from "./two-pass-settings.js";

// Plan: a client of a disk that takes nothing is not read, and is read again once its recording is
// closed: its connection would never end otherwise.

test("a closed recording reads its client on", () => {
  const spool = { write: () => new Promise(() => undefined) };
  const settings = { maxUploadBytes: 1e9 };
  const parts = { admission: new Admission(1, 0), spool, settings } as unknown as SessionParts;
  const holders = new Set<object>();
  const peer = {
    hold: (holder: object) => holders.add(holder),
    release: (holder: object) => holders.delete(holder),
  } as unknown as Peer;
  const recorded = new Recorded(parts, twoPassDefaults, peer, () => undefined);
  recorded.push(Buffer.alloc(100_000));
  recorded.push(Buffer.alloc(100_000));
  expect(holders.size).toBe(1);
  void recorded.close();
  expect(holders.size).toBe(0);
});
