import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Metrics, MetricsFile, readMetrics } from "./metrics.js";
import { trainingReport } from "./report.js";

// Lines come back; opened at a step, what is past it and what was cut short is gone; a line of something else is refused, by
// number. The report draws what there is, names every curve, and refers to nothing outside.
let directory = "";
let path = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
  path = join(directory, "metrics.jsonl");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function step(number: number): Metrics {
  return {
    step: number,
    epoch: 0,
    loss: 1 / number,
    gradientNorm: 2,
    learningRate: 1e-3,
    tokens: 1000,
    answerTokens: 10,
    seconds: 0.5,
    gpuBytes: 5e6,
  };
}
const validation = (number: number): Metrics => ({
  step: number,
  validation: { loss: 0.5, cer: 0.25, cosine: 0.6, seconds: 1 },
});

test("a resumed run's file ends at its step", async () => {
  const lines = [step(1), step(2), validation(2), step(3)];
  const file = await MetricsFile.open(path, 0);
  for (const line of lines) await file.append(line);
  await file.close();
  expect(await readMetrics(path)).toEqual(lines);
  appendFileSync(path, '{"step":4,"lo');
  const again = await MetricsFile.open(path, 2);
  await again.append(step(3));
  await again.close();
  expect(await readMetrics(path)).toEqual([step(1), step(2), validation(2), step(3)]);
  expect(readFileSync(path, "utf8")).toMatch(/}\n$/);
});

test("a line of something else is refused", async () => {
  writeFileSync(path, `${JSON.stringify(step(1))}\n{"step":"x"}\n`);
  await expect(readMetrics(path)).rejects.toThrow(
    /metrics\.jsonl: line 2: expected an object with a step and its loss or validation, got "{/,
  );
});

test("no file, no lines", async () => {
  expect(await readMetrics(path)).toEqual([]);
});

test("the report draws every curve, and nothing from elsewhere", () => {
  const lines = [step(1), step(2), validation(2), step(3), step(4), validation(4)];
  const html = trainingReport("a <run>", lines);
  for (const text of ["Loss", "Character error rate", "Gradient norm", "Learning rate", "cosine", "4,000"])
    expect(html).toContain(text);
  expect(html).toContain("a &#60;run&#62;");
  expect(html.match(/<figure>/g)).toHaveLength(5);
  expect(html).not.toMatch(/(src|href)="(?!data:|#)|<script/);
});

test("without validation there are no curves of it", () => {
  const html = trainingReport("run", [step(1), step(2)]);
  expect(html).not.toContain("Character error rate");
  expect(html.match(/<figure>/g)).toHaveLength(3);
});
