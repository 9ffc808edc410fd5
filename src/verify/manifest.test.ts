import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { CheckpointError } from "../formats/errors.js";
import { bytesSource } from "../checkpoint/source.js";
import { checkListed, parseManifest } from "./manifest.js";

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
const listed = {
  file: "a.safetensors",
  bytes: 1000,
  sha256: createHash("sha256").update(bytes).digest("hex"),
};

// Plan: the bytes as listed pass; a byte more and a bit flipped are refused by the file's name.
describe("checkListed", () => {
  it("accepts the listed bytes", async () => {
    await checkListed(bytesSource("g/a.safetensors", bytes), listed);
  });

  it("refuses another size", async () => {
    const check = checkListed(bytesSource("g/a.safetensors", bytes.subarray(1)), listed);
    await expect(check).rejects.toThrow(
      "g/a.safetensors: size: expected 1000 bytes as golden/manifest.json says, got 999 bytes; the file is damaged",
    );
  });

  it("refuses one flipped bit", async () => {
    const damaged = bytes.slice();
    damaged[700] ^= 1;
    const check = checkListed(bytesSource("g/a.safetensors", damaged), listed);
    await expect(check).rejects.toThrow(CheckpointError);
    await expect(check).rejects.toThrow(`g/a.safetensors: SHA-256: expected ${listed.sha256} as `);
  });
});

// Plan: names, sizes and sums of a good manifest; each missing or mistyped part refused by its
// path.
describe("parseManifest", () => {
  it("reads its entries", () => {
    const text = JSON.stringify({ bundles: [{ ...listed, kind: "encoder" }] });
    expect(parseManifest(text, "m.json")).toEqual([listed]);
  });

  it.each([
    ["{", "m.json: content"],
    ["{}", "m.json: bundles: expected a list of bundles, got nothing"],
    ['{"bundles":[]}', "m.json: bundles: expected a list of bundles, got []"],
    ['{"bundles":[7]}', "m.json: bundles[0]: expected an object, got 7"],
    ['{"bundles":[{}]}', "m.json: bundles[0].file: expected a file name, got nothing"],
    [
      '{"bundles":[{"file":"a","bytes":"1"}]}',
      'm.json: bundles[0].bytes: expected a number of bytes, got "1"',
    ],
    ['{"bundles":[{"file":"a","bytes":1}]}', "m.json: bundles[0].sha256: expected a SHA-256, got nothing"],
  ])("%s", (text, message) => {
    expect(() => parseManifest(text, "m.json")).toThrow(CheckpointError);
    expect(() => parseManifest(text, "m.json")).toThrow(message);
  });
});
