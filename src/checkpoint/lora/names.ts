import type { ModelParts } from "../../config/model-config.js";
import { FUNASR_KEY_MAP, MLX_KEY_MAP } from "../layouts/key-maps-funasr.js";
import { KEY_MAPS, LLM_KEY_MAP, type KeyMap, alternatives, canonicalName } from "../layouts/key-maps.js";

/** The spellings of the programs that train a LoRA, on the whole model or on its LLM alone. */
const SPELLINGS: readonly KeyMap[] = [...KEY_MAPS, FUNASR_KEY_MAP, MLX_KEY_MAP, LLM_KEY_MAP];

/**
 * Canonical names of the tensors that one name means: one, or several where it is fused, such as q, k and v.
 * @returns undefined  the model has none of them
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
