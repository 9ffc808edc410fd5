/**
 * Compares optimiser steps a second with PyTorch on the CPU: `npm run bench:train [-- --rounds N]`.
 * The miniature: an adaptor of two blocks is trained from cached encoder states through a frozen
 * LLM of 4 layers and width 256. One run takes one step of each in turn. Prints the medians, the
 * ratio of PyTorch's time to ours, and the kernels of one more step by timestamps. golden/.venv
 * (golden/README.md) has the peer's PyTorch.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { expectedTensors } from "../src/config/expected-tensors.js";
import { hfConfig } from "../src/checkpoint/layouts/hf-config.js";
import { generateParameter } from "../src/checkpoint/weights.js";
import type { Gpu } from "../src/gpu/device.js";
import { Timing } from "../src/gpu/timing.js";
import { type ModelConfig, parseModelConfig } from "../src/config/model-config.js";
import { type FunAsrNano, loadFunAsrNano } from "../src/model/fun-asr-nano.js";
import type { ParameterEntry, ParameterSource } from "../src/weights/loader.js";
import { openDevice } from "../src/node/device.js";
import { type TrainingBatch, recordGradients } from "../src/train/forward.js";
import { makeOptimiser, update } from "../src/train/optimiser.js";
import { isTuned } from "../src/train/tune.js";
import { commitName, writeResult } from "./result.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    python: { type: "string", default: "golden/.venv/bin/python" },
  },
});

const shape = { clips: 24, frames: 40, prompt: 20, answer: 12 } as const;
const threads = 2;

const json = {
  model_type: "fun_asr_nano",
  audio_config: {
    num_mel_bins: 80,
    num_stacked_frames: 7,
    hidden_size: 144,
    num_attention_heads: 4,
    intermediate_size: 576,
    num_hidden_layers: 8,
    num_timestamp_prediction_layers: 2,
    fsmn_kernel_size: 11,
    layer_norm_eps: 1e-5,
  },
  adaptor_config: {
    projector_hidden_size: 512,
    hidden_size: 256,
    num_attention_heads: 8,
    intermediate_size: 64,
    num_hidden_layers: 2,
    layer_norm_eps: 1e-5,
  },
  text_config: {
    model_type: "qwen3",
    vocab_size: 1072,
    hidden_size: 256,
    intermediate_size: 768,
    num_hidden_layers: 4,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 32,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: true,
    max_position_embeddings: 2048,
  },
  audio_token_id: 1035,
  tie_word_embeddings: true,
};

/** Seeded bf16 parameters. */
function generated(config: ModelConfig): ParameterSource {
  const tensors = new Map<string, ParameterEntry>();
  for (const [name, dims] of expectedTensors(config)) {
    const byteLength = 2 * dims.reduce((a, b) => a * b, 1);
    tensors.set(name, { name, dtype: "BF16", shape: dims, byteLength });
  }
  return {
    name: "generated",
    tensors,
    read: ({ name, shape: dims }, offset, length) =>
      Promise.resolve(generateParameter(name, dims, 1, "bf16").subarray(offset, offset + length)),
  };
}

function makeBatch({ encoder, llm }: ModelConfig): TrainingBatch {
  const { clips, frames, prompt, answer } = shape;
  const each = <T>(make: (clip: number) => T): T[] => Array.from({ length: clips }, (_, i) => make(i));
  const id = (seed: number): number => (seed * 7919) % llm.vocabSize;
  return {
    audio: {
      states: Float32Array.from({ length: clips * frames * encoder.hiddenSize }, (_, i) => Math.sin(i * 0.7)),
    },
    frames: each(() => frames),
    prompts: each((clip) => ({
      ids: Array.from({ length: prompt + frames }, (_, i) => id(clip * 100 + i)),
      audioOffset: prompt - 3,
      audioLength: frames,
    })),
    answers: each((clip) => Array.from({ length: answer }, (_, i) => id(clip * 31 + i))),
  };
}

