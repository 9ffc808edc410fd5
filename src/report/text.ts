import { oneLine } from "../errors.js";

/**
 * Rows of cells as aligned lines, with line breaks escaped.
 * @param right  columns aligned to the right
 */
export function table(cells: readonly (readonly string[])[], right: readonly number[] = []): string {
  const rows = cells.map((row) => row.map(oneLine));
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A count with separators, e.g. 12,345. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Bytes in the largest decimal unit that fits, e.g. 12.3 MB. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return `${power === 0 ? value : digits(value / 1000 ** power)} ${units[power]}`;
}

/** A number with three significant digits. */
export function digits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}
