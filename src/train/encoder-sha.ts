import type { Checkpoint } from "../checkpoint/checkpoint.js";

const prefix = "model.audio_tower.";
const pieceBytes = 4 << 20;

/** SHA-256, fed piece by piece. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(encoding: "hex"): string;
}

/** SHA-256, in hex, over an encoder's tensors in the order of their names: "NAME DTYPE [SHAPE]\n", then the bytes. */
export async function encoderSha256(
  checkpoint: Pick<Checkpoint, "tensors" | "read">,
  hash: Sha256,
): Promise<string> {
  const names = [...checkpoint.tensors.keys()].filter((name) => name.startsWith(prefix)).sort();
  for (const name of names) {
    const entry = checkpoint.tensors.get(name)!;
    hash.update(new TextEncoder().encode(`${name} ${entry.dtype} [${entry.shape.join(", ")}]\n`));
    for (let at = 0; at < entry.byteLength; at += pieceBytes)
      hash.update(await checkpoint.read(entry, at, Math.min(pieceBytes, entry.byteLength - at)));
  }
  return hash.digest("hex");
}
