import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { type Outcome, useTraining } from "../../test/helpers/training-runs.js";
import { writeTrained } from "./finish.js";
import { runFiles } from "./session.js";
import { readValues } from "./state.js";

// Saved states with a flipped byte in each of their regions, cut or missing: a run goes on from the
// state before, says so, and ends with the bits of a run that nothing happened to; where neither
// state is whole it is refused by name. Checkpoints are written of the next whole state.
const gpu = useGpu();
const { directory, setup, run } = useTraining(gpu);
const options = { steps: 3, every: 1 };
let whole = "";
let copies = 0;
beforeAll(async () => {
  whole = join(directory().path, "undamaged");
  await run({ out: whole, validation: directory().data, options });
});

const resume = (out: string): Promise<Outcome> =>
  run({ out, validation: directory().data, options }, { resume: true });

/** A copy of the run. */
function copy(): string {
  const out = join(directory().path, `copy-${++copies}`);
  cpSync(whole, out, { recursive: true });
  return out;
}

/** Flips a bit of the byte at `at`, counted from the end where negative. */
function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at < 0 ? bytes.length + at : at] ^= 1;
  writeFileSync(path, bytes);
}

/** Offset of a tensor's first byte. */
function offset(path: string, prefix: string): number {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, start)) as Record<string, { data_offsets: number[] }>;
  const [, { data_offsets }] = Object.entries(header).find(([name]) => name.startsWith(prefix))!;
  return start + data_offsets[0];
}

const text = (path: string, part: string): number => readFileSync(path).indexOf(part);
const damage: readonly [string, (path: string) => void][] = [
  ["header length", (path) => flip(path, 0)],
  ["header syntax", (path) => flip(path, 8)],
  ["identity", (path) => flip(path, text(path, "learningRate") + 2)],
  ["progress", (path) => flip(path, text(path, '\\"position\\":') + 13)],
  ["format", (path) => flip(path, text(path, '"format":"') + 10)],
  ["name of a tensor", (path) => flip(path, text(path, '"value.') + 9)],
  ["name of the hash", (path) => flip(path, text(path, '"sha256"') + 2)],
  ["weights", (path) => flip(path, offset(path, "value.") + 3)],
  ["first moments", (path) => flip(path, offset(path, "m.") + 1)],
  ["second moments", (path) => flip(path, offset(path, "v."))],
  ["hash", (path) => flip(path, -1)],
  ["end", (path) => writeFileSync(path, readFileSync(path).subarray(0, -40))],
  ["all", (path) => writeFileSync(path, "")],
  ["no file", (path) => rmSync(path)],
];

describe("last state", () => {
  test.each(damage)("damaged: %s", async (_, change) => {
    const out = copy();
    const { last, previous, best } = runFiles(out);
    change(last);
    const { steps, fallbacks } = await resume(out);
    expect(fallbacks).toHaveLength(1);
    expect(fallbacks[0]).toMatch(/last\.safetensors: .*expected .*, got .*; the run goes back to step 2, /);
    expect(steps.map(({ step }) => step)).toEqual([3]);
    for (const path of [last, previous, best].map((file) => file.slice(out.length)))
      expect(readFileSync(out + path).equals(readFileSync(whole + path))).toBe(true);
  });

  test("damaged with the one before: refused by name, nothing changed", async () => {
    const out = copy();
    const { last, previous, metrics } = runFiles(out);
    flip(last, -1);
    flip(previous, -100);
    const before = [last, previous, metrics].map((path) => readFileSync(path));
    await expect(resume(out)).rejects.toThrow(
      `previous.safetensors is damaged too; begin a new run in another --out`,
    );
    expect([last, previous, metrics].map((path) => readFileSync(path))).toEqual(before);
    rmSync(previous);
    await expect(resume(out)).rejects.toThrow(
      /last\.safetensors: sha256: .*; there is no other state; begin/,
    );
  });

  test("of another run: refused, not gone back from", async () => {
    const out = copy();
    const other = { ...options, clip: 2 };
    await expect(run({ out, options: other }, { resume: true })).rejects.toThrow(
      /last\.safetensors: --clip: expected/,
    );
    expect(existsSync(runFiles(out).previous)).toBe(true);
  });
});

describe("export", () => {
  const write = async (out: string, which?: "best" | "last"): Promise<[number, string[]]> => {
    const lines: string[] = [];
    const { model } = setup();
    const onFallback = (line: string): void => void lines.push(line);
    const { step } = await writeTrained(model, out, { which, merge: false, onFallback });
    return [step, lines];
  };

  test("a damaged best state: the last one where none was asked for, else refused", async () => {
    const out = copy();
    flip(runFiles(out).best, offset(runFiles(out).best, "value.") + 2);
    const [step, lines] = await write(out);
    expect(step).toBe(3);
    expect(lines).toEqual([
      expect.stringMatching(/best\.safetensors: sha256: .*last\.safetensors, of step 3, is used/),
    ]);
    await expect(write(out, "best")).rejects.toThrow(
      /best\.safetensors: sha256: .*--export last writes the last/,
    );
  });

  test("a damaged last state: the one before", async () => {
    const out = copy();
    flip(runFiles(out).last, -50);
    const [step, lines] = await write(out, "last");
    expect([step, lines.length]).toEqual([2, 1]);
    flip(runFiles(out).previous, -50);
    await expect(write(out, "last")).rejects.toThrow("previous.safetensors is damaged too");
  });

  test("a state without a hash, of an earlier version, is read", async () => {
    const { last } = runFiles(whole);
    expect((await readValues(last)).progress.step).toBe(3);
    const old = join(copy(), "old.safetensors");
    copyFileSync(last, old);
    const bytes = readFileSync(old);
    const start = 8 + Number(bytes.readBigUInt64LE());
    const header = bytes.toString("utf8", 8, start).replace('"format":"3"', '"format":"2"');
    const cut = header.replace(/,"sha256":\{[^}]*\}/, "").padEnd(header.length);
    writeFileSync(old, Buffer.concat([bytes.subarray(0, 8), Buffer.from(cut), bytes.subarray(start, -32)]));
    expect((await readValues(old)).progress.step).toBe(3);
  });
});
