import {
  cancelWarning,
  checkFinite,
  concatenated,
  type DecodedAudio,
  Energy,
  loudestOfCancelled,
  toMono,
} from "./audio.js";
import { checkChannel } from "./channel.js";
import { Resampler } from "./resample.js";

/** What is kept of a file, at one rate: the mean of its channels, one of them, or each. */
export interface Kept {
  /** Hz */
  readonly rate: number;
  /** Counted from 1; absent: the mean, or the loudest channel where they cancel (see `mixDown`). */
  readonly channel?: number | "each" | undefined;
}

/** Takes kept samples as they are decoded, mono. The decoding waits for its promise. */
export type Sink = (block: Float32Array) => void | Promise<void>;

/** What is kept of a file goes to a sink, and takes no memory. */
export interface Tap extends Kept {
  readonly channel?: number | undefined;
  readonly sink: Sink;
  /** Samples that the file may hold over all its channels. */
  readonly mostSamples: number;
  /** Whether a file of one channel is not decoded further: only channels that cancel are looked for. */
  readonly probe?: boolean;
}

export function isTap(kept: Kept | undefined): kept is Tap {
  return kept !== undefined && "sink" in kept;
}

/** The kept samples of a file. */
export interface Heard extends DecodedAudio {
  /** The channel to keep in its place, counted from 1, where the mean cancels. */
  readonly instead?: number;
  /** Channels of the file, where they were mixed or resampled. */
  readonly channelCount?: number;
}

/** A stream by its header. */
export interface StreamKind {
  /** Hz */
  readonly rate: number;
  readonly channels: number;
}

/**
 * Mixes and resamples a file block by block: the bits of `mixWaveform` on the whole, and memory for
 * the result alone. Streams of a chain are joined at their highest rate, as mono where their
 * channel counts differ.
 */
export class Hearing {
  readonly #pieces: Float32Array[][] = [];
  #resamplers: Resampler[] = [];
  #adapters: Resampler[] = [];
  /** The rate of the last block, Hz. */
  #adapted = 0;
  #energies: Energy[] = [];
  readonly #mix = new Energy();
  readonly #rate: number;
  readonly #mono: boolean;
  #from = 0;
  #channels = 0;
  #length = 0;
  #equal = true;

  /** @param streams  of a chain; undefined: one, whose rate is that of its blocks */
  constructor(
    private readonly name: string,
    private readonly kept: Kept,
    streams: readonly StreamKind[] = [],
  ) {
    this.#rate = streams.length > 1 ? Math.max(...streams.map(({ rate }) => rate)) : 0;
    this.#mono = streams.some(({ channels }) => channels !== streams[0].channels);
  }

  /**
   * @param block  channels [C][n]
   * @throws AudioError  NaN or infinite samples; there is no such channel
   */
  push(block: readonly Float32Array[], rate: number): void {
    checkFinite(this.name, block, this.#length);
    const heard = this.#mono ? [toMono(block, this.name)] : block;
    const common = this.#rate || this.#from || rate;
    if (rate !== this.#adapted) this.endStream();
    this.#adapted = rate;
    if (common === rate) {
      this.#hear(heard, rate);
      return;
    }
    if (this.#adapters.length === 0) this.#adapters = heard.map(() => new Resampler(rate, common));
    this.#hear(
      this.#adapters.map((adapter, c) => adapter.push(heard[c] ?? heard[0])),
      common,
    );
  }

  /** Channels of the file; 0: nothing was decoded yet. */
  get channelCount(): number {
    return this.#channels;
  }

  /** The first kept channel's samples since the last call. */
  take(): Float32Array {
    const pieces = this.#pieces.splice(0).map(([samples]) => samples);
    return pieces.length === 0 ? new Float32Array(0) : concatenated(pieces);
  }

  /** Ends a stream, or its part of one rate. */
  endStream(): void {
    if (this.#adapters.length > 0)
      this.#hear(
        this.#adapters.map((adapter) => adapter.end()),
        this.#from,
      );
    this.#adapters = [];
  }

  #hear(block: readonly Float32Array[], rate: number): void {
    if (this.#channels === 0) this.#begin(block.length, rate);
    const channels = Array.from({ length: this.#channels }, (_, c) => block[c] ?? block[0]);
    this.#length += channels[0].length;
    this.#equal &&= channels.length === 2 && channels[0].every((sample, i) => sample === channels[1][i]);
    const { channel } = this.kept;
    let wanted: readonly Float32Array[] = channels;
    if (typeof channel === "number") wanted = [channels[channel - 1]];
    else if (channel === undefined) {
      wanted = [toMono(channels)];
      if (channels.length > 1) {
        for (const [c, samples] of channels.entries()) this.#energies[c].add(samples);
        this.#mix.add(wanted[0]);
      }
    }
    this.#pieces.push(wanted.map((samples, c) => this.#resamplers[c].push(samples)));
  }

  #begin(channels: number, rate: number): void {
    const { channel } = this.kept;
    if (typeof channel === "number") checkChannel(channel, channels, this.name);
    [this.#channels, this.#from] = [channels, rate];
    this.#resamplers = Array.from(
      { length: channel === "each" ? channels : 1 },
      () => new Resampler(rate, this.kept.rate),
    );
    this.#energies = Array.from({ length: channels }, () => new Energy());
  }

  /**
   * The kept samples; no channel where there were none.
   * @param once  whether two equal channels are one
   */
  finish(once: boolean): Heard {
    const { channel, rate } = this.kept;
    if (this.#channels === 0) return { channels: [], sampleRate: rate };
    this.#pieces.push(this.#resamplers.map((resampler) => resampler.end()));
    const single = once && this.#equal;
    if (single && typeof channel === "number") checkChannel(channel, 1, this.name);
    const count = single ? 1 : this.#resamplers.length;
    const channels = Array.from({ length: count }, (_, c) =>
      concatenated(this.#pieces.map((piece) => piece[c])),
    );
    const seconds = this.#length / this.#from;
    const audio = { channels, sampleRate: rate, seconds, channelCount: single ? 1 : this.#channels };
    if (channel !== undefined || this.#channels === 1) return audio;
    const loudest = loudestOfCancelled(this.#energies, this.#mix);
    if (loudest === undefined) return audio;
    return { ...audio, instead: loudest + 1, warning: cancelWarning(loudest, this.#channels) };
  }
}
