import type { FrontendConfig } from "../frontend/config.js";
import { DEFAULT_FRONTEND, WINDOWS } from "../frontend/config.js";
import type { ConfigReader } from "./reader.js";

/** Sizes of an FSMN-VAD net and of its front-end. */
export interface VadConfig {
  /** Mel bins of a frame. */
  readonly melBins: number;
  /** Frames side by side in a row of features; a row is 10 ms. */
  readonly stack: number;
  readonly window: FrontendConfig["window"];
  readonly inputAffineDim: number;
  readonly layers: number;
  readonly linearDim: number;
  readonly projDim: number;
  /** Of the memory: the row itself and those before it. */
  readonly taps: number;
  readonly outputAffineDim: number;
  /** Classes. Class 0 is silence. */
  readonly outputDim: number;
}

const MAX_LAYERS = 64;
const MAX_WIDTH = 4096;
const MAX_TAPS = 1024;

/**
 * An FSMN-VAD's sizes from FunASR's config.yaml, or from an object with the same fields.
 * @throws ConfigError  a field is missing, or this engine cannot run its value
 * @source funasr `fsmn_vad_streaming`, `FSMN.__init__`, `WavFrontendOnline.__init__`
 */
export function parseVadConfig(top: ConfigReader): VadConfig {
  top.oneOf("model", ["FsmnVADStreaming"], "FsmnVADStreaming");
  top.oneOf("encoder", ["FSMN"], "FSMN");
  const frontend = top.section("frontend_conf");
  const net = top.section("encoder_conf");
  const model = top.optional("model_conf");
  frontend.oneOf("fs", [16_000], 16_000);
  frontend.oneOf("frame_length", [25], 25);
  frontend.oneOf("frame_shift", [10], 10);
  frontend.oneOf("lfr_n", [1], 1);
  frontend.oneOf("snip_edges", [true], true);
  frontend.oneOf("upsacle_samples", [true], true);
  net.oneOf("rorder", [0], 0);
  net.oneOf("lstride", [1], 1);
  model.oneOf("sample_rate", [16_000], 16_000);
  model.oneOf("frame_in_ms", [10], 10);
  const ids = model.value("sil_pdf_ids") ?? [0];
  if (!(Array.isArray(ids) && ids.length === 1 && ids[0] === 0))
    throw model.refusal("sil_pdf_ids", "[0]", ids, "nothing else is implemented");
  const width = (field: string): number => net.integer(field, { most: MAX_WIDTH });
  const config: VadConfig = {
    melBins: frontend.isNull("n_mels") ? 80 : frontend.integer("n_mels", { most: 512 }),
    stack: frontend.isNull("lfr_m") ? 1 : frontend.integer("lfr_m", { most: 64 }),
    window: frontend.oneOf("window", WINDOWS, "hamming"),
    inputAffineDim: width("input_affine_dim"),
    layers: net.integer("fsmn_layers", { most: MAX_LAYERS }),
    linearDim: width("linear_dim"),
    projDim: width("proj_dim"),
    taps: net.integer("lorder", { most: MAX_TAPS }),
    outputAffineDim: width("output_affine_dim"),
    outputDim: width("output_dim"),
  };
  const input = inputDim(config);
  if (net.integer("input_dim") !== input)
    throw net.refusal("input_dim", `${input}, n_mels times lfr_m`, net.value("input_dim"));
  if (input % 4 !== 0) throw net.refusal("input_dim", "a multiple of 4", input);
  return config;
}

/** Columns of the features. */
export function inputDim({ melBins, stack }: VadConfig): number {
  return melBins * stack;
}

/** The front-end of 16-bit samples, without noise. */
export function vadFrontend({ melBins, stack, window }: VadConfig): FrontendConfig {
  return { ...DEFAULT_FRONTEND, melBins, window, lfrStack: stack, lfrStride: 1, waveformScale: 32_768 };
}

/**
 * Every tensor of an FSMN-VAD by its name in FunASR's checkpoint, and the two vectors of am.mvn:
 * name → shape. The taps lack the last dimension of FunASR's 2-d convolution, which is 1.
 * @source funasr `FSMN(...).state_dict()`
 */
export function vadTensors(config: VadConfig): Map<string, readonly number[]> {
  const { inputAffineDim, linearDim, projDim, taps, outputAffineDim, outputDim } = config;
  const input = inputDim(config);
  const table = new Map<string, readonly number[]>([
    ["cmvn.shift", [input]],
    ["cmvn.scale", [input]],
  ]);
  const affine = (name: string, from: number, to: number): void => {
    table.set(`encoder.${name}.linear.weight`, [to, from]);
    table.set(`encoder.${name}.linear.bias`, [to]);
  };
  affine("in_linear1", input, inputAffineDim);
  affine("in_linear2", inputAffineDim, linearDim);
  for (let i = 0; i < config.layers; i++) {
    table.set(`encoder.fsmn.${i}.linear.linear.weight`, [projDim, linearDim]);
    table.set(`encoder.fsmn.${i}.fsmn_block.conv_left.weight`, [projDim, 1, taps]);
    affine(`fsmn.${i}.affine`, projDim, linearDim);
  }
  affine("out_linear1", linearDim, outputAffineDim);
  affine("out_linear2", outputAffineDim, outputDim);
  return table;
}

const block = 8; // columns of the kernels for subgroups

/**
 * The same net with hidden widths that the kernels take: zeros fill its weights up, and its results
 * are the same.
 */
export function alignedVadConfig(config: VadConfig): VadConfig {
  const up = (width: number): number => Math.ceil(width / block) * block;
  return {
    ...config,
    inputAffineDim: up(config.inputAffineDim),
    linearDim: up(config.linearDim),
    projDim: up(config.projDim),
    outputAffineDim: up(config.outputAffineDim),
  };
}
