import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { decodeAudio } from "../frontend/decode.js";
import { audioSeconds, countedSeconds } from "./audio-length.js";

const root = mkdtempSync(join(tmpdir(), "funasr-length-"));
afterAll(() => rmSync(root, { recursive: true }));
const clip = (name: string): string =>
  fileURLToPath(new URL(`../../models/demo/clips/${name}`, import.meta.url));

// Plan: each container's header gives the length of the decoded audio, to a frame of the codec, or
// undefined.
describe("the header", () => {
  test.each([
    ["en-seen-1.wav", 1e-9],
    ["en-seen-3.flac", 1e-9],
    ["en-unseen-2.ogg", 0.03],
    ["zh-seen-3.mp3", 0.08],
  ])("%s", async (name, tolerance) => {
    const { channels, sampleRate } = await decodeAudio(new Uint8Array(readFileSync(clip(name))), name);
    const seconds = await audioSeconds(clip(name));
    expect(Math.abs(seconds! - channels[0].length / sampleRate)).toBeLessThanOrEqual(tolerance);
  });

  test("an MP3 without a count of frames: the first frame's rate", async () => {
    const bytes = readFileSync(clip("zh-seen-3.mp3"));
    const mark = Math.max(bytes.indexOf("Xing"), bytes.indexOf("Info"));
    expect(mark).toBeGreaterThan(0);
    bytes.write("none", mark, "latin1");
    writeFileSync(join(root, "plain.mp3"), bytes);
    const bits = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    const frame = bytes.readUInt32BE(bytes.indexOf(Buffer.from([0xff, 0xf3])));
    const start = bytes.indexOf(Buffer.from([0xff, 0xf3]));
    const expected = ((bytes.length - start) * 8) / (bits[(frame >>> 12) & 15] * 1000);
    expect(await audioSeconds(join(root, "plain.mp3"))).toBeCloseTo(expected, 9);
  });

  test("a WAV whose data size is larger than the file: the bytes of the file count", async () => {
    const bytes = readFileSync(clip("en-seen-1.wav"));
    const whole = (await audioSeconds(clip("en-seen-1.wav")))!;
    const data = bytes.indexOf("data");
    bytes.writeUInt32LE(0xffffffff, data + 4);
    writeFileSync(join(root, "stream.wav"), bytes);
    expect(await audioSeconds(join(root, "stream.wav"))).toBeCloseTo(whole, 9);
  });

  const audio = (name: string): Buffer =>
    readFileSync(new URL(`../../test/fixtures/audio/${name}.wav`, import.meta.url));
  const plain = audio("speech");
  const fmt = plain.indexOf("fmt ");
  const law = Buffer.from(plain);
  law.writeUInt16LE(6, fmt + 8); // A-law, with a wrong byte rate
  law.writeUInt16LE(1, fmt + 20);
  law.writeUInt16LE(8, fmt + 22);
  const ds64 = Buffer.alloc(36);
  ds64.write("ds64");
  ds64.writeUInt32LE(28, 4);
  ds64.writeUInt32LE(8000, 16);
  const long = Buffer.concat([Buffer.from("RF64----WAVE"), ds64, plain.subarray(12)]);
  long.writeUInt32LE(0xffffffff, long.indexOf("data") + 4);
  const unsized = Buffer.from(plain);
  unsized.writeUInt32LE(0, plain.indexOf("data") + 4);
  const big = Buffer.from(plain.subarray(0, plain.indexOf("data")));
  big.write("RIFX");
  big.subarray(fmt + 4, fmt + 8).swap32();
  for (const at of [12, 16]) big.subarray(fmt + at, fmt + at + 4).swap32();
  for (const at of [8, 10, 20, 22]) big.subarray(fmt + at, fmt + at + 2).swap16();
  const samples = Buffer.from([100, 97, 116, 97, 0, 0, 62, 128, ...plain.subarray(-16000)]);
  test.each([
    ["A-law", law],
    ["RF64", long],
    ["RIFX", Buffer.concat([big, samples])],
    ["no size", unsized],
    ["streamed", audio("piped-24bit-stereo")],
    ["Microsoft ADPCM", audio("adpcm-ms-stereo")],
    ["IMA ADPCM", audio("adpcm-ima-mono")],
    ["IMA ADPCM cut short", audio("adpcm-ima-mono").subarray(0, 3000)],
  ])("WAV, %s: the length of the decoded audio", async (_, bytes) => {
    const { channels, sampleRate } = await decodeAudio(new Uint8Array(bytes), "x");
    writeFileSync(join(root, "x.wav"), bytes);
    expect(await audioSeconds(join(root, "x.wav"))).toBe(channels[0].length / sampleRate);
  });

  test("a named pipe, which has no writer, is undefined", async () => {
    execFileSync("mkfifo", [join(root, "pipe.wav")]);
    expect(await audioSeconds(join(root, "pipe.wav"))).toBeUndefined();
    expect(await countedSeconds(join(root, "pipe.wav"))).toBeUndefined();
  });

  test.each([
    ["m4a", readFileSync(clip("zh-unseen-2.m4a"))],
    ["empty", Buffer.alloc(0)],
    ["text", Buffer.from("not audio at all, only words")],
    ["flac cut short", readFileSync(clip("en-seen-3.flac")).subarray(0, 20)],
    ["wav cut short", readFileSync(clip("en-seen-1.wav")).subarray(0, 30)],
    ["zeros", Buffer.alloc(1000)],
  ])("%s is undefined", async (name, bytes) => {
    writeFileSync(join(root, "x"), bytes);
    expect(await audioSeconds(join(root, "x")), name).toBeUndefined();
  });
});
