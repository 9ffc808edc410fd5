import { execFile } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleBytes, bundleParts, bundlePath, floatsOf } from "./helpers/bundles.js";
import { cli, errorLines, expectRefusal, jsonLines } from "./helpers/cli.js";

const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "funasr-webgpu-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Plan: two files with one case stay two bundles, in the tables and in the lines of --json.
describe("files of one case", () => {
  const copy = (): string => {
    const path = join(folder, "other.safetensors");
    copyFileSync(bundlePath("encoder-7"), path);
    return path;
  };

  it("are named by their paths", async () => {
    const paths = [bundlePath("encoder-7"), copy()];
    const { code, stdout } = await cli(["verify", ...paths, bundlePath("encoder-1")]);
    expect(code).toBe(0);
    const stems = stdout.split("\n").filter((line) => line.includes("encoder.stem"));
    expect(stems.map((line) => line.split(" ")[0])).toEqual([...paths, "encoder-1"]);
  });

  it("have their own file on the lines of --json; a path given twice counts once", async () => {
    const paths = [bundlePath("encoder-7"), copy()];
    const lines = jsonLines(await cli(["verify", "--json", ...paths, paths[0]]));
    expect(new Set(lines.map(({ file }) => file))).toEqual(new Set(paths));
    expect(lines.filter(({ file }) => file === paths[0])).toHaveLength(lines.length / 2);
    expect(new Set(lines.map(({ bundle }) => bundle))).toEqual(new Set(["encoder-7"]));
  });
});

// Plan: without arguments, files are checked against the manifest before they are run: of two, the
// one with a flipped bit is refused by one line with its name, a listed one that is gone too, and
// the other still runs.
describe("without arguments", () => {
  it("checks size and SHA-256 of the manifest", async () => {
    const names = ["encoder-1", "encoder-7", "llm-one-token"].map((name) => `${name}.safetensors`);
    mkdirSync(join(folder, "golden/bundles"), { recursive: true });
    for (const part of ["dist", "bin", "package.json"])
      cpSync(join(root, part), join(folder, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const manifest = JSON.parse(readFileSync(join(root, "golden/manifest.json"), "utf8")) as {
      bundles: { file: string }[];
    };
    const bundles = manifest.bundles.filter(({ file }) => names.includes(file));
    writeFileSync(join(folder, "golden/manifest.json"), JSON.stringify({ bundles }));
    const damaged = readFileSync(bundlePath("encoder-1"));
    damaged[damaged.length - 8] ^= 1; // the last bit of a double: no error bound would see it
    writeFileSync(join(folder, "golden/bundles", names[0]), damaged);
    copyFileSync(bundlePath("encoder-7"), join(folder, "golden/bundles", names[1]));

    const binary = join(folder, "bin/funasr-webgpu.js");
    const run = await new Promise<{ failed: boolean; stdout: string; stderr: string }>((resolve) => {
      execFile(process.execPath, [binary, "verify"], (error, stdout, stderr) =>
        resolve({ failed: error !== null, stdout, stderr }),
      );
    });
    expect(run.failed).toBe(true);
    const errors = errorLines({ ...run, code: 1, signal: null });
    expect(errors).toHaveLength(2);
    expect(errors[0]).toMatch(
      /golden\/bundles\/encoder-1\.safetensors: SHA-256: expected [0-9a-f]{64} as golden\/manifest\.json says/,
    );
    expect(errors[1]).toMatch(/golden\/bundles\/llm-one-token\.safetensors: expected a file of that name/);
    expect(run.stdout).toMatch(/^encoder-7 .*ok$/m);
    expect(run.stdout).not.toMatch(/encoder-1/);
  });
});

// Plan: the other kernel family on demand, named on stderr. It sums in another order, so its errors
// differ.
describe("--no-subgroups", () => {
  it("checks the kernels without subgroups", async () => {
    const path = bundlePath("encoder-7");
    const [usual, without] = [await cli(["verify", path]), await cli(["verify", "--no-subgroups", path])];
    for (const { code, stdout } of [usual, without]) {
      expect(code).toBe(0);
      expect(stdout).toMatch(/^encoder-7 .*encoder\.output .* ok$/m);
    }
    expect(usual.stderr).toMatch(/^device: .*, subgroups of \d+$/m);
    expect(without.stderr).toMatch(/^device: .*, no subgroups$/m);
    expect(without.stdout).not.toBe(usual.stdout);
  });
});

// Plan: q8 errors are far over the bound of unrounded weights. They are reported, not judged, with
// exit code 0. NaN fails.
describe("--weights q8", () => {
  it("measures", async () => {
    const path = bundlePath("encoder-weights");
    const run = await cli(["verify", "--weights", "q8", path]);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^encoder-weights .*encoder\.stem .* measured$/m);
    expect(run.stdout).not.toMatch(/FAIL|divergence/);
    expect(run.stderr).toMatch(/stages under rounded weights, measured and not judged/);
    const lines = jsonLines(await cli(["verify", "--weights", "q8", "--json", path]));
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) expect(line).toMatchObject({ ok: true, judged: false });
    expect(Math.max(...lines.map(({ ratio }) => ratio as number))).toBeGreaterThan(100);
  });

  it("fails for what is no number", async () => {
    const parts = await bundleParts("encoder-weights");
    floatsOf(parts, "weights.model.audio_tower.layers.1.mlp.fc2.bias").fill(NaN);
    const path = join(folder, "nan.safetensors");
    writeFileSync(path, await bundleBytes(parts));
    const run = await cli(["verify", "--weights", "q8", path]);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/encoder\.stem .* measured$/m);
    expect(run.stdout).toMatch(/encoder\.output .* FAIL got NaN$/m);
  });
});

// Plan: a shell pattern over the folder also names its JSON.
it("refuses JSON for what it is", async () => {
  const path = fileURLToPath(new URL("../golden/bundles/tokenizer.json", import.meta.url));
  expect(expectRefusal(await cli(["verify", path]))).toContain(
    `${path}: content: expected a safetensors file, got one that begins with "{"; it is JSON`,
  );
});
