import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  commit,
  otherCommit,
  expectWhole,
  files,
  needed,
  repo,
  text,
  useBench,
  weights,
} from "../../test/helpers/hub-bench.js";
import { gitSha1, sha256 } from "../../test/helpers/hub-server.js";
import { downloadFiles } from "./download.js";

// Plan: a model is downloaded by name from a hub on loopback, completely, checked, and only once.

const bench = useBench();

describe("download", () => {
  test("only the files of the checkpoint, in the layout of the shared cache", async () => {
    const notes: string[] = [];
    const path = await bench().get(repo, { onNote: (note) => notes.push(note) });
    expect(path).toBe(join(bench().storage, "snapshots", commit));
    expectWhole(path);
    expect(readdirSync(path).sort()).toEqual(needed);
    expect(readlinkSync(join(path, "model.safetensors"))).toBe(`../../blobs/${sha256(weights)}`);
    expect(readlinkSync(join(path, "config.json"))).toBe(`../../blobs/${gitSha1(files.get("config.json")!)}`);
    expect(readFileSync(join(bench().storage, "refs", "main"), "utf8")).toBe(commit);
    expect(readdirSync(join(bench().storage, "blobs")).length).toBe(3);
    expect(readdirSync(join(bench().home, "hub", ".locks", "models--owner--tiny-model"))).toEqual([]);
    expect(notes).toEqual([`downloading ${repo}: 3 files, 402 kB, into ${bench().storage}`]);
  });

  test("a second time: one request without a file; by commit: no request", async () => {
    const path = await bench().get();
    bench().server.asked.length = 0;
    expect(await bench().get()).toBe(path);
    expect(bench().server.asked.map(({ url }) => url.split("?")[0])).toEqual([
      `/api/models/${repo}/revision/main`,
    ]);
    bench().server.asked.length = 0;
    expect(await bench().get(`${repo}@${commit}`)).toBe(path);
    expect(bench().server.asked).toEqual([]);
  });

  test("a tag: files that its commit shares with another are not downloaded again", async () => {
    await bench().get();
    bench().server.asked.length = 0;
    const path = await bench().get(`${repo}@v1.0`);
    expect(path).toBe(join(bench().storage, "snapshots", otherCommit));
    expectWhole(path);
    expect(bench().server.downloads("model.safetensors")).toEqual([]);
    expect(readFileSync(join(bench().storage, "refs", "v1.0"), "utf8")).toBe(otherCommit);
  });

  test("main has a new commit: it is downloaded, and the old one stays", async () => {
    await bench().get();
    const config = text('{"model_type":"fun_asr_nano","new":1}');
    bench().server.repos.set(repo, {
      files: new Map(files).set("config.json", config),
      refs: { main: otherCommit },
    });
    const path = await bench().get();
    expect(readFileSync(join(path, "config.json")).equals(config)).toBe(true);
    expect(readdirSync(join(bench().storage, "snapshots")).sort()).toEqual([commit, otherCommit]);
    expect(bench().server.downloads("model.safetensors").length).toBe(1);
  });

  test("a listing in pages, a path in a directory, an empty file, names that need escaping", async () => {
    bench().server.pageSize = 2;
    const odd = new Map([...files, ["a b/c#d?.json", text("{}")], ["a b/empty.json", text("")]]);
    bench().server.repos.set(repo, { files: odd, refs: { main: commit } });
    const path = await downloadFiles({ repo, revision: "main" }, () => ["a b/c#d?.json", "a b/empty.json"], {
      env: bench().env,
    });
    expect(readFileSync(join(path, "a b", "c#d?.json"), "utf8")).toBe("{}");
    expect(statSync(join(path, "a b", "empty.json")).size).toBe(0);
    expect(readlinkSync(join(path, "a b", "c#d?.json"))).toBe(`../../../blobs/${gitSha1(text("{}"))}`);
  });

  test("progress rises to the total while a slow server sends", async () => {
    bench().server.faults.set("model.safetensors", { pace: { bytes: 50_000, ms: 20 } });
    const seen: number[] = [];
    let whole = 0;
    await bench().get(repo, { onProgress: (done, total) => (seen.push(done), (whole = total)) });
    expect(whole).toBe(needed.reduce((sum, name) => sum + files.get(name)!.length, 0));
    expect(seen.at(-1)).toBe(whole);
    expect(seen.length).toBeGreaterThan(8);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
  });

  test("hard links without symbolic links", async () => {
    const path = await bench().get(repo, { env: { ...bench().env, HF_HUB_DISABLE_SYMLINKS: "1" } });
    expect(lstatSync(join(path, "model.safetensors")).isSymbolicLink()).toBe(false);
    expect(statSync(join(path, "model.safetensors")).ino).toBe(statSync(bench().blob).ino);
    expectWhole(path);
  });
});

