import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { builtinModules, createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ESLint } from "eslint";
import { describe, expect, it } from "vitest";
import { Transcriber } from "../src/decode/transcriber.js";
import { Gpu } from "../src/gpu/device.js";
import { webgpu } from "../src/node/device.js";
import { noiseClip, tinyModel } from "./helpers/tiny-model.js";

const root = fileURLToPath(new URL("../", import.meta.url));
const text = (file: string): string => readFileSync(join(root, file), "utf8");

interface Manifest {
  readonly exports: Record<string, Record<string, string>>;
  readonly imports: Record<string, Record<string, string>>;
  readonly bin: Record<string, string>;
  readonly files: readonly string[];
}
const manifest = JSON.parse(text("package.json")) as Manifest;

interface Bundler {
  readonly rolldown: (options: object) => Promise<{
    readonly generate: (
      options: object,
    ) => Promise<{ readonly output: readonly { readonly code?: string }[] }>;
  }>;
}

/**
 * Bundles a module for the browser.
 * @returns  its code, the imports left outside, the bundler's warnings
 */
async function bundle(input: string): Promise<{ code: string; outside: string[]; warnings: string[] }> {
  const vite = createRequire(createRequire(import.meta.url).resolve("vitest/package.json")).resolve("vite");
  const { rolldown } = (await import(
    pathToFileURL(createRequire(vite).resolve("rolldown")).href
  )) as unknown as Bundler;
  const outside: string[] = [];
  const warnings: string[] = [];
  const build = await rolldown({
    input,
    platform: "browser",
    resolve: { conditionNames: ["browser", "import", "default"] },
    external: (id: string) => {
      const node = id.startsWith("node:") || builtinModules.includes(id);
      if (node) outside.push(id);
      return node;
    },
    onLog: (level: string, { code, message }: { code?: string; message: string }) => {
      if (level === "warn") warnings.push(`${code}: ${message}`);
    },
  });
  const { output } = await build.generate({ format: "esm" });
  return { code: output.map((chunk) => chunk.code ?? "").join("\n"), outside, warnings };
}

