import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { StatsReader, beginLine, chipLine, columns, endLine } from "../scripts/gpus/stats.js";
import { kernelFiles } from "./helpers/kernel-files.js";

// Plan: check:gpus reads what both compilers write, and says which pipeline is refused or has no
// numbers. The table that it compares with names kernels that exist, in four chips alike.
const read = (...lines: string[]): ReturnType<StatsReader["result"]> => {
  const reader = new StatsReader();
  for (const line of [`${chipLine} {"adapter":"a","lanes":32}`, ...lines]) reader.line(line);
  return reader.result();
};

test.each<[string, string[], number[]]>([
  [
    "RADV",
    [
      "*** SHADER STATS ***",
      "VGPRs: 48",
      "Spilled SGPRs: 1",
      "Spilled VGPRs: 2",
      "Scratch size: 16",
      "Instructions: 9",
    ],
    [48, 3, 16, 9],
  ],
  ["NVK", ["Stage: compute", "Instruction count: 1159", "Num GPRs: 49", "SLM size: 384"], [49, 0, 384, 1159]],
])("%s", (_name, lines, want) => {
  const { pipelines, failed, lanes } = read(`${beginLine} a/b WEIGHT=1`, ...lines, endLine, "VGPRs: 7");
  expect(columns.map((column) => pipelines.get("a/b WEIGHT=1")![column])).toEqual(want);
  expect([failed, lanes]).toEqual([[], 32]);
});

test("what is refused or has no numbers is named", () => {
  const { failed } = read(`${beginLine} a/b`, "failed GpuError: no", endLine);
  expect(failed).toEqual(["a/b: GpuError: no", "a/b: the compiler wrote no numbers"]);
});

test("the table's kernels exist, and every chip has rows of numbers", () => {
  const file = new URL("../bench/results/gpu-compilers.json", import.meta.url);
  const table = JSON.parse(readFileSync(file, "utf8")) as {
    readonly columns: string[];
    readonly chips: Record<string, { readonly pipelines: Record<string, number[]> }>;
  };
  expect(table.columns).toEqual(columns);
  expect(Object.keys(table.chips).sort()).toEqual(["ga102", "navi21", "navi31", "vega10"]);
  for (const { pipelines } of Object.values(table.chips)) {
    const names = Object.keys(pipelines).map((name) => name.split(" ")[0]);
    expect(kernelFiles()).toEqual(expect.arrayContaining(names));
    for (const row of Object.values(pipelines)) {
      expect(row).toHaveLength(columns.length);
      expect(row.every((value) => Number.isSafeInteger(value) && value >= 0)).toBe(true);
    }
  }
});
