import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { afterAll, beforeEach, expect, test } from "vitest";
import { writeDirectoryAtomic, writeFileAtomic } from "./files.js";
import { inWork, onLeftover, removeLeftovers, undoInterrupted, unfinishedName } from "./unfinished.js";

// What a killed process left is removed by the next run in the directory and named; what a live
// one, or one that cannot be known here, writes stays. What is in work is removed on an
// interruption. Two writers of one directory: the second gets a sentence.
const root = mkdtempSync(join(tmpdir(), "unfinished-"));
afterAll(() => rmSync(root, { recursive: true }));
let lines: string[] = [];
beforeEach(() => {
  lines = [];
  onLeftover((line) => lines.push(line));
});
const made = (): string => mkdtempSync(join(root, "d-"));

/** A name as this process would give it, of another process number. */
async function nameOf(path: string, pid: number): Promise<string> {
  return (await unfinishedName(path)).replace(`.${process.pid}.`, `.${pid}.`);
}

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "close");
  return child.pid!;
}

test("outputs of killed runs are removed and named, once a directory", async () => {
  const dir = made();
  const file = await nameOf(join(dir, "a.txt"), await deadPid());
  writeFileSync(file, "half");
  await writeFileAtomic(join(dir, "b.txt"), []);
  expect(readdirSync(dir)).toEqual(["b.txt"]);
  expect(lines).toEqual([`${file}: removed; a run that was killed left it unfinished`]);
});

test("outputs of live runs stay, those of another machine are named where the same is written", async () => {
  const dir = made();
  const live = await unfinishedName(join(dir, "a.txt"));
  const foreign = live.replace(/[0-9a-f]{12}\.part$/, "zzzzzz000000.part".replaceAll("z", "0"));
  for (const file of [live, foreign, join(dir, "mine.part"), join(dir, "c.0123456789ab.part")])
    writeFileSync(file, "half");
  const before = readdirSync(dir);
  await removeLeftovers(join(dir, "a.txt"));
  expect(readdirSync(dir)).toEqual(before);
  expect(lines).toEqual([
    `${foreign}: unfinished, of another machine or container; remove it if no run is writing it`,
  ]);
});

test("an interruption removes what is in work, and nothing that is done", async () => {
  const dir = made();
  const [work, done] = [join(dir, "work"), join(dir, "done")];
  for (const file of [work, done]) writeFileSync(file, "");
  inWork(work);
  inWork(done)();
  undoInterrupted();
  expect(readdirSync(dir)).toEqual(["done"]);
  await writeFileAtomic(
    join(dir, "cut"),
    (function* () {
      yield new Uint8Array(3);
      undoInterrupted();
      expect(readdirSync(dir)).toEqual(["done"]);
    })(),
  ).catch(() => undefined);
  expect(existsSync(join(dir, "cut"))).toBe(false);
});

test("a directory that another has filled meanwhile is refused by name", async () => {
  const path = join(made(), "out");
  const file = {
    name: "a",
    async *pieces() {
      yield await Promise.resolve(new Uint8Array(1));
      await writeDirectoryAtomic(path, [{ name: "b", pieces: async function* () {} }]);
    },
  };
  await expect(writeDirectoryAtomic(path, [file])).rejects.toThrow(
    `${path}: directory: expected a new or an empty directory, got one that holds 1 file; name another, or remove it first`,
  );
  expect(readdirSync(path)).toEqual(["b"]);
});
