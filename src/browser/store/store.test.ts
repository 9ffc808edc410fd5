// Plan: downloads into a browser's storage that lives in memory, from a server on loopback that breaks off,
// lies, is full or is gone. Every way to end leaves what the next visit can use, and no wrong byte is ever given.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StaticServer } from "../../../scripts/browser/serve.js";
import { MemoryOrigin } from "../../../test/helpers/opfs.js";
import { listedFile, parseFolder } from "./listing.js";
import type { ModelChoice } from "../messages.js";
import { pickedFiles } from "./blob-files.js";
import { type ModelPlan, planModels } from "./plan.js";

const weights = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) & 255));
const config = Buffer.from('{"model_type":"x"}');
let root = "";
let server: StaticServer;
let base = "";
let origin: MemoryOrigin;

function folder(name: string, files: Readonly<Record<string, Buffer>>): void {
  mkdirSync(join(root, name), { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(root, name, file), bytes);
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "store-"));
  for (const name of ["a", "b", "c"])
    folder(name, { "model.safetensors": Buffer.concat([weights, Buffer.from(name)]), "config.json": config });
  const names = ["a", "b", "c", "hub"];
  server = new StaticServer(Object.fromEntries(names.map((name) => [name, join(root, name)])), pages);
  base = `http://127.0.0.1:${await server.listen()}`;
  origin = new MemoryOrigin();
});
afterEach(() => {
  server.close();
  rmSync(root, { recursive: true });
});

async function planModel(choice: ModelChoice, ...rest: Rest): Promise<ModelPlan> {
  const [plan] = await planModels([choice], ...rest);
  return plan!;
}
type Rest = Parameters<typeof planModels> extends [unknown, ...infer Others] ? Others : never;

/**
 * A visit of a page.
 * @param anew  downloads that begin again
 * @returns the hash of the weights, and what was fetched of them
 */
async function visit(
  name: string,
  keeps = true,
  anew = 0,
): Promise<{ weights: string; ranges: (string | undefined)[] }> {
  server.asked.length = 0;
  const plan = await planModel(
    { url: `${base}/${name}` },
    origin.platform(),
    keeps,
    AbortSignal.timeout(60_000),
  );
  expect(server.weights()).toEqual([]); // none before the download is asked for
  const seen: number[] = [];
  const files = await plan.download((done, total) => {
    expect(done).toBeLessThanOrEqual(total);
    seen.push(done);
  });
  const backwards = seen.filter((done, i) => done < (seen[i - 1] ?? 0)).length;
  expect(backwards).toBe(anew);
  const source = await files.open("model.safetensors");
  const bytes = Buffer.from(await source.read(0, source.size));
  return { weights: sha("sha256", bytes), ranges: server.weights().map(({ range }) => range) };
}
const whole = (name: string): Buffer => Buffer.concat([weights, Buffer.from(name)]);
const sha = (kind: string, bytes: Buffer, head = ""): string =>
  createHash(kind).update(head).update(bytes).digest("hex");
const hashOf = (name: string): string => sha("sha256", whole(name));

