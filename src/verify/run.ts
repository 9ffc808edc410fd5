import { parseJsonObject } from "../checkpoint/json.js";
import { findTensor, readFloat32 } from "../checkpoint/safetensors/safetensors.js";
import { greedy } from "../decode/greedy.js";
import { parseFrontendConfig } from "../frontend/config.js";
import { fbank } from "../frontend/fbank.js";
import { toWaveform } from "../frontend/features.js";
import { lowFrameRate } from "../frontend/lfr.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import { makeSegments } from "../kernels/attention/segments.js";
import type { Tensor } from "../gpu/tensor.js";
import { embedding } from "../kernels/embedding/embedding.js";
import { adaptor, loadAdaptor } from "../model/adaptor.js";
import type { ModelConfig } from "../config/model-config.js";
import {
  type FunAsrNano,
  type PromptTokens,
  adapt,
  encode,
  loadFunAsrNano,
  promptEmbeddings,
} from "../model/fun-asr-nano.js";
import { KvCache } from "../model/kv-cache.js";
import { ParameterLoader, type ParameterSource, type WeightFormat } from "../weights/loader.js";
import { type Qwen3, lmHead, loadQwen3, qwen3 } from "../model/qwen3.js";
import { loadSanmEncoder, sanmEncoder } from "../model/sanm-encoder.js";
import {
  type Bundle,
  bundleConfig,
  bundleKind,
  bundleParameters,
  metadata,
  metadataCount,
  readIds,
  readLengths,
  refuse,
} from "./bundle.js";
import { runCtc } from "./ctc.js";
import { runTrain } from "./train.js";
import { runVad } from "./vad.js";
import { sum } from "../arrays.js";

/** Stages that a run computed. Ids are in `ids`, everything else in `floats`. */
export interface Computed {
  readonly floats: Map<string, { data: TensorData; shape: readonly number[] }>;
  readonly ids: Map<string, number[]>;
}

/** Options of a bundle's run. */
export interface RunOptions {
  /** Parameters to use instead of the bundle's own. */
  readonly parameters?: ParameterSource;
  readonly weights?: WeightFormat;
  /**
   * Called when the parameters of a whole model are on the GPU, with the bytes that they take
   * there.
   */
  readonly onLoaded?: (bytes: number) => void;
  /**
   * Ends the run before its next read, step or comparison, with the signal's reason. Its GPU memory
   * is freed.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Tapped stages; rows of a sequence that was run in several steps are put together by `place`. */
class StageTaps {
  readonly computed: Computed = { floats: new Map(), ids: new Map() };
  #reads: Promise<void>[] = [];

  constructor(
    private readonly gpu: Gpu,
    private readonly signal: AbortSignal | undefined,
  ) {}

  tap = (stage: string, tensor: Tensor): void => this.#record(stage, tensor, undefined);

  /** A tap whose rows belong at these rows of a stage with `total` rows. */
  place(rows: readonly number[], total: number): (stage: string, tensor: Tensor) => void {
    return (stage, tensor) => this.#record(stage, tensor, { rows, total });
  }

