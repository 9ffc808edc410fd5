import { audioTokens, type ModelConfig } from "../config/model-config.js";
import { takeBuffers } from "../gpu/counting.js";
import type { Gpu } from "../gpu/device.js";
import type { WeightFormat } from "../gpu/matrix.js";
import { elementCount } from "../shape.js";
import { type FunAsrNano, encode, loadFunAsrNano } from "../model/fun-asr-nano.js";
import type { ParameterSource } from "../weights/loader.js";
import { type AlignmentBatch, readProducts, recordAlignment } from "./align-forward.js";
import { answerLosses, recordGradients } from "./forward.js";
import { type LoraOptions, loraShape, paddedRank, withLora } from "./lora.js";
import { type Optimiser, makeOptimiser, update } from "./optimiser.js";
import { type TunablePart, isTuned } from "./tune.js";
import { sum, zeros } from "../arrays.js";

/** Sizes of one clip of a micro-batch. */
export interface ClipSize {
  /** LFR frames. */
  readonly frames: number;
  /** Tokens of its prompt around the audio. */
  readonly text: number;
  /** Tokens of its answer. */
  readonly answer: number;
}

/** Sizes of one micro-batch. */
export interface BatchRows {
  readonly clips: readonly ClipSize[];
  /** Distinct tokens of an alignment; where given, nothing goes through the LLM. */
  readonly contrasted?: number;
}

/** The model and its trained parts. */
export interface TrainedModel {
  readonly tune: readonly TunablePart[];
  /** Storage of the frozen weights. Default: as in the checkpoint. */
  readonly weights?: WeightFormat | undefined;
  /** Where `tune` has it. */
  readonly lora?: LoraOptions | undefined;
}

const adam = { learningRate: 0, step: 1, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0 };

/** A training on a device that counts: the steps of the loop on batches of zeros. */
export class CountedTraining {
  /** Of everything that is not trained. */
  readonly frozenBytes: number;
  /** Values, gradients and both moments of what is trained, f32. */
  readonly trainedBytes: number;
  /** Parameters that are trained; a LoRA's without what fills up its rank. */
  readonly parameters: number;

  private constructor(
    readonly gpu: Gpu,
    private readonly model: FunAsrNano,
    private readonly trained: TrainedModel,
    private readonly optimiser: Optimiser,
  ) {
    const { rank } = loraShape(trained.lora);
    let [bytes, parameters] = [0, 0];
    for (const { name, value } of model.trainables) {
      bytes += 4 * value.allocation.bytes;
      parameters += elementCount(value.shape) * (name.includes(".lora_") ? rank / paddedRank(rank) : 1);
    }
    this.trainedBytes = bytes;
    this.frozenBytes = gpu.bytes.kept - bytes;
    this.parameters = parameters;
  }

  /** @param gpu  counts; new */
  static async load(
    gpu: Gpu,
    config: ModelConfig,
    source: ParameterSource,
    trained: TrainedModel,
  ): Promise<CountedTraining> {
    const { tune, weights, lora } = trained;
    const loaded = await loadFunAsrNano(gpu, config, source, { weights, tune: isTuned(tune) });
    const model = tune.includes("lora") ? withLora(gpu, loaded, loraShape(lora)) : loaded;
    return new CountedTraining(gpu, model, trained, makeOptimiser(gpu, model.trainables));
  }

  /**
   * A step of one micro-batch, with its update.
   * @param onForward  called between the forward pass through the LLM and what follows it
   */
  async step(rows: BatchRows, onForward?: () => void): Promise<void> {
    const { gpu, model, optimiser } = this;
    const batch = this.#batch(rows);
    if (rows.contrasted !== undefined) {
      await readProducts(gpu, model, batch);
      const weights = new Float32Array(sum(batch.prompts.map((p) => p.audioLength)) * rows.contrasted);
      await gpu.step(() => {
        recordAlignment(gpu, model, batch, { weights, factor: 0 });
        const { squares, clip } = update(gpu, optimiser, 1, adam, (name) => !name.includes(".lora_"));
        return [squares, clip];
      });
      return;
    }
    const tap = (stage: string): void => {
      if (stage === "llm.norm") onForward?.();
    };
    await gpu.step(() => {
      const losses = recordGradients(gpu, model, batch, { denominator: 1, tap });
      const { squares, clip } = update(gpu, optimiser, 1, adam);
      return [squares, clip, losses];
    });
  }

  /** The forward pass alone. */
  async validate(rows: BatchRows): Promise<void> {
    const batch = this.#batch(rows);
    await this.gpu.step(() => [answerLosses(this.gpu, this.model, batch)]);
  }

  /** The frozen encoder over the clips. */
  async encode({ clips }: BatchRows): Promise<void> {
    const frames = clips.map((clip) => clip.frames);
    const features = new Float32Array(sum(frames) * this.model.config.encoder.inputSize);
    await this.gpu.step(() => [encode(this.gpu, this.model, { features, frames })]);
  }

  /** Bytes of each buffer of the pools that a micro-batch takes. */
  async buffers(rows: BatchRows): Promise<readonly number[]> {
    this.gpu.trim();
    takeBuffers(this.gpu);
    await this.step(rows);
    return takeBuffers(this.gpu);
  }

  #batch({ clips, contrasted = 1 }: BatchRows): AlignmentBatch & { answers: number[][] } {
    const { encoder, audioTokenRule, audioTokenId } = this.model.config;
    const frames = clips.map((clip) => clip.frames);
    const encodes = this.trained.tune.includes("encoder");
    const data = new Float32Array(sum(frames) * (encodes ? encoder.inputSize : encoder.hiddenSize));
    const words = Array.from({ length: contrasted - 1 }, (_, i) => (i < audioTokenId ? i : i + 1));
    return {
      audio: encodes ? { features: data } : { states: data },
      frames,
      prompts: clips.map(({ frames: count, text }) => {
        const audioLength = audioTokens(audioTokenRule, count);
        return { ids: zeros(text + audioLength), audioOffset: text >> 1, audioLength };
      }),
      answers: clips.map(({ answer }) => zeros(answer)),
      transcripts: clips.map((_, i) => (i === 0 ? words : [])),
    };
  }
}
