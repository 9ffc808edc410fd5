import type { CtcConfig } from "../config/ctc-config.js";
import { ctcTensors } from "../config/ctc-config.js";
import { parseJsonObject } from "../checkpoint/json.js";
import { findTensor, readFloat32 } from "../checkpoint/safetensors/safetensors.js";
import type { Gpu } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { makeSegments } from "../kernels/attention/segments.js";
import { ctcDecoder, ctcLogits, loadCtc } from "../model/ctc.js";
import type { Tap } from "../model/taps.js";
import { ParameterLoader, type ParameterSource, type WeightFormat } from "../weights/loader.js";
import { type Bundle, metadata, parametersOf, readLengths, refuse } from "./bundle.js";

interface CtcRun {
  readonly parameters?: ParameterSource;
  readonly weights?: WeightFormat;
  readonly signal?: AbortSignal | undefined;
  readonly tap: Tap;
  /** Runs a step whose taps have arrived when it ends. */
  readonly step: (body: () => void) => Promise<void>;
}

const fields = [
  "encoderSize",
  "projectorHiddenSize",
  "hiddenSize",
  "heads",
  "intermediateSize",
  "layers",
  "layerNormEps",
  "vocabSize",
  "blankId",
] as const;

/** The sizes of a bundle's CTC head. @throws CheckpointError  one is missing or no number */
function readConfig(bundle: Bundle): CtcConfig {
  const at = `${bundle.file.source.name}: metadata ctc`;
  const json = parseJsonObject(metadata(bundle, "ctc"), at, "content");
  const entries = fields.map((field) => {
    const value = json[field];
    if (typeof value === "number" && value >= 0) return [field, value] as const;
    return refuse(bundle.file, `metadata ctc.${field}`, "a number from 0", JSON.stringify(value) ?? "none");
  });
  return Object.fromEntries(entries) as unknown as CtcConfig;
}

/** A CTC head's bundle: encoder states to hidden states to logits. */
export async function runCtc(gpu: Gpu, bundle: Bundle, run: CtcRun): Promise<void> {
  const config = readConfig(bundle);
  const shapes = ctcTensors(config).map(({ name, shape }) => [name, shape] as const);
  const { weights, signal, tap } = run;
  const load = new ParameterLoader(gpu, run.parameters ?? parametersOf(bundle, shapes), { weights, signal });
  try {
    const head = await loadCtc(load, config);
    const { shape } = findTensor(bundle.file, "encoder.output");
    const data = await readFloat32(bundle.file, "encoder.output");
    const lengths = await readLengths(bundle, "input.segments", shape[0]);
    await run.step(() => {
      const states: Tensor = gpu.upload(data, shape);
      ctcLogits(gpu, head, ctcDecoder(gpu, head, states, makeSegments(gpu, lengths), tap), tap);
    });
  } finally {
    load.free();
  }
}
