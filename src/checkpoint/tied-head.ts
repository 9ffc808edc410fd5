import type { ModelParts } from "../model/config.js";
import type { TensorEntry } from "./checkpoint.js";
import type { Container } from "./container.js";
import { HEAD } from "./expected-tensors.js";

const EMBEDDING = "model.language_model.embed_tokens.weight";
const pieceBytes = 4 << 20;

/** A config whose `tiedHead` is what the stored tensors say. */
export interface HeadDecision<Config> {
  readonly config: Config;
  /** Where a config ties the head and the file holds another: what was done, in one sentence. */
  readonly warning?: string;
}

/**
 * Whether the head is the embedding, by the stored bytes: a head of other bytes is used, whatever the config says, as transformers does;
 * a head of the same bytes is the embedding. Without a stored head the config decides.
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
  const tiedHead = await sameBytes(container, head, embedding);
  if (tiedHead === config.llm.tiedHead) return { config };
  const { sourceName } = head;
  const decided = { ...config, llm: { ...config.llm, tiedHead } };
  if (tiedHead) return { config: decided };
  const warning = `${sourceName} differs from the embedding: it is used as the head, though the config says tie_word_embeddings true`;
  return { config: decided, warning };
}

/** Whether two tensors hold the same values of the same type. Reads both up to the first difference. */
async function sameBytes(container: Container, a: TensorEntry, b: TensorEntry): Promise<boolean> {
  const alike = a.dtype === b.dtype && a.byteLength === b.byteLength;
  if (!alike || String(a.shape) !== String(b.shape)) return false;
  for (let at = 0; at < a.byteLength; at += pieceBytes) {
    const length = Math.min(pieceBytes, a.byteLength - at);
    const [x, y] = await Promise.all(
      [a, b].map(async ({ sourceName, offset }) =>
        words(await container.read(container.tensors.get(sourceName)!, offset + at, length)),
      ),
    );
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
