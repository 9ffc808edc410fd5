/**
 * The miniature migration: `npm run migration -- --work DIR [--quick]`. Speaks the clips where they are missing, puts a wider Qwen3 behind the
 * demo's encoder, trains the new adaptor in each of the ways of docs/migration.md, and evaluates each on unseen clips, next to the adaptor
 * before training, the source checkpoint, and the LLM on the true text. DIR/results.json, table.md and curves come out. What is done is
 * passed over, what was stopped goes on. --quick is a trial of everything with few clips and steps: its figures mean nothing.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cli, inParallel, once } from "./migration/cli.js";
import { encoder, llm, readJsonl, speech, testFile, testSets, trainingData } from "./migration/data.js";
import {
  type Row,
  evaluated,
  markdownTable,
  thinned,
  torchCurves,
  trainingOf,
  trainingSteps,
  upperBound,
  validationErrors,
  writeCurves,
} from "./migration/results.js";
import { type Variant, batchTokens, tests, variants } from "./migration/variants.js";

const { values } = parseArgs({
  options: {
    work: { type: "string" },
    quick: { type: "boolean", default: false },
    python: { type: "string", default: "golden/.venv/bin/python" },
    steps: { type: "string" },
    test: { type: "string" },
    jobs: { type: "string", default: "1" },
    variants: { type: "string" },
  },
});
if (!values.work) throw new Error("bench/migration: expected --work DIR");
const work = resolve(values.work);
const quick = values.quick;
const steps = Number(values.steps ?? (quick ? 20 : 600));
const testClips = Number(values.test ?? (quick ? 10 : 100));
const chosen = variants.filter(({ name }) => !values.variants || values.variants.split(",").includes(name));
const log = (name: string): string => join(work, "logs", `${name}.log`);

/** The source's encoder with the wider LLM behind it. */
const migrated = (blocks: number): Promise<string> =>
  once(join(work, `migrated-${blocks}`), (out) =>
    cli(
      ["migrate", "--encoder", encoder, "--llm", llm, "--blocks", `${blocks}`, "--out", out],
      log("migrate"),
    ),
  );

/** Trains a variant; its checkpoint is that of the best validation. */
async function train({ name, data, blocks, options }: Variant): Promise<string> {
  const out = join(work, "trained", name);
  const checkpoint = join(out, "checkpoint");
  if (existsSync(checkpoint)) return checkpoint;
  const model = await migrated(blocks);
  const every = Math.ceil(steps / 4);
  const shared = ["--validation", join(work, "validation.jsonl"), "--cache", join(work, "cache")];
  const size = [
    "--steps",
    `${steps}`,
    "--lr",
    "1.2e-3",
    "--batch-tokens",
    `${batchTokens}`,
    "--every",
    `${every}`,
  ];
  await cli(
    [
      ...["train", "--model", model, "--data", await trainingData(work, data), "--out", out],
      ...[...shared, ...size, "--decode", quick ? "4" : "40", "--resume"],
      ...options,
    ],
    log(name),
  );
  return checkpoint;
}

/** Answers of a model to the test clips; `limit` to the first lines. */
async function evaluate(name: string, model: string, limit?: number): Promise<void> {
  const out = join(work, "evaluated", name);
  if (existsSync(join(out, "report.json"))) return;
  await cli(
    [
      ...["evaluate", "--model", model, "--data", testFile(work), "--out", out, "--batch", "25"],
      ...["--second", "0", ...(limit === undefined ? [] : ["--limit", `${limit}`])],
    ],
    log(`evaluate-${name}`),
  );
}

async function results(): Promise<Row[]> {
  const rows: Row[] = [
    { name: "source", title: "source checkpoint", scores: evaluated(work, "source") },
    await upperBound(work),
    { name: "before", title: "migrated, not trained", scores: evaluated(work, "before") },
  ];
  for (const { name, title, data } of chosen) {
    const clips = readJsonl(await trainingData(work, data)).length;
    const training = await trainingOf(work, name, clips);
    rows.push({ name, title, scores: evaluated(work, name), training });
  }
  return rows;
}

async function curves(): Promise<void> {
  const losses = [];
  const errors = [];
  for (const { name, title } of chosen) {
    const all = await trainingSteps(work, name);
    losses.push({ name: title, points: thinned(all, Math.ceil(steps / 50)) });
    errors.push({ name: title, points: await validationErrors(work, name), dots: true });
  }
  writeCurves(join(work, "loss.svg"), "loss, nats", losses, true);
  writeCurves(join(work, "validation.svg"), "errors, %", errors);
  torchCurves(work);
}

mkdirSync(join(work, "trained"), { recursive: true });
mkdirSync(join(work, "evaluated"), { recursive: true });
await speech(work, values.python, quick);
await testSets(work, testClips);
for (const blocks of new Set(chosen.map((variant) => variant.blocks))) await migrated(blocks);
const recognition = tests.filter(({ task }) => task === "recognition").length;
await inParallel(Number(values.jobs), [
  ...chosen.map((variant) => async () => evaluate(variant.name, await train(variant))),
  async () => evaluate("source", encoder, recognition * testClips),
  async () => evaluate("before", await migrated(2)),
]);
const rows = await results();
writeFileSync(join(work, "results.json"), `${JSON.stringify({ steps, testClips, rows }, null, 1)}\n`);
writeFileSync(join(work, "table.md"), `${markdownTable(rows)}\n`);
await curves();
console.log(markdownTable(rows));