/** Seconds of one optimiser step. */
async function ourStep(gpu: Gpu, model: FunAsrNano, batch: TrainingBatch, run: Run): Promise<number> {
  const start = performance.now();
  await gpu.step(() => {
    const losses = recordGradients(gpu, model, batch, { denominator: shape.clips * shape.answer });
    const { squares, clip } = update(gpu, run.optimiser, 1, {
      learningRate: 1e-4,
      step: ++run.step,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      decay: 0.01,
    });
    return [losses, squares, clip];
  });
  return (performance.now() - start) / 1000;
}

interface Run {
  readonly optimiser: ReturnType<typeof makeOptimiser>;
  step: number;
}

/** Asks the peer for a step and waits for its seconds. */
function peer(config: ModelConfig, directory: string): { next: () => Promise<string>; child: ChildProcess } {
  const path = join(directory, "config.json");
  writeFileSync(path, JSON.stringify(hfConfig(config, { melBins: 80, stackedFrames: 7, dtype: "F32" })));
  const { clips, frames, prompt, answer } = shape;
  const numbers = [clips, frames, prompt, answer, threads].map(String);
  const child = spawn(values.python, ["bench/peers/train.py", path, ...numbers], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: String(threads) },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const line: IteratorResult<string, unknown> = await lines.next();
    if (line.done) throw new Error("bench/train: the peer ended; make golden/.venv as golden/README.md says");
    return line.value;
  };
  return { next, child };
}

interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of all kernels' time. */
  readonly share: number;
}

/** Times of one more step's kernels, the longest first, without those below a hundredth. */
async function profile(gpu: Gpu, step: () => Promise<unknown>): Promise<KernelTime[]> {
  const timing = (gpu.timing = new Timing(gpu.device));
  try {
    await step();
  } finally {
    gpu.timing = undefined;
  }
  const times = new Map<string, number[]>();
  for (const { kernel, begin, end } of (await timing.collect()).dispatches)
    times.set(kernel.name, [...(times.get(kernel.name) ?? []), Number(end - begin) / 1e6]);
  const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
  const all = sum([...times.values()].flat());
  return [...times]
    .map(([kernel, list]) => ({
      kernel,
      calls: list.length,
      milliseconds: sum(list),
      share: sum(list) / all,
    }))
    .filter(({ share }) => share > 0.01)
    .sort((a, b) => b.share - a.share);
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1];

const directory = mkdtempSync(join(tmpdir(), "funasr-webgpu-"));
const config = parseModelConfig(json);
const { gpu, adapter } = await openDevice({ timestamps: true });
const { child, next } = peer(config, directory);
try {
  const versions = JSON.parse(await next()) as { torch: string; threads: number };
  const model = await loadFunAsrNano(gpu, config, generated(config), { tune: isTuned(["adaptor"]) });
  const batch = makeBatch(config);
  const run: Run = { optimiser: makeOptimiser(gpu, model.trainables), step: 0 };
  const theirs = async (): Promise<number> => {
    child.stdin!.write("step\n");
    return Number(await next());
  };
  const rounds: { ours: number; torch: number }[] = [];
  for (let i = -3; i < Number(values.rounds); i++) {
    const round = { ours: await ourStep(gpu, model, batch, run), torch: await theirs() };
    if (i >= 0) rounds.push(round);
  }
  const ratios = rounds.map((round) => round.torch / round.ours);
  const commit = commitName();
  const result = {
    commit,
    adapter: adapter.description,
    cpu: cpus()[0].model,
    cores: cpus().length,
    ...versions,
    shape,
    tokens: shape.clips * (shape.prompt + shape.frames + shape.answer - 1),
    rounds: rounds.length,
    secondsPerStep: { ours: median(rounds.map((r) => r.ours)), torch: median(rounds.map((r) => r.torch)) },
    stepsPerSecondRatio: { min: Math.min(...ratios), median: median(ratios), max: Math.max(...ratios) },
    dispatchesPerStep: Math.round(gpu.counts.dispatches / run.step),
    profile: await profile(gpu, () => ourStep(gpu, model, batch, run)),
  };
  console.log(JSON.stringify(result, null, 1));
  writeResult(`train-${commit}`, result);
} finally {
  child.kill();
  gpu.destroy();
  rmSync(directory, { recursive: true });
}
