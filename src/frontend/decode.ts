import { checkFinite, checkSampleRate, type DecodedAudio } from "./audio.js";
import { AudioError, convertIt, fetchAgain } from "./errors.js";
import { checkMp4Tables, mp4Seconds } from "./mp4-guard.js";
import { isWav, parseWav } from "./wav.js";

const SUPPORTED = "WAV, MP3, FLAC, Ogg (Vorbis, Opus) or M4A";

export interface DecodeOptions {
  /** Refuses a file that lost audio, which is otherwise decoded as far as it goes, with `damage` set. Default: false. */
  readonly strict?: boolean | undefined;
}

/**
 * Samples of an audio file of any supported container: WAV by `parseWav`, the others by `decodePackage`.
 * @param file  the whole file
 * @param name  its name, for errors
 * @throws AudioError  unknown container, a file that lost audio where `strict` is set, no samples, NaN or infinite samples, rate outside 4,000..768,000 Hz
 */
export async function decodeAudio(
  file: Uint8Array,
  name: string,
  options: DecodeOptions = {},
): Promise<DecodedAudio> {
  const audio = await decodeContainer(file, name);
  if (options.strict && audio.damage !== undefined)
    throw new AudioError(name, "audio", "a whole file (--strict)", audio.damage, fetchAgain);
  return audio;
}

async function decodeContainer(file: Uint8Array, name: string): Promise<DecodedAudio> {
  const bytes = withoutTag(file);
  if (bytes.length === 0) throw new AudioError(name, "file size", "more than 0 bytes", 0, fetchAgain);
  if (isWav(bytes)) return parseWav(bytes, name);
  const container = sniff(bytes);
  if (!container) throw new AudioError(name, "container", SUPPORTED, firstBytes(bytes), convertIt);
  if (container === "M4A") checkMp4Tables(bytes, name);
  const { channelData, sampleRate, errors = [] } = await decodePackage(bytes, name, container);
  if (channelData.length === 0 || channelData[0].length === 0) {
    throw new AudioError(
      name,
      `${container} data`,
      "decodable audio (is the file damaged?)",
      "no samples",
      fetchAgain,
    );
  }
  checkSampleRate(name, "sample rate", sampleRate);
  checkFinite(name, channelData);
  if (container === "FLAC") restoreIntegers(channelData, bytes, name);
  const lost = damage(container, bytes, channelData[0].length / sampleRate, errors.length);
  return { channels: channelData, sampleRate, ...(lost && { damage: lost }) };
}

/**
 * In place: the package divides FLAC's integers by 2^(bits-1) - 1, every other path here by 2^(bits-1), as soundfile and
 * torchaudio do. Bits and length come from STREAMINFO, which is always the first block.
 * @throws AudioError  fewer samples than STREAMINFO promises
 * @source RFC 9639, section 8.2
 */
function restoreIntegers(channels: Float32Array[], bytes: Uint8Array, name: string): void {
  const scale = 2 ** (((bytes[20] & 1) << 4) | (bytes[21] >> 4));
  const total = (bytes[21] & 15) * 2 ** 32 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(22); // 0: unknown
  if (channels[0].length < total) {
    throw new AudioError(
      name,
      "FLAC data",
      `${total} samples long (is the file cut short?)`,
      channels[0].length,
      fetchAgain,
    );
  }
  for (const samples of channels) {
    for (let i = 0; i < samples.length; i++) samples[i] = Math.round(samples[i] * (scale - 1)) / scale;
  }
}

/** What the decoders of @audio give: whole files in, all that could be decoded out. */
interface Decoded {
  readonly channelData: Float32Array[];
  readonly sampleRate: number;
  /** Samples that are valid, where the arrays may be longer. */
  readonly samplesDecoded?: number;
  /** One for each frame that could not be decoded, where the decoder tells. */
  readonly errors?: readonly unknown[] | undefined;
}

