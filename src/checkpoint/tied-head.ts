import type { ModelParts } from "../config/model-config.js";
import type { TensorEntry } from "./checkpoint.js";
import type { Container } from "../formats/container.js";
import { toFloat32 } from "../formats/dtypes.js";
import { HEAD } from "../config/expected-tensors.js";
import { elementCount } from "../shape.js";

const EMBEDDING = "model.language_model.embed_tokens.weight";
const pieceUnits = 4 << 20; // bytes of tensors of one type, or elements of two types
/** Types that f32 can hold exactly. */
const WIDENED: readonly string[] = ["F32", "F16", "BF16"];

/** A config with the `tiedHead` that the stored tensors have. */
export interface HeadDecision<Config> {
  readonly config: Config;
  /** Set if the config ties the head, but the file has another head. */
  readonly warning?: string;
}

/**
 * Decides whether the head is the embedding, by the stored values in any float type. As in
 * transformers, a head of other values is used, whatever the config says. Without a stored head the
 * config decides.
 * @param tensors  by canonical name
 */
export async function decideHead<Config extends ModelParts>(
  container: Container,
  config: Config,
  tensors: ReadonlyMap<string, TensorEntry>,
): Promise<HeadDecision<Config>> {
  const head = tensors.get(HEAD);
  const embedding = tensors.get(EMBEDDING);
  if (!head || !embedding) return { config };
  const tiedHead = await sameValues(container, head, embedding);
  if (tiedHead === config.llm.tiedHead) return { config };
  const { sourceName } = head;
  const decided = { ...config, llm: { ...config.llm, tiedHead } };
  if (tiedHead) return { config: decided };
  const warning = `${sourceName} differs from the embedding: it is used as the head, though the config says tie_word_embeddings true`;
  return { config: decided, warning };
}

/** Whether two tensors have equal bytes, or widen to the same f32. Stops at a difference. */
async function sameValues(container: Container, a: TensorEntry, b: TensorEntry): Promise<boolean> {
  if (String(a.shape) !== String(b.shape)) return false;
  const sameType = a.dtype === b.dtype;
  if (!sameType && ![a.dtype, b.dtype].every((dtype) => WIDENED.includes(dtype))) return false;
  const units = sameType ? a.byteLength : elementCount(a.shape);
  const read = async (entry: TensorEntry, at: number, count: number): Promise<Uint32Array> => {
    const { sourceName, offset, dtype } = entry;
    const size = entry.byteLength / units;
    const bytes = await container.read(container.tensors.get(sourceName)!, offset + at * size, count * size);
    return sameType ? words(bytes) : new Uint32Array(toFloat32(bytes, dtype).buffer);
  };
  for (let at = 0; at < units; at += pieceUnits) {
    const count = Math.min(pieceUnits, units - at);
    const [x, y] = await Promise.all([read(a, at, count), read(b, at, count)]);
    for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  }
  return true;
}

/** Bytes as u32, padded with zeros: four times as fast to compare. */
function words(bytes: Uint8Array): Uint32Array {
  const padded = new Uint32Array(Math.ceil(bytes.byteLength / 4));
  new Uint8Array(padded.buffer).set(bytes);
  return padded;
}
