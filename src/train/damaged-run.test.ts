import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { useGpu } from "../../test/gpu.js";
import { useTraining } from "../../test/helpers/training-runs.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { openLora } from "../checkpoint/lora/open.js";
import { CHECKSUMS } from "../node/checksums.js";
import { modelDirectory } from "../node/files.js";
import { writeTrained } from "./finish.js";
import { runFiles } from "./session.js";

// A flipped bit in each file of a run beside its saved states (damaged-state.test.ts): a file of
// its checkpoint or its LoRA is refused by name by whoever opens it, the list of their hashes too;
// cached rows are computed again, which is reported once with a count, and the run ends with the
// same bits; damaged metrics are reported, and the run goes on.
const gpu = useGpu();
const { directory, setup, run } = useTraining(gpu);
const options = { steps: 2, every: 1 };
let whole = "";
let adapted = "";
let copies = 0;
beforeAll(async () => {
  const { path } = directory();
  const write = (out: string): Promise<unknown> => writeTrained(setup().model, out, { merge: false });
  await run({ out: (whole = join(path, "whole")), cache: join(whole, "cache"), options });
  await run({ out: (adapted = join(path, "adapted")), tune: ["lora"], options });
  for (const out of [whole, adapted]) await write(out);
});

const runPaths = (out: string): string[] => Object.values<string>({ ...runFiles(out) });

/** A copy of a directory. */
function copy(from: string): string {
  const out = join(directory().path, `copy-${++copies}`);
  cpSync(from, out, { recursive: true });
  return out;
}

function flip(path: string, at = Math.floor(statSync(path).size / 2)): void {
  const bytes = readFileSync(path);
  bytes[at] ^= 1;
  writeFileSync(path, bytes);
}

/** Opens all files of a directory, as its readers do one by one. */
async function openAll(path: string): Promise<void> {
  const files = modelDirectory(path);
  for (const name of await files.list()) await (await files.open(name)).close();
}

const openModel = async (path: string): Promise<void> => {
  const checkpoint = await openCheckpoint(modelDirectory(path));
  try {
    await checkpoint.assets.tokenizer();
  } finally {
    await checkpoint.close();
  }
};

describe.each<[string, () => string, (path: string) => Promise<void>, string[]]>([
  [
    "checkpoint",
    () => join(whole, "checkpoint"),
    openModel,
    ["config.json", "model.safetensors", "tokenizer.json"],
  ],
  [
    "lora",
    () => join(adapted, "lora"),
    async (path) => (await openLora(modelDirectory(path))).close(),
    ["adapter_config.json", "adapter_model.safetensors"],
  ],
])("%s", (_, from, open, needed) => {
  test("undamaged: each file stands in the list, and opens", async () => {
    const list = readFileSync(join(from(), CHECKSUMS), "utf8");
    const names = readdirSync(from()).filter((name) => name !== CHECKSUMS);
    expect(
      list
        .match(/^[0-9a-f]{64} {2}.*$/gm)
        ?.map((line) => line.slice(66))
        .sort(),
    ).toEqual(names.sort());
    expect(names).toEqual(expect.arrayContaining(needed));
    await openAll(from());
    await open(from());
  });

  test("a flipped bit in a file: refused by its name", async () => {
    for (const name of readdirSync(from())) {
      if (name === CHECKSUMS) continue;
      const path = copy(from());
      flip(join(path, name));
      const line = `${join(path, name)}: SHA-256: expected `;
      await expect(modelDirectory(path).open(name)).rejects.toThrow(line);
      if (needed.includes(name)) await expect(open(path)).rejects.toThrow(line);
    }
  });

  test("a flipped bit anywhere in the list, a list that is cut, a file that is missing: refused", async () => {
    const path = copy(from());
    const list = join(path, CHECKSUMS);
    const undamaged = readFileSync(list);
    for (let at = 0; at < undamaged.length; at += 7) {
      writeFileSync(list, undamaged);
      flip(list, at);
      await expect(openAll(path)).rejects.toThrow(new RegExp(`${CHECKSUMS}.*; it was changed or damaged`));
    }
    writeFileSync(list, undamaged.subarray(0, -1));
    await expect(openAll(path)).rejects.toThrow(`${list}: end: expected an end of line`);
    writeFileSync(list, undamaged);
    rmSync(join(path, needed[0]));
    await expect(openAll(path)).rejects.toThrow(`${list}: "${needed[0]}": expected a file, got none`);
  });

  test("without its list: used as it is", async () => {
    const path = copy(from());
    rmSync(join(path, CHECKSUMS));
    writeFileSync(join(path, needed[0]), `${readFileSync(join(path, needed[0]), "utf8")}\n`);
    await open(path);
  });
});

