import { execFile } from "node:child_process";
import { cpSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { scanCacheDir } from "@huggingface/hub";
import { describe, expect, test } from "vitest";
import { expectWhole, files, needed, repo, useBench, weights } from "../../test/helpers/hub-bench.js";
import { openCheckpoint } from "../checkpoint/checkpoint.js";
import { modelDirectory } from "../node/files.js";

// Plan: the cache is shared with other programs. This package reads the cache of Python's
// huggingface_hub, and the reverse.

const bench = useBench();
const written = fileURLToPath(new URL("../../test/fixtures/hub", import.meta.url)); // by golden/fixtures/hub_cache.py
const python = fileURLToPath(new URL("../../golden/.venv/bin/python", import.meta.url));
const tiny = "d4927dda05af693bff7dfd4c7b40eafb0ef92a78";

async function run(code: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(python, ["-c", code], {
    env: {
      ...bench().env,
      HF_HUB_DISABLE_TELEMETRY: "1",
      HF_HUB_DISABLE_XET: "1",
      HF_HUB_DISABLE_PROGRESS_BARS: "1",
    },
  });
  return JSON.parse(stdout);
}

describe("a cache written by Python", () => {
  test("offline: its snapshot opens through Python's links", async () => {
    const env = { ...bench().env, HF_HUB_CACHE: written, HF_HUB_OFFLINE: "1" };
    const path = await bench().get("owner/tiny", { env });
    expect(path).toBe(join(written, "models--owner--tiny", "snapshots", tiny));
    expect(await bench().get(`owner/tiny@${tiny}`, { env: { ...env, HF_HUB_OFFLINE: "" } })).toBe(path);
    const checkpoint = await openCheckpoint(modelDirectory(path));
    expect(checkpoint.tensors.size).toBeGreaterThan(50);
    await checkpoint.close();
    expect(bench().server.asked).toEqual([]);
  });

  test("the command line takes the name", async () => {
    const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
    const env = { ...bench().env, PATH: process.env.PATH, HF_HUB_CACHE: written, HF_HUB_OFFLINE: "1" };
    const inspect = (model: string): Promise<{ stdout: string; stderr: string }> =>
      promisify(execFile)(process.execPath, ["--import", "tsx", main, "inspect", model, "--json"], { env });
    const [found, missing] = await Promise.allSettled([inspect("owner/tiny"), inspect("owner/other")]);
    expect(
      found.status === "fulfilled" && (JSON.parse(found.value.stdout) as { model: string }).model,
    ).toContain(tiny);
    const line = `error: owner/other: no whole copy in the cache ${written}, and HF_HUB_OFFLINE is set; unset it to download, or give a model directory\n`;
    expect(missing).toMatchObject({ status: "rejected", reason: { code: 1, stderr: line } });
    const { stdout } = (missing as PromiseRejectedResult).reason as { readonly stdout: string };
    expect(JSON.parse(stdout)).toEqual({
      error: { name: "HubError", message: line.slice("error: ".length).trimEnd() },
    });
  });

  test("without its listing: offline it is trusted, otherwise the hub is asked", async () => {
    const cache = join(bench().home, "copy");
    cpSync(written, cache, { recursive: true, verbatimSymlinks: true });
    rmSync(join(cache, "models--owner--tiny", "trees"), { recursive: true });
    const env = { ...bench().env, HF_HUB_CACHE: cache };
    expect(await bench().get("owner/tiny", { env: { ...env, HF_HUB_OFFLINE: "ON" } })).toContain(tiny);
    expect(bench().server.asked).toEqual([]);
    expect(await bench().refused(`owner/tiny@${tiny}`, { env })).toContain("no such repository");
  });
});

describe("a cache written by this package", () => {
  test("@huggingface/hub reads it", async () => {
    await bench().get();
    const { repos, warnings } = await scanCacheDir(join(bench().home, "hub"));
    expect(warnings).toEqual([]);
    expect(repos.length).toBe(1);
    expect(repos[0].id).toEqual({ type: "model", name: repo });
    expect(repos[0].revisions[0].refs).toEqual(["main"]);
    expect(repos[0].revisions[0].files.map(({ path }) => path.split("/").at(-1)).sort()).toEqual(needed);
  });

  test("Python's scan_cache_dir and snapshot_download read it without a download", async ({ skip }) => {
    skip(!existsSync(python), "golden/.venv has no Python with huggingface_hub");
    await bench().get();
    bench().server.asked.length = 0;
    const seen = await run(`
import json
from huggingface_hub import scan_cache_dir, snapshot_download
info = scan_cache_dir()
[repo] = info.repos
[revision] = repo.revisions
path = snapshot_download("${repo}", allow_patterns=${JSON.stringify(needed)})
offline = snapshot_download("${repo}", allow_patterns=${JSON.stringify(needed)}, local_files_only=True)
print(json.dumps([len(info.warnings), repo.repo_id, repo.repo_type, sorted(revision.refs), revision.commit_hash,
                  sorted(f.file_name for f in revision.files), repo.size_on_disk, path, path == offline]))`);
    const path = join(bench().storage, "snapshots", "a".repeat(40));
    const bytes = needed.reduce((sum, name) => sum + files.get(name)!.length, 0);
    expect(seen).toEqual([0, repo, "model", ["main"], "a".repeat(40), needed, bytes, path, true]);
    expect(bench().server.downloads("model.safetensors")).toEqual([]);
  });

  test("files that Python downloaded are not downloaded again", async ({ skip }) => {
    skip(!existsSync(python), "golden/.venv has no Python with huggingface_hub");
    const path = await run(`
import json
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("${repo}")))`);
    expect(readFileSync(join(path as string, "model.safetensors")).equals(weights)).toBe(true);
    const loaded = bench().server.downloads("model.safetensors").length;
    expectWhole(await bench().get());
    expect(bench().server.downloads("model.safetensors").length).toBe(loaded);
  });
});
