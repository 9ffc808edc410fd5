import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fuzzRuns } from "../../../test/helpers/fuzz.js";
import { uniformNumbers } from "../../random.js";
import type { Utterance } from "../utterances.js";
import { kaldi } from "./kaldi.js";
import { parseSegment, parseSide } from "./kaldi-parts.js";

// Plan: for any columns the parsers give a valid part or one reason. In a directory of such tables
// each line of text is an utterance, or is skipped once with a reason in one line.

const runs = fuzzRuns(10_000);
const root = mkdtempSync(join(tmpdir(), "funasr-kaldi-"));
afterAll(() => rmSync(root, { recursive: true }));

const PIECES = [
  ...["0", "1", "-1", "2.5", "A", "b", "é", "1e3", "1e999", ".", "-", "NaN", "999", "\u0000", "0x1", "r"],
  ...["|", "r1", "r2", "+1", "1e-9", "\ufeff", "字", "__proto__"],
];
const next = uniformNumbers(7);
const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)];
const columns = (most: number): string =>
  Array.from({ length: 1 + Math.floor(next() * most) }, () => pick(PIECES)).join(next() < 0.9 ? " " : "\t ");

function expectPart({ start = 0, end = Infinity, channel = 1 }: Partial<Utterance>): void {
  expect(Number.isFinite(start) && start >= 0 && end > start).toBe(true);
  expect(Number.isInteger(channel) && channel >= 1 && channel <= 999).toBe(true);
}

test(`${runs} lines of segments and of reco2file_and_channel`, () => {
  let parts = 0;
  for (let i = 0; i < runs; i++) {
    const line = columns(6);
    const side = parseSide(line);
    if (typeof side === "number") expectPart({ channel: side });
    const part = parseSegment(line);
    if (typeof part === "string") continue;
    parts++;
    expectPart(part);
  }
  expect(parts).toBeGreaterThan(runs / 100);
});

test(`a directory of ${runs} such lines in each table`, async () => {
  const write = (name: string, lines: readonly string[]): void =>
    writeFileSync(join(root, name), lines.join(pick(["\n", "\r\n"])));
  const ids = Array.from({ length: runs }, (_, i) => `u${i}`);
  const some = (): string[] => ids.filter(() => next() < 0.9);
  writeFileSync(join(root, "a.wav"), "");
  const audio = ["a.wav", join(root, "a.wav"), "none.wav", ".", "sox a.wav |", "a.wav -", "|"];
  write(
    "wav.scp",
    [...ids, "r1", "r2"].map((id) => `${id} ${pick(audio)}`),
  );
  const times = ["0.5 2.25", "0 -1", "1 2 1", "0 1 A"];
  const cut = (id: string): string =>
    next() < 0.5 ? columns(5) : `${next() < 0.5 ? id : "r1"} ${pick(times)}`;
  write(
    "segments",
    some().map((id) => `${id} ${cut(id)}`),
  );
  write(
    "reco2file_and_channel",
    some().map((id) => `${id} ${columns(3)}`),
  );
  const spoken = some();
  write(
    "text",
    spoken.map((id) => `${id} ${next() < 0.1 ? "" : id}`),
  );
  const heard: string[] = [];
  let skipped = 0;
  for await (const found of kaldi.read(root, {})) {
    if ("utterance" in found) {
      expectPart(found.utterance);
      expect(found.utterance.audio).toBe(join(root, "a.wav"));
      heard.push(found.utterance.text);
    } else if ("skipped" in found) {
      expect(`${found.skipped}: ${found.why}`).toMatch(/^[^\n]+:\d+: [^\n]+$/);
      if (!found.why.endsWith(`in ${join(root, "text")}`)) skipped++;
    }
  }
  expect(new Set(heard).size).toBe(heard.length);
  expect(heard.length + skipped).toBe(spoken.length);
  expect(heard.length).toBeGreaterThan(runs / 50);
});
