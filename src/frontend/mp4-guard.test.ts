import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { AudioError } from "./errors.js";
import { checkMp4Tables } from "./mp4-guard.js";

const u32 = (v: number): number[] => [v >>> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255];
const box = (id: string, body: number[]): number[] => [
  ...u32(8 + body.length),
  ...Array.from(id, (c) => c.charCodeAt(0)),
  ...body,
];
const ftyp = box("ftyp", [1, 2, 3, 4]);
const moov = (body: number[]): Uint8Array => new Uint8Array([...ftyp, ...box("moov", body)]);
const zeros = (n: number): number[] => new Array<number>(n).fill(0);

/** A table of `entries` zero entries that claims `claimed`, at the end of the file. */
function table(
  id: string,
  flags: number,
  before: number[],
  entry: number,
  entries: number,
  claimed: number,
): Uint8Array {
  return moov(box(id, [...u32(flags), ...before, ...u32(claimed), ...zeros(entries * entry)]));
}

const advice = "; copy or download it again, or make it anew from its source";

const refused = (bytes: Uint8Array): string => {
  try {
    checkMp4Tables(bytes, "a.m4a");
  } catch (error) {
    if (error instanceof AudioError) return error.message;
    throw error;
  }
  return "";
};

// Plan: every table passes with the entries that fit, and is refused by name with one more.
describe("checkMp4Tables", () => {
  it.each<[string, string, number, number[], number]>([
    ["stts", "stts", 0, [], 8],
    ["stsc", "stsc", 0, [], 12],
    ["stco", "stco", 0, [], 4],
    ["co64", "co64", 0, [], 8],
    ["elst of version 0", "elst", 0, [], 12],
    ["elst of version 1", "elst", 0x01000000, [], 20],
    ["stsz with a size each", "stsz", 0, u32(0), 4],
    ["trun with sizes", "trun", 0x200, [], 4],
    ["trun with everything", "trun", 0xf00, [], 16],
  ])("%s", (_, id, flags, before, entry) => {
    expect(refused(table(id, flags, before, entry, 5, 5))).toBe("");
    const message = `a.m4a: ${id}.entryCount: expected at most 5, what the file can hold, got `;
    expect(refused(table(id, flags, before, entry, 5, 6))).toBe(`${message}6${advice}`);
    expect(refused(table(id, flags, before, entry, 5, 0xffffffff))).toBe(`${message}4294967295${advice}`);
  });

  it("bounds samples of one size, and runs without fields, by the file", () => {
    const size = moov(box("stsz", [...u32(0), ...u32(10), ...u32(4)])).length;
    expect(size).toBe(40);
    expect(refused(table("stsz", 0, u32(10), 0, 0, 4))).toBe("");
    expect(refused(table("stsz", 0, u32(10), 0, 0, 5))).toContain("stsz.entryCount: expected at most 4");
    expect(refused(table("trun", 0, [], 0, 0, 36))).toBe("");
    expect(refused(table("trun", 0, [], 0, 0, 37))).toContain("trun.entryCount: expected at most 36");
  });

  it("looks into boxes of any depth, past damaged ones, and not into the audio", () => {
    const bad = box("stco", [...u32(0), ...u32(1e6)]);
    expect(refused(moov(box("trak", box("mdia", bad))))).toContain("stco.entryCount");
    expect(refused(moov([...u32(3), ...bad]))).toContain("stco.entryCount");
    expect(refused(new Uint8Array([...ftyp, ...u32(0), ...box("free", bad).slice(4)]))).toContain(
      "stco.entryCount",
    );
    expect(refused(new Uint8Array([...ftyp, ...box("mdat", bad), ...box("moov", [])]))).toBe("");
    expect(refused(new Uint8Array([...ftyp, ...box("mdat", []), ...box("moov", bad)]))).toContain(
      "stco.entryCount",
    );
  });

  it("passes a real file, and refuses it cut short", () => {
    const bytes = readFileSync(new URL("../../test/fixtures/audio/speech.m4a", import.meta.url));
    expect(refused(bytes)).toBe("");
    const message =
      /^a\.m4a: size of the box at byte \d+: expected at most \d+, the bytes left \(is the file cut short\?\), got \d+; copy or download it again/;
    for (const length of [20, 500, bytes.length - 1])
      expect(refused(bytes.subarray(0, length))).toMatch(message);
  });

  it("takes a box of size 0 to the end, and a size of 64 bits", () => {
    const bad = box("stco", [...u32(0), ...u32(1e6)]);
    expect(refused(new Uint8Array([...ftyp, ...u32(0), ...box("mdat", bad).slice(4)]))).toBe("");
    const wide = [...u32(1), ...box("mdat", []).slice(4), ...u32(0), ...u32(16 + bad.length), ...bad];
    expect(refused(new Uint8Array([...ftyp, ...wide]))).toBe("");
    expect(refused(new Uint8Array([...ftyp, ...wide, ...box("moov", bad)]))).toContain("stco.entryCount");
  });
});
