import type { ModelParts } from "../../config/model-config.js";
import { FUNASR_KEY_MAP, MLX_KEY_MAP } from "../layouts/key-maps-funasr.js";
import { KEY_MAPS, LLM_KEY_MAP, type KeyMap, alternatives, canonicalName } from "../layouts/key-maps.js";

/** The spellings of programs that train a LoRA on the model or on its LLM. */
const SPELLINGS: readonly KeyMap[] = [...KEY_MAPS, FUNASR_KEY_MAP, MLX_KEY_MAP, LLM_KEY_MAP];

/**
 * The canonical names of a tensor name: one, or several for fused tensors such as q, k and v.
 * @returns undefined  the model does not have them
 */
export function canonicalTensors(
  name: string,
  tensors: ReadonlyMap<string, unknown>,
  config: ModelParts,
): string[] | undefined {
  for (const map of SPELLINGS) {
    const names = alternatives(canonicalName(name, map, config));
    if (names.every((canonical) => tensors.has(canonical))) return names;
  }
  return undefined;
}
