import type { Gpu, TensorData } from "../gpu/device.js";
import type { Matrix } from "../gpu/matrix.js";
import { Tape } from "../gpu/tape.js";
import type { Tensor } from "../gpu/tensor.js";
import { addInto } from "../kernels/add/add-into.js";
import { add } from "../kernels/add/add.js";
import { gradNorm } from "../kernels/grad-norm/grad-norm.js";
import { linearInputGrad } from "../kernels/linear/linear-backward.js";
import { linear } from "../kernels/linear/linear.js";
import { scale } from "../kernels/scale/scale.js";
import { type FunAsrNano, adapt } from "../model/fun-asr-nano.js";
import { embedTokens } from "../model/qwen3.js";
import type { Tap } from "../model/taps.js";
import { type Alignment, align, alignmentDefaults } from "./alignment.js";
import { type TrainingBatch, encoderStates } from "./forward.js";

/** Clips of a step's micro-batch, with their transcripts as token ids. */
export interface AlignmentBatch extends Pick<TrainingBatch, "audio" | "frames" | "prompts"> {
  readonly transcripts: readonly (readonly number[])[];
}

/**
 * The classes of a batch's frames: the pause, which is the audio placeholder, then the tokens of
 * its transcripts.
 */
function contrasted(model: FunAsrNano, { transcripts }: AlignmentBatch): number[] {
  return [...new Set([model.config.audioTokenId, ...transcripts.flat()])];
}

/** Embeddings of tokens as the matrix of a linear layer, [tokens, D] f32. */
function embeddingMatrix(gpu: Gpu, { llm }: FunAsrNano, tokens: readonly number[]): Matrix {
  const tensor = embedTokens(gpu, llm, tokens);
  const rows = tokens.length;
  return { rows, columns: tensor.shape[1], format: "f32", pieces: [{ first: 0, rows, tensor }] };
}

function audioRows(gpu: Gpu, model: FunAsrNano, batch: AlignmentBatch, tap?: Tap): Tensor {
  return adapt(gpu, model, encoderStates(gpu, model, batch, tap), batch.frames, tap);
}

/**
 * The forward pass inside a step, each stage seen by the tap; the products of frames and tokens
 * come last.
 */
export function tapAlignment(gpu: Gpu, model: FunAsrNano, batch: AlignmentBatch, tap: Tap): void {
  gpu.scope(() => {
    const audio = audioRows(gpu, model, batch, tap);
    const embeddings = embeddingMatrix(gpu, model, contrasted(model, batch));
    tap("the products of frames and tokens", linear(gpu, audio, embeddings));
  });
}

/**
 * The GPU step before an alignment: products of frames and tokens, the tokens' embeddings, the
 * squared norm of the frames.
 */
export function readProducts(gpu: Gpu, model: FunAsrNano, batch: AlignmentBatch): Promise<TensorData[]> {
  return gpu.step(() => {
    const audio = audioRows(gpu, model, batch);
    const e = embeddingMatrix(gpu, model, contrasted(model, batch));
    return [linear(gpu, audio, e), e.pieces[0].tensor, gradNorm(gpu, [audio], 0).squares];
  });
}

/**
 * The adaptor's forward pass, and the alignment of its outputs on the CPU. A GPU step of its own.
 * @param denominator  frames of the whole optimiser step, which divide the sum of the losses
 */
export async function alignBatch(
  gpu: Gpu,
  model: FunAsrNano,
  batch: AlignmentBatch,
  denominator: number,
): Promise<Alignment> {
  const tokens = contrasted(model, batch);
  const [products, embeddings, squares] = await readProducts(gpu, model, batch);
  const columns = new Map(tokens.map((token, column) => [token, column]));
  const clips = batch.transcripts.map((transcript, i) => ({
    frames: batch.prompts[i].audioLength,
    columns: transcript.map((token) => columns.get(token)!),
  }));
  return align({
    products: products as Float32Array,
    embeddings: embeddings as Float32Array,
    tokens: tokens.length,
    squares: squares[0],
    clips,
    denominator,
    ...alignmentDefaults,
  });
}

/**
 * Forward and backward pass inside a step: adds the alignment's gradient to those of the model's
 * trainables, which the caller clears.
 */
export function recordAlignment(
  gpu: Gpu,
  model: FunAsrNano,
  batch: AlignmentBatch,
  { weights, factor }: Pick<Alignment, "weights" | "factor">,
): void {
  const tape = new Tape(gpu, model.trainables, { add, addInto });
  gpu.tape = tape;
  try {
    gpu.scope(() => {
      const audio = audioRows(gpu, model, batch);
      gpu.tape = undefined;
      tape.add(audio, audioGradient(gpu, model, batch, audio, { weights, factor }));
    });
    tape.backward();
  } finally {
    gpu.tape = undefined;
  }
}

function audioGradient(
  gpu: Gpu,
  model: FunAsrNano,
  batch: AlignmentBatch,
  audio: Tensor,
  { weights, factor }: Pick<Alignment, "weights" | "factor">,
): Tensor {
  const tokens = contrasted(model, batch);
  const shares = gpu.upload(weights, [audio.shape[0], tokens.length]);
  const toEmbeddings = linearInputGrad(gpu, shares, embeddingMatrix(gpu, model, tokens));
  return add(gpu, toEmbeddings, scale(gpu, audio, factor));
}
