import { describe, expect, it } from "vitest";
import { parseWav } from "./wav.js";

interface Given {
  readonly data: readonly number[];
  readonly bits?: number;
  readonly channels?: number;
  /** Of an extensible format. */
  readonly valid?: number;
}

/** A WAV of PCM with 4 bytes a sample. */
function wav({ data, bits = 24, channels = 1, valid }: Given): Buffer {
  const guid = [1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
  const format = Buffer.alloc(valid === undefined ? 16 : 40);
  format.writeUInt16LE(valid === undefined ? 1 : 0xfffe, 0);
  format.writeUInt16LE(channels, 2);
  format.writeUInt32LE(16_000, 4);
  format.writeUInt32LE(64_000 * channels, 8);
  format.writeUInt16LE(4 * channels, 12);
  format.writeUInt16LE(bits, 14);
  if (valid !== undefined) format.set([22, 0, valid, 0, 0, 0, 0, 0, ...guid], 16);
  const chunk = (id: string, body: Uint8Array): Buffer => {
    const head = Buffer.from(`${id}....`);
    head.writeUInt32LE(body.length, 4);
    return Buffer.concat([head, body]);
  };
  const chunks = [Buffer.from("WAVE"), chunk("fmt ", format), chunk("data", Buffer.from(data))];
  return chunk("RIFF", Buffer.concat(chunks));
}

const low = [0, 0, 64, 0, 255, 255, 255, 255, 0, 0, 128, 255];
const high = [0, 0, 0, 64, 0, 255, 255, 255, 0, 0, 0, 128];

// Plan: 24 bits in 4 bytes are the low three where the fourth has their sign or 0, the high three
// where the fourth is 0; else refused.
describe("24 bits in 4 bytes", () => {
  it.each<[string, Given]>([
    ["low", { data: low }],
    ["low, the fourth 0", { data: low.map((byte, i) => (i % 4 === 3 ? 0 : byte)) }],
    ["high", { data: high }],
    ["20 bits, low", { bits: 20, data: low }],
    ["extensible, low", { valid: 24, data: low }],
    ["extensible, high", { valid: 24, data: high }],
    ["extensible, 24 of 32", { bits: 32, valid: 24, data: high }],
  ])("%s", (_, given) => {
    const { channels } = parseWav(wav(given), "x.wav");
    expect(channels.map((samples) => [...samples])).toEqual([[0.5, -(2 ** -23), -1]]);
  });

  it("of two channels, lowest byte first and highest", () => {
    const data = [0, 0, 64, 0, 0, 0, 192, 255, 1, 0, 0, 0, 255, 255, 255, 255];
    const want = [new Float32Array([0.5, 2 ** -23]), new Float32Array([-0.5, -(2 ** -23)])];
    const bytes = wav({ channels: 2, data });
    expect(parseWav(bytes, "x.wav").channels).toEqual(want);
    bytes.write("RIFX");
    for (const at of [4, 16, 24, 28, 40, 44, 48, 52, 56]) bytes.subarray(at, at + 4).reverse();
    for (const at of [20, 22, 32, 34]) bytes.subarray(at, at + 2).reverse();
    expect(parseWav(bytes, "x.wav").channels).toEqual(want);
  });

  it("that are neither", () => {
    expect(() => parseWav(wav({ data: [1, 0, 0, 64, 255, 255, 1, 4] }), "x.wav")).toThrow(
      "x.wav: fmt.blockAlign: expected 3 for 1 x 24 bits, or samples of 24 bits in 4 bytes each, got 4",
    );
  });
});