/** The decoder of each container, loaded when first needed. An Ogg stream's codec is in the first packet of its first page. */
const DECODERS: Readonly<Record<string, (bytes: Uint8Array) => Promise<Decoded>>> = {
  MP3: async (bytes) => (await import("@audio/decode-mp3")).default(bytes),
  FLAC: async (bytes) => (await import("@audio/decode-flac")).default(bytes),
  M4A: async (bytes) => (await import("@audio/decode-mp4")).default(bytes),
  Ogg: async (bytes) => {
    const packet = text(bytes, 28, 8);
    if (packet === "OpusHead") return (await import("@audio/decode-opus")).default(bytes);
    if (packet.startsWith("\x7fFLAC")) return (await import("@audio/decode-flac")).default(bytes);
    return (await import("@audio/decode-vorbis")).default(bytes);
  },
};

/** Samples by the container's package of @audio, of which only the one in question is loaded. */
async function decodePackage(bytes: Uint8Array, name: string, container: string): Promise<Decoded> {
  try {
    const { channelData, sampleRate, samplesDecoded, errors } = await DECODERS[container](bytes);
    const valid = channelData.map((samples) => samples.subarray(0, samplesDecoded));
    // these two make two equal channels of one
    const twice = ["MP3", "M4A"].includes(container) && valid.length === 2 && equal(valid[0], valid[1]);
    return { channelData: twice ? [valid[0]] : valid, sampleRate, errors };
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).split("\n")[0];
    throw new AudioError(name, `${container} data`, "decodable audio", `"${reason}"`, {
      cause,
      ...convertIt,
    });
  }
}

const shortest = 0.025; // seconds that may lack without a word: less than any codec's frame but Opus's shortest

/** What a decoder skipped: the frames that it reports, or what lacks of the length in an MP4's header. */
function damage(container: string, bytes: Uint8Array, seconds: number, frames: number): string | undefined {
  if (frames > 0) return `${frames} damaged ${frames === 1 ? "frame was" : "frames were"} skipped`;
  const promised = container === "M4A" ? mp4Seconds(bytes) : 0;
  if (promised - seconds <= shortest) return undefined;
  return `${seconds.toFixed(2)} s could be decoded of the ${promised.toFixed(2)} s in the header`;
}

function equal(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((sample, i) => sample === b[i]);
}

function text(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/** A FLAC file without the ID3v2 tag that some writers put first; every other file as it is. */
function withoutTag(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 10 || text(bytes, 0, 3) !== "ID3") return bytes;
  const size = 10 + bytes.subarray(6, 10).reduce((sum, byte) => sum * 128 + (byte & 127), 0); // 7 bits a byte
  return text(bytes, size, 4) === "fLaC" ? bytes.subarray(size) : bytes;
}

/** @returns the container's name by its first bytes, or undefined */
function sniff(bytes: Uint8Array): string | undefined {
  if (text(bytes, 0, 4) === "fLaC") return "FLAC";
  if (text(bytes, 0, 4) === "OggS") return "Ogg";
  if (text(bytes, 4, 4) === "ftyp") return "M4A";
  if (text(bytes, 0, 3) === "ID3" || isMpegFrame(bytes)) return "MP3";
  return undefined;
}

/** MPEG audio, layer III: 11 sync bits, a version and a layer that are not reserved, a bit rate and a rate that exist. */
function isMpegFrame(bytes: Uint8Array): boolean {
  if (bytes.length < 4 || bytes[0] !== 0xff || (bytes[1] & 0xe0) !== 0xe0) return false;
  const version = (bytes[1] >> 3) & 3;
  const layer = (bytes[1] >> 1) & 3;
  const bitRate = bytes[2] >> 4;
  const rate = (bytes[2] >> 2) & 3;
  return version !== 1 && layer === 1 && bitRate !== 15 && rate !== 3;
}

function firstBytes(bytes: Uint8Array): string {
  const hex = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0"));
  return `a file that begins with ${hex.join(" ")}`;
}
