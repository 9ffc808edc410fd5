import type { Checkpoint, TensorEntry } from "../checkpoint.js";

/** Bytes of each weight that are hashed. */
const SAMPLE = 4096;

/**
 * Identifies the weights that a LoRA was trained on: their types, and a SHA-256 over the weights in
 * the order of their canonical names. Each weight is a line "NAME [SHAPE]\n" in UTF-8 and its first
 * 4,096 bytes.
 * @returns  "BF16,F32 HEX", or undefined if this browser has no digest
 */
export async function baseSha256(
  checkpoint: Pick<Checkpoint, "read">,
  weights: readonly TensorEntry[],
): Promise<string | undefined> {
  const { subtle } = globalThis.crypto ?? {};
  if (subtle === undefined) return undefined;
  const ordered = [...weights].sort((a, b) => (a.name < b.name ? -1 : 1));
  const utf8 = new TextEncoder();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const entry of ordered) {
    parts.push(utf8.encode(`${entry.name} [${entry.shape.join(", ")}]\n`));
    parts.push((await checkpoint.read(entry, 0, Math.min(SAMPLE, entry.byteLength))).slice());
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
  const types = [...new Set(ordered.map(({ dtype }) => dtype))].sort().join();
  return `${types} ${[...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
