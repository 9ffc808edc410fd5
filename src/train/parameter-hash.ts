import { createHash } from "node:crypto";
import type { ParameterEntry, ParameterSource } from "../model/parameters.js";

/**
 * A source that hashes what passes through it: SHA-256 of every piece while a model is loaded, so that telling two models
 * apart by all their bits costs no second pass over the files.
 */
export class HashedSource implements ParameterSource {
  readonly #pieces = new Map<string, string>();

  constructor(private readonly source: ParameterSource) {}

  get name(): string {
    return this.source.name;
  }

  get tensors(): ReadonlyMap<string, ParameterEntry> {
    return this.source.tensors;
  }

  async read(
    entry: ParameterEntry,
    byteOffset: number,
    byteLength: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array> {
    const bytes = await this.source.read(entry, byteOffset, byteLength, into);
    const { name, dtype, shape } = entry;
    const piece = JSON.stringify([name, dtype, shape, byteOffset, byteLength]);
    this.#pieces.set(piece, createHash("sha256").update(bytes).digest("hex"));
    return bytes;
  }

  /** SHA-256, in hex, over names, types, shapes and bytes of all that was read: the order of the reads does not matter, their cuts do. */
  digest(): string {
    const hash = createHash("sha256");
    for (const [piece, sha256] of [...this.#pieces].sort(([a], [b]) => (a < b ? -1 : 1)))
      hash.update(`${piece} ${sha256}\n`);
    return hash.digest("hex");
  }
}
