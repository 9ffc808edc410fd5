import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { refusal } from "../../test/helpers/checkpoint.js";
import { openSafetensors, readTensor } from "../checkpoint/safetensors/safetensors.js";
import type { WriteTensor } from "../checkpoint/safetensors/write.js";
import {
  modelDirectory,
  openFile,
  replaceDirectoryAtomic,
  writeFileAtomic,
  writeSafetensorsFile,
} from "./files.js";

// Files are read where asked, nothing outside the directory is reached, and a write that fails
// leaves what was there.

const root = mkdtempSync(join(tmpdir(), "funasr-files-"));
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(root, "m-"));
  writeFileSync(join(dir, "a.txt"), "0123456789");
});
afterAll(() => rmSync(root, { recursive: true }));

describe("modelDirectory", () => {
  test("lists, asks, reads text and ranges; follows links, as the hub's cache has them", async () => {
    symlinkSync(join(dir, "a.txt"), join(dir, "link"));
    const files = modelDirectory(dir);
    expect(await files.list()).toEqual(["a.txt", "link"]);
    expect([await files.has("a.txt"), await files.has("b")]).toEqual([true, false]);
    expect(await files.readText("link", 10)).toBe("0123456789");
    const source = await files.open("a.txt");
    expect(source.size).toBe(10);
    expect(new TextDecoder().decode(await source.read(3, 4))).toBe("3456");
    expect((await source.read(10, 0)).length).toBe(0);
    await source.close();
  });

  test.each(["../a", "/etc/passwd", "a/b", "..", "", "a\0b", "C:a"])("refuses the name %j", async (name) => {
    const files = modelDirectory(dir);
    const line = `${dir}: file name: expected a name without path separators or "..", got ${JSON.stringify(name)}`;
    expect((await refusal(() => files.open(name))).message).toBe(line);
    expect((await refusal(() => files.readText(name, 1))).message).toBe(line);
    expect(await files.has(name)).toBe(false);
  });

  test("a missing file and a missing directory", async () => {
    const missing = await refusal(() => modelDirectory(dir).open("b.txt"));
    expect(missing.message).toContain(`${dir}: b.txt: expected a file of that name, got none`);
    const gone = modelDirectory(join(dir, "gone"));
    expect((await refusal(() => gone.list())).message).toBe(
      `${dir}/gone: directory: expected a model directory, got none; check the path`,
    );
    expect((await refusal(() => modelDirectory(join(dir, "a.txt")).open("b"))).field).toBe("b");
    expect((await refusal(() => modelDirectory(join(dir, "a.txt")).list())).field).toBe("directory");
  });

  test.each([
    ["sub", "type: expected a regular file, got a directory"],
    ["pipe", "type: expected a regular file, got a named pipe"],
    [
      "dead",
      "link: expected a link to a file, got a link to none; copy the file there, or download it again",
    ],
    [
      "loop",
      "link: expected a link to a file, got a link to none; copy the file there, or download it again",
    ],
  ])("%s in place of a file is there, and refused without a wait", async (name, message) => {
    mkdirSync(join(dir, "sub"));
    execFileSync("mkfifo", [join(dir, "pipe")]);
    symlinkSync("gone", join(dir, "dead"));
    symlinkSync("loop", join(dir, "loop"));
    const files = modelDirectory(dir);
    expect(await files.has(name)).toBe(true);
    expect((await refusal(() => files.open(name))).message).toBe(`${dir}/${name}: ${message}`);
    expect(await files.has("none")).toBe(false);
  });

  test("text above the limit, and text that is no UTF-8", async () => {
    writeFileSync(join(dir, "bad"), Buffer.from([0xff]));
    expect((await refusal(() => modelDirectory(dir).readText("a.txt", 9))).message).toBe(
      `${dir}/a.txt: size: expected at most 9 bytes, got 10 bytes; is this the right file?`,
    );
    expect((await refusal(() => modelDirectory(dir).readText("bad", 9))).message).toContain(
      "text: expected UTF-8",
    );
  });

  test("a range outside the file, and a file that shrinks while open", async () => {
    const source = await openFile(join(dir, "a.txt"));
    const outside =
      "bytes: expected a range inside 0..10, got 5 bytes at 6; the file is cut short or changed while it was read";
    expect((await refusal(() => source.read(6, 5))).message).toBe(`${dir}/a.txt: ${outside}`);
    expect((await refusal(() => source.read(-1, 1))).field).toBe("bytes");
    truncateSync(join(dir, "a.txt"), 4);
    expect((await refusal(() => source.read(2, 8))).message).toBe(
      `${dir}/a.txt: size: expected 10 bytes, as when it was opened, got an end at 4; the file changed while it was read`,
    );
    await source.close();
  });
});

