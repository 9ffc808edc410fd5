import { readFileSync, writeFileSync } from "node:fs";
import { table } from "../../src/report/text.js";

/** One training by FunASR's trainer, read and evaluated here. */
export interface Run {
  readonly name: string;
  readonly steps: number;
  /** Loss of each step. */
  readonly train: readonly number[];
  /** After each epoch. */
  readonly validation: readonly number[];
  /** Percent. */
  readonly cerBefore: number;
  readonly cerAfter: number;
}

/** bench/results/round-trip.json */
export interface RoundTrip {
  readonly clips: number;
  readonly loader: Readonly<
    Record<
      "before" | "after",
      { readonly warnings: readonly string[]; readonly unshared: readonly string[]; readonly tensors: number }
    >
  >;
  /** Clips that FunASR and this package transcribe alike after the adaptor's training. */
  readonly equalTexts: number;
  readonly runs: readonly Run[];
  /** Of the LoRA merged by `convert`. */
  readonly mergedCer: number;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Writes the results between two marks of a page. */
export function replaceTable(page: string, result: RoundTrip): void {
  const rows = result.runs.map(({ name, steps, train, validation, cerBefore, cerAfter }) => [
    ...[
      name,
      String(steps),
      mean(train.slice(0, 10)).toFixed(3),
      mean(train.slice(-10)).toFixed(3),
      validation.at(-1)!.toFixed(3),
    ],
    ...[`${cerBefore.toFixed(2)} %`, `${cerAfter.toFixed(2)} %`],
  ]);
  const head = [
    "trained",
    "steps",
    "loss of 10 first",
    "of 10 last",
    "validation",
    "CER before",
    "CER after",
  ];
  const { before, after } = result.loader;
  const said = before.warnings.length + after.warnings.length;
  const other = before.unshared.length + after.unshared.length;
  const text = [
    "<!-- round-trip -->",
    "<!-- prettier-ignore-start -->",
    "```text",
    table([head, ...rows], [1, 2, 3, 4, 5, 6]),
    "",
    `${before.tensors} tensors: ${said} warnings of FunASR's loader, ${other} names missing or left over`,
    `texts by FunASR and here, adaptor trained: equal in ${result.equalTexts} of ${result.clips} clips`,
    `CER of the LoRA merged by convert: ${result.mergedCer.toFixed(2)} %`,
    "```",
    "<!-- prettier-ignore-end -->",
    "<!-- /round-trip -->",
  ].join("\n");
  const old = readFileSync(page, "utf8");
  writeFileSync(
    page,
    old.replace(/<!-- round-trip -->[^]*<!-- \/round-trip -->/, () => text),
  );
}
