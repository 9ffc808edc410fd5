import type { Checkpoint } from "../checkpoint.js";
import { PIECE_BYTES } from "../output-files.js";

/** SHA-256, fed piece by piece. Node's createHash("sha256") is one; the browser's own digest takes no pieces. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

const ENCODER = "model.audio_tower.";

/** Whether a tensor, by its canonical name, is the encoder's: what encoderSha256 covers. */
export function isOfEncoder(name: string): boolean {
  return name.startsWith(ENCODER);
}

/**
 * What identifies an encoder: SHA-256, in hex, over its tensors in the order of their canonical names, each as a line
 * "NAME DTYPE [SHAPE]\n" in UTF-8 and then its bytes. The same in every layout and sharding that keeps the dtypes.
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

/** What is wrong where the encoder is not the one that the adaptor was made for; undefined where it is, or the files do not say. */
export async function encoderMismatch(checkpoint: Checkpoint, hash: Sha256): Promise<string | undefined> {
  if (checkpoint.config.encoderSha256 === undefined) return undefined;
  return otherEncoder(checkpoint, await encoderSha256(checkpoint, hash));
}

/** As encoderMismatch. @param got  the encoder's SHA-256, already computed */
export function otherEncoder(
  { config, configFile }: Pick<Checkpoint, "config" | "configFile">,
  got: string,
): string | undefined {
  const expected = config.encoderSha256;
  if (expected === undefined || got === expected) return undefined;
  return `${configFile}: encoder_sha256: the adaptor was made for encoder ${expected.slice(0, 12)}, this one is ${got.slice(0, 12)}; take the encoder it was made for, or migrate and train again`;
}
