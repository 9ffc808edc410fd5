import type { EChartsOption } from "echarts";
import { chart } from "../report/chart.js";
import { escapeHtml, page, tableHtml } from "../report/html.js";
import type { Group, Profile } from "./summary.js";
import { causeRows, groupRows, hostRows, remarks } from "./text.js";

const mostBars = 8; // kernels that have a colour of their own
const decade = (value: number, up: boolean): number =>
  10 ** (up ? Math.ceil(Math.log10(value)) : Math.floor(Math.log10(value)));

/**
 * Attained arithmetic against FLOPs a byte, under the roof of the measured ceilings; a disc's area
 * is its time.
 */
function roofline({ kernels, ceilings }: Profile): string {
  const [bandwidth, peak] = [ceilings.bandwidth.max / 1e9, ceilings.flops.max / 1e9];
  const points = kernels.flatMap((group) =>
    group.flops ? [{ ...group, intensity: group.flops / group.bytes, rate: group.flopRate! / 1e9 }] : [],
  );
  if (points.length === 0) return "";
  const left = decade(Math.min(...points.map((p) => p.intensity)), false);
  const right = decade(Math.max(...points.map((p) => p.intensity), (2 * peak) / bandwidth), true);
  const bottom = decade(Math.min(...points.map((p) => p.rate)), false);
  const longest = Math.max(...points.map((p) => p.milliseconds));
  const roof = [left, peak / bandwidth, right].map((x) => [x, Math.min(x * bandwidth, peak)]);
  const stages = [...new Set(points.map((p) => p.stage))];
  const option: EChartsOption = {
    grid: { left: 60, right: 30, top: 40, bottom: 45 },
    legend: { data: stages, top: 0 },
    xAxis: { type: "log", min: left, max: right, name: "FLOP a byte", nameLocation: "middle", nameGap: 28 },
    yAxis: { type: "log", min: bottom, max: decade(peak, true), name: "GFLOP/s" },
    series: [
      ...stages.map((stage) => ({
        name: stage,
        type: "scatter" as const,
        labelLayout: { hideOverlap: true },
        data: points
          .filter((p) => p.stage === stage)
          .map((p) => ({
            value: [p.intensity, p.rate],
            symbolSize: 6 + 34 * Math.sqrt(p.milliseconds / longest),
            itemStyle: { opacity: 0.7 },
            label: {
              show: p.milliseconds > longest / 50,
              formatter: p.kernel.replace(/^.*\//, ""),
              position: "right" as const,
            },
          })),
      })),
      {
        type: "line",
        data: roof,
        showSymbol: false,
        lineStyle: { color: "#888", width: 1.5 },
        silent: true,
      },
    ],
  };
  return chart(option, { height: 460 });
}

/** Bars of the stages in parts; each part with the values of all stages. */
function stacked(
  names: readonly string[],
  parts: readonly { name: string; values: readonly number[] }[],
): string {
  const option: EChartsOption = {
    grid: { left: 90, right: 30, top: 70, bottom: 45 },
    legend: { data: parts.map(({ name }) => name), top: 0, left: 0, right: 0 },
    xAxis: { type: "value", name: "ms", nameLocation: "middle", nameGap: 28 },
    yAxis: { type: "category", data: [...names], inverse: true },
    series: parts.map(({ name, values }) => ({
      name,
      type: "bar" as const,
      stack: "all",
      barMaxWidth: 34,
      data: [...values],
    })),
  };
  return chart(option, { height: 150 + 44 * names.length });
}

/** Milliseconds of each stage's kernels; those past the longest eight together. */
function stageBars({ stages, kernels }: Profile): string {
  const totals = new Map<string, number>();
  for (const { kernel, milliseconds } of kernels)
    totals.set(kernel, (totals.get(kernel) ?? 0) + milliseconds);
  const longest = [...totals].sort((a, b) => b[1] - a[1]).map(([kernel]) => kernel);
  const names = stages.map(({ stage }) => stage);
  const values = (wanted: (group: Group) => boolean): number[] =>
    names.map((name) =>
      Number(
        kernels
          .filter((group) => group.stage === name && wanted(group))
          .reduce((sum, { milliseconds }) => sum + milliseconds, 0)
          .toFixed(3),
      ),
    );
  const shown = longest.slice(0, mostBars);
  const parts = shown.map((name) => ({ name, values: values(({ kernel }) => kernel === name) }));
  if (longest.length > mostBars)
    parts.push({ name: "others", values: values(({ kernel }) => !shown.includes(kernel)) });
  return stacked(names, parts);
}

/** One self-contained HTML page of a profile. @param about  a line on what ran on which device */
export function profilePage(profile: Profile, about: string): string {
  const right = (first: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => first + i);
  const bars = stacked(
    ["wall time"],
    Object.entries(profile.causes).map(([name, ms]) => ({ name, values: [Number(ms.toFixed(3))] })),
  );
  const body = `
<p>${escapeHtml(about)}</p>
${remarks(profile)
  .map((text) => `<p class="note">${escapeHtml(text)}</p>`)
  .join("\n")}
<h2>Where the time goes</h2>
${bars}
${tableHtml(causeRows(profile), [1, 2])}
<p class="note">Each moment counts for the first of these rows that is active. The host's own work, also while the device runs:</p>
${tableHtml(hostRows(profile), [1, 2])}
<h2>Stages</h2>
${stageBars(profile)}
${tableHtml(groupRows(profile.stages), right(1, 8))}
<h2>Kernels under the roofline</h2>
<p class="note">FLOPs and bytes are counted from shapes, each array once; the grey roof is what this adapter's copies and its mul + add reached in this run; a disc's area is its time.</p>
${roofline(profile)}
${tableHtml(groupRows(profile.kernels), right(2, 8))}
<h2>By shape</h2>
${tableHtml(groupRows(profile.shapes, 40), right(2, 8))}`;
  return page({ title: "Profile", body });
}