describe("a directory", () => {
  test("has priority over a hub name, without a request", async () => {
    const inside = mkdtempSync(join(bench().root, "cwd-"));
    mkdirSync(join(inside, repo), { recursive: true });
    const before = process.cwd();
    process.chdir(inside);
    try {
      expect(await bench().get()).toBe(repo);
    } finally {
      process.chdir(before);
    }
    expect(bench().server.asked).toEqual([]);
  });

  test.each([
    "./owner/name",
    "../x",
    "/no/such/directory",
    "one",
    "a/b/c",
    "a/b@",
    "a--b/c",
    "a/b@x..y",
    "a/b@-x",
    "",
  ])("%j is neither a directory nor a name", async (model) => {
    expect(await bench().refused(model)).toBe(
      `${JSON.stringify(model)}: expected a model directory or a hub name OWNER/NAME[@REVISION], got neither; check the path`,
    );
    expect(bench().server.asked).toEqual([]);
  });
});

describe("offline", () => {
  const refusal = (lacks = ""): string =>
    `owner/tiny-model: no whole copy in the cache HOME/hub${lacks}, and HF_HUB_OFFLINE is set; unset it to download, or give a model directory`;

  test("with a copy: no request; without: an error", async () => {
    bench().env.HF_HUB_OFFLINE = "1";
    expect(await bench().refused()).toBe(refusal());
    const path = await bench().get(repo, { env: { ...bench().env, HF_HUB_OFFLINE: "0" } });
    bench().server.asked.length = 0;
    expect(await bench().get()).toBe(path);
    expect(await bench().get(`${repo}@${commit}`)).toBe(path);
    expect((await bench().refused(`${repo}@v1.0`)).startsWith("owner/tiny-model@v1.0: no whole copy")).toBe(
      true,
    );
    expect(bench().server.asked).toEqual([]);
  });

  // Plan: a copy without some files, with this package's listing and without a listing, as of other
  // programs; a file cut short.
  test.each<[name: string, listing: boolean, damage: (path: string) => void, lacks: string]>([
    ["weights", true, (path) => rmSync(join(path, "model.safetensors")), "model.safetensors"],
    [
      "two files",
      true,
      (path) => ["model.safetensors", "config.json"].map((name) => rmSync(join(path, name))),
      "config.json, model.safetensors",
    ],
    ["cut weights", true, (path) => truncateSync(join(path, "model.safetensors"), 5), "model.safetensors"],
    [
      "weights, without a listing",
      false,
      (path) => rmSync(join(path, "model.safetensors")),
      "its weights (it has config.json, tokenizer.json)",
    ],
    [
      "a shard, without a listing",
      false,
      (path) => {
        rmSync(join(path, "model.safetensors"));
        const [a, b] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        writeFileSync(join(path, a), "x");
        writeFileSync(
          join(path, "model.safetensors.index.json"),
          JSON.stringify({ weight_map: { x: a, y: b } }),
        );
      },
      "model-00002-of-00002.safetensors",
    ],
  ])("a copy that lacks %s", async (_, listing, damage, lacks) => {
    const path = await bench().get();
    if (!listing) rmSync(join(bench().storage, "trees"), { recursive: true });
    damage(path);
    const env = { ...bench().env, HF_HUB_OFFLINE: "1" };
    expect(await bench().refused(repo, { env })).toBe(refusal(`, where it lacks ${lacks}`));
    bench().server.apiStatus = 502;
    expect(await bench().refused()).toBe(
      `owner/tiny-model: HOST cannot be reached (status 502); check the network and HF_ENDPOINT, or give a model directory; the copy in the cache lacks ${lacks}`,
    );
  });

  test("the hub is out of order: the copy is used with a note; without a copy, an error", async () => {
    bench().server.apiStatus = 502;
    expect(await bench().refused()).toBe(
      "owner/tiny-model: HOST cannot be reached (status 502); check the network and HF_ENDPOINT, or give a model directory",
    );
    bench().server.apiStatus = undefined;
    const path = await bench().get();
    bench().server.apiStatus = 502;
    const notes: string[] = [];
    expect(await bench().get(repo, { onNote: (note) => notes.push(note) })).toBe(path);
    expect(notes.length).toBe(1);
    expect(notes[0]).toContain("(status 502)");
    expect(notes[0]).toMatch(/; using the copy in the cache$/);
  });

  test("a cache on a read-only disk", async () => {
    const path = await bench().get();
    const before = tree(join(bench().home, "hub"));
    expect(await bench().get()).toBe(path);
    expect(tree(join(bench().home, "hub"))).toEqual(before); // nothing is written or touched
  });
});

/** All paths below with their times of change. */
function tree(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => `${name} ${lstatSync(join(path, name)).mtimeMs}`);
}
