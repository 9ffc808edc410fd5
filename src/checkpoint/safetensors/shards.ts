import { isObject, show } from "../../json.js";
import { CheckpointError, tensorField } from "../../formats/errors.js";
import { parseJsonObject } from "../json.js";
import type { SafetensorsFile } from "./safetensors.js";
import { isPlainName } from "../source.js";
import type { ModelFiles } from "../source.js";

/** Weights in one file. */
export const SINGLE = "model.safetensors";
/** Which shard holds which tensor, where the weights are in several files. */
export const INDEX = "model.safetensors.index.json";

const MAX_INDEX_BYTES = 16_000_000;

/**
 * The weight map of a sharded checkpoint.
 * @returns  tensor name → shard file name
 * @throws CheckpointError  no index, not JSON, no weight map, a shard named twice over or outside the directory, or a shard that is missing
 */
export async function parseIndex(files: ModelFiles): Promise<Map<string, string>> {
  const file = `${files.name}/${INDEX}`;
  const json = parseJsonObject(await files.readText(INDEX, MAX_INDEX_BYTES), file, "content");
  const weights = json["weight_map"];
  if (!isObject(weights) || Object.keys(weights).length === 0) {
    throw new CheckpointError({
      file,
      field: "weight_map",
      expected: "tensor names with their shards",
      got: show(weights),
    });
  }
  const map = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weights)) {
    if (typeof shard !== "string" || !isPlainName(shard)) {
      const expected = "a file name without path separators";
      throw new CheckpointError({ file, field: `weight_map ${show(tensor)}`, expected, got: show(shard) });
    }
    map.set(tensor, shard);
  }
  const shards = new Set(map.values());
  for (const shard of shards) {
    if (await files.has(shard)) continue;
    const expected = `the shard that ${INDEX} names`;
    const advice = `download it again: the model has ${shards.size} shard${shards.size === 1 ? "" : "s"}`;
    throw new CheckpointError({ file: files.name, field: shard, expected, got: "no such file", advice });
  }
  return map;
}

/**
 * Index and shards must hold the same tensors in the same places.
 * @param name  what errors call the checkpoint
 * @throws CheckpointError  a tensor absent from its shard, in another shard, in two shards, or in a shard but not in the index
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
      throw new CheckpointError({
        file,
        field: tensorField(tensor),
        expected: wanted,
        got: "it in this shard",
      });
    }
  }
  for (const [tensor, shard] of index) {
    if (shards.get(shard)?.tensors.has(tensor)) continue;
    const expected = `it in this shard, as ${INDEX} says`;
    throw new CheckpointError({
      file: `${name}/${shard}`,
      field: tensorField(tensor),
      expected,
      got: "no such tensor",
    });
  }
}
