import { digits } from "../report/text.js";
import type { Group, Profile } from "./summary.js";

const giga = (value: number | undefined): string => (value === undefined ? "-" : digits(value / 1e9));

function row(group: Group, total: number): string[] {
  const { stage, kernel, shape, calls, milliseconds, atMost, bytes, flops, bandwidth, flopRate } = group;
  return [
    stage,
    ...(kernel ? [shape ? `${kernel} ${shape}` : kernel] : []),
    String(calls),
    `${atMost ? "≤ " : ""}${digits(milliseconds)}`,
    `${((100 * milliseconds) / total).toFixed(1)} %`,
    `${atMost ? "≤ " : ""}${digits((1000 * milliseconds) / calls)}`,
    digits(bytes / 1e6),
    flops === undefined ? "-" : digits(flops / 1e6),
    giga(bandwidth),
    giga(flopRate),
    `${(100 * group.share).toFixed(0)} % of ${group.bound}`,
  ];
}

const columns = ["calls", "ms", "share", "µs a call", "MB", "MFLOP", "GB/s", "GFLOP/s", "of the ceiling"];

/** Rows of a table, its head first. @param most  rows below the head at most */
export function groupRows(groups: readonly Group[], most = groups.length): string[][] {
  const total = groups.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const names = groups[0]?.kernel ? ["stage", "kernel"] : ["stage"];
  return [[...names, ...columns], ...groups.slice(0, most).map((group) => row(group, total))];
}

/** The wall time by cause, its head first. */
export function causeRows({ causes, wall }: Profile): string[][] {
  const rows = Object.entries(causes).map(([cause, ms]) => [
    cause,
    digits(ms),
    `${((100 * ms) / wall).toFixed(1)} %`,
  ]);
  return [["wall time", "ms", "share"], ...rows, ["sum", digits(wall), "100 %"]];
}

/** The host's work, whether or not the device runs meanwhile, its head first. */
export function hostRows({ host, submits }: Profile): string[][] {
  const rows = Object.entries(host).map(([work, ms]) => [work, digits(ms), digits(ms / submits)]);
  return [["host", "ms", "ms a submit"], ...rows];
}

/** What the run was measured by, a sentence each. */
export function remarks({ quantum, wall, plainWall, dispatches, submits, ceilings }: Profile): string[] {
  const { bandwidth, flops, dispatch, readback } = ceilings;
  const us = (seconds: number): string => `${digits(1e6 * seconds)} µs`;
  return [
    `${dispatches} dispatches in ${submits} submits; ${digits(wall)} ms with a pass for each dispatch, ${digits(plainWall)} ms without`,
    `clock: steps of ${quantum} ns; a shorter time counts as one step and is marked ≤`,
    `ceilings of this run: copies ${digits(bandwidth.max / 1e9)} GB/s, mul + add ${digits(flops.max / 1e9)} GFLOP/s at best; a dispatch ${us(dispatch.median)}, a readback ${us(readback.median)} in the middle`,
  ];
}
