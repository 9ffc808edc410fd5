import { Budget, maxSamples, samplesPerByte } from "./budget.js";
import { contentOf } from "./content.js";
import { type DecodeOptions, decodeWithin, expectWhole, headBytes } from "./decode.js";
import type { Heard, Sink, Tap } from "./hearing.js";
import { streamPcm, withoutNext } from "./pcm.js";
import { isWav, wavRegion } from "./wav.js";
import { hasMark } from "./tags.js";

/** A file that is read in parts. */
export interface FileParts {
  /** Bytes. */
  readonly size: number;
  /** Bytes from `at` on, fewer at the end. */
  readonly read: (at: number, length: number) => Promise<Uint8Array>;
}

/** What a stream gives, and what it refuses. */
export interface StreamOptions extends Pick<DecodeOptions, "maxSeconds" | "strict" | "signal"> {
  /** Hz */
  readonly rate: number;
  /** Counted from 1; absent: the mean, or the loudest channel where they cancel. */
  readonly channel?: number | undefined;
  /**
   * Called before the samples with the file's length, seconds: by its header, if `declared`, else as
   * far as is known.
   */
  readonly onLength?: (seconds: number, declared: boolean) => void;
}

/** What a stream was, when it has ended. */
export interface Streamed {
  readonly seconds: number;
  /** Channels of the file. */
  readonly channelCount: number;
  readonly damage?: string;
  /** Why the channel is not the mean of the file's channels. */
  readonly warning?: string;
}

/**
 * Decodes a file of any length to one channel at one rate, block by block: the bits that decodeAudio
 * keeps. WAV takes the memory of a block; MP3, FLAC, Ogg, M4A, AAC and WebM that of the file's bytes;
 * other formats, and WAV with 24 bits in 4 bytes, that of their samples. A file of several channels
 * is decoded twice unless `channel` is given: channels that cancel are known at its end. So is every
 * file with `strict`: damage is known before the sink gets samples.
 * @param sink  gets the samples; the decoding waits for its promise
 * @throws AudioError  as decodeAudio; more than 2^29 samples and than 128 for each byte of the file;
 *                     with `strict` a file that is cut short or damaged
 */
export async function streamAudio(
  file: FileParts,
  name: string,
  options: StreamOptions,
  sink: Sink,
): Promise<Streamed> {
  const { rate, maxSeconds, signal, strict, onLength } = options;
  signal?.throwIfAborted();
  let { channel } = options;
  let warning: string | undefined;
  const source = await openSource(file, name);
  const mostSamples = Math.max(maxSamples, samplesPerByte * file.size);
  let begun = false;
  const run = async (tap: Omit<Tap, "mostSamples">): Promise<Heard> => {
    let failure: { readonly cause: unknown } | undefined;
    const first: Sink = async (block) => {
      try {
        if (!begun) onLength?.(budget.claimed, budget.declared);
        begun = true;
        await tap.sink(block);
      } catch (cause) {
        failure = { cause };
        throw cause;
      }
    };
    const budget: Budget = new Budget(name, maxSeconds, signal, { ...tap, sink: first, mostSamples });
    try {
      return await source(budget);
    } catch (cause) {
      throw failure ? failure.cause : cause; // the sink's error is none of the file's
    }
  };
  if (channel === undefined || strict) {
    const probed = await run({ rate, channel, sink: () => undefined, probe: !strict });
    if (strict) expectWhole(probed, name);
    channel ??= probed.instead;
    ({ warning } = probed);
  }
  const heard = await run({ rate, channel, sink });
  if (!begun) onLength?.(heard.seconds!, true);
  for (const tail of heard.channels) await sink(tail);
  if (strict) expectWhole(heard, name);
  return {
    seconds: heard.seconds!,
    channelCount: heard.channelCount!,
    ...(heard.damage !== undefined && { damage: heard.damage }),
    ...(warning !== undefined && { warning }),
  };
}

type Source = (budget: Budget) => Promise<Heard>;

async function openSource(file: FileParts, name: string): Promise<Source> {
  const head = await file.read(0, headBytes);
  const { bytes, container } = contentOf(head);
  const skipped = head.length - bytes.length; // tags in front
  const region = container === "WAV" && wavRegion(bytes, file.size - skipped, name);
  if (!region) {
    const whole = await file.read(0, file.size);
    return (budget) => decodeWithin(whole, budget);
  }
  const moved = { ...region, start: region.start + skipped };
  const behind = await file.read(moved.start + moved.length, 12);
  const follows = isWav(behind) && hasMark(behind, 8, "WAVE");
  return async (budget) => withoutNext(await streamPcm(moved, file.read, budget), follows);
}
