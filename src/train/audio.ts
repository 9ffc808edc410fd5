import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { DecodedAudio } from "../frontend/audio.js";
import { cutAudio } from "../frontend/cut.js";
import { decodeAudio } from "../frontend/decode.js";
import { AudioError } from "../frontend/errors.js";
import { toWaveform } from "../frontend/features.js";

/** Bytes that an audio file may have: 1 GiB, nine hours of 16-bit mono at 16 kHz. */
const maxBytes = 2 ** 30;

/** A piece of an audio file. */
export interface AudioPiece {
  readonly audio: string;
  /** Seconds; absent: from the beginning, to the end. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  /** Counted from 1; absent: the mean of all. */
  readonly channel?: number | undefined;
}

interface ReadFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: Uint8Array;
  audio?: DecodedAudio;
}

/** Reads audio files, each once as long as the pieces that are asked for follow one another in one file. */
export class AudioReader {
  #last: ReadFile | undefined;

  /** @param rate  Hz that waveforms have */
  constructor(private readonly rate: number) {}

  /** SHA-256 of the whole file, in hex. @throws AudioError  it is no file, or too large */
  async sha256(path: string): Promise<string> {
    return (await this.#read(path)).sha256;
  }

  /** [first, one past the last] sample of the piece, and its channel where it has one; undefined for a whole file. */
  segment({ start, end, channel }: AudioPiece): readonly number[] | undefined {
    if (start === undefined && end === undefined && channel === undefined) return undefined;
    const last = end === undefined ? -1 : Math.round(end * this.rate);
    const span = [Math.round((start ?? 0) * this.rate), last];
    return channel === undefined ? span : [...span, channel];
  }

  /** Mono samples of the piece, which is cut before it is resampled. @throws AudioError  the file cannot be decoded, the piece passes its end */
  async waveform(piece: AudioPiece): Promise<Float32Array> {
    const file = await this.#read(piece.audio);
    file.audio ??= await decodeAudio(file.bytes, file.path);
    return toWaveform(cutAudio(file.audio, piece, file.path), this.rate, file.path);
  }

  async #read(path: string): Promise<ReadFile> {
    if (this.#last?.path === path) return this.#last;
    const found = await stat(path);
    if (!found.isFile()) throw new AudioError(path, "type", "a file", "something else");
    if (found.size > maxBytes) {
      const advice = "cut the file into parts";
      throw new AudioError(path, "file size", `at most ${maxBytes} bytes`, found.size, { advice });
    }
    const bytes = await readFile(path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return (this.#last = { path, sha256, bytes });
  }
}
