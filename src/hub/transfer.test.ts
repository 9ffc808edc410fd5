import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  commit,
  expectWhole,
  files,
  quick,
  repo,
  text,
  until,
  useBench,
  weights,
} from "../../test/helpers/hub-bench.js";
import { gitSha1, sha256 } from "../../test/helpers/hub-server.js";

// Plan: an interrupted download resumes where it stopped. Bytes that differ from the listing are
// never kept.

const bench = useBench();
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("interrupted", () => {
  test("the connection breaks in mid-file, twice: the run resumes by ranges", async () => {
    bench().server.faults.set("model.safetensors", { cutAfter: 150_000, times: 2 });
    expectWhole(await bench().get());
    const asked = bench()
      .server.downloads("model.safetensors")
      .map(({ range }) => range);
    expect(asked.length).toBe(3);
    expect(asked[0]).toBeUndefined();
    expect(asked[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(Number(/\d+/.exec(asked[2]!)![0])).toBeGreaterThan(Number(/\d+/.exec(asked[1]!)![0]));
  });

  test("a file that fails ends the run; the next run resumes the part of another file", async () => {
    bench().server.faults.set("model.safetensors", { cutAfter: 120_000, times: 1 });
    bench().server.faults.set("tokenizer.json", { status: 503 });
    expect(await bench().refused()).toBe(
      "owner/tiny-model: tokenizer.json: HOST cannot be reached (status 503); run the command again: the download goes on where it stopped",
    );
    expect(existsSync(join(bench().storage, "snapshots"))).toBe(false);
    bench().server.faults.set("tokenizer.json", {});
    writeFileSync(bench().part, weights.subarray(0, 300_000));
    rmSync(bench().blob);
    bench().server.asked.length = 0;
    const seen: number[] = [];
    expectWhole(await bench().get(repo, { onProgress: (done) => seen.push(done) }));
    expect(
      bench()
        .server.downloads("model.safetensors")
        .map(({ range }) => range),
    ).toEqual(["bytes=300000-"]);
    expect(seen[0]).toBe(300_000);
  });

  test("the process is killed in mid-file: the next one takes over its lock and part", async () => {
    bench().server.faults.set("model.safetensors", { gate: new Promise(() => undefined) });
    const { child } = bench().inChild();
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await until(() => existsSync(bench().part) && statSync(bench().part).size > 40_000);
    child.kill("SIGKILL");
    await ended;
    const kept = statSync(bench().part).size;
    expect(kept).toBeLessThan(weights.length);
    bench().server.faults.clear();
    bench().server.asked.length = 0;
    expectWhole(await bench().get());
    expect(
      bench()
        .server.downloads("model.safetensors")
        .map(({ range }) => range),
    ).toEqual([`bytes=${kept}-`]);
  });

  test.each(["in mid-file", "while the server hangs"])(
    "an abort %s ends with its reason; the bytes stay",
    async (when) => {
      const hangs = when !== "in mid-file";
      bench().server.faults.set(
        "model.safetensors",
        hangs ? { hangs } : { gate: new Promise(() => undefined) },
      );
      const control = new AbortController();
      const reason = new Error("the user has seen enough");
      const patience = { ...quick, stallMs: 600_000 };
      const download = bench().get(repo, { signal: control.signal, patience });
      await until(() =>
        hangs
          ? bench().server.downloads("model.safetensors").length > 0
          : existsSync(bench().part) && statSync(bench().part).size > 40_000,
      );
      control.abort(reason);
      await expect(download).rejects.toBe(reason);
      const kept = statSync(bench().part).size;
      expect(kept).toBeLessThan(weights.length);
      bench().server.faults.clear();
      expectWhole(await bench().get());
      expect(bench().server.downloads("model.safetensors").length).toBe(2);
    },
  );

  test("a server without ranges: the file is downloaded from the start", async () => {
    mkdirSync(join(bench().storage, "blobs"), { recursive: true });
    writeFileSync(bench().part, weights.subarray(0, 1000));
    bench().server.faults.set("model.safetensors", { noRanges: true });
    expectWhole(await bench().get());
    expect(bench().server.downloads("model.safetensors").length).toBe(1);
  });

  test("a part longer than the file, and a complete one", async () => {
    mkdirSync(join(bench().storage, "blobs"), { recursive: true });
    writeFileSync(bench().part, new Uint8Array(weights.length + 1));
    expectWhole(await bench().get());
    rmSync(join(bench().storage, "snapshots"), { recursive: true });
    rmSync(bench().blob);
    writeFileSync(bench().part, weights);
    bench().server.asked.length = 0;
    expectWhole(await bench().get());
    expect(bench().server.downloads("model.safetensors")).toEqual([]);
  });

  test("a server that hangs is reported after the timeout", async () => {
    bench().server.faults.set("model.safetensors", { hangs: true });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const answer = globalThis.fetch;
    let answers = 0;
    vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
      const response = await answer(url, init);
      if (url.endsWith("/model.safetensors")) answers++;
      return response;
    });
    const refused = bench().refused(repo, { patience: { ...quick, stallMs: 1000 } });
    for (let tries = 1; tries <= 3; tries++) {
      await until(() => answers === tries);
      vi.advanceTimersByTime(1000);
    }
    expect(await refused).toBe(
      "owner/tiny-model: model.safetensors: HOST cannot be reached (no byte for 1 s); run the command again: the download goes on where it stopped",
    );
    expect(bench().server.downloads("model.safetensors").length).toBe(3);
  });

  test("429 with Retry-After: the next try waits", async () => {
    bench().server.faults.set("model.safetensors", {
      status: 429,
      times: 1,
      headers: { "retry-after": "0.2" },
    });
    const start = performance.now();
    expectWhole(await bench().get());
    expect(performance.now() - start).toBeGreaterThan(190); // a busy machine only takes longer
  });
});