describe("downloads", () => {
  it("are kept: a second visit fetches no weights, and needs no network", async () => {
    expect(await visit("a")).toEqual({ weights: hashOf("a"), ranges: [undefined] });
    expect(await visit("a")).toEqual({ weights: hashOf("a"), ranges: [] });
    server.offline = true;
    expect(await visit("a")).toEqual({ weights: hashOf("a"), ranges: [] });
    expect(server.asked.map(({ path }) => path)).toEqual(["/a/files.json"]);
  });

  it("go on where they broke off", async () => {
    server.cuts.set("/a/model.safetensors", 100_000);
    await expect(visit("a")).rejects.toMatchObject({ code: "network" });
    expect(await visit("a")).toEqual({ weights: hashOf("a"), ranges: ["bytes=100000-"] });
  });

  it("that break off leave the version before for a visit without a network", async () => {
    await visit("a");
    folder("a", { "model.safetensors": whole("new") });
    server.cuts.set("/a/model.safetensors", 100_000);
    await expect(visit("a")).rejects.toMatchObject({ code: "network" });
    server.offline = true;
    expect((await visit("a")).weights).toBe(hashOf("a"));
    server.offline = false;
    expect(await visit("a")).toEqual({ weights: hashOf("new"), ranges: ["bytes=100000-"] });
    server.offline = true;
    expect((await visit("a")).weights).toBe(hashOf("new"));
  });

  it("of two tabs at once are one", async () => {
    const both = await Promise.all([visit("a"), visit("a")]);
    for (const { weights: got } of both) expect(got).toBe(hashOf("a"));
    expect(server.weights()).toHaveLength(1);
  });

  it("without storage come anew", async () => {
    expect((await visit("a", false)).ranges).toEqual([undefined]);
    expect((await visit("a", false)).ranges).toEqual([undefined]);
    expect(origin.usage).toBe(0);
  });

  it("of a broken part are made anew once", async () => {
    server.cuts.set("/a/model.safetensors", 100_000);
    await expect(visit("a")).rejects.toThrow("the download broke off");
    const own = await origin.root.getDirectoryHandle("funasr-webgpu");
    const contents = await own.getDirectoryHandle("contents");
    for await (const [name, handle] of contents.entries())
      if (
        handle.kind === "file" &&
        name.startsWith("sha256") &&
        !name.endsWith(".ok") &&
        handle.bytes.length === 100_000
      )
        handle.bytes[5] ^= 1;
    const got = await visit("a", true, 1);
    expect(got).toEqual({ weights: hashOf("a"), ranges: ["bytes=100000-", undefined] });
  });

  it.each([true, false])("with other bytes than the listing's are refused, kept: %s", async (keeps) => {
    const sha256 = createHash("sha256").update("another").digest("hex");
    const files = [{ path: "model.safetensors", size: whole("a").length, sha256 }];
    writeFileSync(join(root, "a", "files.json"), JSON.stringify({ name: "a", files }));
    await expect(visit("a", keeps)).rejects.toMatchObject({ code: "damaged" });
    await expect(visit("a", keeps)).rejects.toThrow(
      `the bytes are not those of the listing (sha256 ${sha256})`,
    );
  });

  it("that are aborted end with the reason", async () => {
    const abort = new AbortController();
    const plan = await planModel({ url: `${base}/a` }, origin.platform(), true, abort.signal);
    const reason = new Error("the user left");
    abort.abort(reason);
    await expect(plan.download(() => undefined)).rejects.toBe(reason);
  });
});

describe("room", () => {
  const each = whole("a").length + config.length;

  it("is asked for before the download, and what is missing is named", async () => {
    origin.quota = 200_000;
    await expect(visit("a")).rejects.toMatchObject({ code: "quota" });
    await expect(visit("a")).rejects.toThrow(
      "a: the download takes 300 kB, the browser grants this page 200 kB; 100 kB are missing",
    );
    expect(server.asked.every(({ path }) => path === "/a/files.json")).toBe(true);
  });

  it("is made by the model that was used the longest ago", async () => {
    await visit("a");
    await new Promise((resolve) => setTimeout(resolve, 5));
    await visit("b");
    await new Promise((resolve) => setTimeout(resolve, 5));
    await visit("a"); // so b is the older one
    origin.quota = origin.usage + 100_000;
    await visit("c");
    expect(origin.usage).toBeLessThan(2 * each + 10_000);
    expect((await visit("a")).ranges).toEqual([]);
    expect(server.asked.map(({ path }) => path)).toEqual(["/a/files.json"]); // what b shared with a stays
    origin.quota = Infinity;
    expect((await visit("b")).ranges).toEqual([undefined]);
  });

  it("is made by contents of older versions first", async () => {
    await visit("b");
    await visit("a");
    folder("a", { "model.safetensors": whole("new") });
    expect((await visit("a")).weights).toBe(hashOf("new"));
    origin.quota = origin.usage + 100_000;
    await visit("c");
    for (const name of ["a", "b"]) expect((await visit(name)).ranges).toEqual([]);
  });

  /** A start with two models. */
  const both = (): ReturnType<typeof planModels> => {
    const choices = ["a", "b"].map((name) => ({ url: `${base}/${name}` }));
    return planModels(choices, origin.platform(), true, AbortSignal.timeout(60_000));
  };

  it.each([
    ["none is here", [], 400_000],
    ["one is here", ["a"], 400_000],
    ["the other is here", ["b"], 400_000],
  ])("for two models that start together is asked for at once: %s", async (_, here, quota) => {
    for (const name of here) await visit(name);
    origin.quota = quota;
    await expect(both()).rejects.toMatchObject({ code: "quota" });
    await expect(both()).rejects.toThrow(/^a and b: the download takes [36]00 kB/);
    origin.quota = Infinity;
    for (const name of here) expect((await visit(name)).ranges).toEqual([]);
  });

  it("for two models that start together is made by a third", async () => {
    await visit("a");
    await new Promise((resolve) => setTimeout(resolve, 5));
    await visit("c");
    origin.quota = origin.usage + 100_000;
    server.asked.length = 0;
    for (const plan of await both()) await plan!.download(() => undefined);
    expect(server.weights().map(({ path }) => path)).toEqual(["/b/model.safetensors"]);
    expect(origin.usage).toBeLessThan(2 * each + 10_000);
  });

  it("for the listing alone is missing: the model starts", async () => {
    await visit("a");
    const { usage } = origin;
    origin = new MemoryOrigin();
    origin.hardQuota = usage + 10; // the listing on its way, and the files
    expect((await visit("a")).weights).toBe(hashOf("a"));
  });

  it("is made by the model's own older version last: without a network nothing is there then", async () => {
    await visit("a");
    folder("a", { "model.safetensors": whole("new") });
    origin.quota = origin.usage + 100_000;
    const plan = (): Promise<ModelPlan> =>
      planModel({ url: `${base}/a` }, origin.platform(), true, AbortSignal.timeout(60_000));
    await plan(); // makes room, and is not downloaded
    server.close();
    await expect(plan()).rejects.toMatchObject({ code: "network" });
  });

  it("that ends in the midst is a named refusal", async () => {
    origin.hardQuota = 150_000;
    await expect(visit("a")).rejects.toMatchObject({ code: "quota" });
    origin.hardQuota = Infinity;
    expect((await visit("a")).weights).toBe(hashOf("a"));
  });
});

