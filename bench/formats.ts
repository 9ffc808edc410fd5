/**
 * Measures the cost and the rounding of each weight format:
 * `npm run bench:formats -- DIR [--formats bf16,f16,f32,q8,q4] [--positions 2048] [--text FILE]
 * [--seed 1] [--name NAME]`.
 * The checkpoint runs in its own format first, then in each format. Errors are relative RMS against
 * its own format: `one` is behind the first layer, `all` behind the whole stack. The encoder reads
 * the same features, the adaptor the encoder states of the own format, the LLM the same ids, so the
 * error of its layers includes that of the embedding. The ids are packed sequences of 128 tokens,
 * seeded random ones or those of a text. Every token but the first of each is scored under forced
 * decoding. Writes bench/results/formats-NAME.json.
 */
import { bytes, table } from "../src/report/text.js";
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { type Checkpoint, openCheckpoint } from "../src/checkpoint/checkpoint.js";
import { note } from "../src/cli/output.js";
import { uniformNumbers } from "../src/random.js";
import { type ForcedSequence, type ForcedToken, force } from "../src/evaluate/forced.js";
import type { Gpu } from "../src/gpu/device.js";
import { weightBlocks } from "../src/gpu/matrix.js";
import { makeSegments } from "../src/kernels/attention/segments.js";
import { adaptor } from "../src/model/adaptor.js";
import { type FunAsrNano, encode, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import type { WeightFormat } from "../src/weights/loader.js";
import type { Tap } from "../src/model/taps.js";
import { openDevice } from "../src/node/device.js";
import { modelDirectory } from "../src/node/files.js";
import { loadTokenizer } from "../src/tokenizer/tokenizer.js";
import { commitName, writeResult } from "./result.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    formats: { type: "string", default: "bf16,f16,f32,q8,q4" },
    positions: { type: "string", default: "2048" },
    text: { type: "string" },
    seed: { type: "string", default: "1" },
    name: { type: "string" },
    out: { type: "string", default: "bench/results" },
  },
});
const [directory] = positionals;
if (!directory) throw new Error("bench/formats: expected a checkpoint directory");
const formats = values.formats.split(",") as WeightFormat[];
const unknown = formats.find((format) => !Object.hasOwn(weightBlocks, format));
if (unknown !== undefined)
  throw new Error(`bench/formats: expected bf16, f16, f32, q8 or q4, got ${unknown}`);

const sequenceLength = 128;
const together = 4; // sequences in one step
const frames = 64; // 3.8 s of audio
const kept = 256; // positions whose scores are compared one by one

/** Stages by name; only what is asked for is read back. */
type Stages = Map<string, Float32Array>;

interface Run {
  readonly gpuBytes: number;
  readonly loadSeconds: number;
  readonly stages: Stages;
  readonly tokens: readonly ForcedToken[];
}

/** Seeded normal numbers. @source Box and Muller, 1958 */
function normal(count: number, seed: number): Float32Array {
  const next = uniformNumbers(seed);
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
}

/** Sequences of 128 tokens: of a text, repeated if it is too short, or seeded random ids. */
async function makeSequences(checkpoint: Checkpoint): Promise<ForcedSequence[]> {
  const { vocabSize } = checkpoint.config.llm;
  const count = Math.ceil(Number(values.positions) / (sequenceLength - 1));
  let next: () => number;
  if (values.text === undefined) {
    const uniform = uniformNumbers(Number(values.seed));
    next = () => Math.floor(uniform() * vocabSize);
  } else {
    const { json, file } = await checkpoint.assets.tokenizer();
    const tokenizer = loadTokenizer(json, (await checkpoint.assets.tokenizerConfig()).json, file);
    const ids = tokenizer.encode(readFileSync(values.text, "utf8"));
    let at = 0;
    next = () => ids[at++ % ids.length];
  }
  return Array.from({ length: count }, () => ({
    ids: Array.from({ length: sequenceLength }, next),
    first: 1,
  }));
}

/** Reads the wanted stages of a step. */
function recorder(gpu: Gpu, wanted: RegExp, stages: Stages): { tap: Tap; settle: () => Promise<unknown> } {
  const reads: Promise<void>[] = [];
  const tap: Tap = (stage, tensor) => {
    if (!wanted.test(stage)) return;
    const read = gpu.read(tensor).then((data) => void stages.set(stage, data as Float32Array));
    read.catch(() => undefined); // the step reports the failure
    reads.push(read);
  };
  return { tap, settle: () => Promise.all(reads) };
}

/** Encoder on features, then the adaptor on the own format's encoder output. */
async function runAudio(gpu: Gpu, model: FunAsrNano, own: Stages | undefined): Promise<Stages> {
  const stages: Stages = new Map();
  const { inputSize, hiddenSize } = model.config.encoder;
  const seen = recorder(gpu, /^encoder\.(stem|output|norm)$|^adaptor\.|^states$/, stages);
  const clip = { features: normal(frames * inputSize, Number(values.seed)), frames: [frames] };
  await gpu.step(() => {
    seen.tap("states", encode(gpu, model, clip, seen.tap));
    return [];
  });
  await seen.settle();
  const states = (own ?? stages).get("states")!;
  await gpu.step(() => {
    adaptor(
      gpu,
      model.adaptor,
      gpu.upload(states, [frames, hiddenSize]),
      makeSegments(gpu, [frames]),
      seen.tap,
    );
    return [];
  });
  await seen.settle();
  return stages;
}