describe("links", () => {
  const hash = "c".repeat(64);
  const refusedLink = async (directory: string, to: string): Promise<void> => {
    expect((await refusal(() => modelDirectory(directory).open("x"))).message).toBe(
      `${join(directory, "x")}: link: expected a file inside ${directory}, got a link to ${to}; copy the file there`,
    );
  };

  test("out of a model directory: refused, however it is reached", async () => {
    const inside = join(dir, "model");
    mkdirSync(inside);
    symlinkSync("../a.txt", join(inside, "x"));
    await refusedLink(inside, join(dir, "a.txt"));
    rmSync(join(inside, "x"));
    symlinkSync("../b", join(inside, "x")); // a link to a link
    symlinkSync("a.txt", join(dir, "b"));
    await refusedLink(inside, join(dir, "a.txt"));
    mkdirSync(join(dir, "elsewhere"));
    writeFileSync(join(dir, "elsewhere", "config.json"), "{}");
    symlinkSync("../elsewhere", join(inside, "Qwen3-0.6B"));
    const file = await refusal(() => modelDirectory(inside).directory("Qwen3-0.6B").open("config.json"));
    expect(file.field).toBe("link");
  });

  test("of the hub's cache: to the model's own blobs, and to those that models share", async () => {
    const snapshot = join(dir, "models--o--n", "snapshots", "a".repeat(40));
    mkdirSync(join(snapshot, "Qwen3-0.6B"), { recursive: true });
    mkdirSync(join(dir, "models--o--n", "blobs"));
    mkdirSync(join(dir, "blobs", "cc"), { recursive: true });
    writeFileSync(join(dir, "models--o--n", "blobs", "own"), "own");
    writeFileSync(join(dir, "blobs", "cc", hash), "shared");
    symlinkSync(`../../blobs/cc/${hash}`, join(dir, "models--o--n", "blobs", "other"));
    symlinkSync("../../blobs/own", join(snapshot, "own"));
    symlinkSync("../../blobs/other", join(snapshot, "other"));
    symlinkSync("../../../blobs/own", join(snapshot, "Qwen3-0.6B", "own"));
    const files = modelDirectory(snapshot);
    expect(await files.readText("own", 9)).toBe("own");
    expect(await files.readText("other", 9)).toBe("shared");
    expect(await files.directory("Qwen3-0.6B").readText("own", 9)).toBe("own");
  });

  test.each([
    ["out of the cache", "models--o--n", "../../../a.txt", "a.txt"],
    ["into another model", "models--o--n", "../../../models--p--q/blobs/own", "models--p--q/blobs/own"],
    ["through a blob out of the cache", "models--o--n", "../../blobs/out", "a.txt"],
    ["in a directory that only looks like the cache's", "o--n", "../../blobs/own", "o--n/blobs/own"],
  ])("of the hub's cache, %s: refused", async (_, model, link, to) => {
    const snapshot = join(dir, model, "snapshots", "a".repeat(40));
    mkdirSync(snapshot, { recursive: true });
    for (const name of [model, "models--p--q"]) {
      mkdirSync(join(dir, name, "blobs"), { recursive: true });
      writeFileSync(join(dir, name, "blobs", "own"), "own");
      symlinkSync(join(dir, "a.txt"), join(dir, name, "blobs", "out"));
    }
    symlinkSync(link, join(snapshot, "x"));
    await refusedLink(snapshot, join(dir, to));
  });
});

