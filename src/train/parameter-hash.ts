import { type Hash, createHash } from "node:crypto";
import type { ParameterEntry, ParameterSource } from "../weights/loader.js";
import { TrainError } from "./errors.js";

/**
 * A source that hashes all bytes read through it while a model is loaded, so that the digest of all
 * its bits needs no second pass over the files. A tensor's pieces may come in any cuts and any
 * order: the digest is the same.
 */
export class HashedSource implements ParameterSource {
  readonly #tensors = new Map<string, TensorHash>();

  /** @param known  tensors that another digest covers: they are not hashed again */
  constructor(
    private readonly source: ParameterSource,
    private readonly known: (name: string) => boolean = () => false,
  ) {}

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
    if (this.known(entry.name)) return bytes;
    let hash = this.#tensors.get(entry.name);
    if (!hash) this.#tensors.set(entry.name, (hash = new TensorHash(entry)));
    hash.add(byteOffset, bytes);
    return bytes;
  }

  /**
   * SHA-256, in hex, over names, types, shapes and bytes of all tensors that were read.
   * @throws TrainError  one was read in part
   */
  digest(): string {
    const hash = createHash("sha256");
    for (const [, tensor] of [...this.#tensors].sort(([a], [b]) => (a < b ? -1 : 1)))
      hash.update(`${tensor.digest()}\n`);
    return hash.digest("hex");
  }
}

/**
 * SHA-256 of a tensor's bytes in order. Pieces that come early wait; parallel readers are few
 * pieces apart.
 */
class TensorHash {
  readonly #hash: Hash = createHash("sha256");
  readonly #early = new Map<number, Uint8Array>();
  #done = 0;

  constructor(private readonly entry: ParameterEntry) {}

  add(offset: number, bytes: Uint8Array): void {
    if (offset > this.#done) {
      const before = this.#early.get(offset);
      if (!before || before.length < bytes.length) this.#early.set(offset, bytes.slice()); // the reader's buffer is used again
      return;
    }
    this.#take(offset, bytes);
    for (let found = this.#next(); found !== undefined; found = this.#next()) {
      const piece = this.#early.get(found)!;
      this.#early.delete(found);
      this.#take(found, piece);
    }
  }

  /** Offset of a piece that waits no longer. */
  #next(): number | undefined {
    for (const offset of this.#early.keys()) if (offset <= this.#done) return offset;
    return undefined;
  }

  /** Hashes the new bytes of a piece that leaves no gap. */
  #take(offset: number, bytes: Uint8Array): void {
    const fresh = bytes.subarray(this.#done - offset);
    this.#hash.update(fresh);
    this.#done += fresh.length;
  }

  digest(): string {
    const { name, dtype, shape, byteLength } = this.entry;
    if (this.#done !== byteLength)
      throw new TrainError(`${name}: expected all its ${byteLength} bytes to be read, got ${this.#done}`);
    return JSON.stringify([name, dtype, shape, this.#hash.copy().digest("hex")]);
  }
}
