/**
 * Runs the miniature migration: `npm run migration -- --work DIR [--quick]`. It speaks the missing
 * clips, puts a wider Qwen3 behind the demo's encoder, and trains the new adaptor in each of the
 * ways of docs/migration.md. It evaluates each on unseen clips, beside the adaptor before training,
 * the source checkpoint, and the LLM on the true text. It writes DIR/results.json, table.md and
 * curves. It skips finished steps and continues stopped ones. --quick tries everything with few
 * clips and steps: its figures mean nothing.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cli, inParallel, once } from "./cli.js";
import { encoder, llm, readJsonl, speech, testFile, testSets, trainingData } from "./data.js";
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
} from "./results.js";
import { type Variant, alignFrames, alignRate, batchTokens, tests, variants } from "./variants.js";

const { values } = parseArgs({
  options: {
    work: { type: "string" },
    quick: { type: "boolean", default: false },
    python: { type: "string", default: "golden/.venv/bin/python" },
    share: { type: "string" },
    test: { type: "string" },
    jobs: { type: "string", default: "2" },
    variants: { type: "string" },
  },
});
if (!values.work) throw new Error("experiments/migration: expected --work DIR");
const work = resolve(values.work);
const quick = values.quick;
const share = Number(values.share ?? (quick ? 0.02 : 1)); // of the steps that the variants have
const testClips = Number(values.test ?? (quick ? 10 : 100));
const chosen = variants.filter(({ name }) => !values.variants || values.variants.split(",").includes(name));
const variantOf = (name: string): Variant => variants.find((variant) => variant.name === name)!;
const log = (name: string): string => join(work, "logs", `${name}.log`);

/** The source's encoder with the wider LLM behind it. */
const migrated = (blocks: number): Promise<string> =>
  once(join(work, `migrated-${blocks}`), (out) =>
    cli(
      ["migrate", "--encoder", encoder, "--llm", llm, "--blocks", `${blocks}`, "--out", out],
      log("migrate"),
    ),
  );

const scaled = (steps: number): number => Math.ceil(share * steps);
const begun = new Map<string, Promise<string>>();

/**
 * Trains a variant, after the variant that it continues. Its checkpoint is that of the best
 * validation.
 */
function train(variant: Variant): Promise<string> {
  const { name } = variant;
  const found = begun.get(name);
  if (found) return found;
  const trained = trainOnce(variant);
  begun.set(name, trained);
  return trained;
}

async function trainOnce({ name, data, blocks, after, ...run }: Variant): Promise<string> {
  const out = join(work, "trained", name);
  const checkpoint = join(out, "checkpoint");
  if (existsSync(checkpoint)) return checkpoint;
  const model = after === undefined ? await migrated(blocks) : await train(variantOf(after));
  const [align, steps] = [scaled(run.align), scaled(run.align) + scaled(run.steps)];
  const numbers = {
    "--steps": steps,
    "--align": align,
    "--align-lr": alignRate,
    "--lr": run.rate,
    "--batch-tokens": run.align > 0 ? alignFrames : batchTokens,
    "--every": Math.ceil(steps / 4),
    "--decode": quick ? 4 : 40,
  };
  await cli(
    [
      ...["train", "--model", model, "--data", await trainingData(work, data), "--out", out],
      ...["--validation", join(work, "validation.jsonl"), "--cache", join(work, "cache")],
      ...Object.entries(numbers).flatMap(([option, value]) => [option, `${value}`]),
      ...["--dtype", "f32", ...(existsSync(out) ? ["--resume"] : []), ...run.options],
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
  for (const { name, title, after } of chosen) {
    const before = after === undefined ? 0 : scaled(variantOf(after).align);
    const answers = (await trainingSteps(work, name)).filter(({ aligned }) => !aligned);
    losses.push({
      name: title,
      points: thinned(answers, Math.max(1, Math.ceil(answers.length / 50)), before),
    });
    errors.push({ name: title, points: await validationErrors(work, name, before), dots: true });
  }
  const drawn = losses.filter(({ points }) => points.length > 0);
  writeCurves(join(work, "loss.svg"), "loss, nats", drawn, true);
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
writeFileSync(join(work, "results.json"), `${JSON.stringify({ share, testClips, rows }, null, 1)}\n`);
writeFileSync(join(work, "table.md"), `${markdownTable(rows)}\n`);
await curves();
console.log(markdownTable(rows));
