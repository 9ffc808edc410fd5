import { parseAiff } from "./aiff.js";
import { parseAu } from "./au.js";
import { checkFinite, checkSampleRate, type DecodedAudio } from "./audio.js";
import { Budget } from "./budget.js";
import { contentOf } from "./content.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import { isLfsPointer, notRead, SUPPORTED, unreadFormat } from "./formats.js";
import type { Heard, Kept } from "./hearing.js";
import { type AudioInput, bytesOf } from "./input.js";
import { READERS } from "./readers.js";
import { parseWav, wavSeconds } from "./wav.js";
import { parseWave64 } from "./wave64.js";

export interface DecodeOptions {
  /**
   * Refuses a file that lost audio. Default: it is decoded as far as it goes, with `damage` set.
   */
  readonly strict?: boolean | undefined;
  /** Refuses a longer clip, by its header or while it is decoded. Default: any length. */
  readonly maxSeconds?: number | undefined;
  /** Ends the decoding; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** What is kept; nothing else takes memory. Default: all channels at the file's rate. */
  readonly keep?: Kept | undefined;
}

/**
 * Samples of an audio file of any supported container. The packages `@audio/decode-*` read the
 * compressed ones.
 * @param file  the whole file
 * @param name  its name, for errors
 * @throws ArgumentError  `file` is a path or another value that holds no bytes
 * @throws AudioError  unknown container; longer than `maxSeconds`; more than 2^29 samples; lost
 *                     audio with `strict`; no samples; NaN or infinite samples; a rate outside
 *                     4,000..768,000 Hz
 */
export async function decodeAudio(
  file: AudioInput,
  name: string,
  options: DecodeOptions = {},
): Promise<DecodedAudio> {
  const { maxSeconds, signal, keep } = options;
  signal?.throwIfAborted();
  const bytes = await bytesOf(file);
  const decode = async (kept?: Kept): Promise<Heard> =>
    decodeWithin(bytes, new Budget(name, maxSeconds, signal, kept));
  const { instead, warning, ...whole } = await decode(keep);
  const audio =
    keep === undefined || instead === undefined
      ? whole
      : { ...(await decode({ ...keep, channel: instead })), ...(warning !== undefined && { warning }) };
  if (options.strict) expectWhole(audio, name);
  return audio;
}

/** @throws AudioError  the file lost audio */
export function expectWhole({ damage }: Pick<DecodedAudio, "damage">, name: string): void {
  if (damage !== undefined)
    throw new AudioError(name, "audio", "a whole file (--strict)", damage, fetchAgain);
}

/** First bytes of a file that `checkHead` needs. */
export const headBytes = 65_536;

/**
 * Refuses a file by its first bytes, before it is read whole.
 * @param head  its first `headBytes`
 * @param size  bytes of the whole file
 * @throws AudioError  an unknown container, a WAV longer than `maxSeconds`
 */
export function checkHead(
  head: Uint8Array,
  size: number,
  name: string,
  { maxSeconds }: Pick<DecodeOptions, "maxSeconds">,
): void {
  const { bytes, container } = contentOf(head);
  if (container === undefined) throw notAudio(bytes, name);
  if (container !== "WAV") return;
  const rest = size - head.length + bytes.length;
  new Budget(name, maxSeconds).lasts(wavSeconds(bytes, rest, name) ?? 0);
}

function notAudio(bytes: Uint8Array, name: string): AudioError {
  if (isLfsPointer(bytes)) {
    const advice = "run `git lfs pull` in that directory";
    return new AudioError(name, "content", "the file itself", "a Git LFS pointer", { advice });
  }
  const format = unreadFormat(bytes);
  if (format !== undefined) return notRead(name, format);
  return new AudioError(name, "container", SUPPORTED, firstBytes(bytes), convertIt);
}

/**
 * Decodes a whole file within a budget, which says what is kept of it.
 * @throws AudioError  as decodeAudio; the budget's signal's reason
 */
export async function decodeWithin(file: Uint8Array, budget: Budget): Promise<Heard> {
  const { name } = budget;
  if (file.length === 0) throw new AudioError(name, "file size", "more than 0 bytes", 0, fetchAgain);
  const { bytes, container } = contentOf(file);
  if (container === undefined) throw notAudio(bytes, name);
  if (container === "WAV") return parseWav(bytes, name, budget);
  if (container === "AIFF") return parseAiff(bytes, name, budget);
  if (container === "Wave64") return parseWave64(bytes, name, budget);
  if (container === "AU") return parseAu(bytes, name, budget);
  try {
    const audio = await READERS[container](bytes, budget);
    if ((audio.seconds ?? audio.channels[0]?.length ?? 0) === 0) {
      const expected = "decodable audio (is the file damaged?)";
      throw new AudioError(name, `${container} data`, expected, "no samples", fetchAgain);
    }
    checkSampleRate(name, "sample rate", audio.sampleRate);
    checkFinite(name, audio.channels);
    return audio;
  } catch (cause) {
    if (cause instanceof AudioError || budget.aborted) throw cause;
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
    throw new AudioError(name, `${container} data`, "decodable audio", `"${reason}"`, {
      cause,
      ...convertIt,
    });
  }
}

function firstBytes(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"));
  return `a file that begins with ${hex.join(" ")}`;
}
