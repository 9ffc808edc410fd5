import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { type SafetensorsFile, openSafetensors, readTensor } from "../checkpoint/safetensors/safetensors.js";
import type { ByteSource } from "../checkpoint/source.js";
import { errorCode } from "../errors.js";
import { openFile, writeSafetensorsFile } from "../node/files.js";
import { makeDirectory } from "../node/make-directory.js";
import type { AudioFaults } from "./audio.js";

/** Rows of one clip: encoder states, or the front-end's features where the encoder is trained. */
export interface ClipRows {
  readonly frames: number;
  /** [frames, width] f32 */
  readonly data: Float32Array;
}

/** The header of an entry. */
export interface CachedClip extends AudioFaults {
  readonly frames: number;
}

/** Everything that an entry's rows depend on: a change of any part changes the key. */
export interface CacheKeyParts {
  /**
   * SHA-256 of the encoder and the storage of its weights on the GPU, which rounds them; "" for
   * features.
   */
  readonly encoder: string;
  /** SHA-256 of the audio file. */
  readonly audio: string;
  /**
   * Samples of the segment at the front-end's rate, [first, one past the last], then its channel
   * where it has one; absent: the whole file.
   */
  readonly segment?: readonly number[] | undefined;
  /** The front-end's configuration. */
  readonly frontend: object;
}

/** Name of an entry: SHA-256, in hex. */
export function cacheKey({ encoder, audio, segment, frontend }: CacheKeyParts): string {
  const text = JSON.stringify([encoder, audio, segment ?? [], Object.entries(frontend).sort()]);
  return createHash("sha256").update(text).digest("hex");
}

const tensorName = "rows";

/** Rows of clips on disk, a safetensors file each with the SHA-256 of its data. */
export class FeatureCache {
  /** Keys of entries that were found damaged. */
  readonly damaged = new Set<string>();

  /** @param width  columns of every entry */
  constructor(
    readonly directory: string,
    private readonly width: number,
  ) {}

  path(key: string): string {
    return join(this.directory, key.slice(0, 2), `${key.slice(2)}.safetensors`);
  }

  /** An entry's header; undefined where it is missing or damaged. */
  async head(key: string): Promise<CachedClip | undefined> {
    return this.#open(key, ({ metadata }, frames) =>
      Promise.resolve({ frames, damage: metadata.get("damage"), warning: metadata.get("warning") }),
    );
  }

  /** An entry whose data has its checksum; undefined where it is missing or damaged. */
  async read(key: string): Promise<ClipRows | undefined> {
    return this.#open(key, async (file, frames) => {
      const bytes = (await readTensor(file, tensorName)).slice();
      const whole = checksum(bytes) === file.metadata.get("sha256");
      return whole ? { frames, data: new Float32Array(bytes.buffer) } : undefined;
    });
  }

  /**
   * Written beside and renamed: a reader never sees half an entry.
   * @param faults  of the audio; they stay in the header
   */
  async write(key: string, { frames, data }: ClipRows, { damage, warning }: AudioFaults = {}): Promise<void> {
    const path = this.path(key);
    await makeDirectory(dirname(path), path);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const tensor = { name: tensorName, dtype: "F32", shape: [frames, this.width], data: bytes } as const;
    const metadata = new Map([["sha256", checksum(bytes)]]);
    if (damage !== undefined) metadata.set("damage", damage);
    if (warning !== undefined) metadata.set("warning", warning);
    await writeSafetensorsFile(path, [tensor], metadata);
  }

  async #open<T>(
    key: string,
    use: (file: SafetensorsFile, frames: number) => Promise<T>,
  ): Promise<T | undefined> {
    let source: ByteSource | undefined;
    try {
      source = await openFile(this.path(key));
      const file = await openSafetensors(source);
      const { dtype, shape = [] } = file.tensors.get(tensorName) ?? {};
      const whole = dtype === "F32" && shape.length === 2 && shape[0] > 0 && shape[1] === this.width;
      const found = whole ? await use(file, shape[0]) : undefined;
      if (found === undefined) this.damaged.add(key);
      return found;
    } catch (error) {
      if (errorCode(error) !== "ENOENT") this.damaged.add(key);
      return undefined;
    } finally {
      await source?.close();
    }
  }
}

function checksum(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