// Plan: people's own lists are not read: of files in other directories, of files that are not
// there, of other hashes, with other text.
test("a list of another name: the directory is used as it is", async () => {
  const path = copy(join(whole, "checkpoint"));
  const hash = "0".repeat(64);
  const lines = [
    `${hash}  ./config.json`,
    `${hash}  onnx/model.onnx`,
    `${hash}  pytorch_model.bin`,
    "# made by us",
  ];
  writeFileSync(join(path, "checksums.sha256"), lines.join("\r\n"));
  await openModel(path);
});

// Plan: a LoRA that is written beside a checkpoint sets it aside under a name that is free.
test("checkpoints that are set aside keep each other", async () => {
  const out = copy(adapted);
  const notes: string[] = [];
  const names = ["checkpoint.earlier", "checkpoint.earlier-2", "checkpoint.earlier-3"];
  for (const name of names) {
    mkdirSync(join(out, "checkpoint"));
    writeFileSync(join(out, "checkpoint", "name"), name);
    await writeTrained(setup().model, out, { merge: false, onFallback: (note) => notes.push(note) });
  }
  expect(names.map((name) => readFileSync(join(out, name, "name"), "utf8"))).toEqual(names);
  expect(notes.map((note) => note.split(" ").at(-2))).toEqual(names);
});

describe("cached rows", () => {
  const rows = (out: string): string[] =>
    readdirSync(join(out, "cache"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => join(out, "cache", name));

  test.each([
    ["their data", 1, (path: string) => flip(path, statSync(path).size - 2)],
    ["a header", 1, (path: string) => flip(path, 9)],
    ["a header's length", 3, (path: string) => flip(path, 0)],
  ] as const)("a flipped bit in %s of %d: computed again, reported once", async (_, count, damage) => {
    const out = copy(whole);
    const files = rows(out);
    const before = files.map((path) => readFileSync(path));
    for (const path of files.slice(0, count)) damage(path);
    for (const path of runPaths(out)) rmSync(path, { force: true });
    const { fallbacks } = await run({ out, cache: join(out, "cache"), options });
    const clips = count === 1 ? "clip" : "clips";
    expect(fallbacks).toEqual([
      `${join(out, "cache")}: the cached rows of ${count} ${clips} were damaged; they were computed again`,
    ]);
    expect(files.map((path) => readFileSync(path))).toEqual(before);
    const [got, expected] = [out, whole].map((path) => readFileSync(runFiles(path).last));
    expect(got.equals(expected)).toBe(true);
  });

  test("that are missing: nothing is reported", async () => {
    const out = copy(whole);
    rmSync(rows(out)[0]);
    for (const path of runPaths(out)) rmSync(path, { force: true });
    expect((await run({ out, cache: join(out, "cache"), options })).fallbacks).toEqual([]);
  });
});

test.each([
  [
    "a line that is no JSON",
    (text: string) => text.indexOf("\n") + 2,
    /line 2: expected an object .*; it is left out$/,
  ],
  [
    "a digit of a loss",
    (text: string) => text.indexOf('"loss":') + 9,
    /expected the lines of the saved state, got others/,
  ],
])("metrics, %s: reported in one line, and the run goes on as it would", async (_, place, message) => {
  const more = { ...options, steps: 3 };
  const goOn = (out: string): ReturnType<typeof run> =>
    run({ out, cache: join(out, "cache"), options: more }, { resume: true });
  const out = copy(whole);
  const { metrics } = runFiles(out);
  flip(metrics, place(readFileSync(metrics, "utf8")));
  const [damaged, undamaged] = [await goOn(out), await goOn(copy(whole))];
  expect(undamaged.fallbacks).toEqual([]);
  expect(damaged.fallbacks).toEqual([expect.stringMatching(message)]);
  expect(damaged.fallbacks[0]).toMatch(new RegExp(`^${metrics}: [^\n]*$`));
  expect(damaged.steps.map(({ step, loss }) => [step, loss])).toEqual(
    undamaged.steps.map(({ step, loss }) => [step, loss]),
  );
});
