import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli, errorLines, jsonLines } from "./helpers/cli.js";
import { tinyFiles, writeDirectory } from "./helpers/tiny-model.js";
import { wav } from "./helpers/wav.js";

let files: ReturnType<typeof writeDirectory>;
const file = (name: string): string => join(files.path, name);

/** The clip in two channels, the second one times `gain`. */
function stereo(seed: number, gain: number): Uint8Array {
  const mono = wav(0.4, seed);
  const samples = new Int16Array(mono.buffer, 44);
  const both = new Int16Array(2 * samples.length);
  for (const [i, sample] of samples.entries()) both.set([sample, gain * sample], 2 * i);
  const bytes = new Uint8Array(44 + both.byteLength);
  bytes.set(mono.subarray(0, 44));
  bytes.set(new Uint8Array(both.buffer), 44);
  const view = new DataView(bytes.buffer);
  view.setUint32(4, bytes.length - 8, true);
  view.setUint16(22, 2, true);
  view.setUint16(32, 4, true);
  view.setUint32(40, both.byteLength, true);
  return bytes;
}

beforeAll(async () => {
  const model = await tinyFiles({ seed: 5 });
  files = writeDirectory(
    new Map<string, Uint8Array | string>([
      ...Array.from(model, ([name, value]) => [`model/${name}`, value] as const),
      ["mono.wav", wav(0.4, 1)],
      ["inverted.wav", stereo(1, -1)],
      ["half.wav", stereo(1, 0)],
      ["data.jsonl", '{"audio": "half.wav", "text": "a"}\n'],
    ]),
  );
});
afterAll(() => files.remove());

const run = (command: string, ...args: string[]): ReturnType<typeof cli> =>
  cli([command, "--model", file("model"), "--max-tokens", "8", ...args]);

// Plan: channels that cancel are a warning in both outputs; --channel picks one by number or name,
// or gives a result for each; what the file does not have is one line, and the other files are
// done.
describe("channels", () => {
  it("that cancel: a note and a warning in the JSON", async () => {
    const result = await run("transcribe", "--json", file("mono.wav"), file("inverted.wav"));
    const [mono, inverted] = jsonLines(result);
    const warning = "the channels cancel each other; only the left one is used";
    expect(result.code).toBe(0);
    expect(inverted).toMatchObject({ tokenIds: mono.tokenIds, warning, warnings: [warning] });
    expect(mono).not.toHaveProperty("warnings");
    expect(mono).not.toHaveProperty("channel");
    expect(result.stderr).toContain(`warning: ${file("inverted.wav")}: ${warning}\n`);
  });

  it("--channel each", async () => {
    const { stdout } = await run("transcribe", "--channel", "each", file("half.wav"));
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[0].startsWith(`${file("half.wav")} [left]:`)).toBe(true);
    expect(lines[1].startsWith(`${file("half.wav")} [right]:`)).toBe(true);
    const json = await run("transcribe", "--json", "--batch", "2", "--channel", "each", file("half.wav"));
    expect(jsonLines(json)).toMatchObject([{ channel: 1 }, { channel: 2 }]);
  });

  it.each([
    ["transcribe", "left", 1],
    ["transcribe", "1", 1],
    ["transcribe", "right", 2],
  ])("%s --channel %s", async (command, name, channel) => {
    const result = await run(command, "--json", "--channel", name, file("half.wav"), file("mono.wav"));
    const [picked, second] = jsonLines(result);
    expect(picked).toMatchObject({ channel });
    if (channel === 1) expect(picked.tokenIds).toEqual(second.tokenIds);
    else expect(second).toHaveProperty("error");
  });

  it("a channel that is not there", async () => {
    const result = await run("translate", "--to", "en", "--channel", "3", file("half.wav"));
    expect(result.code).toBe(1);
    expect(errorLines(result)).toEqual([
      `error: ${file("half.wav")}: channel: expected 1 (left) or 2 (right), got 3; name one of these, or leave the channel out`,
    ]);
    const data = ["--second", "0", "--data", file("data.jsonl")];
    const evaluated = await run("evaluate", ...data, "--channel", "3");
    expect(evaluated.code).toBe(1);
    expect(evaluated.stderr).toContain("channel: expected 1 (left) or 2 (right), got 3");
  });

  it.each([
    ["transcribe", "0"],
    ["transcribe", "both"],
    ["evaluate", "each"],
  ])("wrong usage: %s --channel %s", async (command, name) => {
    expect((await run(command, "--channel", name, file("half.wav"))).code).toBe(2);
  });
});
