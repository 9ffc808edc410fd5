// Plan: the examples of three bundlers are built as a user builds them: the package lies in node_modules without
// this repository's settings, or is a link to the repository, and no bundler has settings. The page and its worker come out without a Node module,
// with every kernel, and without a warning.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bundler, buildExample, bundlers } from "../scripts/browser/examples.js";

const root = fileURLToPath(new URL("../", import.meta.url));
let place = "";

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "bundlers-"));
  const installed = join(place, "node_modules", "funasr-webgpu");
  mkdirSync(installed, { recursive: true });
  cpSync(join(root, "dist"), join(installed, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(installed, "package.json"));
  symlinkSync(join(root, "node_modules"), join(installed, "node_modules"));
  mkdirSync(join(place, "linked", "node_modules"), { recursive: true });
  symlinkSync(root, join(place, "linked", "node_modules", "funasr-webgpu"));
  for (const name of bundlers)
    for (const folder of [place, join(place, "linked")])
      cpSync(join(root, "examples", name), join(folder, name), { recursive: true });
});
afterAll(() => rmSync(place, { recursive: true }));

/** The scripts that a build wrote. */
function scripts(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .map((name) => readFileSync(join(folder, name), "utf8"));
}

const node = new RegExp(`(from|import\\(|require\\()\\s*["'](node:[\\w/]+|${builtinModules.join("|")})["']`);

describe.each(bundlers)("%s", (name: Bundler) => {
  it.each(["", "linked"])("builds the page and its worker: %s", async (below) => {
    const folder = join(place, below, name);
    const warnings = await buildExample(name, folder);
    expect(warnings).toEqual([]);
    const written = scripts(join(folder, "dist"));
    const kernels = written.filter((text) => text.includes("@group(0) @binding(1)"));
    expect(kernels.length).toBeGreaterThan(0);
    const pages = written.filter((text) => text.includes("querySelectorAll"));
    expect(pages.some((text) => !text.includes("@group(0)") && text.length < 30_000)).toBe(true);
    for (const text of written) expect(node.exec(text)?.[0]).toBeUndefined();
  });

  it("has a page of ten lines", () => {
    const lines = readFileSync(join(root, "examples", name, "page.js"), "utf8")
      .trim()
      .split("\n");
    expect(lines.length).toBeLessThanOrEqual(10);
  });
});
