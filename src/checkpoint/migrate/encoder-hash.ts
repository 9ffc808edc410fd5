import type { Checkpoint } from "../checkpoint.js";
import { PIECE_BYTES } from "../output-files.js";

/** An incremental SHA-256: Node's createHash("sha256"). Browsers do not have one. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

const ENCODER = "model.audio_tower.";

/** True for the canonical names of the encoder's tensors, which encoderSha256 hashes. */
export function isOfEncoder(name: string): boolean {
  return name.startsWith(ENCODER);
}

/**
 * Identifies an encoder: SHA-256, in hex, over its tensors in the order of their canonical names.
 * Each tensor is a line "NAME DTYPE [SHAPE]\n" in UTF-8 and its bytes. Layout and sharding do not
 * change it.
 */
export async function encoderSha256(
  checkpoint: Pick<Checkpoint, "tensors" | "read">,
  hash: Sha256,
  signal?: AbortSignal,
): Promise<string> {
  const names = [...checkpoint.tensors.keys()].filter(isOfEncoder).sort();
  const utf8 = new TextEncoder();
  for (const name of names) {
    const entry = checkpoint.tensors.get(name)!;
    hash.update(utf8.encode(`${name} ${entry.dtype} [${entry.shape.join(", ")}]\n`));
    for (let at = 0; at < entry.byteLength; at += PIECE_BYTES) {
      signal?.throwIfAborted();
      hash.update(await checkpoint.read(entry, at, Math.min(PIECE_BYTES, entry.byteLength - at)));
    }
  }
  return hash.digest("hex");
}

/** A message if the adaptor was made for another encoder, by the hash in the files. */
export async function encoderMismatch(checkpoint: Checkpoint, hash: Sha256): Promise<string | undefined> {
  if (checkpoint.config.encoderSha256 === undefined) return undefined;
  return otherEncoder(checkpoint, await encoderSha256(checkpoint, hash));
}

/** As encoderMismatch. @param got  the encoder's SHA-256 */
export function otherEncoder(
  { config, configFile }: Pick<Checkpoint, "config" | "configFile">,
  got: string,
): string | undefined {
  const expected = config.encoderSha256;
  if (expected === undefined || got === expected) return undefined;
  return `${configFile}: encoder_sha256: the adaptor was made for encoder ${expected.slice(0, 12)}, this one is ${got.slice(0, 12)}; take the encoder it was made for, or migrate and train again`;
}