async function runText(
  gpu: Gpu,
  { llm }: FunAsrNano,
  sequences: readonly ForcedSequence[],
): Promise<{ stages: Stages; tokens: ForcedToken[] }> {
  const stages: Stages = new Map();
  const tokens: ForcedToken[] = [];
  const { vocabSize, layers } = llm.config;
  const scores = new Float32Array(kept * vocabSize);
  const wanted = new RegExp(`^llm\\.layers\\.(0|${layers - 1})$`);
  for (let at = 0; at < sequences.length; at += together) {
    const seen = at === 0 ? recorder(gpu, wanted, stages) : undefined;
    const before = tokens.length;
    const batch = await force(gpu, llm, sequences.slice(at, at + together), {
      tap: seen?.tap,
      onLogits: (logits, first) => {
        const start = (before + first) * vocabSize;
        if (start < scores.length) scores.set(logits.subarray(0, scores.length - start), start);
      },
    });
    await seen?.settle();
    tokens.push(...batch.flat());
    note(`  ${Math.min(at + together, sequences.length)} of ${sequences.length} sequences`);
  }
  stages.set("logits", scores.subarray(0, Math.min(kept, tokens.length) * vocabSize));
  return { stages, tokens };
}

async function run(
  gpu: Gpu,
  checkpoint: Checkpoint,
  sequences: readonly ForcedSequence[],
  weights?: WeightFormat,
  own?: Stages,
): Promise<Run> {
  note(`${weights ?? "as stored"}: loading`);
  const before = gpu.bytes.kept;
  const start = performance.now();
  const model = await loadFunAsrNano(gpu, checkpoint.config, checkpoint, { weights });
  try {
    const loadSeconds = (performance.now() - start) / 1000;
    const gpuBytes = gpu.bytes.kept - before;
    const audio = await runAudio(gpu, model, own);
    const { stages, tokens } = await runText(gpu, model, sequences);
    return { gpuBytes, loadSeconds, stages: new Map([...audio, ...stages]), tokens };
  } finally {
    model.free();
    gpu.trim();
  }
}

function relativeError(got: Float32Array, want: Float32Array): number {
  let [error, norm] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    error += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  return Math.sqrt(error / norm);
}

/** The table's columns of errors and the stages that they come from. */
function stageNames({ config }: Checkpoint): Record<string, string> {
  return {
    "encoder layer, one": "encoder.stem",
    "encoder, all": config.encoder.tpLayers > 0 ? "encoder.output" : "encoder.norm",
    "adaptor, all": `adaptor.blocks.${config.adaptor.layers - 1}`,
    "LLM layer, one": "llm.layers.0",
    "LLM, all": `llm.layers.${config.llm.layers - 1}`,
    logits: "logits",
  };
}

function compare(names: Record<string, string>, own: Run, got: Run): Record<string, unknown> {
  const errors = Object.entries(names).map(([label, stage]) => [
    label,
    relativeError(got.stages.get(stage)!, own.stages.get(stage)!),
  ]);
  const same = got.tokens.filter(({ top }, i) => top === own.tokens[i].top).length;
  const mean = (tokens: readonly ForcedToken[]): number =>
    tokens.reduce((sum, { logProbability }) => sum + logProbability, 0) / tokens.length;
  return {
    gpuBytes: got.gpuBytes,
    loadSeconds: got.loadSeconds,
    errors: Object.fromEntries(errors) as Record<string, number>,
    positions: got.tokens.length,
    top1Agreement: same / got.tokens.length,
    meanLogProbability: mean(got.tokens),
  };
}

function exponent(value: number): string {
  return value === 0 ? "0" : value.toExponential(1);
}

const { gpu, adapter } = await openDevice();
const checkpoint = await openCheckpoint(modelDirectory(directory));
const sequences = await makeSequences(checkpoint);
const names = stageNames(checkpoint);
const own = await run(gpu, checkpoint, sequences);
const results: Record<string, Record<string, unknown>> = { "as stored": compare(names, own, own) };
for (const format of formats) {
  results[format] = compare(names, own, await run(gpu, checkpoint, sequences, format, own.stages));
}
await checkpoint.close();
gpu.destroy();

const head = ["format", "GPU", ...Object.keys(names), "top-1 agrees", "mean log p"];
const rows = Object.entries(results).map(([format, result]) => [
  format,
  bytes(result.gpuBytes as number),
  ...Object.values(result.errors as Record<string, number>).map(exponent),
  `${(100 * (result.top1Agreement as number)).toFixed(2)} %`,
  (result.meanLogProbability as number).toFixed(4),
]);
console.log(table([head, ...rows], head.map((_, i) => i).slice(1)));
const name = values.name ?? basename(resolve(directory));
const report = {
  model: name,
  parameters: checkpoint.parameterCount,
  fileBytes: checkpoint.totalBytes,
  device: `${adapter.device} ${adapter.description}`.trim(),
  commit: commitName(),
  text: values.text === undefined ? "random ids" : basename(values.text),
  seed: Number(values.seed),
  stages: names,
  results,
};
note(`written: ${writeResult(`formats-${name}`, report, values.out)}`);