describe("writing", () => {
  const tensor = (data: WriteTensor["data"]): WriteTensor => ({ name: "x", dtype: "U8", shape: [3], data });

  test("a safetensors file appears whole, in place of the old one, with nothing beside it", async () => {
    const path = join(dir, "a.txt");
    await writeSafetensorsFile(path, [tensor(Uint8Array.of(1, 2, 3))], new Map([["k", "v"]]));
    const source = await openFile(path);
    const file = await openSafetensors(source);
    expect([...(await readTensor(file, "x"))]).toEqual([1, 2, 3]);
    expect(file.metadata.get("k")).toBe("v");
    await source.close();
    expect(readdirSync(dir)).toEqual(["a.txt"]);
  });

  test("a pipe or a device is refused, and not replaced", async () => {
    const pipe = join(dir, "pipe");
    execFileSync("mkfifo", [pipe]);
    symlinkSync("/dev/full", join(dir, "device"));
    for (const path of [pipe, join(dir, "device"), "/dev/full"]) {
      await expect(writeFileAtomic(path, [])).rejects.toThrow(
        `${path}: write: expected the name of a file, got a device or a pipe; name a file`,
      );
    }
    expect(statSync(pipe).isFIFO()).toBe(true);
    expect(readdirSync(dir).sort()).toEqual(["a.txt", "device", "pipe"]);
  });

  test("the file that is replaced is kept under another name, where there is one", async () => {
    const [path, keep] = [join(dir, "a.txt"), join(dir, "before.txt")];
    await writeFileAtomic(path, [Buffer.from("new")], { keep });
    await writeFileAtomic(join(dir, "b.txt"), [Buffer.from("b")], { keep: join(dir, "none.txt") });
    expect([path, keep].map((file) => readFileSync(file, "utf8"))).toEqual(["new", "0123456789"]);
    expect(readdirSync(dir).sort()).toEqual(["a.txt", "b.txt", "before.txt"]);
  });

  test("until the last piece is there, the old file is", async () => {
    const path = join(dir, "a.txt");
    const during: string[] = [];
    await writeFileAtomic(
      path,
      pieces(() => during.push(readFileSync(path, "utf8"))),
    );
    expect(during).toEqual(["0123456789"]);
    expect(readFileSync(path, "utf8")).toBe("ab");
  });

  test("a failure half way leaves the old file and nothing else", async () => {
    const path = join(dir, "a.txt");
    const late = tensor(() => Promise.reject(new Error("disk of the source died")));
    await expect(writeSafetensorsFile(path, [late])).rejects.toThrow("disk of the source died");
    await expect(writeSafetensorsFile(path, [tensor(new Uint8Array(2))])).rejects.toThrow(
      "expected 3 bytes, got 2 bytes",
    );
    await expect(writeSafetensorsFile(join(dir, "new"), [late])).rejects.toThrow();
    expect(readFileSync(path, "utf8")).toBe("0123456789");
    expect(readdirSync(dir)).toEqual(["a.txt"]);
    await expect(writeFileAtomic(join(dir, "no", "such"), [])).rejects.toThrow(
      `${join(dir, "no", "such")}: write: expected a directory to write it in, got none; make it, or check the path`,
    );
    expect(existsSync(join(dir, "no"))).toBe(false);
  });
});

function* pieces(between: () => void): Generator<Uint8Array> {
  yield Uint8Array.of(0x61);
  between();
  yield Uint8Array.of(0x62);
}

test("a directory is replaced once the new one is whole, and stays where that fails", async () => {
  const target = join(dir, "model");
  const files = (text: string): Parameters<typeof replaceDirectoryAtomic>[1] => [
    { name: `${text}.txt`, pieces: () => pieces(text) },
  ];
  await replaceDirectoryAtomic(target, files("old"));
  await expect(replaceDirectoryAtomic(target, files("broken"))).rejects.toThrow("no more");
  expect(readdirSync(target)).toEqual(["old.txt"]);
  await replaceDirectoryAtomic(`${target}/`, files("new"));
  expect(readdirSync(target)).toEqual(["new.txt"]);
  expect(readdirSync(dir).sort()).toEqual(["a.txt", "model"]);

  async function* pieces(text: string): AsyncGenerator<Uint8Array, void, undefined> {
    yield await Promise.resolve(new TextEncoder().encode(text));
    expect(existsSync(join(target, "old.txt"))).toBe(text !== "old");
    if (text === "broken") throw new Error("no more");
  }
});
