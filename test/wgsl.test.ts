import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadKernel } from "../src/gpu/kernel.js";
import { useGpu } from "./gpu.js";

// Every .wgsl file below src/kernels: beside it are its wrapper, reference and test; it reads as docs and style ask; it
// compiles without a message for every value of its overrides, and is valid WGSL for every size of subgroups.
const gpu = useGpu();
const root = new URL("../src/kernels/", import.meta.url);
const folders = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
const kernels = folders.flatMap((folder) =>
  readdirSync(new URL(folder, root))
    .filter((file) => file.endsWith(".wgsl"))
    .map((file) => `${folder}/${file.slice(0, -5)}`),
);

/** Values that an override is tried with; a bool is tried with both. */
const domains: Readonly<Record<string, readonly number[]>> = {
  WEIGHT: [0, 1, 2, 3, 4],
  ACTIVATION: [0, 1, 2, 3],
  WG: [32, 64],
  LANES: [1, 2, 32],
};

const subgroupSizes = [4, 8, 16, 32, 64]; // lanes; a device has one of them, so the others are only translated here

/** Every combination of one value for each name. */
function combinations(choices: readonly (readonly [string, readonly number[]])[]): Record<string, number>[] {
  if (choices.length === 0) return [{}];
  const [[name, list], ...others] = choices;
  return combinations(others).flatMap((rest) => list.map((value) => ({ [name]: value, ...rest })));
}

test("there are kernels", () => {
  expect(kernels.length).toBeGreaterThanOrEqual(13);
});

test.each(folders)("%s holds a kernel, its wrapper, its reference and its test", (folder) => {
  const files = readdirSync(new URL(folder, root));
  for (const ending of [".wgsl", ".ts", ".ref.ts", ".test.ts"]) expect(files).toContain(`${folder}${ending}`);
});

describe.each(kernels)("%s", (name) => {
  const { source } = loadKernel(name);
  const lines = source.split("\n");

  test("LF, no tabs, one newline at the end, lines of 150 at most", () => {
    expect(source).not.toMatch(/[\r\t]/);
    expect(source).toMatch(/[^\n]\n$/);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(150);
  });

  test("opens with its maths, and with its PyTorch name or the kernel that it stands in for", () => {
    expect(lines[0]).toMatch(/^\/\/ \S.* = \S/);
    expect(lines.slice(0, 3).join(" ")).toMatch(/torch|transformers|Qwen3|FunASR|\w\.wgsl for/);
  });

  test("every storage binding carries a shape", () => {
    for (const line of lines.filter((text) => text.includes("@binding") && text.includes("storage"))) {
      expect(line).toMatch(/;\s+\/\/ \[.+\]/);
    }
  });

  test("accurate_exp is the same text everywhere, and the driver's exp nowhere", () => {
    const text = source.replace(/\/\/[^\n]*/g, "");
    expect(text).not.toMatch(/\bexp2?\(/);
    const own = /fn accurate_exp[^}]*\}/.exec(source)?.[0];
    const first = /fn accurate_exp[^}]*\}/.exec(loadKernel("swiglu/swiglu").source)![0];
    if (text.includes("accurate_exp(")) expect(own).toBe(first);
  });

  test("compiles for every value of its overrides", async () => {
    const { device } = gpu();
    const choices = [...source.matchAll(/^override (\w+): (\w+)/gm)].map(([, override, type]) => {
      const values = type === "bool" ? [0, 1] : domains[override];
      expect(values, `values of the override ${override}`).toBeDefined();
      return [override, values] as const;
    });
    const module = device.createShaderModule({ code: source });
    expect((await module.getCompilationInfo()).messages.map(({ message }) => message)).toEqual([]);
    for (const constants of combinations(choices)) {
      device.pushErrorScope("validation");
      device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main", constants } });
      expect((await device.popErrorScope())?.message).toBeUndefined();
    }
  });
});

test.each(kernels.filter((name) => /^const SG = /m.test(loadKernel(name).source)))(
  "%s is valid for every size of subgroups",
  async (name) => {
    const { device } = gpu();
    for (const SG of subgroupSizes) {
      const { source: code } = loadKernel(name, { SG });
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      expect(
        messages.map(({ message }) => message),
        `${SG} lanes`,
      ).toEqual([]);
    }
  },
);
