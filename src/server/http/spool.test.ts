import { existsSync } from "node:fs";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { PassThrough, Readable } from "node:stream";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { fakeServer, said } from "../../../test/helpers/fake-engine.js";
import { metric, post } from "../../../test/helpers/uploads.js";
import { Spool } from "./spool.js";

// Plan: files are private and counted; one whose removal fails counts on, spoils no answer and is
// removed later; the directory is made again where a cleaner removed it; streams that fail leave
// nothing.

let spool: Spool;
let lines: string;
beforeEach(async () => {
  spool = await Spool.open();
  lines = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => ((lines += String(text)), true));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await spool.close();
});

test("a file is private, counted, and removed once", async () => {
  const { path, remove } = await spool.write(Readable.from(["ab", "c"]));
  expect([(await stat(path)).mode & 0o777, (await stat(path)).size, spool.files]).toEqual([0o600, 3, 1]);
  await Promise.all([remove(), remove()]);
  expect([existsSync(path), spool.files]).toEqual([false, 0]);
});

/** Makes the removal of a file fail: a directory stands in its place. */
async function block(path: string): Promise<void> {
  await rm(path);
  await mkdir(path);
}

test("a file whose removal fails counts until it is gone", async () => {
  const one = await spool.write(Readable.from(["a"]));
  const two = await spool.write(Readable.from(["b"]));
  await block(one.path);
  await one.remove();
  expect([spool.files, lines]).toEqual([2, expect.stringMatching(/^server: \S+: cannot be removed: \w+\n$/)]);
  await two.remove();
  expect(spool.files).toBe(1);
  await rm(one.path, { recursive: true });
  await writeFile(one.path, "");
  await (await spool.write(Readable.from(["c"]))).remove();
  expect([spool.files, await readdir(spool.directory), lines.split("\n").length]).toEqual([0, [], 2]);
});

test("a failed removal spoils no answer", async () => {
  const { engine, server, address } = await fakeServer();
  onTestFinished(() => server.stop().then(() => undefined));
  engine.answer = async ({ file }) => {
    await block(file);
    return said;
  };
  const answer = await post(address);
  expect([answer.status, await answer.json()]).toMatchObject([200, { text: said.text }]);
  expect(await metric(address, "funasr_uploads")).toBe(1);
  await rm(engine.jobs[0].file, { recursive: true });
  engine.answer = () => Promise.resolve(said);
  expect((await post(address)).status).toBe(200);
  expect(await metric(address, "funasr_uploads")).toBe(0);
});

test("a directory that a cleaner removed is made again", async () => {
  await rm(spool.directory, { recursive: true });
  const { path, remove } = await spool.write(Readable.from(["a"]));
  expect([(await stat(spool.directory)).mode & 0o777, existsSync(path)]).toEqual([0o700, true]);
  await remove();
});

test.each<[string, () => Readable]>([
  [
    "a stream that fails",
    () =>
      new Readable({
        read() {
          this.destroy(new Error("why"));
        },
      }),
  ],
  ["a stream that is destroyed", () => new PassThrough().destroy()],
])("%s leaves nothing", async (_, stream) => {
  await expect(spool.write(stream())).rejects.toThrow();
  expect([spool.files, await readdir(spool.directory)]).toEqual([0, []]);
});
