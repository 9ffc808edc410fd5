import { concatenated, type DecodedAudio, toMono } from "./audio.js";
import type { Budget } from "./budget.js";
import { type Codec, decodeChunks, type StreamReport } from "./decoders.js";
import { type Heard, Hearing, type StreamKind, isTap } from "./hearing.js";
import { resample } from "./resample.js";

/** A stream of a file. */
export interface Stream {
  readonly codec: Codec;
  /** Its bytes in order, in pieces that decode to a few MB each. */
  readonly chunks: Iterable<Uint8Array>;
  /** Samples of a channel by its header; 0: unknown. */
  readonly claimed?: number;
  /** Bits of FLAC's integers. */
  readonly bits?: number;
  /** Rate and channels by its header. A rate of 0: unknown. */
  readonly kind?: StreamKind;
}

/** The joined streams of a file, and a report of each. */
export interface DecodedStreams {
  readonly audio: Heard;
  readonly reports: readonly StreamReport[];
}

/**
 * Decodes streams and joins them at their highest rate, as mono where their channel counts differ.
 * Two equal channels become one where the headers say mono: some decoders double it.
 * @throws AudioError  as `decodeChunks`
 */
export async function decodeStreams(streams: readonly Stream[], budget: Budget): Promise<DecodedStreams> {
  const once = streams.every(({ kind }) => kind?.channels === 1);
  const kinds = streams.map(({ kind }) => kind ?? { rate: 0, channels: 0 });
  const hearing = budget.kept && new Hearing(budget.name, budget.kept, kinds);
  const collected: Part[] = [];
  const reports: StreamReport[] = [];
  for (const { codec, chunks, claimed = 0, bits } of streams) {
    const parts: Part[] = [];
    const report = await decodeChunks(codec, chunks, budget, claimed, async (block, rate) => {
      if (bits !== undefined) restoreIntegers(block, bits);
      if (hearing) hearing.push(block, rate);
      else collect(parts, block, rate);
      if (!hearing || !isTap(budget.kept)) return;
      await budget.kept.sink(hearing.take());
      budget.stopped ||= budget.kept.probe === true && hearing.channelCount === 1;
    });
    hearing?.endStream();
    collected.push(...parts);
    reports.push(report);
  }
  const audio = hearing ? hearing.finish(once) : joinParts(collected.map((part) => joined(part, once)));
  return { audio, reports };
}

/** Blocks of one rate and channel count. */
interface Part {
  readonly blocks: Float32Array[][];
  readonly rate: number;
}

function collect(parts: Part[], block: Float32Array[], rate: number): void {
  const last = parts.at(-1);
  if (last?.rate === rate && last.blocks[0].length === block.length) last.blocks.push(block);
  else parts.push({ blocks: [block], rate });
}

function joined({ blocks, rate }: Part, once: boolean): DecodedAudio {
  const channels = blocks[0].map((_, c) => concatenated(blocks.map((block) => block[c])));
  const same = once && channels.length === 2 && equal(channels[0], channels[1]);
  return { channels: same ? [channels[0]] : channels, sampleRate: rate };
}

function joinParts(parts: readonly DecodedAudio[]): DecodedAudio {
  if (parts.length === 0) return { channels: [], sampleRate: 0 };
  if (parts.length === 1) return parts[0];
  const sampleRate = Math.max(...parts.map((part) => part.sampleRate));
  const alike = parts.every(({ channels }) => channels.length === parts[0].channels.length);
  const ready = parts.map((part) =>
    (alike ? part.channels : [toMono(part.channels)]).map((c) => resample(c, part.sampleRate, sampleRate)),
  );
  return { channels: ready[0].map((_, c) => concatenated(ready.map((part) => part[c]))), sampleRate };
}

/**
 * Scales FLAC's samples in place: the package divides integers by 2^(bits-1) - 1, the other
 * readers, soundfile and torchaudio by 2^(bits-1).
 */
function restoreIntegers(channels: readonly Float32Array[], bits: number): void {
  const scale = 2 ** (bits - 1);
  for (const samples of channels)
    for (let i = 0; i < samples.length; i++) samples[i] = Math.round(samples[i] * (scale - 1)) / scale;
}

function equal(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((sample, i) => sample === b[i]);
}