// Plan: the engine's entry goes through a browser's bundler with the kernels inside and no Node
// module; the Node entry does not.
describe("the engine without Node", () => {
  it("bundles for the browser", async () => {
    const { code, outside, warnings } = await bundle(join(root, "dist/index.js"));
    expect(outside).toEqual([]);
    expect(warnings).toEqual([]);
    expect(code).not.toMatch(/\bfrom\s*["'](node:|fs|path)/);
    expect(code).toContain("@group(0) @binding(1)"); // the kernels' text
    expect(code).toContain("class Transcriber");
  });

  it("an import that nothing declares gives a warning, so the check can fail", async () => {
    const folder = mkdtempSync(join(tmpdir(), "bundle-"));
    writeFileSync(join(folder, "a.js"), 'export const load = () => import("not-declared-anywhere");\n');
    const { warnings } = await bundle(join(folder, "a.js"));
    rmSync(folder, { recursive: true });
    expect(warnings).toEqual([expect.stringMatching(/^UNRESOLVED_IMPORT: .*not-declared-anywhere/s)]);
  });

  it("the Node entry needs Node, so the check can fail", async () => {
    const { outside } = await bundle(join(root, "dist/node/files.js"));
    expect(outside).toContain("node:fs/promises");
  });

  it("takes a device of the user's own", async () => {
    const adapter = await webgpu().requestAdapter();
    const device = await adapter!.requestDevice();
    const transcriber = await Transcriber.load(new Gpu(device), await tinyModel({ seed: 5 }));
    const clip = transcriber.prepare(noiseClip(0.4, 1), "noise");
    const [result] = await transcriber.transcribe([clip], { maxNewTokens: 4 });
    expect(result.tokenIds.length).toBeGreaterThan(0);
    device.destroy();
  });
});

// Plan: what package.json points at is there after a build, and the entries load by the package's
// own name.
describe("package.json", () => {
  const targets = [
    ...Object.values(manifest.exports).flatMap((conditions) => Object.values(conditions)),
    ...Object.values(manifest.imports["#wgsl"]),
    ...Object.values(manifest.bin),
  ];
  it.each(targets)("%s exists", (target) => expect(existsSync(join(root, target))).toBe(true));

  it("every entry has types before its code", () => {
    for (const conditions of Object.values(manifest.exports)) {
      expect(Object.keys(conditions)).toEqual(["types", "default"]);
    }
  });

  it("entries load by name, each with its own exports", () => {
    const script =
      'const [a, b] = await Promise.all([import("funasr-webgpu"), import("funasr-webgpu/node")]);' +
      "console.log(typeof a.Transcriber, typeof a.Gpu, typeof a.verifyBundle, typeof b.openDevice, typeof b.modelDirectory);";
    const out = execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    expect(out.toString().trim()).toBe("function function function function function");
  });

  it("types resolve for a user under nodenext", () => {
    const types = text("dist/index.d.ts") + text("dist/node.d.ts");
    for (const [, target] of types.matchAll(/from "(\.[^"]+)\.js"/g)) {
      const found = existsSync(join(root, "dist", `${target}.d.ts`));
      expect([target, found]).toEqual([target, true]);
    }
  });
});

// Plan: `prepare` builds unless dist is newer than every source, a deleted or added one included.
describe("scripts/is-built.js", () => {
  const sources = ["src", "src/a", "src/a/b.wgsl", "src/c.ts", "scripts/copy-wgsl.js", "tsconfig.build.json"];
  it.each(["dist", "src without a dist", ...sources])("newest: %s", (newest) => {
    const at = mkdtempSync(join(tmpdir(), "built-"));
    try {
      for (const name of ["dist", "scripts", "src/a"]) mkdirSync(join(at, name), { recursive: true });
      writeFileSync(join(at, "scripts/is-built.js"), text("scripts/is-built.js"));
      writeFileSync(join(at, "package.json"), '{"type":"module"}');
      for (const name of ["src/a/b.wgsl", "src/c.ts", "scripts/copy-wgsl.js", "tsconfig.build.json"])
        writeFileSync(join(at, name), "");
      const built = newest !== "src without a dist";
      if (built) writeFileSync(join(at, "dist/wgsl.browser.js"), "");
      for (const name of sources) utimesSync(join(at, name), 1, 1);
      if (built) {
        utimesSync(join(at, "dist/wgsl.browser.js"), 2, 2);
        if (newest !== "dist") utimesSync(join(at, newest), 3, 3);
      }
      const { status } = spawnSync(process.execPath, [join(at, "scripts/is-built.js")]);
      expect(status).toBe(newest === "dist" ? 0 : 1);
    } finally {
      rmSync(at, { recursive: true });
    }
  });
});

const tracked = execFileSync("git", ["ls-files", "-z"], { cwd: root })
  .toString()
  .split("\0")
  .filter((file) => file !== "" && existsSync(join(root, file)));

/** What GitHub calls a heading in links. */
const anchorOf = (heading: string): string =>
  heading
    .replace(/^#+ /, "")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\- _]/gu, "")
    .replaceAll(" ", "-");

// Plan: nothing in the repository ties it to a machine or is too large to clone; links lead
// somewhere; a paragraph is one line.
describe("the repository", () => {
  it("has no file over 10 MB, and less than 60 MB in all", () => {
    const sizes = tracked.map((file) => statSync(join(root, file)).size);
    expect(tracked.length).toBeGreaterThan(100);
    expect(tracked.filter((_, i) => sizes[i] > 10e6)).toEqual([]);
    expect(sizes.reduce((a, b) => a + b, 0)).toBeLessThan(60e6);
  });

  it("the lock file names no registry", () => {
    expect(text("package-lock.json")).not.toMatch(/"resolved"/);
  });

  it("the lock file has an entry for every optional dependency, as npm 11's `npm ci` asks", () => {
    const { packages } = JSON.parse(text("package-lock.json")) as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    const names = Object.keys(packages).map((path) => path.split("node_modules/").at(-1));
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
    expect(wanted.filter((name) => !names.includes(name))).toEqual([]);
  });

  it("README is one page of at most 10,000 bytes", () => {
    expect(Buffer.byteLength(text("README.md"))).toBeLessThanOrEqual(10_000);
  });

  const pages = tracked.filter((file) => file.endsWith(".md"));
  it.each(pages)("every link of %s leads to a file of the repository or elsewhere", (page) => {
    const links = [...text(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, link]) => link);
    const local = links.filter((link) => !/^[a-z]+:/.test(link));
    expect(local.filter((link) => !existsSync(join(root, page, "..", link)))).toEqual([]);
  });

  it.each(pages)("every link of %s to a heading has that heading", (page) => {
    const links = [...text(page).matchAll(/\]\(([^)#\s:]*)#([^)]+)\)/g)];
    const lost = links.filter(([, file, anchor]) => {
      const headings = text(file ? join(page, "..", file) : page).match(/^#+ .*$/gm) ?? [];
      return !headings.some((heading) => anchorOf(heading) === anchor);
    });
    expect(lost.map(([link]) => link)).toEqual([]);
  });

  it.each(pages)("a paragraph of %s is one line", (page) => {
    const prose = text(page).replace(/^```[^]*?^```$/gm, "\n");
    const other = /^(\||#|<!--|!\[|- |\d+\. | {4}|$)/; // tables, headings, marks, pictures, items, formulas
    const lines = prose.split("\n");
    const wrapped = lines.filter(
      (line, i) => i > 0 && !other.test(line) && !/^(\||#|<!--|$)/.test(lines[i - 1]),
    );
    expect(wrapped).toEqual([]);
  });

  it("no tracked text holds a path of a machine", () => {
    const homes = /(?<![\w.])\/(work|root|home\/\w+|Users\/\w+)\//;
    const binary = /\.(safetensors|wav|mp3|flac|ogg|opus|m4a|png)$/;
    const guilty = tracked.filter((file) => !binary.test(file) && homes.test(text(file)));
    expect(guilty).toEqual([]);
  });
});

const eslint = new ESLint({ cwd: root });

/** Import rules that a file breaks once it imports `name` as well. */
async function lint(file: string, from: string, name: string): Promise<string[]> {
  const code = `import { ${name} as more } from "${from}";\n${text(file)}\nexport const evenMore = more;\n`;
  const [{ messages }] = await eslint.lintText(code, { filePath: join(root, file) });
  expect(messages.filter(({ fatal }) => fatal)).toEqual([]);
  return messages.map(({ ruleId }) => ruleId ?? "").filter((rule) => rule.startsWith("import-x/"));
}

// Plan: a forbidden import in each direction is refused by the lint rule, the allowed ones pass,
// cycles are refused.
describe("import rules", () => {
  it("name every room of src, and README and CONTRIBUTING print them", async () => {
    const { rooms } = (await import(join(root, "rooms.js"))) as { readonly rooms: readonly string[] };
    const folders = readdirSync(join(root, "src"), { withFileTypes: true }).filter((e) => e.isDirectory());
    expect([...rooms].sort()).toEqual(folders.map(({ name }) => name).sort());
    for (const page of ["README.md", "CONTRIBUTING.md"])
      expect(text(page)).toContain(`\n\`${rooms.join(" ")}\``);
  });

  it.each([
    ["src/gpu/errors.ts", "../kernels/add/add.js", "add"],
    ["src/gpu/errors.ts", "../checkpoint/weights.js", "fnv1a"],
    ["src/errors.ts", "./gpu/errors.js", "GpuError"],
    ["src/weights/memory.ts", "../model/taps.js", "noTap"],
    ["src/formats/dtypes.ts", "../config/reader.js", "ConfigReader"],
    ["src/kernels/add/add.ts", "../../model/taps.js", "noTap"],
    ["src/model/taps.ts", "../decode/guards.js", "loopStart"],
    ["src/decode/guards.ts", "../cli/output.js", "note"],
    ["src/verify/compare.ts", "../cli/output.js", "note"],
    ["src/frontend/errors.ts", "../gpu/device.js", "Gpu"],
    ["src/tokenizer/errors.ts", "../gpu/device.js", "Gpu"],
    ["src/formats/errors.ts", "../gpu/device.js", "Gpu"],
    ["src/node/wait.ts", "../cli/output.js", "note"],
  ])("%s may not import %s", async (...args) => {
    const rules = (await lint(...args)).filter((rule) => rule !== "import-x/no-cycle");
    expect(rules).toEqual(["import-x/no-restricted-paths"]);
  });

  it.each([
    ["src/kernels/add/add.ts", "../../gpu/errors.js", "expectDevice"],
    ["src/model/taps.ts", "../kernels/add/add.js", "add"],
    ["src/decode/guards.ts", "../model/taps.js", "noTap"],
    ["src/cli/output.ts", "../decode/guards.js", "loopStart"],
  ])("%s may import %s", async (...args) => {
    expect(await lint(...args)).toEqual([]);
  });

  it.each([
    ["src/gpu/tensor.ts", "./device.js", "Gpu"],
    ["src/decode/guards.ts", "./transcriber.js", "Transcriber"],
  ])("%s may import %s only where no cycle comes of it", async (file, from, name) => {
    const cycles = (await lint(file, from, name)).filter((rule) => rule === "import-x/no-cycle");
    expect(cycles.length).toBeGreaterThan(0);
  });
});
