import { isObject, show } from "../../json.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { parseJsonObject } from "../json.js";
import type { SafetensorsFile } from "./safetensors.js";
import { isPlainName } from "../source.js";
import type { ModelFiles } from "../source.js";

/** The weights in one file. */
export const SINGLE = "model.safetensors";
/** The index of weights in several files: tensor → shard. */
export const INDEX = "model.safetensors.index.json";

const MAX_INDEX_BYTES = 16_000_000;

/**
 * The weight map of a sharded checkpoint.
 * @returns  tensor name → shard file name
 * @throws CheckpointError  no index, not JSON, no weight map, a shard outside the directory, or a
 *   missing shard
 */
export async function parseIndex(files: ModelFiles): Promise<Map<string, string>> {
  const file = `${files.name}/${INDEX}`;
  const json = parseJsonObject(await files.readText(INDEX, MAX_INDEX_BYTES), file, "content");
  const weights = json["weight_map"];
  if (!isObject(weights) || Object.keys(weights).length === 0) {
    throw checkpointError(file, "weight_map", "tensor names with their shards", show(weights));
  }
  const map = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weights)) {
    if (typeof shard !== "string" || !isPlainName(shard)) {
      const expected = "a file name without path separators";
      throw checkpointError(file, `weight_map ${show(tensor)}`, expected, show(shard));
    }
    map.set(tensor, shard);
  }
  const shards = new Set(map.values());
  for (const shard of shards) {
    if (await files.has(shard)) continue;
    const expected = `the shard that ${INDEX} names`;
    const advice = `download it again: the model has ${shards.size} shard${shards.size === 1 ? "" : "s"}`;
    throw checkpointError(files.name, shard, expected, "no such file", advice);
  }
  return map;
}

/**
 * Compares the index with the shards.
 * @param name  name of the checkpoint in errors
 * @throws CheckpointError  a tensor is missing from its shard, in another shard, in two shards, or
 *   not in the index
 */
export function checkShards(
  name: string,
  index: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, SafetensorsFile>,
): void {
  for (const [shard, { tensors }] of shards) {
    for (const tensor of tensors.keys()) {
      const expected = index.get(tensor);
      if (expected === shard) continue;
      const file = `${name}/${shard}`;
      const wanted =
        expected === undefined ? `only tensors that ${INDEX} lists` : `it in ${expected}, as ${INDEX} says`;
      throw checkpointError(file, tensorField(tensor), wanted, "it in this shard");
    }
  }
  for (const [tensor, shard] of index) {
    if (shards.get(shard)?.tensors.has(tensor)) continue;
    const expected = `it in this shard, as ${INDEX} says`;
    throw checkpointError(`${name}/${shard}`, tensorField(tensor), expected, "no such tensor");
  }
}