const commit = "0123456789abcdef0123456789abcdef01234567";
const pages = {
  "/api/models/owner/name/revision/main": JSON.stringify({ sha: commit }),
  [`/api/models/owner/name/tree/${commit}`]: JSON.stringify([
    { type: "directory", path: "example", size: 0, oid: commit },
    { type: "file", path: "README.md", size: 3, oid: commit },
    {
      type: "file",
      path: "config.json",
      size: config.length,
      oid: sha("sha1", config, `blob ${config.length}\0`),
    },
    {
      type: "file",
      path: "model.safetensors",
      size: 130,
      oid: commit,
      lfs: { oid: sha("sha256", whole("a")), size: whole("a").length },
    },
  ]),
  [`/owner/name/resolve/${commit}/config.json`]: config.toString(),
};

describe("a hub", () => {
  it("is read by name, at its commit, and without a network from what was kept", async () => {
    const files = { "model.safetensors": whole("a") };
    mkdirSync(join(root, "hub"));
    const at = join(root, "owner", "name", "resolve", commit);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "model.safetensors"), files["model.safetensors"]);
    const hub = new StaticServer({ owner: join(root, "owner") }, pages);
    const endpoint = `http://127.0.0.1:${await hub.listen()}/`;
    const open = (): ReturnType<typeof planModel> =>
      planModel({ hub: "owner/name", endpoint }, origin.platform(), true, AbortSignal.timeout(60_000));
    const plan = await open();
    expect(plan.name).toBe("owner/name");
    const got = await plan.download(() => undefined);
    expect(await got.list()).toEqual(["config.json", "model.safetensors"]);
    hub.close();
    const again = await (await open()).download(() => undefined);
    const source = await again.open("model.safetensors");
    expect(Buffer.from(await source.read(0, source.size)).equals(whole("a"))).toBe(true);
  });

  it.each([
    ["owner", "usage", '"owner": expected a hub name OWNER/NAME[@REVISION]'],
    ["owner/other", "network", "/api/models/owner/other/revision/main: the server answers with status 404"],
  ])("%s is refused", async (hub, code, message) => {
    const plan = planModel({ hub, endpoint: base }, origin.platform(), true, AbortSignal.timeout(60_000));
    await expect(plan).rejects.toMatchObject({ code });
    await expect(plan).rejects.toThrow(message);
  });
});

// Plan: a listing of a stranger names plain paths, sizes and hashes, or nothing of it is used.
describe("picked files", () => {
  it("may be any list", async () => {
    const files = new Set([new File(["b"], "b.json"), new File(["a"], "a.json")]);
    expect(await pickedFiles(files).list()).toEqual(["a.json", "b.json"]);
  });
});

describe("a listing", () => {
  const hash = "0".repeat(64);
  it.each([
    ["../x", 1, hash],
    ["a/../x", 1, hash],
    ["/x", 1, hash],
    ["a\\b", 1, hash],
    ["x", -1, hash],
    ["x", 1.5, hash],
    ["x", 1, "0"],
    ["x", 1, undefined],
    [undefined, 1, hash],
  ])("with %s, %s bytes, %s", (path, size, value) => {
    const entry = { path, size, hash: { kind: "sha256" as const, value }, url: "" };
    expect(() => listedFile(entry, "at")).toThrow(
      "at: expected plain paths, sizes and hashes, got others at",
    );
  });

  it("has addresses beside it", () => {
    const text = JSON.stringify({ name: "a", files: [{ path: "b c/d#.json", size: 1, sha256: hash }] });
    const { files } = parseFolder(text, "https://host/models/a/files.json");
    expect(files[0].url).toBe("https://host/models/a/b%20c/d%23.json");
  });
});
