import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { benchTable, withLive, withOutcome, withServing, withTable } from "../bench/table.js";
import { variants } from "../experiments/migration/variants.js";
import { exponent } from "../bench/peers/harness.js";
import type { PeerResults } from "../bench/peers/results.js";

// A generated block of a page is what its results file gives; a number of the file that changes
// changes the block; exponents of known growth.
test.each([
  ["docs/speed.md", withTable],
  ["docs/migration.md", withOutcome],
  ["docs/serving.md", withServing],
  ["docs/serving.md", withLive],
])("a generated block of %s is that of the committed results", (name, generate) => {
  const text = readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
  expect(generate(text)).toBe(text);
});

test.each(variants.map((variant) => [variant.name, variant] as const))(
  "docs/migration.md lists the steps and the rate of %s",
  (name, { align, after, steps, rate }) => {
    const text = readFileSync(new URL("../docs/migration.md", import.meta.url), "utf8");
    const row = text.split("\n").find((line) => line.startsWith(`| \`${name}\` `))!;
    const cells = row.split("|").slice(2, 4);
    expect(cells[0]).toContain(align > 0 ? align.toLocaleString("en") : after ? `\`${after}\`` : "–");
    expect(cells[1]).toContain(steps > 0 ? `${steps}` : "–");
    if (steps > 0) expect(cells[1]).toContain(rate.toExponential());
  },
);

interface Manifest {
  readonly bundles: readonly Record<"name" | "file" | "kind" | "description", string>[];
}
const golden = (file: string): Buffer => readFileSync(new URL(`../golden/${file}`, import.meta.url));
const { bundles } = JSON.parse(golden("manifest.json").toString()) as Manifest;

/** How many stages a bundle holds. */
function stages(file: string): number {
  const data = golden(`bundles/${file}`);
  const header = data.subarray(8, 8 + Number(data.readBigUInt64LE(0)));
  const names = Object.keys(JSON.parse(header.toString()) as object);
  return names.filter((name) => name.startsWith("f64.") || name === "generated_ids").length;
}

// The table of `verify` depends on the machine; its bundles and their numbers of stages do not.
test("docs/parity.md lists every committed bundle with its number of stages", () => {
  const text = readFileSync(new URL("../docs/parity.md", import.meta.url), "utf8");
  const listed = [...text.matchAll(/^(\w+-[\w-]+) +(\d+) .* ok$/gm)].map(([, name, count]) => [name, +count]);
  const floats = bundles.filter(({ kind }) => kind !== "tokenizer");
  expect(new Map(listed as [string, number][])).toEqual(
    new Map(floats.map(({ name, file }) => [name, stages(file)])),
  );
});

test("golden/README.md lists every committed bundle with the manifest's description", () => {
  const rows = golden("README.md")
    .toString()
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter(([, , kind]) => bundles.some((bundle) => bundle.kind === kind))
    .map(([, name, kind, , , , description]) => [name, kind, description]);
  expect(rows).toEqual(bundles.map(({ name, kind, description }) => [`\`${name}\``, kind, description]));
});

test("ratios are those of the medians", () => {
  const same = (value: number): PeerResults["ceilings"]["flops"] => ({
    min: value / 2,
    median: value,
    max: value,
  });
  const results: PeerResults = {
    machine: {},
    rounds: 3,
    ceilings: { bandwidth: same(1e9), flops: same(1e10), dispatch: same(1e-5), readback: same(1e-3) },
    chain: { engine: same(0.012), bare: same(0.01) },
  };
  expect(benchTable(results, "x.json")).toContain(
    "| 300 additions against bare dispatches | ≤ 1.3 × | 1.20 × | 6.00 / 12.0 / 12.0 ms; 5.00 / 10.0 / 10.0 ms |",
  );
});

test("the exponent of a power", () => {
  expect(exponent([1, 2, 5, 9].map((x) => [x, 3 * x ** 1.5] as const))).toBeCloseTo(1.5, 12);
});
