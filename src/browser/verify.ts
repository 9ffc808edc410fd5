import { bytesSource } from "../checkpoint/source.js";
import type { Gpu } from "../gpu/device.js";
import { bundleKind, openBundle } from "../verify/bundle.js";
import { type StageResult, medianRatio } from "../verify/compare.js";
import { judgeSmall } from "../verify/small.js";
import { verifyBundle } from "../verify/verify.js";
import { BrowserError } from "./errors.js";
import type { BundleChoice, VerifyRow } from "./messages.js";

/** What hears of rows, and what ends the call. */
export interface RowCall<Row> {
  readonly onEvent: (row: Row) => void;
  readonly signal: AbortSignal;
}

/**
 * Runs bundles one after another. A bundle that cannot be read has a row that says so.
 * @returns all rows; stages that are judged by all of their kind have their verdict there
 */
export async function verifyAll(
  gpu: Gpu,
  bundles: readonly BundleChoice[],
  { onEvent, signal }: RowCall<VerifyRow>,
): Promise<readonly VerifyRow[]> {
  const rows: VerifyRow[] = [];
  for (const choice of bundles) {
    signal.throwIfAborted();
    const name = "file" in choice ? choice.file.name : (choice.name ?? choice.url.split("/").at(-1)!);
    const began = performance.now();
    const row = await verifyOne(gpu, choice, name, signal).catch((error: unknown) => {
      if (signal.aborted || gpu.lost) throw error;
      return unread(name, error);
    });
    rows.push({ ...row, seconds: (performance.now() - began) / 1000 });
    onEvent(rows.at(-1)!);
  }
  const stagesOf = (kind: string): StageResult[] =>
    rows.filter((row) => row.kind === kind).flatMap((row) => row.stages);
  return rows.map((row) => {
    const kin = stagesOf(row.kind);
    const stages = row.stages.flatMap((stage) => (stage.ok ? [stage] : judgeSmall([stage], kin)));
    return { ...row, ...verdict(stages, row.problem) };
  });
}

async function verifyOne(
  gpu: Gpu,
  choice: BundleChoice,
  name: string,
  signal: AbortSignal,
): Promise<Omit<VerifyRow, "seconds">> {
  const source = bytesSource(name, await bytesOf(choice, name, signal));
  const bundle = await openBundle(source);
  const stages = await verifyBundle(gpu, bundle, { signal });
  return { bundle: bundle.name, kind: bundleKind(bundle), ...verdict(stages) };
}

async function bytesOf(choice: BundleChoice, name: string, signal: AbortSignal): Promise<Uint8Array> {
  if ("file" in choice) return new Uint8Array(await choice.file.arrayBuffer());
  const answer = await fetch(choice.url, { signal });
  if (!answer.ok)
    throw new BrowserError("network", `${name}: the server answers with status ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (choice.sha256 !== undefined) {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (hex !== choice.sha256)
      throw new BrowserError(
        "damaged",
        `${name}: expected SHA-256 ${choice.sha256}, got ${hex}; reload the page`,
      );
  }
  return bytes;
}

function verdict(
  stages: readonly StageResult[],
  problem?: string,
): Pick<VerifyRow, "stages" | "failed" | "medianRatio" | "worstRatio"> {
  const ratios = stages.map(({ ratio }) => ratio);
  return {
    stages,
    failed: problem === undefined ? stages.filter(({ ok }) => !ok).length : 1,
    medianRatio: stages.length > 0 ? medianRatio(stages) : NaN,
    worstRatio: Math.max(...ratios),
  };
}

function unread(name: string, error: unknown): Omit<VerifyRow, "seconds"> {
  const problem = error instanceof Error ? error.message : String(error);
  return { bundle: name, kind: "unread", ...verdict([], problem), problem };
}
