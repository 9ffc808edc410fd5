import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Metrics, MetricsFile, readMetrics } from "./metrics.js";
import { trainingReport } from "./report.js";

// Lines are read back. A file opened at a step loses later lines and a cut last line. Damaged lines
// are reported. The report draws and names every curve, and refers to nothing outside.
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
  const file = await MetricsFile.open(path, { step: 0 });
  for (const line of lines) await file.append(line);
  await file.close();
  expect(await readMetrics(path)).toEqual(lines);
  appendFileSync(path, '{"step":4,"lo');
  const again = await MetricsFile.open(path, { step: 2 });
  await again.append(step(3));
  await again.close();
  expect(await readMetrics(path)).toEqual([step(1), step(2), validation(2), step(3)]);
  expect(readFileSync(path, "utf8")).toMatch(/}\n$/);
});

test("lines of something else are left out, and reported in one line", async () => {
  const others = ['{"step":"x"}', "{", '{"step":2}', '{"step":2,"validation":{}}', ""];
  const good = JSON.stringify(step(1));
  for (const count of [1, others.length]) {
    const damage: string[] = [];
    writeFileSync(path, `${[good, ...others.slice(0, count), good].join("\n")}\n`);
    expect(await readMetrics(path, (message) => damage.push(message))).toEqual([step(1), step(1)]);
    expect(damage).toEqual([
      `${path}: line 2: expected an object with a step and its loss or validation, got ${JSON.stringify(others[0])}; ` +
        `it${count > 1 ? " and 4 others are" : " is"} left out`,
    ]);
  }
});

test("a flipped byte anywhere in what is exact is reported once, and the others are taken", async () => {
  const lines = [step(1), step(2), validation(2), step(3)];
  const file = await MetricsFile.open(path, { step: 0 });
  for (const line of lines) await file.append(line);
  await file.close();
  const state = { step: 3, metrics: file.digest };
  const whole = readFileSync(path);
  const damage: string[] = [];
  const onDamage = (message: string): void => void damage.push(message);
  await (await MetricsFile.open(path, state, onDamage)).close();
  expect(damage).toEqual([]);
  const slow = whole.toString().replaceAll('"seconds":0.5', '"seconds":7');
  for (let at = 0; at < whole.length; at += 3) {
    const bytes = Buffer.from(whole);
    bytes[at] ^= 1;
    writeFileSync(path, bytes);
    damage.length = 0;
    const opened = await MetricsFile.open(path, state, onDamage);
    await opened.close();
    expect(damage.length, bytes.toString()).toBe(opened.digest === state.metrics ? 0 : 1);
    if (damage.length > 0) expect(damage[0]).not.toContain("\n");
  }
  writeFileSync(path, slow);
  damage.length = 0;
  await (await MetricsFile.open(path, state, onDamage)).close();
  expect(damage).toEqual([]);
});

test("a pipe in its place is refused without a wait", async () => {
  execFileSync("mkfifo", [path]);
  await expect(readMetrics(path)).rejects.toThrow(`${path}: type: expected a file, got a named pipe`);
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
