import { basename, dirname } from "node:path";
import { GGUF_ENCODER } from "../checkpoint/layouts/gguf.js";
import type { Gpu } from "../gpu/device.js";
import { modelDirectory } from "../node/files.js";
import { ggufPaths, loraFiles, modelFiles } from "../node/model-files.js";
import { Generator, type GeneratorOptions } from "./generator.js";
import { Transcriber, type TranscriberOptions } from "./transcriber.js";

/** Options of a load from disk: LoRAs by their directories. */
type FromDisk<Options> = Omit<Options, "lora" | "gguf"> & { readonly lora?: readonly string[] };

/**
 * A transcriber of a checkpoint on disk. Node only.
 * @param path  as `modelFiles`: a directory, a GGUF file, or ENCODER.gguf,LLM.gguf; `resolveModel`
 *              gives it for a name on the hub
 * @throws      as `Transcriber.load`
 */
export async function loadTranscriber(
  gpu: Gpu,
  path: string,
  { lora, ...options }: FromDisk<TranscriberOptions> = {},
): Promise<Transcriber> {
  return Transcriber.load(gpu, modelFiles(path), { ...options, lora: loraFiles(lora) });
}

/**
 * A generator of a checkpoint on disk, whose LLM is used, or of an LLM alone. Node only.
 * @param path  as for `loadTranscriber`, or the GGUF file of an LLM
 * @throws      as `Generator.load`
 */
export async function loadGenerator(
  gpu: Gpu,
  path: string,
  { lora, ...options }: FromDisk<GeneratorOptions> = {},
): Promise<Generator> {
  const file = basename(path);
  const gguf = ggufPaths(path)?.length === 1 && !GGUF_ENCODER.test(file) ? file : undefined;
  const files = gguf === undefined ? modelFiles(path) : modelDirectory(dirname(path));
  return Generator.load(gpu, files, { ...options, gguf, lora: loraFiles(lora) });
}
