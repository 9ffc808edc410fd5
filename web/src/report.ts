import type { BenchRow, EngineFacts, VerifyRow } from "funasr-webgpu/browser";
import { adapterName } from "./engine.js";
import type { Run } from "./state.js";
import { languages } from "./texts.js";

/** The browser with its version, and its system. */
export function browserName(): string {
  const { userAgent } = navigator;
  const { userAgentData } = navigator as { readonly userAgentData?: { readonly platform?: string } };
  const found = [/(Edg)\/([\d]+)/, /(Firefox)\/([\d]+)/, /(Chrome)\/([\d]+)/, /(Version)\/([\d.]+)/]
    .map((pattern) => pattern.exec(userAgent))
    .find((match) => match !== null);
  const names: Readonly<Record<string, string>> = { Edg: "Edge", Version: "Safari" };
  const name = found ? `${names[found[1]] ?? found[1]} ${found[2]}` : userAgent;
  const system = userAgentData?.platform || /\(([^;)]+)/.exec(userAgent)?.[1] || "unknown system";
  return `${name}, ${system}`;
}

/** What the adapter offers. */
export async function adapterFeatures(): Promise<string> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  const wanted = ["shader-f16", "subgroups", "timestamp-query"];
  return wanted.filter((name) => adapter?.features.has(name)).join(", ") || "none of ours";
}

/** A ratio or a figure in three digits. */
export function digits(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : "–";
}

/** A row of a table in Markdown. */
function line(cells: readonly (string | number)[]): string {
  return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
}

/** The worst of some ratios; "–" where there is none. */
export function worstOf(rows: readonly VerifyRow[]): number {
  return Math.max(...rows.map(({ worstRatio }) => worstRatio).filter((ratio) => Number.isFinite(ratio)));
}

/** A first line of the report of a run that did not end by itself. */
function incomplete({ isWhole, problem }: Run<unknown>): string[] {
  if (isWhole) return [];
  return [`Incomplete run: ${problem?.detail ?? problem?.say(languages.en) ?? "it was stopped"}`, ""];
}

/** A run of golden bundles as Markdown: a row of docs/devices.md, and what failed. */
export async function verifyReport(facts: EngineFacts, run: Run<VerifyRow>): Promise<string> {
  const { rows, isWhole, total } = run;
  const failed = rows.filter((row) => row.failed > 0);
  const stages = rows.reduce((sum, row) => sum + row.stages.length, 0);
  const failedStages = rows.reduce((sum, row) => sum + row.failed, 0);
  const cells: readonly [string, string | number][] = [
    ["adapter", adapterName(facts)],
    ["backend", facts.backend],
    ["features", await adapterFeatures()],
    ["browser", browserName()],
    ["bundles", isWhole ? rows.length : `${rows.length} of ${total ?? "?"}`],
    ["stages", stages],
    ["failed", failedStages],
    ["worst ratio", digits(worstOf(rows))],
    ["seconds", Math.round(rows.reduce((sum, row) => sum + row.seconds, 0))],
    ["date", new Date().toISOString().slice(0, 10)],
  ];
  const problems = failed.flatMap(({ bundle, problem, stages: all }) =>
    problem === undefined
      ? all.filter(({ ok }) => !ok).map(({ stage, ratio }) => `- ${bundle}, ${stage}: ratio ${digits(ratio)}`)
      : [`- ${bundle}: ${problem}`],
  );
  return [
    ...incomplete(run),
    line(cells.map(([name]) => name)),
    line(cells.map(() => "---")),
    line(cells.map(([, value]) => value)),
    ...(problems.length > 0 ? ["", ...problems] : []),
    "",
  ].join("\n");
}

/** A run of the benches as Markdown. */
export async function speedReport(facts: EngineFacts, run: Run<BenchRow>): Promise<string> {
  const head = `${adapterName(facts)}, ${facts.backend}, ${await adapterFeatures()}; ${browserName()}; ${new Date().toISOString().slice(0, 10)}`;
  return [
    ...incomplete(run),
    head,
    "",
    line(["measurement", "least", "median", "most", "unit"]),
    line(["---", "--:", "--:", "--:", "---"]),
    ...run.rows.map(({ section, name, unit, value }) =>
      line([`${section}: ${name}`, digits(value.min), digits(value.median), digits(value.max), unit]),
    ),
    "",
  ].join("\n");
}
