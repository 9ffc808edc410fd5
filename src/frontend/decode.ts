import { parseAiff } from "./aiff.js";
import { parseAu } from "./au.js";
import { checkFinite, checkSampleRate, type DecodedAudio, toMono } from "./audio.js";
import { Budget } from "./budget.js";
import { contentOf } from "./content.js";
import { type Decoded, bySize, byFlacFrames, decodeChunks } from "./decoders.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import { isLfsPointer, notRead, unreadFormat } from "./formats.js";
import { type AudioInput, bytesOf } from "./input.js";
import { mp3RunBytes, scanMp3 } from "./mp3-frames.js";
import { checkMp4Tables, mp4Seconds } from "./mp4-guard.js";
import { type OggLink, oggCodec, oggLinks } from "./ogg-pages.js";
import { resample } from "./resample.js";
import { parseWav, wavSeconds } from "./wav.js";
import { parseWave64 } from "./wave64.js";

const SUPPORTED = "WAV, AIFF, Wave64, AU, MP3, FLAC, Ogg (Vorbis, Opus, FLAC), M4A, AAC or WebM";

export interface DecodeOptions {
  /** Refuses a file that lost audio, which is otherwise decoded as far as it goes, with `damage` set. Default: false. */
  readonly strict?: boolean | undefined;
  /** Refuses a longer clip: by its header where that says its length, else as soon as it has been decoded so far. Default: any length. */
  readonly maxSeconds?: number | undefined;
  /** Ends the decoding; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Samples of an audio file of any supported container: WAV, AIFF, Wave64 and AU by the readers here, the others by a decoder of @audio.
 * @param file  the whole file
 * @param name  its name, for errors
 * @throws ArgumentError  `file` is a path or another value that holds no bytes
 * @throws AudioError  unknown container, longer than `maxSeconds`, more than 2^29 samples, a file that lost audio where `strict` is set, no samples, NaN or infinite samples, rate outside 4,000..768,000 Hz
 */
export async function decodeAudio(
  file: AudioInput,
  name: string,
  options: DecodeOptions = {},
): Promise<DecodedAudio> {
  const { maxSeconds, signal } = options;
  signal?.throwIfAborted();
  const audio = await decodeContainer(await bytesOf(file), new Budget(name, maxSeconds, signal), signal);
  if (options.strict && audio.damage !== undefined)
    throw new AudioError(name, "audio", "a whole file (--strict)", audio.damage, fetchAgain);
  return audio;
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
  if (format !== undefined) return notRead(name, format, SUPPORTED);
  return new AudioError(name, "container", SUPPORTED, firstBytes(bytes), convertIt);
}

async function decodeContainer(
  file: Uint8Array,
  budget: Budget,
  signal: AbortSignal | undefined,
): Promise<DecodedAudio> {
  const { name } = budget;
  if (file.length === 0) throw new AudioError(name, "file size", "more than 0 bytes", 0, fetchAgain);
  const { bytes, container } = contentOf(file);
  if (container === undefined) throw notAudio(bytes, name);
  if (container === "WAV") return parseWav(bytes, name, budget);
  if (container === "AIFF") return parseAiff(bytes, name, budget);
  if (container === "Wave64") return parseWave64(bytes, name, budget);
  if (container === "AU") return parseAu(bytes, name, budget);
  try {
    const { channels, sampleRate, damage } = await READERS[container](bytes, budget);
    if (channels.length === 0 || channels[0].length === 0) throw noSamples(name, container);
    checkSampleRate(name, "sample rate", sampleRate);
    checkFinite(name, channels);
    return { channels, sampleRate, ...(damage !== undefined && { damage }) };
  } catch (cause) {
    if (cause instanceof AudioError || signal?.aborted) throw cause;
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
    throw new AudioError(name, `${container} data`, "decodable audio", `"${reason}"`, {
      cause,
      ...convertIt,
    });
  }
}

function noSamples(name: string, container: string): AudioError {
  const expected = "decodable audio (is the file damaged?)";
  return new AudioError(name, `${container} data`, expected, "no samples", fetchAgain);
}

type Reader = (bytes: Uint8Array, budget: Budget) => Promise<DecodedAudio>;

const READERS = {
  MP3: readMp3,
  FLAC: readFlac,
  M4A: readMp4,
  Ogg: readOgg,
  AAC: async (bytes, budget) => {
    const { channels, sampleRate, errors } = await decodeChunks("AAC", bySize(bytes, 4096), budget);
    return { channels: once(channels), sampleRate, damage: skipped(errors) };
  },
  WebM: readWebm,
} satisfies Record<string, Reader>;

async function readMp3(bytes: Uint8Array, budget: Budget): Promise<DecodedAudio> {
  const { runs, damage } = scanMp3(bytes);
  const total = runs.reduce((sum, { samples, rate }) => sum + samples / rate, 0);
  const rate = runs[0]?.rate ?? 0;
  budget.claim(total * rate, 1, rate);
  const streams = runs.length === 0 ? [bytes] : runs.map((run) => mp3RunBytes(bytes, run));
  const parts: Decoded[] = [];
  for (const stream of streams) {
    const part = await decodeChunks("MP3", bySize(stream, 65_536), budget);
    parts.push({ ...part, channels: once(part.channels) });
  }
  return joinParts(parts, damage);
}

async function readFlac(stream: Uint8Array, budget: Budget): Promise<DecodedAudio> {
  const { total, bits, channels: count, rate } = streamInfo(stream, 8);
  budget.claim(total, count, rate);
  const decoded = await decodeChunks("FLAC", byFlacFrames(stream), budget, total);
  const { channels, sampleRate, errors } = decoded;
  restoreIntegers(channels, bits);
  const length = channels[0]?.length ?? 0;
  const cut = length > 0 && length < total ? `${length} of its ${total} samples could be decoded` : undefined;
  return { channels, sampleRate, damage: cut ?? goesOn(decoded) ?? skipped(errors) };
}

function goesOn({ more }: Decoded): string | undefined {
  return more ? "it goes on where its header says that it ends; the rest was left out" : undefined;
}

interface StreamInfo {
  /** Samples of a channel; 0: unknown. */
  readonly total: number;
  readonly bits: number;
  readonly channels: number;
  readonly rate: number;
}

/** FLAC's STREAMINFO at `at`. @source RFC 9639, section 8.2 */
function streamInfo(bytes: Uint8Array, at: number): StreamInfo {
  const byte = (i: number): number => bytes[at + i] ?? 0;
  const low = byte(14) * 2 ** 24 + ((byte(15) << 16) | (byte(16) << 8) | byte(17));
  return {
    total: (byte(13) & 15) * 2 ** 32 + low,
    bits: (((byte(12) & 1) << 4) | (byte(13) >> 4)) + 1,
    channels: ((byte(12) >> 1) & 7) + 1,
    rate: (byte(10) << 12) | (byte(11) << 4) | (byte(12) >> 4),
  };
}

/** In place: the package divides FLAC's integers by 2^(bits-1) - 1, every other path here by 2^(bits-1), as soundfile and torchaudio do. */
function restoreIntegers(channels: readonly Float32Array[], bits: number): void {
  const scale = 2 ** (bits - 1);
  for (const samples of channels)
    for (let i = 0; i < samples.length; i++) samples[i] = Math.round(samples[i] * (scale - 1)) / scale;
}

async function readOgg(bytes: Uint8Array, budget: Budget): Promise<DecodedAudio> {
  const { links, cut } = oggLinks(bytes);
  const { name } = budget;
  const parts: Decoded[] = [];
  let damage = cut ? "cut short: its last page ends early" : undefined;
  for (const link of links) {
    const codec = oggCodec(link.mark);
    if (codec === "Speex") throw notRead(name, "Speex in Ogg", SUPPORTED);
    if (codec === undefined) throw notRead(name, "Ogg without Vorbis, Opus or FLAC", SUPPORTED);
    if (!link.ended) damage ??= "cut short: its last page has no end-of-stream mark";
    const part = await readLink(link, codec as "Opus" | "Vorbis" | "FLAC", budget);
    damage ??= part.damage;
    parts.push({ ...part, errors: 0 });
  }
  return joinParts(parts, damage);
}

async function readLink(
  { pages, granule, begin }: OggLink,
  codec: "Opus" | "Vorbis" | "FLAC",
  budget: Budget,
): Promise<DecodedAudio> {
  const head = pages[0];
  const packet = 27 + head[26];
  const length = Math.max(0, granule - begin); // a recording of a live stream does not begin at 0
  let [count, rate, bits] = [head[packet + (codec === "Opus" ? 9 : 11)], 48_000, 0];
  if (codec === "FLAC") ({ channels: count, rate, bits } = streamInfo(head, packet + 17));
  else if (codec === "Vorbis")
    rate = head[packet + 12] | (head[packet + 13] << 8) | (head[packet + 14] << 16);
  if (count > 8) throw new AudioError(budget.name, "channels", "1..8", count, convertIt);
  const total = codec === "FLAC" ? streamInfo(head, packet + 17).total : 0;
  budget.claim(Math.max(total, length), Math.max(count, 1), rate);
  const decoded = await decodeChunks(codec, pages, budget, Math.max(total, granule));
  if (bits > 0) restoreIntegers(decoded.channels, bits);
  const { channels, sampleRate, errors } = decoded;
  return { channels, sampleRate, damage: goesOn(decoded) ?? skipped(errors) };
}

async function readMp4(bytes: Uint8Array, budget: Budget): Promise<DecodedAudio> {
  const cut = checkMp4Tables(bytes, budget.name);
  const claimed = mp4Seconds(bytes);
  budget.lasts(claimed);
  const { channels, sampleRate, errors } = await decodeChunks("M4A", [bytes], budget);
  const flac = indexOf(bytes, "dfLa");
  if (flac >= 0) restoreIntegers(channels, streamInfo(bytes, flac + 12).bits);
  const seconds = (channels[0]?.length ?? 0) / sampleRate;
  const short = `${seconds.toFixed(2)} s could be decoded of the ${claimed.toFixed(2)} s in the header`;
  const damage = claimed - seconds > shortest ? short : (skipped(errors) ?? cut);
  return { channels: once(channels), sampleRate, damage };
}

async function readWebm(bytes: Uint8Array, budget: Budget): Promise<DecodedAudio> {
  const { channels, sampleRate, errors } = await decodeChunks("WebM", bySize(bytes, 4096), budget);
  const flac = indexOf(bytes.subarray(0, 65_536), "A_FLAC") < 0 ? -1 : indexOf(bytes, "fLaC");
  if (flac >= 0) restoreIntegers(channels, streamInfo(bytes, flac + 8).bits);
  return { channels, sampleRate, damage: skipped(errors) };
}

const shortest = 0.025; // seconds that may lack without a word: less than any codec's frame but Opus's shortest

function skipped(frames: number): string | undefined {
  if (frames === 0) return undefined;
  return `${frames} damaged ${frames === 1 ? "frame was" : "frames were"} skipped`;
}

/** Streams one after another: at the highest of their rates, and as mono where their channel counts differ. */
function joinParts(all: readonly Decoded[], damage: string | undefined): DecodedAudio {
  const parts = all.filter(({ channels }) => channels.length > 0 && channels[0].length > 0);
  const said = damage ?? skipped(all.reduce((sum, { errors }) => sum + errors, 0));
  if (parts.length === 0) return { channels: [], sampleRate: 0, damage: said };
  if (parts.length === 1)
    return { channels: parts[0].channels, sampleRate: parts[0].sampleRate, damage: said };
  const sampleRate = Math.max(...parts.map((part) => part.sampleRate));
  const alike = parts.every(({ channels }) => channels.length === parts[0].channels.length);
  const ready = parts.map((part) =>
    (alike ? part.channels : [toMono(part.channels)]).map((c) => resample(c, part.sampleRate, sampleRate)),
  );
  const channels = ready[0].map((_, c) => {
    const joined = new Float32Array(ready.reduce((sum, part) => sum + part[c].length, 0));
    let at = 0;
    for (const part of ready) {
      joined.set(part[c], at);
      at += part[c].length;
    }
    return joined;
  });
  return { channels, sampleRate, damage: said };
}

/** One channel where a decoder made two equal ones of it. */
function once(channels: Float32Array[]): Float32Array[] {
  return channels.length === 2 && equal(channels[0], channels[1]) ? [channels[0]] : channels;
}

function equal(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((sample, i) => sample === b[i]);
}

function indexOf(bytes: Uint8Array, mark: string): number {
  const codes = Array.from(mark, (c) => c.charCodeAt(0));
  for (let at = bytes.indexOf(codes[0]); at >= 0; at = bytes.indexOf(codes[0], at + 1))
    if (codes.every((code, i) => bytes[at + i] === code)) return at;
  return -1;
}

function firstBytes(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"));
  return `a file that begins with ${hex.join(" ")}`;
}
