import { concatenated, type DecodedAudio, toMono } from "./audio.js";
import type { Budget } from "./budget.js";
import { type Codec, decodeChunks, type StreamReport } from "./decoders.js";
import { type Heard, Hearing, type StreamKind } from "./hearing.js";
import { resample } from "./resample.js";

/** A stream of a file. */
export interface Stream {
  readonly codec: Codec;
  /** Its bytes in order, in pieces that decode to a few MB each. */
  readonly chunks: Iterable<Uint8Array>;
  /** Samples of a channel by its header; 0: unknown. */
  readonly claimed?: number;
  /** Of FLAC: of its integers. */
  readonly bits?: number;
  /** By its header: of streams that make a chain, and of those whose decoder makes two channels of one. A rate of 0: unknown. */
  readonly kind?: StreamKind;
}

/** What the streams of a file gave together. */
export interface DecodedStreams {
  readonly audio: Heard;
  readonly reports: readonly StreamReport[];
}

/**
 * Decodes streams one after another: at the highest of their rates, and as mono where their channel counts differ.
 * Two equal channels are one where the headers say one, as decoders make two of a mono stream.
 * @throws AudioError  as `decodeChunks`
 */
export async function decodeStreams(streams: readonly Stream[], budget: Budget): Promise<DecodedStreams> {
  const once = streams.every(({ kind }) => kind?.channels === 1);
  const kinds = streams.map(({ kind }) => kind ?? { rate: 0, channels: 0 });
  const hearing = budget.kept && new Hearing(budget.name, budget.kept, kinds);
  const collected: Part[] = [];
  const reports: StreamReport[] = [];
  for (const { codec, chunks, claimed = 0, bits } of streams) {
    const own: Part[] = [];
    const report = await decodeChunks(codec, chunks, budget, claimed, (block, rate) => {
      if (bits !== undefined) restoreIntegers(block, bits);
      if (hearing) hearing.push(block, rate);
      else collect(own, block, rate);
    });
    hearing?.endStream();
    collected.push(...own);
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

/** In place: the package divides FLAC's integers by 2^(bits-1) - 1, every other path here by 2^(bits-1), as soundfile and torchaudio do. */
function restoreIntegers(channels: readonly Float32Array[], bits: number): void {
  const scale = 2 ** (bits - 1);
  for (const samples of channels)
    for (let i = 0; i < samples.length; i++) samples[i] = Math.round(samples[i] * (scale - 1)) / scale;
}

function equal(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((sample, i) => sample === b[i]);
}
