import { ConfigReader } from "../config/reader.js";
import { type VadConfig, parseVadConfig } from "../config/vad-config.js";
import { parseJsonObject } from "../checkpoint/json.js";
import { readFloat32 } from "../checkpoint/safetensors/safetensors.js";
import type { Gpu, TensorData } from "../gpu/device.js";
import type { Tensor } from "../gpu/tensor.js";
import { fsmnVad, loadFsmnVad } from "../model/fsmn-vad.js";
import type { HeldTensor } from "../weights/zero-extended.js";
import { type Bundle, metadata, readLengths, refuse } from "./bundle.js";

/** Stages by their names: row-major values. */
type Floats = Map<string, { data: TensorData; shape: readonly number[] }>;

/**
 * Runs a bundle of the voice activity net, whose weights it holds.
 * @param features  [T, input], stacked and not normalised where they come from a waveform
 */
export async function runVad(
  gpu: Gpu,
  bundle: Bundle,
  features: { readonly data: Float32Array; readonly rows: number; readonly width: number },
  floats: Floats,
): Promise<void> {
  const at = `${bundle.file.source.name}: metadata config`;
  const config = parseVadConfig(
    ConfigReader.of(parseJsonObject(metadata(bundle, "config"), at, "content"), at),
  );
  if (metadata(bundle, "weights") !== "bundle")
    refuse(bundle.file, "metadata weights", "bundle", metadata(bundle, "weights"));
  const weights = await heldTensors(bundle);
  const { rows, width } = features;
  let { data } = features;
  if (bundle.start === "input.waveform") {
    const [shift, scale] = ["cmvn.shift", "cmvn.scale"].map((name) => weights.get(name)?.data ?? []);
    data = data.map((value, i) => (value + shift[i % width]) * scale[i % width]);
    floats.set("input.features", { data, shape: [rows, width] });
  }
  const lengths = await readLengths(bundle, "input.segments", rows);
  const net = await loadFsmnVad(gpu, config, weights, bundle.name);
  const reads: Promise<void>[] = [];
  const tap = (stage: string, tensor: Tensor): void => {
    const read = gpu.read(tensor).then((values) => {
      floats.set(stage, withoutFilling(values, tensor.shape, stageWidth(config, stage)));
    });
    read.catch(() => undefined); // the step reports the failure
    reads.push(read);
  };
  try {
    await gpu.step(() => {
      fsmnVad(gpu, net, gpu.upload(data, [rows, width]), lengths, { tap });
      return [];
    });
    await Promise.all(reads);
  } finally {
    net.free();
  }
}

async function heldTensors({ file }: Bundle): Promise<Map<string, HeldTensor>> {
  const tensors = new Map<string, HeldTensor>();
  for (const [key, { shape }] of file.tensors)
    if (key.startsWith("weights.")) {
      const data = await readFloat32(file, key);
      tensors.set(key.slice("weights.".length), { shape, data });
    }
  return tensors;
}

/** Columns of a stage before they are filled up for the kernels. */
function stageWidth(config: VadConfig, stage: string): number {
  if (stage === "vad.silence") return 1;
  if (stage === "vad.in_linear1") return config.inputAffineDim;
  if (stage === "vad.out_linear1") return config.outputAffineDim;
  if (stage === "vad.out_linear2") return config.outputDim;
  return stage.endsWith(".memory") ? config.projDim : config.linearDim;
}

/** The first columns of each row; all of them where one behind them is not 0. */
function withoutFilling(
  data: TensorData,
  [rows, filled]: readonly number[],
  width: number,
): { data: TensorData; shape: readonly number[] } {
  const kept = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    const row = data.subarray(r * filled, (r + 1) * filled);
    if (row.subarray(width).some((value) => value !== 0)) return { data, shape: [rows, filled] };
    kept.set(row.subarray(0, width), r * width);
  }
  return { data: kept, shape: [rows, width] };
}