describe("damaged", () => {
  const advice =
    "the download is deleted: run the command again, and if it repeats, something between here and the hub changes files";

  test("another SHA-256: the part is deleted, nothing is linked, and the next run succeeds", async () => {
    const content = weights.slice();
    content[200_000] ^= 1;
    bench().server.faults.set("model.safetensors", { content });
    expect(await bench().refused()).toBe(
      `owner/tiny-model: model.safetensors: expected SHA-256 ${sha256(weights).slice(0, 12)}…, got ${sha256(content).slice(0, 12)}…; ${advice}`,
    );
    expect(readdirSync(join(bench().storage, "blobs"))).toEqual([gitSha1(files.get("config.json")!)]);
    expect(existsSync(join(bench().storage, "snapshots"))).toBe(false);
    bench().server.faults.clear();
    expectWhole(await bench().get());
  });

  test("a damaged part of an earlier run is found at the end", async () => {
    mkdirSync(join(bench().storage, "blobs"), { recursive: true });
    writeFileSync(bench().part, new Uint8Array(100_000));
    expect(await bench().refused()).toContain("expected SHA-256");
    expect(existsSync(bench().part)).toBe(false);
    expectWhole(await bench().get());
  });

  test("a small file is checked by git's SHA-1", async () => {
    bench().server.faults.set("config.json", { content: text('{"model_type":"fun_asr_nanx"}') });
    expect(await bench().refused()).toContain("config.json: expected git SHA-1");
  });

  test.each([
    ["longer", new Uint8Array(400_001), "400001"],
    ["shorter", new Uint8Array(399_999), "399999"],
  ])("a %s file than the listing says", async (_, content, got) => {
    bench().server.faults.set("model.safetensors", { content });
    expect(await bench().refused()).toBe(
      `owner/tiny-model: model.safetensors: expected 400000 bytes, got ${got}; ${advice}`,
    );
    expect(existsSync(bench().part)).toBe(false);
  });

  test.each([
    ["a range of another file", 400_001],
    ["fewer", 250_000],
  ])("a part that continues with %s", async (got, bytes) => {
    mkdirSync(join(bench().storage, "blobs"), { recursive: true });
    writeFileSync(bench().part, weights.subarray(0, 300_000));
    bench().server.faults.set("model.safetensors", { content: new Uint8Array(bytes) });
    expect(await bench().refused()).toBe(
      `owner/tiny-model: model.safetensors: expected 400000 bytes, got ${got}; ${advice}`,
    );
    expect(existsSync(bench().part)).toBe(false);
  });

  test("a blob that was cut short is downloaded again", async () => {
    const path = await bench().get();
    writeFileSync(bench().blob, weights.subarray(0, 5));
    expectWhole(await bench().get());
    expectWhole(path);
  });
});

