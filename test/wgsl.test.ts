import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { loadKernel } from "../src/gpu/kernel.js";
import { useGpu } from "./gpu.js";
import {
  combinations,
  constantValues,
  helperFunctions,
  kernelErrors,
  kernelFiles,
  kernelRoot,
  kernelText,
  opFolders,
  overrideValues,
} from "./helpers/kernel-files.js";

// Every .wgsl file below src/kernels: beside it are its wrapper, reference and test; it reads as
// docs and style ask; a function that stands in several files is one text, and so are the Params of
// an op's variants; it compiles without a message for every value of its overrides, and is valid
// WGSL for every size of subgroups and every value of its constants.
const gpu = useGpu();
const kernels = kernelFiles();
const subgroupSizes = [4, 8, 16, 32, 64]; // lanes; a device has one of them, so the others are only translated here

test("there are kernels, and values for their overrides are read from their text", () => {
  expect(kernels.length).toBeGreaterThanOrEqual(13);
  expect(overrideValues(kernelText("linear/linear-row-subgroup"))).toEqual([
    ["WEIGHT", [0, 1, 2, 3, 4]],
    ["ACTIVATION", [0, 1, 2]],
  ]);
  expect(overrideValues(kernelText("rope/rope"))).toEqual([
    ["WG", [1, 64]],
    ["INVERSE", [0, 1]],
  ]);
});

test.each(opFolders())("%s holds a kernel, its wrapper, its reference and its test", (folder) => {
  const files = readdirSync(new URL(folder, kernelRoot));
  for (const ending of [".wgsl", ".ts", ".ref.ts", ".test.ts"]) expect(files).toContain(`${folder}${ending}`);
});

test("a function that stands in several files is one text", () => {
  const first = new Map<string, { readonly name: string; readonly text: string }>();
  const shared = new Set<string>();
  for (const name of kernels)
    for (const [helper, text] of helperFunctions(kernelText(name))) {
      const other = first.get(helper);
      if (other) {
        expect(text, `${helper} of ${name}, against that of ${other.name}`).toBe(other.text);
        shared.add(helper);
      } else first.set(helper, { name, text });
    }
  expect([...shared]).toEqual(expect.arrayContaining(["accurate_exp", "mac", "q4", "word"]));
});

test.each(kernels.filter((name) => name.endsWith("-subgroup")))(
  "%s has the Params of the file that it stands in for",
  (name) => {
    const other = [name.slice(0, -"-subgroup".length), name.replace(/(-row)?-subgroup$/, "")].find((file) =>
      kernels.includes(file),
    );
    expect(loadKernel(name).params).toEqual(loadKernel(other!).params);
  },
);

describe.each(kernels)("%s", (name) => {
  const source = kernelText(name);
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

  test("the driver's exp is nowhere", () => {
    expect(source.replace(/\/\/[^\n]*/g, "")).not.toMatch(/\bexp2?\(/);
  });

  test("compiles for every value of its overrides", async () => {
    expect(await kernelErrors(gpu().device, source)).toEqual([]);
  });
});

test.each(kernels.filter((name) => /^const \w+ = \d+u;\s*\/\/ @set/m.test(kernelText(name))))(
  "%s is valid for every size of subgroups and every value of its constants",
  async (name) => {
    const { device } = gpu();
    const source = kernelText(name);
    const sizes: [string, number[]][] = /^const SG = /m.test(source) ? [["SG", subgroupSizes]] : [];
    for (const constants of combinations([...sizes, ...constantValues(source)])) {
      const { source: code } = loadKernel(name, constants);
      const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
      expect(
        messages.map(({ message }) => message),
        JSON.stringify(constants),
      ).toEqual([]);
    }
  },
);
