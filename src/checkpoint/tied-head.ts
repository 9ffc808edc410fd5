import type { ModelParts } from "../config/model-config.js";
import type { TensorEntry } from "./checkpoint.js";
import type { Container } from "../formats/container.js";
import { toFloat32 } from "../formats/dtypes.js";
import { HEAD } from "../config/expected-tensors.js";
import { elementCount } from "../shape.js";

const EMBEDDING = "model.language_model.embed_tokens.weight";
const pieceUnits = 4 << 20; // bytes of tensors of one type, elements of two
/** Types whose values f32 holds. */
const WIDENED: readonly string[] = ["F32", "F16", "BF16"];

/** A config whose `tiedHead` is what the stored tensors say. */
export interface HeadDecision<Config> {
  readonly config: Config;
  /** Where a config ties the head and the file holds another: what was done, in one sentence. */
  readonly warning?: string;
}

/**
 * Whether the head is the embedding, by the stored values: a head of other values is used, whatever the config says, as transformers does;
 * a head of the same values, of whatever float type, is the embedding. Without a stored head the config decides.
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

/** Whether two tensors hold the same values: equal bytes, or floats of two types that widen to the same f32. Reads up to the first difference. */
async function sameValues(container: Container, a: TensorEntry, b: TensorEntry): Promise<boolean> {
  if (String(a.shape) !== String(b.shape)) return false;
  const alike = a.dtype === b.dtype;
  if (!alike && ![a.dtype, b.dtype].every((dtype) => WIDENED.includes(dtype))) return false;
  const units = alike ? a.byteLength : elementCount(a.shape);
  const read = async (entry: TensorEntry, at: number, count: number): Promise<Uint32Array> => {
    const { sourceName, offset, dtype } = entry;
    const size = entry.byteLength / units;
    const bytes = await container.read(container.tensors.get(sourceName)!, offset + at * size, count * size);
    return alike ? words(bytes) : new Uint32Array(toFloat32(bytes, dtype).buffer);
  };
  for (let at = 0; at < units; at += pieceUnits) {
    const count = Math.min(pieceUnits, units - at);
    const [x, y] = await Promise.all([read(a, at, count), read(b, at, count)]);
    for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  }
  return true;
}

/** Bytes by fours, four times as fast to compare; the last one filled up with zeros. */
function words(bytes: Uint8Array): Uint32Array {
  const padded = new Uint32Array(Math.ceil(bytes.byteLength / 4));
  new Uint8Array(padded.buffer).set(bytes);
  return padded;
}