describe("two at once", () => {
  test("two processes: one downloads, the other waits and uses the same files", async () => {
    const { server } = bench();
    let open = (): void => undefined;
    server.faults.set("model.safetensors", { gate: new Promise<void>((resolve) => (open = resolve)) });
    const first = bench().inChild();
    await until(() => existsSync(bench().part));
    const second = bench().inChild();
    const waiting = `owner/tiny-model: process ${first.child.pid} is downloading it; waiting`;
    await until(() => second.stderr().includes(waiting));
    open();
    const path = await first.stdout;
    expect(path).toBe(join(bench().storage, "snapshots", commit));
    expect(await second.stdout).toBe(path);
    expectWhole(path);
    expect(server.downloads("model.safetensors").length).toBe(1);
  });
});

describe("the disk", () => {
  const mounted: string[] = [];
  afterEach(() => {
    for (const path of mounted.splice(0)) execFileSync("umount", [path]);
  });
  const isRoot = process.getuid?.() === 0 && process.platform === "linux";

  /** A disk of so many kB. */
  function disk(kilobytes: number): string {
    const path = mkdtempSync(join(bench().root, "disk-"));
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kilobytes}k`, "tmpfs", path]);
    mounted.push(path);
    return path;
  }

  function canMount(): boolean {
    if (!isRoot) return false;
    try {
      disk(64);
      return true;
    } catch {
      return false;
    }
  }

  test("too small for the files: reported before the first byte", async ({ skip }) => {
    skip(!canMount(), "mounting a small disk needs root on Linux");
    bench().home = bench().env.HF_HOME = disk(200);
    expect(await bench().refused()).toMatch(
      /^owner\/tiny-model: expected 402 kB free in HOME\/hub\/models--owner--tiny-model, got 20\d kB; make room, or set HF_HOME to a directory on another disk$/,
    );
    expect(bench().server.downloads("model.safetensors")).toEqual([]);
  });

  test("full in mid-file: reported, the part is kept, and with more space the download resumes", async ({
    skip,
  }) => {
    skip(!canMount(), "mounting a small disk needs root on Linux");
    bench().home = bench().env.HF_HOME = disk(600);
    let open = (): void => undefined;
    bench().server.faults.set("model.safetensors", {
      gate: new Promise<void>((resolve) => (open = resolve)),
    });
    const run = bench().refused(repo, { patience: { ...quick, stallMs: 600_000 } });
    await until(() => existsSync(bench().part) && statSync(bench().part).size > 40_000);
    const { bavail, bsize } = statfsSync(bench().home);
    writeFileSync(join(bench().home, "filler"), new Uint8Array(bavail * bsize - 8192));
    open();
    expect(await run).toBe(
      "owner/tiny-model: the disk of HOME/hub is full (ENOSPC); make room and run the command again (it goes on where it stopped), or set HF_HOME to a directory on another disk",
    );
    const kept = statSync(bench().part).size;
    expect(kept).toBeGreaterThan(40_000);
    rmSync(join(bench().home, "filler"));
    bench().server.faults.clear();
    bench().server.asked.length = 0;
    expectWhole(await bench().get());
    expect(
      bench()
        .server.downloads("model.safetensors")
        .map(({ range }) => range),
    ).toEqual([`bytes=${kept}-`]);
  });

  test("a cache directory that is a file", async () => {
    writeFileSync(join(bench().home, "hub"), "");
    expect(await bench().refused()).toBe(
      "owner/tiny-model: the cache HOME/hub cannot be written (ENOTDIR); set HF_HOME to a directory that you may write",
    );
  });
});