  /**
   * Runs a step; then every tensor that it tapped has arrived.
   * @throws  the signal's reason, before it
   */
  async step(body: () => void): Promise<void> {
    this.signal?.throwIfAborted();
    await this.gpu.step(() => {
      body();
      return [];
    });
    await Promise.all(this.#reads.splice(0));
  }

  #record(
    stage: string,
    tensor: Tensor,
    target: { rows: readonly number[]; total: number } | undefined,
  ): void {
    const { shape } = tensor;
    const read = this.gpu.read(tensor).then((data) => {
      if (!target) return void this.computed.floats.set(stage, { data, shape });
      const width = shape[1];
      let whole = this.computed.floats.get(stage);
      if (!whole) {
        whole = { data: new Float32Array(target.total * width).fill(NaN), shape: [target.total, width] };
        this.computed.floats.set(stage, whole);
      }
      for (const [i, row] of target.rows.entries()) {
        whole.data.set(data.subarray(i * width, (i + 1) * width), row * width);
      }
    });
    read.catch(() => undefined); // the step reports the failure
    this.#reads.push(read);
  }
}

/** Runs a bundle from its first stage to its last. */
export async function runBundle(gpu: Gpu, bundle: Bundle, options: RunOptions = {}): Promise<Computed> {
  options.signal?.throwIfAborted();
  const recorder = new StageTaps(gpu, options.signal);
  if (bundle.start === "input.source" || bundle.start === "input.waveform") {
    await runFrontend(bundle, recorder.computed);
  }
  const kind = bundleKind(bundle);
  if (kind === "frontend") return recorder.computed;
  if (kind === "ctc") {
    const { tap } = recorder;
    await runCtc(gpu, bundle, { ...options, tap, step: (body) => recorder.step(body) });
    return recorder.computed;
  }
  if (kind === "vad") {
    if (options.parameters) refuse(bundle.file, "metadata kind", "a bundle of the checkpoint's model", kind);
    await runVad(gpu, bundle, await features(bundle, recorder.computed), recorder.computed.floats);
    return recorder.computed;
  }
  const config = bundleConfig(bundle);
  const parameters = options.parameters ?? bundleParameters(bundle, config);
  if (kind === "train") {
    await runTrain(gpu, bundle, config, parameters, recorder.computed.floats, options);
    return recorder.computed;
  }
  const load = new ParameterLoader(gpu, parameters, { weights: options.weights, signal: options.signal });
  try {
    switch (kind) {
      case "encoder":
        await runEncoder(gpu, bundle, load, config, recorder);
        break;
      case "adaptor":
        await runAdaptor(gpu, bundle, load, config, recorder);
        break;
      case "llm":
        await runLlm(gpu, bundle, load, config, recorder);
        break;
      case "model":
        await runModel(
          gpu,
          bundle,
          await loadModel(gpu, config, parameters, options),
          recorder,
          options.signal,
        );
    }
  } finally {
    load.free();
  }
  return recorder.computed;
}

async function loadModel(
  gpu: Gpu,
  config: ModelConfig,
  parameters: ParameterSource,
  options: RunOptions,
): Promise<FunAsrNano> {
  const before = gpu.bytes.kept;
  const model = await loadFunAsrNano(gpu, config, parameters, options);
  options.onLoaded?.(gpu.bytes.kept - before);
  return model;
}

/** The given features, or those that the front-end computed from the waveform. */
async function features(
  bundle: Bundle,
  computed: Computed,
): Promise<{ data: Float32Array; rows: number; width: number }> {
  const made = computed.floats.get("input.features");
  if (made) return { data: made.data as Float32Array, rows: made.shape[0], width: made.shape[1] };
  return matrix(bundle, "input.features");
}

async function matrix(
  bundle: Bundle,
  name: string,
): Promise<{ data: Float32Array; rows: number; width: number }> {
  const { shape } = findTensor(bundle.file, name);
  if (shape.length !== 2) refuse(bundle.file, name, "2 dimensions", `[${shape.join(", ")}]`);
  const [rows, width] = shape;
  return { data: await readFloat32(bundle.file, name), rows, width };
}

async function runFrontend(bundle: Bundle, { floats }: Computed): Promise<void> {
  const at = `${bundle.file.source.name}: metadata frontend`;
  const config = parseFrontendConfig(parseJsonObject(metadata(bundle, "frontend"), at, "content"), at);
  const name = bundle.start;
  const { shape } = findTensor(bundle.file, name);
  const data = await readFloat32(bundle.file, name);
  let waveform = data;
  if (name === "input.source") {
    const length = shape.at(-1)!;
    const channels = Array.from({ length: data.length / length }, (_, c) =>
      data.slice(c * length, (c + 1) * length),
    );
    const sampleRate = metadataCount(bundle, "source_rate", config.samplingRate);
    waveform = toWaveform({ channels, sampleRate }, config.samplingRate, name);
    floats.set("frontend.resampled", { data: waveform, shape: [waveform.length] });
  }
  const energies = fbank(waveform, config, name);
  floats.set("frontend.fbank", { data: energies.data, shape: [energies.frames, energies.width] });
  const stacked = lowFrameRate(energies, config.lfrStack, config.lfrStride);
  floats.set("input.features", { data: stacked.data, shape: [stacked.frames, stacked.width] });
}

async function runEncoder(
  gpu: Gpu,
  bundle: Bundle,
  load: ParameterLoader,
  config: ModelConfig,
  recorder: StageTaps,
): Promise<void> {
  const weights = await loadSanmEncoder(load, config.encoder);
  const input = await features(bundle, recorder.computed);
  const lengths = await readLengths(bundle, "input.segments", input.rows);
  await recorder.step(() => {
    const x = gpu.upload(input.data, [input.rows, input.width]);
    sanmEncoder(gpu, weights, x, makeSegments(gpu, lengths), recorder.tap);
  });
}

async function runAdaptor(
  gpu: Gpu,
  bundle: Bundle,
  load: ParameterLoader,
  config: ModelConfig,
  recorder: StageTaps,
): Promise<void> {
  const weights = await loadAdaptor(load, config.adaptor);
  const input = await matrix(bundle, "encoder.output");
  const lengths = await readLengths(bundle, "input.segments", input.rows);
  await recorder.step(() => {
    const x = gpu.upload(input.data, [input.rows, input.width]);
    adaptor(gpu, weights, x, makeSegments(gpu, lengths), recorder.tap);
  });
}

/** Embeds packed rows [first, first + count) of each sequence inside a step. */
type Embed = (rows: readonly number[]) => Tensor;

/**
 * Runs the LLM: all but the last `cached` rows of each sequence as one prefill, those one by one
 * over the cache.
 */
async function runRows(
  gpu: Gpu,
  llm: Qwen3,
  lengths: readonly number[],
  cached: number,
  embed: Embed,
  recorder: StageTaps,
): Promise<void> {
  const total = sum(lengths);
  const starts = lengths.map((_, i) => sum(lengths.slice(0, i)));
  const cache = new KvCache(gpu, llm.config, lengths);
  const step = async (counts: readonly number[]): Promise<void> => {
    const rows = counts.flatMap((count, i) =>
      Array.from({ length: count }, (_, j) => starts[i] + cache.lengths[i] + j),
    );
    const tap = recorder.place(rows, total);
    await recorder.step(() => {
      const hidden = qwen3(gpu, llm, embed(rows), cache.append(counts), cache, { tap });
      lmHead(gpu, llm, hidden, tap);
    });
  };
  try {
    await step(lengths.map((length) => length - cached));
    for (let i = 0; i < cached; i++) await step(lengths.map(() => 1));
  } finally {
    cache.free();
  }
}

async function runLlm(
  gpu: Gpu,
  bundle: Bundle,
  load: ParameterLoader,
  config: ModelConfig,
  recorder: StageTaps,
): Promise<void> {
  const llm = await loadQwen3(load, config.llm);
  const cached = metadataCount(bundle, "cached_steps", 0);
  const checked = (lengths: number[]): number[] => {
    const most = Math.min(...lengths) - 1;
    if (cached > most) refuse(bundle.file, "metadata cached_steps", `at most ${most}`, String(cached));
    return lengths;
  };
  if (bundle.start === "llm.inputs_embeds") {
    const { data, rows, width } = await matrix(bundle, "llm.inputs_embeds");
    const lengths = checked(await readLengths(bundle, "input.token_segments", rows));
    const embed: Embed = (wanted) => {
      const part = new Float32Array(wanted.length * width);
      for (const [i, row] of wanted.entries())
        part.set(data.subarray(row * width, (row + 1) * width), i * width);
      return gpu.upload(part, [wanted.length, width]);
    };
    return runRows(gpu, llm, lengths, cached, embed, recorder);
  }
  const ids = await readIds(bundle, "input.token_ids");
  const lengths = checked(await readLengths(bundle, "input.token_segments", ids.length));
  const embed: Embed = (wanted) =>
    embedding(
      gpu,
      gpu.upload(new Uint32Array(wanted.map((row) => ids[row])), [wanted.length]),
      llm.embedTokens,
    );
  return runRows(gpu, llm, lengths, cached, embed, recorder);
}

/** A sequence's prompt from its ids: the audio slot is the run of placeholder tokens. */
function promptTokens(ids: readonly number[], audioTokenId: number): PromptTokens {
  const audioLength = ids.filter((id) => id === audioTokenId).length;
  return { ids, audioOffset: Math.max(ids.indexOf(audioTokenId), 0), audioLength };
}

async function runModel(
  gpu: Gpu,
  bundle: Bundle,
  model: FunAsrNano,
  recorder: StageTaps,
  signal: AbortSignal | undefined,
): Promise<void> {
  let audio: Tensor | undefined;
  try {
    const input = await features(bundle, recorder.computed);
    const frames = await readLengths(bundle, "input.segments", input.rows);
    const ids = await readIds(bundle, "input.token_ids");
    const lengths = await readLengths(bundle, "input.token_segments", ids.length);
    let start = 0;
    const prompts = lengths.map((length) =>
      promptTokens(ids.slice(start, (start += length)), model.config.audioTokenId),
    );
    await recorder.step(() => {
      const states = encode(gpu, model, { features: input.data, frames }, recorder.tap);
      audio = gpu.hold(adapt(gpu, model, states, frames, recorder.tap));
    });
    const embeddings = audio!;
    const embed: Embed = () => promptEmbeddings(gpu, model, prompts, embeddings);
    await runRows(gpu, model.llm, lengths, 0, embed, recorder);
    const steps = metadataCount(bundle, "generate", 0);
    if (steps === 0) return;
    const decoded = await greedy(gpu, model, prompts, embeddings, {
      stopIds: new Set(),
      maxNewTokens: prompts.map(() => steps),
      guardLoops: false,
      signal,
    });
    const generated = decoded.flatMap(({ tokenIds }) => [...tokenIds]);
    recorder.computed.ids.set("generated_ids", generated);
  } finally {
    if (audio) gpu.release(audio);
    model.free();
  }
}
