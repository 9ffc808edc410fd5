import type { Budget } from "./budget.js";

/** A decoder's output for a piece of a file. */
interface Piece {
  readonly channelData: readonly Float32Array[];
  readonly sampleRate: number;
  /** Valid samples; the arrays may be longer. */
  readonly samplesDecoded?: number;
  /** One for each frame that could not be decoded, where the decoder reports them. */
  readonly errors?: readonly unknown[];
}

interface Decoder {
  decode(chunk: Uint8Array): Piece | Promise<Piece>;
  flush?(): Piece | Promise<Piece>;
  free(): void;
}

export type Codec = "MP3" | "AAC" | "FLAC" | "Opus" | "Vorbis" | "M4A" | "WebM";

/** The decoder of each codec or container, loaded when first needed. */
const LOADERS: Readonly<Record<Codec, () => Promise<Decoder>>> = {
  MP3: async () => (await import("@audio/decode-mp3")).decoder(),
  AAC: async () => (await import("@audio/decode-aac")).decoder(),
  FLAC: async () => (await import("@audio/decode-flac")).decoder(),
  Opus: async () => (await import("@audio/decode-opus")).decoder(),
  Vorbis: async () => (await import("@audio/decode-vorbis")).decoder(),
  M4A: async () => (await import("@audio/decode-mp4")).decoder(),
  WebM: async () => (await import("@audio/decode-webm")).decoder(),
};

/** The outcome of decoding one stream. */
export interface StreamReport {
  /** Samples of a channel that were decoded. */
  readonly samples: number;
  /** Hz; 0: nothing was decoded. */
  readonly rate: number;
  /** Frames that could not be decoded. */
  readonly errors: number;
  /** Whether the stream is longer than its header says. Decoding stopped there. */
  readonly more: boolean;
}

/**
 * Decodes a stream piece by piece. It keeps no samples, and ends where the budget or the header's
 * claim is passed.
 * @param chunks   the stream's bytes in order, in pieces that decode to a few MB each
 * @param claimed  samples of a channel by the header; 0: unknown
 * @param take     gets each block of samples
 * @throws AudioError  too long; the signal's reason; whatever else the decoder throws
 */
export async function decodeChunks(
  codec: Codec,
  chunks: Iterable<Uint8Array>,
  budget: Budget,
  claimed: number,
  take: (block: Float32Array[], rate: number) => void | Promise<void>,
): Promise<StreamReport> {
  const decoder = await quietly(LOADERS[codec]);
  let [samples, rate, errors] = [0, 0, 0];
  const keep = async (piece: Piece): Promise<void> => {
    errors += piece.errors?.length ?? 0;
    const [first] = piece.channelData;
    if (first === undefined || first.length === 0) return;
    const block = piece.channelData.map((channel) => channel.subarray(0, piece.samplesDecoded));
    rate = piece.sampleRate;
    samples += block[0].length;
    budget.take(block[0].length, block.length, rate);
    await take(block, rate);
  };
  try {
    for (const chunk of chunks) {
      await budget.pause();
      if (budget.stopped) break;
      if (claimed > 0 && samples > claimed + rate) break; // more than codecs add at the ends
      await keep(await quietly(() => decoder.decode(chunk)));
    }
    if (decoder.flush) await keep(await quietly(() => decoder.flush!()));
  } finally {
    decoder.free();
  }
  return { samples, rate, errors, more: claimed > 0 && samples > claimed + rate };
}

/** Runs a decoder without its lines on the console: its result reports the same. */
async function quietly<T>(run: () => T | Promise<T>): Promise<T> {
  const { error, warn } = console;
  const silent = (): void => undefined;
  console.error = console.warn = silent;
  let result: T | Promise<T>;
  try {
    result = run();
  } finally {
    if (console.error === silent) console.error = error;
    if (console.warn === silent) console.warn = warn;
  }
  return result; // what it does later is not silenced: others run then
}

/** Pieces of `size` bytes. */
export function* bySize(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
