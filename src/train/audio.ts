import { createHash } from "node:crypto";
import type { DecodedAudio } from "../frontend/audio.js";
import { cutAudio } from "../frontend/cut.js";
import { checkHead, decodeAudio } from "../frontend/decode.js";
import { mixWaveform } from "../frontend/features.js";
import { maxClipBytes, readClip } from "../node/clip.js";

/** A piece of an audio file. */
export interface AudioPiece {
  readonly audio: string;
  /** Seconds; absent: from the beginning, to the end. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  /** Counted from 1; absent: the mean of all. */
  readonly channel?: number | undefined;
}

/** Faults of an audio file that is used, as decodeAudio reports them. */
export type AudioFaults = Pick<DecodedAudio, "damage" | "warning">;

/** Of a piece. */
export interface Waveform extends AudioFaults {
  /** [n] f32, mono */
  readonly samples: Float32Array;
}

interface ReadFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: Uint8Array;
  audio?: DecodedAudio;
}

/** Reads audio files. Pieces that follow one another in one file read it once. */
export class AudioReader {
  #last: ReadFile | undefined;

  /** @param rate  Hz that waveforms have */
  constructor(private readonly rate: number) {}

  /**
   * SHA-256 of the whole file, in hex.
   * @param maxSeconds  what a whole file may last
   * @throws AudioError  it is no file, no audio or too large, or its first bytes say that it is
   *                     longer
   */
  async sha256(piece: AudioPiece, maxSeconds?: number): Promise<string> {
    return (await this.#read(piece, maxSeconds)).sha256;
  }

  /**
   * [first, one past the last] sample of the piece, and its channel where it has one; undefined for
   * a whole file.
   */
  segment({ start, end, channel }: AudioPiece): readonly number[] | undefined {
    if (start === undefined && end === undefined && channel === undefined) return undefined;
    const last = end === undefined ? -1 : Math.round(end * this.rate);
    const span = [Math.round((start ?? 0) * this.rate), last];
    return channel === undefined ? span : [...span, channel];
  }

  /**
   * Mono samples of the piece, which is cut before it is resampled.
   * @param maxSeconds  what a whole file may last
   * @throws AudioError  the file cannot be decoded or is longer, the piece passes its end
   */
  async waveform(piece: AudioPiece, maxSeconds?: number): Promise<Waveform> {
    const file = await this.#read(piece, maxSeconds);
    const { bytes, path } = file;
    const bound = { maxSeconds: isCut(piece) ? undefined : maxSeconds };
    if (this.segment(piece) === undefined) {
      const { channels, damage, warning } = await decodeAudio(bytes, path, {
        ...bound,
        keep: { rate: this.rate },
      });
      return { samples: channels[0], damage, warning };
    }
    file.audio ??= await decodeAudio(bytes, path, bound);
    const { damage } = file.audio;
    return { damage, ...mixWaveform(cutAudio(file.audio, piece, path), this.rate, path) };
  }

  async #read(piece: AudioPiece, maxSeconds: number | undefined): Promise<ReadFile> {
    const path = piece.audio;
    if (this.#last?.path === path) return this.#last;
    const bound = { maxSeconds: isCut(piece) ? undefined : maxSeconds };
    const bytes = await readClip(path, maxClipBytes, (head, size) => checkHead(head, size, path, bound));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return (this.#last = { path, sha256, bytes });
  }
}

function isCut({ start, end }: AudioPiece): boolean {
  return start !== undefined || end !== undefined;
}
